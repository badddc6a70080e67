"""Decoding on past damage: which frames a damaged video still gives, each at its place."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vitm.video.read.stream import PacketTable, container_start, decode_past_damage, open_video


def surviving_frames(path: Path, table: PacketTable, since: int) -> Iterator[tuple[int, Any, Fraction]]:
    """The frames that the decoder does not report as damaged.

    The decoder conceals what it can: frames that refer to a damaged one may show traces of it until the next key frame.
    H.265 and AV1 have no check of their own, so damage within a picture's data often goes unnoticed.

    Args:
        path: a video file.
        table: of its time stamps.
        since: number of the first frame that is wanted.

    Yields:
        Frame number (ascending, with gaps where frames are damaged), the decoded frame, and the time at which the file
        starts. They begin at a key frame before `since`, so that there is a good frame to repeat.
    """
    keys = [int(key) for key in table.key_pts[table.key_pts <= table.pts[since]]] if since else []
    for key in (*keys[:-3:-1], None):
        frames = _numbered(path, table, key)
        first = next(frames, None)
        if first is not None and (first[0] <= since or key is None):
            yield first
            yield from frames
            return


def _numbered(path: Path, table: PacketTable, key: int | None) -> Iterator[tuple[int, Any, Fraction]]:
    with open_video(path, resilient=True) as (container, stream):
        if key is not None:
            container.seek(key, stream=stream)
        kind: tuple[Any, ...] = ()
        last = -1
        for frame in decode_past_damage(container, stream):
            number = int(np.searchsorted(table.pts, frame.pts))
            if number >= len(table.pts) or table.pts[number] != frame.pts or number <= last:
                continue  # a damaged header gave it a place that no frame has
            if key is not None and frame.pts < key:
                continue
            shape = (frame.width, frame.height, frame.format.name)
            kind = kind or shape
            if shape == kind:
                last = number
                yield number, frame, container_start(container)
