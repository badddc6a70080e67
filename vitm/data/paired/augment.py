"""Geometric and temporal augmentation: NumPy views, the same for all frames and for SDR and HDR."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[Any]  # (T, H, W, 3), any dtype


def random_crop(rng: np.random.Generator, *clips: Frames, size: int) -> tuple[Frames, ...]:
    """Cuts one random size x size window out of every clip (T, H, W, 3); all clips share H and W, at least `size`."""
    height, width = clips[0].shape[1:3]
    y, x = rng.integers(height - size + 1), rng.integers(width - size + 1)
    return tuple(clip[:, y : y + size, x : x + size] for clip in clips)


def random_flip(rng: np.random.Generator, *clips: Frames) -> tuple[Frames, ...]:
    """Mirrors all clips left to right with probability 1/2, and top to bottom with probability 1/2."""
    across, down = rng.random(2) < 0.5
    return tuple(clip[:, :: -1 if down else 1, :: -1 if across else 1] for clip in clips)


def random_rotation(rng: np.random.Generator, *clips: Frames) -> tuple[Frames, ...]:
    """Turns all clips by the same random multiple of 90 degrees; square frames keep their size."""
    turns = int(rng.integers(4))
    return tuple(np.rot90(clip, turns, axes=(1, 2)) for clip in clips)


def random_reversal(rng: np.random.Generator, *clips: Frames) -> tuple[Frames, ...]:
    """Reverses time in all clips with probability 1/2."""
    step = -1 if rng.random() < 0.5 else 1
    return tuple(clip[::step] for clip in clips)


def random_order(rng: np.random.Generator, *clips: Frames) -> tuple[Frames, ...]:
    """Shuffles the order of the frames with probability 1/2, the same in all clips (published KPN-MFI code)."""
    frames = clips[0].shape[0]
    order = rng.permutation(frames) if rng.random() < 0.5 else np.arange(frames)
    return tuple(clip[order] for clip in clips)
