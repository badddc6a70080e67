"""Global sampling, local propagation: which frames are keys, which are clues, who helps whom (section 3.2)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


def key_frames(n: int, stride: int = 6) -> list[int]:
    """Times of the key frames of a clip (section 3.2: sampled uniformly; section 4.1: with a stride of six).

    Assumption: the last frame is a key too, so that every frame lies between two of them.

    Args:
        n: frames in the clip, at least 1.
        stride: frames from one key to the next.

    Returns:
        0, stride, 2 stride, ... and n - 1, in order.
    """
    keys = list(range(0, n, stride))
    return keys if keys[-1] == n - 1 else [*keys, n - 1]


def clues(t: int, n: int, per_direction: int = 6, stride: int = 15) -> list[int]:
    """Times of the reference frames of a key (section 4.1: six forward and six backward, with a stride of 15).

    Assumption: they are folded in from near to far, the later one of a pair first; those outside the clip are left out.

    Args:
        t: time of the key.
        n: frames in the clip.
        per_direction: references on either side.
        stride: frames from one reference to the next.

    Returns:
        t + stride, t - stride, t + 2 stride, ..., without those outside the clip; none for a short clip.
    """
    around = (t + sign * i * stride for i in range(1, per_direction + 1) for sign in (1, -1))
    return [time for time in around if 0 <= time < n]


def nearest_keys(t: int, keys: Sequence[int], n: int = 5) -> list[int]:
    """The keys that a frame is reconstructed from (section 3.4: "five nearest GOPs", whose centres are keys).

    Args:
        t: time of the frame.
        keys: times of the keys, in order.
        n: how many; all where there are fewer.

    Returns:
        Their times, from near to far; of two equally near, the earlier one first.
    """
    at = bisect_left(keys, t)
    return sorted(keys[max(0, at - n) : at + n], key=lambda key: (abs(key - t), key))[:n]
