"""Letters: white subtitles, captions and credits that are burned into a picture.

Inverse tone mapping makes lamps of them. Letters are told from lamps, windows and glints by their form: several thin
shapes of one white and one height, close beside one another, on one line, whose edges are sharp all around.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vitm.conversion.graphics import ramp
from vitm.data.arrays import Floats

HELD = 24  # number of frames for which a line that was found is looked for with less demand, so that it cannot flicker
_LINES = 540  # about this number of lines of the picture is examined
_WHITE = 191  # 8-bit code that all three channels of a letter reach
_HEIGHTS = 1 / 54, 1 / 5  # heights of letters, in heights of the picture
_THIN = 0.45  # largest width of a stroke, in heights of its letter
_SHARP = 0.62  # largest code just outside a letter, in the letter's own
_EVEN = 14  # largest difference of the codes of letters on one line
_LETTERS = 4  # fewest letters of a line
_ALIGNED = 0.14  # largest distance of feet or heads of neighbours, in heights
_GAP = 1.2  # largest gap between neighbours, in heights
_FILLED = 0.4  # least share of a line's width in its letters
_MOST = 600  # number of shapes of which lines are made, the largest ones
_BRIGHT = 0.35, 0.60  # codes between which a pixel beside a letter begins to belong to its edge
_RIM = 5  # pixels, of those examined, across which a letter is widened: its soft edge belongs to it


class LettersDetector:
    """Find the white letters of each frame of a clip."""

    def __init__(self) -> None:
        self._lines: deque[Floats] = deque(maxlen=HELD)

    def __call__(self, sdr: Tensor, new_scene: bool = False) -> Tensor | None:
        """Return where the letters of the next frame are.

        Args:
            sdr: (3, H, W), gamma code in [0, 1].
            new_scene: whether a new scene begins with this frame, in which no line is held.

        Returns:
            (1, H, W), 1 on letters, 0 elsewhere, and between on their edges; None where there are none.
        """
        if new_scene:
            self._lines.clear()
        scale = max(1, round(min(sdr.shape[1:]) / _LINES))
        white = _whiteness(sdr, scale)
        shapes = _Shapes.of(white)
        lines = shapes.lines() if shapes else np.zeros((0, 5))
        held = np.concatenate([*self._lines, lines])
        self._lines.append(lines)
        if not (shapes and len(held)):
            return None
        letters = shapes.within(held)
        return _weights(letters, sdr) if letters.any() else None


def _whiteness(sdr: Tensor, scale: int) -> NDArray[np.uint8]:
    """Return the smallest of R, G, B as 8-bit code, of every pixel of a picture that is `scale` times smaller."""
    picture = sdr.permute(1, 2, 0).numpy()
    if scale > 1:
        height, width = picture.shape[:2]
        picture = cv2.resize(picture, (width // scale, height // scale), interpolation=cv2.INTER_AREA)
    red, green, blue = cv2.split(picture)
    return np.asarray(cv2.convertScaleAbs(cv2.min(cv2.min(red, green), blue), alpha=255), np.uint8)


class _Shapes(NamedTuple):
    """White shapes that may be letters: n of them, and the numbers of all white shapes, pixel by pixel."""

    labels: NDArray[np.int32]  # (H, W), 0 where it is not white
    boxes: Floats  # (all white shapes, 4): left, top, right, bottom
    codes: Floats  # (all white shapes,), largest code
    sharp: NDArray[np.bool_]  # (all white shapes,), whether it is much darker just outside
    candidates: NDArray[np.int64]  # (n,), numbers of those of the right form
    strokes: Floats  # (n,), width of the widest stroke

    @classmethod
    def of(cls, white: NDArray[np.uint8]) -> _Shapes | None:
        """Return the shapes of a picture; None where there are too few for a line."""
        _, mask = cv2.threshold(white, _WHITE - 1, 1, cv2.THRESH_BINARY)
        n, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
        left, top, width, height, area = stats.T
        lowest, highest = (share * min(white.shape) for share in _HEIGHTS)
        plausible = (height >= max(6, lowest)) & (height <= highest) & (width >= 2) & (width <= 4 * height)
        plausible[0] = False  # the ground
        if plausible.sum() < _LETTERS:
            return None
        inside = labels > 0
        numbers = labels[inside]
        code, depth = np.zeros(n), np.zeros(n)
        np.maximum.at(code, numbers, white[inside])
        np.maximum.at(depth, numbers, cv2.distanceTransform(mask, cv2.DIST_L2, 3)[inside])
        wider = cv2.dilate(labels.astype(np.float32), np.ones((_RIM, _RIM), np.uint8)).astype(np.int64)
        around = ~inside & (wider > 0)
        outside = np.bincount(wider[around], white[around], n) / np.bincount(wider[around], minlength=n).clip(min=1)
        stroke, sharp = 2 * depth - 1, outside <= _SHARP * code
        candidates = np.flatnonzero(plausible & (stroke <= _THIN * height) & sharp)
        candidates = candidates[np.argsort(-area[candidates])[:_MOST]]
        boxes = np.stack([left, top, left + width, top + height], axis=1).astype(np.float64)
        return cls(labels, boxes, code, sharp, candidates, stroke[candidates])

    def lines(self) -> Floats:
        """Return left, top, right, bottom and code (lines, 5) of lines, wider by a third of their letters' height."""
        if len(self.candidates) < _LETTERS:
            return np.zeros((0, 5))
        codes = self.codes[self.candidates]
        left, top, right, bottom = self.boxes[self.candidates].T
        height = bottom - top
        higher, lower = np.maximum.outer(height, height), np.minimum.outer(height, height)
        gap = np.maximum.outer(left, left) - np.minimum.outer(right, right)
        near = np.maximum(_ALIGNED * higher, 1)
        feet, heads = np.abs(np.subtract.outer(bottom, bottom)), np.abs(np.subtract.outer(top, top))
        wide, narrow = np.maximum.outer(self.strokes, self.strokes), np.minimum.outer(self.strokes, self.strokes)
        neighbours = (gap <= _GAP * higher) & (lower >= 0.5 * higher) & (np.minimum(feet, heads) <= near)
        neighbours &= (np.abs(np.subtract.outer(codes, codes)) <= _EVEN) & (narrow >= 0.5 * (wide - 1))
        line_of = _connected(neighbours)
        lines = []
        for letters in (np.flatnonzero(line_of == line) for line in np.unique(line_of)):
            if len(letters) < _LETTERS:
                continue
            size = float(np.median(height[letters]))
            width = right[letters].max() - left[letters].min()
            on_line = (np.abs(np.subtract.outer(bottom[letters], bottom[letters])) <= max(_ALIGNED * size, 1)).sum(
                axis=0
            )
            if on_line.max() < max(3, 0.5 * len(letters)) or width < 2 * size:
                continue
            if (right - left)[letters].sum() < _FILLED * width:
                continue
            rim = size / 3
            ends = left[letters].min() - rim, top[letters].min() - rim, right[letters].max() + rim
            lines.append([*ends, bottom[letters].max() + rim, np.median(codes[letters])])
        return np.array(lines).reshape(-1, 5)

    def within(self, lines: Floats) -> NDArray[np.bool_]:
        """Return the pixels (H, W) of letters, of dots and points too: sharp, whole within a line and of its white."""
        left, top, right, bottom = self.boxes.T[:, :, None]
        chosen = (left >= lines[:, 0]) & (top >= lines[:, 1]) & (right <= lines[:, 2]) & (bottom <= lines[:, 3])
        chosen = (chosen & (np.abs(self.codes[:, None] - lines[:, 4]) <= _EVEN)).any(axis=1) & self.sharp
        chosen[0] = False  # the ground
        return np.asarray(chosen[self.labels])


def _connected(neighbours: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each of n shapes the smallest number among all that a chain of neighbours (n, n) leads to."""
    smallest = np.arange(len(neighbours))
    while True:
        smaller = np.where(neighbours, smallest, len(neighbours)).min(axis=1)
        smaller = smaller[smaller]
        if (smaller == smallest).all():
            return smallest
        smallest = smaller


def _weights(letters: NDArray[np.bool_], sdr: Tensor) -> Tensor:
    """Return the weight (1, H, W) of letters (h, w) and of what is bright beside them: their soft edges."""
    wider = cv2.dilate(letters.astype(np.float32), np.ones((_RIM, _RIM), np.uint8))
    whole = nn.functional.interpolate(torch.from_numpy(wider)[None, None], sdr.shape[1:], mode="bilinear")[0]
    return whole * ramp(sdr.amax(dim=0, keepdim=True), *_BRIGHT)
