"""Bars: where a picture lies within its frame. What its production is read from lies there alone.

A letterboxed film, or one of another shape, has bars of one dark colour above and below, or on both sides. They are no
part of the scene, yet would weigh in every histogram, and their borders look like edges of objects.
"""

from __future__ import annotations

import torch
from torch import Tensor

_DARK = 0.1  # largest code of a bar's colour: a white sky without detail is none
_SAME = 2.5 / 255  # difference of codes within a bar
_FLAT = 0.75  # share of a line in the bar's colour from which the line belongs to the bar, where subtitles may lie
_UNEVEN = 0.02  # difference of two bars, as a share of the frame, beyond which the larger one is partly picture
LEAST_PICTURE = 0.25  # share of the frame's height and width that a picture has; a frame with less is a dark picture
_EXAMINED = 60  # number of pixels of a line that are examined, about


def picture_bounds(sdr: Tensor) -> Tensor:
    """Return where the picture lies between bars, which come in pairs of one dark colour.

    Args:
        sdr: (B, 3, H, W), BT.709 code in [0, 1].

    Returns:
        (B, 4), integers: first row, row after the last, first column, column after the last.
    """
    corner = sdr[..., :1, :1]
    dark = (corner <= _DARK).all(1, keepdim=True)
    bounds: list[Tensor] = []
    for axis in (2, 3):
        every = max(1, round(sdr.shape[5 - axis] / _EXAMINED))
        lines = sdr[..., ::every] if axis == 2 else sdr[..., ::every, :].mT
        same = ((lines - corner).abs().amax(1, keepdim=True) <= _SAME) & dark
        bounds += _between(same.float().mean((1, 3)) >= _FLAT)
    return torch.stack(bounds, 1)


def _between(flat: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first line between two bars, and the one after the last: flat lines (B, lines) -> (B,) each.

    The smaller bar counts for both, so that the dark parts of a picture are not taken for bars.
    """
    count = flat.shape[1]
    number = torch.arange(count, device=flat.device)
    before = torch.where(flat, count, number).amin(1)
    behind = torch.where(flat, count, number.flip(0)).amin(1)
    smaller = torch.minimum(before, behind)
    smaller = smaller * (2 * smaller <= (1 - LEAST_PICTURE) * count)
    alike = (smaller > 0) & ((before - behind).abs() <= _UNEVEN * count)
    before, behind = (torch.where(alike, x, smaller) for x in (before, behind))
    return before, count - behind


def without_bars(sdr: Tensor, bounds: Tensor) -> list[Tensor]:
    """Return the pictures of frames, cut out: on the host, which must know the bounds."""
    return [
        frame[:, :, top:bottom, left:right]
        for frame, (top, bottom, left, right) in zip(sdr.chunk(len(sdr)), bounds.tolist(), strict=True)
    ]
