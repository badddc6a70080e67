"""SICE: stacks of 8-bit exposures, each merged once to linear HDR light, then filmed by a shaking camera."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vitm.data.arrays import Floats
from vitm.data.filming.motion import Homography, PerspectivePath, Placement
from vitm.data.filming.walk import Key
from vitm.data.sequences.exposure import base_gain
from vitm.data.sequences.merge import Exposure, merge_stack
from vitm.data.sequences.source import Matrices
from vitm.video import read_image, write_exr

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp")
_LONGEST = 1024  # side of the merged stills in pixels
MERGED = f"merged_v1_{_LONGEST}"  # folder of the merged stills; a change of what they hold changes its name


@dataclass(frozen=True)
class Stack:
    """The exposures of one scene, `1.JPG`, `2.JPG`, ..., and where their merged light is kept."""

    name: str
    exposures: tuple[Path, ...]
    merged: Path

    def merge(self) -> None:
        """Write the merged light, unless it is there; raise ValueError that names a scene that cannot be merged."""
        if self.merged.is_file():
            return
        try:
            light = merge_stack([_decoded(path) for path in self.exposures])
        except ValueError as error:
            raise ValueError(f"{self.exposures[0].parent}: {error}; remove the scene") from error
        self.merged.parent.mkdir(exist_ok=True)
        write_exr(self.merged, np.minimum(light, 65504), primaries="bt709", half=True)


def _decoded(path: Path) -> Exposure:
    """Return an 8-bit exposure, its longer side at most 1024 pixels: the mean over each pixel's area."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path.name} cannot be decoded")
    shrink = min(1.0, _LONGEST / max(image.shape))
    return np.asarray(cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)[..., ::-1], np.uint8)


def find_stacks(root: Path) -> list[Stack]:
    """Return the scenes of SICE, in the order of part and number.

    The official archives unpack to `Dataset_Part1/{1..360}/` and `Dataset_Part2/{1..229}/`, exposures `1.JPG` to
    `N.JPG` in each, beside a folder `Label` of fused 8-bit references, which are not HDR and not read. `root` holds one
    or both parts, or is one; the case of the suffix does not matter, PNG and BMP are taken too.

    Raises:
        FileNotFoundError: There is no scene.
        ValueError: A scene has a single exposure, or exposures whose numbers have a gap.
    """
    parts = sorted(p for p in root.iterdir() if p.is_dir() and re.fullmatch(r"dataset_part\d+", p.name.lower())) or [
        root
    ]
    stacks = []
    for part in parts:
        scenes = [p for p in part.iterdir() if p.is_dir() and p.name.isdigit()]
        stacks += [_stack(root, part, scene) for scene in sorted(scenes, key=lambda p: int(p.name))]
    if not stacks:
        raise FileNotFoundError(f"{root} holds no SICE scene: expected Dataset_Part1/1/1.JPG and so on")
    return stacks


def _stack(root: Path, part: Path, scene: Path) -> Stack:
    exposures = sorted(
        (p for p in scene.iterdir() if p.suffix.lower() in _PICTURES and p.stem.isdigit()), key=lambda p: int(p.stem)
    )
    if len(exposures) < 2:
        raise ValueError(
            f"{scene} holds {len(exposures)} exposure(s) ({', '.join(p.name for p in exposures) or 'none'}); expected "
            "two or more, 1.JPG, 2.JPG, ...: a single one has no HDR light; complete or remove the scene"
        )
    numbers = [int(p.stem) for p in exposures]
    if numbers != [*range(numbers[0], numbers[0] + len(numbers))]:
        raise ValueError(f"{scene} holds the exposures {numbers}; expected consecutive numbers, none missing or twice")
    name = f"sice_{part.name.lower().removeprefix('dataset_')}_{int(scene.name):03d}"
    return Stack(name, tuple(exposures), root / MERGED / f"{name}.exr")


def merge_all(stacks: Sequence[Stack], workers: int = 2) -> list[MergedStill]:
    """Return the stills of the scenes; those that are not merged yet are merged and kept."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        list(pool.map(Stack.merge, stacks))
    return [MergedStill(stack.name, stack.merged) for stack in stacks]


@dataclass(frozen=True)
class MergedStill:
    """One HDR picture, linear light, any size and aspect."""

    name: str
    path: Path

    def length(self, frames: int) -> int:
        """Return the length that is asked for."""
        return frames

    def take(self, key: Key, size: int, frames: int) -> StillTake:
        """Return the picture filmed along a path of its own for every key."""
        return StillTake(self, PerspectivePath(key, size))

    def check(self) -> None:
        """Raise ValueError if its light is black; its exposures were checked when they were merged."""
        self.light(64)

    def light(self, side: int) -> Floats:
        """Return the light (side, side, 3) at 0 EV: the mean over each pixel's area, whatever the aspect."""
        linear = np.maximum(cv2.resize(read_image(self.path), (side, side), interpolation=cv2.INTER_AREA), 0)
        try:
            return np.asarray(linear * np.float32(base_gain(linear)))
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}; remove it") from error


@dataclass(frozen=True)
class StillTake:
    """A `MergedStill` filmed along a path."""

    source: MergedStill
    path: PerspectivePath
    still: bool = True

    def planes(self, times: Sequence[int], placement: Placement) -> Floats:
        """Return the still, (1, side, side, 3), see `Take`."""
        return self.source.light(self.path.side)[None]

    def homographies(self, times: Sequence[int], placement: Placement) -> Matrices:
        """Return the homographies (N, 3, 3) from the plane to the frames as placed."""
        frames: list[Homography] = [placement.matrix @ self.path(t) for t in times]
        return np.stack(frames)
