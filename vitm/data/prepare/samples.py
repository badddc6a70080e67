"""The samples of a pair: N consecutive frames at regular times (KPN-MFI, HDRTV1K), or from each scene (DSLNet)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vitm.data.paired.tiles import half, tile_places
from vitm.data.prepare.matching import SAME_PICTURE, Match, Region
from vitm.data.prepare.scenes import REPEAT_LUMA, Scene, find_scenes, moves
from vitm.data.prepare.survey import Survey


@dataclass(frozen=True, slots=True)
class Cutting:
    """The way samples are taken from a pair of videos.

    Attributes:
        interval_s: Seconds from one sample to the next.
        tile_size: Side of the square tiles that frames are cut into, in pixels; None keeps whole frames.
        tile_stride: Pixels from one tile to the next (`vitm.data.paired.tiles`); None is half of `tile_size`.
        frames: Frames of a sample. On disk one is `NAME.png`, up to three are `NAME_1.png` to `NAME_3.png`, more are
            `NAME/000000.png` and so on.
        per_scene: Whether each scene gives one sample, from its middle, instead of one every `interval_s`.
    """

    interval_s: float = 2.0
    tile_size: int | None = None
    tile_stride: int | None = None
    frames: int = 3
    per_scene: bool = False

    @property
    def whole(self) -> Self:
        """These samples as whole frames, without tiles."""
        return replace(self, tile_size=None, tile_stride=None)


@dataclass(frozen=True, slots=True)
class Sample:
    """Consecutive matched frames.

    Attributes:
        start: Place of the first one among the matched frames.
        frame: Number of the first one in the HDR video.
        sdr: Frame numbers in the SDR video.
        hdr: Frame numbers in the HDR video.
        fault: Reason for which it is left out, if it is.
    """

    start: int
    frame: int
    sdr: tuple[int, ...]
    hdr: tuple[int, ...]
    fault: str | None


def plan_samples(sdr: Survey, hdr: Survey, match: Match, fps: float, cutting: Cutting) -> list[Sample]:
    """Return every sample that a pair has, with those that are left out, in order.

    Left out are samples of static and near-duplicate scenes, those that hold a cut or a repeated frame, and those whose
    SDR and HDR pictures differ.

    Args:
        sdr: Survey of the SDR video.
        hdr: Survey of the HDR video.
        match: Their matched frames.
        fps: Matched frames a second.
        cutting: The way samples are taken.

    Raises:
        ValueError: Samples would overlap.
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


def tile_regions(picture: Region, size: int | None, stride: int | None = None) -> dict[str, Region]:
    """Return name -> place of each tile that a picture is cut into, as `vitm.data.paired.tiles` places them.

    Args:
        picture: Rows and columns of the picture in the frame.
        size: Side of a tile in pixels; None: the whole picture, without a name.
        stride: Pixels from one tile to the next; None is half of `size`.

    Raises:
        ValueError: The picture is too small.
    """
    if size is None:
        return {"": picture}
    stride = stride or half(size)
    height, width = (side.stop - side.start for side in picture)
    if size < 1 or stride < 1 or size > min(height, width):
        raise ValueError(
            f"tiles of {size} every {stride} pixels do not fit the picture of {width}x{height}; choose smaller ones, "
            "or none"
        )
    top, left = (side.start for side in picture)
    places = [(top + y, left + x) for y, x in tile_places(height, width, size, stride)]
    return {f"_y{y}x{x}": (slice(y, y + size), slice(x, x + size)) for y, x in places}
