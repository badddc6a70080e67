"""VITM-TC's global sampling and local propagation: key frames, their clues, and the keys of a frame (section 3.2)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


def key_frames(n: int, stride: int = 6) -> list[int]:
    """Return the times of the key frames of a clip (section 3.2: sampled uniformly; section 4.1: every six frames).

    Assumption: the last frame is a key too, so that every frame lies between two of them.

    Args:
        n: number of frames in the clip, at least 1.
        stride: distance from one key to the next, in frames.

    Returns:
        0, stride, 2 stride, ... and n - 1, in order.

    Example:
        >>> key_frames(15)
        [0, 6, 12, 14]
    """
    keys = list(range(0, n, stride))
    return keys if keys[-1] == n - 1 else [*keys, n - 1]


def clues(t: int, n: int, per_direction: int = 6, stride: int = 15) -> list[int]:
    """Return the times of a key's reference frames (section 4.1: six forward and six backward, every 15 frames).

    Assumption: they are folded in from near to far, the later one of a pair first; those outside the clip are left out.

    Args:
        t: time of the key.
        n: number of frames in the clip.
        per_direction: number of references on either side.
        stride: distance from one reference to the next, in frames.

    Returns:
        t + stride, t - stride, t + 2 stride, ..., without those outside the clip; none for a short clip.

    Example:
        >>> clues(18, 60, per_direction=2)
        [33, 3, 48]
    """
    around = (t + sign * i * stride for i in range(1, per_direction + 1) for sign in (1, -1))
    return [time for time in around if 0 <= time < n]


def nearest_keys(t: int, keys: Sequence[int], n: int = 5) -> list[int]:
    """Return the keys that a frame is reconstructed from (section 3.4: "five nearest GOPs", whose centres are keys).

    Args:
        t: time of the frame.
        keys: times of the keys, in order.
        n: number of keys; all where there are fewer.

    Returns:
        Their times, from near to far; of two equally near, the earlier one first.

    Example:
        >>> nearest_keys(8, [0, 6, 12, 18], n=3)
        [6, 12, 0]
    """
    at = bisect_left(keys, t)
    return sorted(keys[max(0, at - n) : at + n], key=lambda key: (abs(key - t), key))[:n]
