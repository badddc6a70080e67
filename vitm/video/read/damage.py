"""Decoding on past damage: which frames a damaged video still gives, each at its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from vitm.video.read.decoder import Decoder
from vitm.video.read.table import FrameTable

_PERSISTS = 8  # after so many frames of another size, the video has changed and is not damaged


def surviving_frames(
    path: Path,
    table: FrameTable,
    since: int,
    through: Callable[[Iterator[Any]], Iterator[Any]] = lambda frames: frames,
    alike: bool = True,
) -> Iterator[tuple[int, Any]]:
    """Yield the frames that the decoder does not report as damaged.

    The decoder conceals what it can: frames that refer to a damaged one may show traces of it until the next key frame.
    H.265 and AV1 have no check of their own, so damage within a picture's data often goes unnoticed.

    Args:
        path: a video file.
        table: its frames.
        since: the number of the first frame that is wanted.
        through: what frames pass through after they are decoded.
        alike: whether a frame of another size or format than the first is a damaged one, unless many follow it.

    Yields:
        Frame number (ascending, with gaps where frames are damaged) and decoded frame. They begin at a key frame before
        `since`, so that there is a good frame to repeat.
    """
    with Decoder(path, threads=False, strict=False, past_damage=True) as decoder:
        for start in (*(table.starts_before(since) if since else ()), None):
            frames = _numbered(through(decoder.frames(start)), table.find(), alike)
            first = next(frames, None)
            if first is not None and (first[0] <= since or start is None):
                yield first
                yield from frames
                return


def _numbered(frames: Iterable[Any], find: Callable[[Any], int], alike: bool) -> Iterator[tuple[int, Any]]:
    kind: tuple[Any, ...] = ()
    last, unlike = -1, 0
    for frame in frames:
        number = find(frame)
        if number <= last:
            continue  # a damaged header gave it a place that no frame has
        shape = (frame.width, frame.height, frame.format.name)
        kind = kind or shape
        unlike = 0 if shape == kind else unlike + 1
        if unlike == 0 or unlike > _PERSISTS or not alike:
            last = number
            yield number, frame
