"""Geometric and temporal augmentation: NumPy views, the same for all frames and for SDR and HDR.

They stay here, in the processes that decode, and do not move to the device: a mirrored or turned view costs nothing
(the codes are copied once in any case, when they become tensors in [0, 1]), is drawn from the sample's own generator,
and is exact. Kornia's `RandomHorizontalFlip` and its like would add a pass over the batch on the device, and draw for
the batch instead of the sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[Any]  # (T, H, W, 3), any dtype


def random_flip(rng: np.random.Generator, *clips: Frames) -> tuple[Frames, ...]:
    """Mirror all clips left to right with probability 1/2, and top to bottom with probability 1/2."""
    across, down = rng.random(2) < 0.5
    return tuple(clip[:, :: -1 if down else 1, :: -1 if across else 1] for clip in clips)


def random_rotation(rng: np.random.Generator, *clips: Frames) -> tuple[Frames, ...]:
    """Turn all clips by the same random multiple of 90 degrees; square frames keep their size."""
    turns = int(rng.integers(4))
    return tuple(np.rot90(clip, turns, axes=(1, 2)) for clip in clips)


def random_reversal(rng: np.random.Generator, *clips: Frames) -> tuple[Frames, ...]:
    """Reverse time in all clips with probability 1/2."""
    step = -1 if rng.random() < 0.5 else 1
    return tuple(clip[::step] for clip in clips)


def random_order(rng: np.random.Generator, *clips: Frames) -> tuple[Frames, ...]:
    """Shuffle the order of the frames with probability 1/2, the same in all clips (published KPN-MFI code)."""
    frames = clips[0].shape[0]
    order = rng.permutation(frames) if rng.random() < 0.5 else np.arange(frames)
    return tuple(clip[order] for clip in clips)
