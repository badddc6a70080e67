"""Graphics: title pages, slides and screens, whose white is paper and not a light.

Inverse tone mapping takes SDR white for a highlight. That is right for lamps and glints in a film, and glaring for a
white page. A page consists of few colours, and bright ones cover much of it; the picture of a camera is never so plain.
White text on a dark ground covers too little to be told from lamps at night: `letters` finds it by its form.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

MEMORY = 24  # number of frames over which the share is averaged: a picture that changes at once would flicker
_COLOURS = 6  # number of colours, of 32 x 32 x 32, that make up graphics
_PLAIN = 0.80, 0.92  # share of the area in these colours: from a camera's picture to graphics
_COVER = 0.10, 0.25  # share of the area in the bright ones of them: from a camera's picture to graphics
_BRIGHT = 0.50, 0.65  # codes between which a colour becomes bright
_LINES = 135  # number of lines of the picture that are examined


class GraphicsDetector:
    """Measure how far each frame of a clip is graphics, averaged over the last 24 frames of its scene."""

    def __init__(self) -> None:
        self._shares: deque[float | None] = deque(maxlen=MEMORY)

    def __call__(self, sdr: Tensor, new_scene: bool) -> float:
        """Return the share of graphics in the next frame.

        Args:
            sdr: (3, H, W), gamma code in [0, 1].
            new_scene: whether a new scene begins with this frame.

        Returns:
            0 for the picture of a camera, 1 for graphics.
        """
        if new_scene:
            self._shares.clear()
        plain, cover = _plain_and_cover(sdr)
        self._shares.append(plain * cover if plain < 0.5 or cover > 0.5 else None)  # a dim page is undecided
        shares = [share for share in self._shares if share is not None]
        return sum(shares) / len(shares) if shares else 0.0


def graphics_share(sdr: Tensor) -> float:
    """Return how far a frame is graphics by itself: 0 for the picture of a camera, 1 for a white page.

    Args:
        sdr: (3, H, W), gamma code in [0, 1].

    Example:
        >>> graphics_share(torch.ones(3, 90, 160)), graphics_share(torch.rand(3, 90, 160))
        (1.0, 0.0)
    """
    plain, cover = _plain_and_cover(sdr)
    return plain * cover


def _plain_and_cover(sdr: Tensor) -> tuple[float, float]:
    """Return whether a frame consists of few colours, and whether bright ones cover much of it, 0 to 1 each."""
    step = max(1, min(sdr.shape[1:]) // _LINES)
    pixels = sdr[:, ::step, ::step].reshape(3, -1)
    red, green, blue = (pixels * 31 + 0.5).long()
    colours = (red * 32 + green) * 32 + blue
    areas = torch.bincount(colours, minlength=32**3)
    bright_areas = torch.bincount(colours, ramp(pixels.amax(dim=0), *_BRIGHT), minlength=32**3)
    common = areas.topk(_COLOURS).indices
    plain, cover = areas[common].sum() / len(colours), bright_areas[common].sum() / len(colours)
    return float(ramp(plain, *_PLAIN)), float(ramp(cover, *_COVER))


def ramp(x: Tensor, low: float, high: float) -> Tensor:
    """Return 0 up to `low`, 1 from `high` on, and a smooth rise between: any shape -> the same shape."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)
