"""One reading of a whole video, frame by frame: small pictures, changes, cuts and bars. Nothing large is kept.

For each frame half a kilobyte is kept (90 MB for a film of two hours), whatever its size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from vitm.color.ycbcr import code_scale
from vitm.data.arrays import Floats
from vitm.files import replace_when_whole
from vitm.video import FrameReader
from vitm.video.cuts import CutDetector
from vitm.video.planes import Codes, PixelLayout, planes_to_rgb

GRID = (16, 9)  # columns and rows of cells
BLACK_CODE = 0.04  # luma code up to which a row is black: 10 of 255, above the noise of coding
_SMALL, _THUMBNAIL = (256, 144), (64, 36)  # pictures that cuts and changes are seen in
_BINS = 32
_LUMA = np.array([[0.2627, 0.6780, 0.0593]])  # BT.2020's weights; BT.709's differ too little to matter here


@dataclass(frozen=True)
class Survey:
    """Small pictures and changes of the N frames of a video, upright.

    Attributes:
        cells: (N, 9, 16) uint16, mean luma code of the cells of a grid; 65535 is 1.
        change: (N,) float32, mean |dY| to the frame before, in code; 0 for the first.
        jump: (N,) float32, share of pixels in another of 32 luma bins than in the frame before.
        cut: (N,) bool, whether PySceneDetect finds a scene to begin with the frame.
        rows: (H,) float32, share of the frames in which a row of pixels is brighter than black.
        columns: (W,) float32, the same of columns.
    """

    cells: NDArray[np.uint16]
    change: Floats
    jump: Floats
    cut: NDArray[np.bool_]
    rows: Floats
    columns: Floats

    def __len__(self) -> int:
        return len(self.cells)

    def save(self, path: Path) -> None:
        """Write a .npz file, which appears when it is whole."""
        with replace_when_whole(path) as part, part.open("wb") as file:
            np.savez(file, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            return cls(**{f.name: arrays[f.name] for f in fields(cls)})


def survey_video(reader: FrameReader, on_frame: Callable[[], None] = lambda: None) -> Survey:
    """Read all frames once; only the small pictures are converted to R'G'B'.

    Args:
        reader: Reader of a video file.
        on_frame: Function that is called after each frame.

    Raises:
        VideoDecodeError: The file is damaged, or has fewer frames than declared.
    """
    info = reader.info
    gain, offset = code_scale(info.bit_depth, bool(info.full_range))
    black = offset[0] + BLACK_CODE * gain[0]
    rows, columns = np.zeros(info.height), np.zeros(info.width)
    detector = CutDetector()
    cells: list[NDArray[np.uint16]] = []
    change: list[float] = []
    jump: list[float] = []
    cut: list[bool] = []
    before: tuple[Floats, NDArray[np.float64]] | None = None
    for planes, layout in reader.stored():
        bright = [plane > black for plane in (planes if layout.is_rgb else planes[:1])]
        rows += np.logical_or.reduce([b.any(axis=1) for b in bright])
        columns += np.logical_or.reduce([b.any(axis=0) for b in bright])
        small = _small(planes, layout, str(info.matrix), bool(info.full_range))
        luma = cv2.transform(small, _LUMA)
        grid = cv2.resize(luma, GRID, interpolation=cv2.INTER_AREA)
        cells.append((grid.clip(0, 1) * 65535).round().astype(np.uint16))
        cut.append(detector(small))
        thumbnail: Floats = cv2.resize(luma, _THUMBNAIL, interpolation=cv2.INTER_AREA)
        histogram = np.histogram(thumbnail, _BINS, (0, 1))[0] / thumbnail.size
        change.append(float(np.abs(thumbnail - before[0]).mean()) if before else 0.0)
        jump.append(float(np.abs(histogram - before[1]).sum() / 2) if before else 0.0)
        before = thumbnail, histogram
        on_frame()
    n = len(cells)
    return Survey(
        np.stack(cells),
        np.array(change, np.float32),
        np.array(jump, np.float32),
        np.array(cut),
        (rows / n).astype(np.float32),
        (columns / n).astype(np.float32),
    )


def _small(planes: list[Codes], layout: PixelLayout, matrix: str, full_range: bool) -> Floats:
    """Return R'G'B' of a frame in small, (144, 256, 3), from all of its samples."""
    reduced: Any = tuple(cv2.resize(p.astype(np.float32), _SMALL, interpolation=cv2.INTER_AREA) for p in planes)
    one_size = PixelLayout(layout.bits, "rgb" if layout.is_rgb else "4:4:4")
    return planes_to_rgb(reduced, one_size, matrix, full_range, None)
