"""Interlaced video: refused, taken for progressive, or deinterlaced by FFmpeg's bwdif."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import av

from vitm.video.errors import VideoDecodeError
from vitm.video.read.decoder import PacketNumber

Deinterlace = Literal["auto", "off", "bwdif"]


def frame_filter(mode: Deinterlace | None, path: Path) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Return what frames pass through after they are decoded.

    Args:
        mode: "auto" deinterlaces the frames that are marked as interlaced, "bwdif" all of them, "off" takes all for
            progressive, and None refuses marked ones.
        path: the video, for messages.
    """
    if mode == "off":
        return lambda frames: frames
    if mode is None:
        return lambda frames: _refuse(frames, path)
    return lambda frames: _deinterlace(frames, "interlaced" if mode == "auto" else "all", path)


def refusal(path: Path, where: str) -> VideoDecodeError:
    """Return the error for interlaced video without a choice of what to do."""
    return VideoDecodeError(
        f"{path}: interlaced video is not supported as it is ({where}): pass deinterlace='auto' (marked frames by "
        "bwdif), 'bwdif' (all frames), or 'off' if the pictures are progressive and only marked as interlaced"
    )


def _refuse(frames: Iterator[Any], path: Path) -> Iterator[Any]:
    for frame in frames:
        if frame.interlaced_frame:
            raise refusal(path, "at an unknown time" if frame.pts is None else f"at {frame.time:.3f} s")
        yield frame


def _deinterlace(frames: Iterator[Any], which: str, path: Path) -> Iterator[Any]:
    """Yield one frame for each frame, by its fields and those around it; the filter runs one frame behind."""
    graph: Any = None
    shape: tuple[Any, ...] = ()
    waiting: deque[Any] = deque()
    for frame in frames:
        if graph is not None and shape != (frame.width, frame.height, frame.format.name):
            graph.push(None)
            yield from _pulled(graph, waiting, path)
            graph = None
        if graph is None:
            shape = (frame.width, frame.height, frame.format.name)
            graph = av.filter.Graph()
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
            )
            deinterlacer = graph.add("bwdif", f"mode=send_frame:parity=auto:deint={which}")
            sink = graph.add("buffersink")
            source.link_to(deinterlacer)
            deinterlacer.link_to(sink)
            graph.configure()
        waiting.append(frame)
        graph.push(frame)
        yield from _pulled(graph, waiting, path)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph, waiting, path)


def _pulled(graph: Any, waiting: deque[Any], path: Path) -> Iterator[Any]:
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        original = waiting.popleft()
        if frame.format.name != original.format.name:
            raise VideoDecodeError(f"{path}: {original.format.name} cannot be deinterlaced: deinterlace it first")
        frame.pts, frame.time_base = original.pts, original.time_base
        if original.opaque is not None:
            frame.opaque = PacketNumber(original.opaque)
        yield frame
