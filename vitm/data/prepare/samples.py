"""Which samples a pair gives: N consecutive frames at regular times (KPN-MFI, HDRTV1K), or from each scene (DSLNet)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vitm.data.paired.tiles import tile_starts
from vitm.data.prepare.matching import SAME_PICTURE, Match, Picture
from vitm.data.prepare.scenes import REPEAT_LUMA, Scene, find_scenes, moves
from vitm.data.prepare.survey import Survey


@dataclass(frozen=True, slots=True)
class Cutting:
    """How samples are taken.

    Args:
        interval_s: Seconds from one sample to the next.
        grid_crop: Side of the squares that frames are cut into, in pixels; None keeps whole frames.
        grid_stride: Pixels from one square to the next (`vitm.data.paired.tiles`); None is `grid_crop`.
        frames: Of a sample. On disk one is `NAME.png`, up to three are `NAME_1.png` to `NAME_3.png`, more are
            `NAME/000000.png` and so on.
        per_scene: One sample from each scene, its middle, instead of one every `interval_s`.
    """

    interval_s: float = 2.0
    grid_crop: int | None = None
    grid_stride: int | None = None
    frames: int = 3
    per_scene: bool = False

    @property
    def whole(self) -> Self:
        """The same, without crops."""
        return replace(self, grid_crop=None, grid_stride=None)


@dataclass(frozen=True, slots=True)
class Sample:
    """Consecutive matched frames.

    Attributes:
        start: The first, by its place among the matched frames.
        frame: The first, by its number in the HDR video.
        sdr: Frame numbers in the SDR video.
        hdr: Frame numbers in the HDR video.
        fault: Why it is left out, if it is.
    """

    start: int
    frame: int
    sdr: tuple[int, ...]
    hdr: tuple[int, ...]
    fault: str | None


def plan_samples(sdr: Survey, hdr: Survey, match: Match, fps: float, cutting: Cutting) -> list[Sample]:
    """Every sample that a pair has, with those that are left out, in order.

    Left out are samples of static and near-duplicate scenes, those that hold a cut or a repeated frame, and those whose
    SDR and HDR pictures differ.

    Args:
        sdr: Of the SDR video.
        hdr: Of the HDR video.
        match: Their matched frames.
        fps: Matched frames a second.
        cutting: How samples are taken.

    Raises:
        ValueError: If samples would overlap.
    """
    n = cutting.frames
    step = round(cutting.interval_s * fps)
    if not cutting.per_scene and step < n:
        raise ValueError(
            f"interval_s is {cutting.interval_s} at {fps:g} frames/s; expected the duration of {n} or more frames"
        )
    scenes = find_scenes(sdr, match)
    if cutting.per_scene:
        starts = [max(scene.start, (scene.start + scene.stop - n) // 2) for scene in scenes]
    else:
        starts = [*range(0, len(match) - n + 1, step)]
    repeats = np.minimum(moves(sdr, match.sdr), moves(hdr, match.hdr)) < REPEAT_LUMA
    firsts = np.array([scene.start for scene in scenes])
    samples = []
    for start in starts:
        here = slice(start, start + n)
        scene = scenes[int(np.searchsorted(firsts, start, side="right")) - 1]
        fault = _fault(scene, start, n, repeats, match)
        i_sdr, i_hdr = (tuple(int(i) for i in numbers[here]) for numbers in (match.sdr, match.hdr))
        samples.append(Sample(start, i_hdr[0], i_sdr, i_hdr, fault))
    return samples


def _fault(scene: Scene, start: int, n: int, repeats: NDArray[np.bool_], match: Match) -> str | None:
    if scene.fault:
        return scene.fault
    if start + n > scene.stop:
        return "scene cut" if scene.stop - scene.start >= n else f"short scene: fewer than {n} frames"
    if repeats[start : start + n - 1].any():
        return "repeated frame"
    return "unlike pictures" if match.likeness[start : start + n].min() < SAME_PICTURE else None


def crops(picture: Picture, crop: int | None, stride: int | None) -> dict[str, Picture]:
    """Name -> place of each square that a picture is cut into, as `vitm.data.paired.tiles` places them.

    Args:
        picture: Rows and columns of the frame.
        crop: Side of a square; None: the whole picture, without a name.
        stride: From one to the next; None is `crop`.

    Raises:
        ValueError: If the picture is too small.
    """
    if crop is None:
        return {"": picture}
    stride = stride or crop
    height, width = (p.stop - p.start for p in picture)
    if crop < 1 or stride < 1 or crop > min(height, width):
        raise ValueError(
            f"crops of {crop} every {stride} pixels do not fit the picture of {width}x{height}; choose smaller ones, "
            "or none"
        )
    ys, xs = ([p.start + at for at in tile_starts(p.stop - p.start, crop, stride)] for p in picture)
    return {f"_y{y}x{x}": (slice(y, y + crop), slice(x, x + crop)) for y, x in product(ys, xs)}
