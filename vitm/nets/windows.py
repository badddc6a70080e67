"""Windows over a clip, for networks that convert the middle one of an odd number of frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def windows(frames: Iterable[T], radius: int) -> Iterator[list[T]]:
    """Yield for each frame of a clip itself and `radius` frames on either side; the ends are repeated.

    Args:
        frames: frames of a clip, at least one; they are read `radius` frames ahead, and at most 2 radius + 1 are kept.
        radius: 0 or more.

    Yields:
        2 radius + 1 frames.

    Example:
        >>> list(windows("abc", 1))
        [['a', 'a', 'b'], ['a', 'b', 'c'], ['b', 'c', 'c']]
    """
    window: deque[T] = deque(maxlen=2 * radius + 1)
    for frame in frames:
        if not window:
            window.extend([frame] * radius)
        window.append(frame)
        if len(window) == window.maxlen:
            yield list(window)
    for _ in range(radius if window else 0):
        window.append(window[-1])
        if len(window) == window.maxlen:
            yield list(window)
