"""Video whose size, format or colour changes in the middle: an error, scaled to its beginning, or split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from vitm.video.planes import Float
from vitm.video.tags import MATRICES, PRIMARIES, RANGES, TRANSFERS, tag_name

OnChange = Literal["error", "scale", "split"]

_PLANAR = {"nv12": "yuv420p", "p010le": "yuv420p10le"}  # of the same codes, which hardware gives with Cb and Cr in turn
_NEARLY = 0.02  # shapes that differ by less are the same: sizes are rounded to whole blocks


class Look(NamedTuple):
    """What frames of a video have in common: size, format and colour (codes of H.273)."""

    width: int
    height: int
    pixel_format: str
    matrix: int
    transfer: int
    primaries: int
    color_range: int

    @staticmethod
    def of(frame: Any, before: Look | None = None) -> Look:
        """Return the look of a decoded frame; colour tags that it lacks are those of the frames before it."""
        tags = (frame.colorspace, frame.color_trc, frame.color_primaries, frame.color_range)
        known = [int(tag) for tag in tags]
        if before is not None:
            unspecified = (2, 2, 2, 0)
            known = [b if k == u else k for k, u, b in zip(known, unspecified, before[3:], strict=True)]
        name = frame.format.name
        return Look(frame.width, frame.height, _PLANAR.get(name, name), *known)

    def __str__(self) -> str:
        tables = (MATRICES, TRANSFERS, PRIMARIES)
        names = [tag_name(table, code) or "untagged" for table, code in zip(tables, self[3:6], strict=True)]
        colour = "/".join(dict.fromkeys(names))  # "bt709" if all are of one standard
        full = " full-range" if RANGES.get(self.color_range) else ""
        return f"{self.width}x{self.height} {self.pixel_format} {colour}{full}"


@dataclass(frozen=True)
class Stretch:
    """A part of a video without changes.

    Attributes:
        first: the number of its first frame.
        count: the number of its frames.
        start: the time at which it starts, in seconds: that of its first frame, and 0 for the first stretch.
        end: the time of the next stretch's first frame; None for the last stretch.
        look: what its frames have in common.
    """

    first: int
    count: int
    start: Fraction
    end: Fraction | None
    look: Look


def list_stretches(looks: Iterator[tuple[Look, Fraction]]) -> list[Stretch]:
    """Return the stretches of a video, from the look and the time of each frame."""
    begins: list[tuple[int, Look, Fraction]] = []
    number = -1
    for number, (look, seconds) in enumerate(looks):
        if not begins or look != begins[-1][1]:
            begins.append((number, look, seconds if begins else Fraction(0)))
    ends = [*begins[1:], (number + 1, None, None)]
    return [
        Stretch(first, after - first, start, end, look)
        for (first, look, start), (after, _, end) in zip(begins, ends, strict=True)
    ]


def fitted(rgb: Float, width: int, height: int) -> Float:
    """Scale a picture to another size; where its shape differs, black bars fill the rest.

    Args:
        rgb: (H, W, 3), non-linear codes.
        width: the width of the result.
        height: the height of the result.

    Returns:
        (height, width, 3): cubic interpolation where it grows, the mean of areas where it shrinks.
    """
    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    size = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
    if size[0] >= width * (1 - _NEARLY) and size[1] >= height * (1 - _NEARLY):
        size = (width, height)
    scaled = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    if size == (width, height):
        return np.asarray(scaled, np.float32)
    result = np.zeros((height, width, 3), np.float32)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    result[top : top + size[1], left : left + size[0]] = scaled
    return result
