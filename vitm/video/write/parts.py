"""Intermediate files: encoded frames with times from 0, each beginning with a key frame."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from vitm.video.codecs.base import Codec
from vitm.video.planes import Codes, new_frame


@dataclass(frozen=True)
class Part:
    """A finished intermediate file.

    Attributes:
        path: the file.
        frames: number of its frames.
        start: the time of its first frame, in ticks of the writer's clock.
        last: the time of its last frame.
    """

    path: Path
    frames: int
    start: int
    last: int


@dataclass(frozen=True)
class Picture:
    """What is the same for all frames of a video.

    Attributes:
        width: width in pixels.
        height: height in pixels.
        fps: nominal frame rate.
        clock: seconds of one tick of the time stamps.
        aspect: aspect ratio of the pixels; None for square ones.
    """

    width: int
    height: int
    fps: Fraction
    clock: Fraction
    aspect: Fraction | None = None


class PartEncoder:
    """Encodes frames into one intermediate file.

    Args:
        path: the file; `codec.part_suffix` is its container.
        codec: how to encode.
        picture: size, rate and clock.
    """

    def __init__(self, path: Path, codec: Codec, picture: Picture) -> None:
        self.path = path
        self.frames = 0
        self.start = self.last = 0
        self._codec, self._picture = codec, picture
        codec.quiet()
        self._container: Any = av.open(str(path), "w")
        self._stream: Any = self._container.add_stream(codec.encoder, rate=picture.fps, options=codec.options())
        self._stream.width, self._stream.height = picture.width, picture.height
        self._stream.pix_fmt = codec.pixel_format
        context = self._stream.codec_context
        context.codec_tag, context.time_base = codec.fourcc, picture.clock
        if picture.aspect is not None:
            context.sample_aspect_ratio = picture.aspect
        for tag, value in codec.tags.items():
            setattr(context, tag, value)

    def add(self, planes: tuple[Codes, Codes, Codes], ticks: int) -> None:
        """Encode one frame."""
        if self.frames == 0:
            self.start = ticks
        frame = new_frame(planes, self._codec.pixel_format)
        frame.pts, frame.time_base = ticks - self.start, self._picture.clock
        frame.duration = round(1 / self._picture.fps / self._picture.clock)
        for tag, value in self._codec.tags.items():
            setattr(frame, tag, value)
        self._container.mux(self._stream.encode(frame))
        self.frames, self.last = self.frames + 1, ticks

    def finish(self) -> Part:
        """Encode what the encoder holds back, and close the file."""
        packets = self._stream.encode(None)
        if self.frames <= 2:
            for packet in packets:  # x265 leaves these time stamps undefined in videos shorter than its delay
                packet.dts = packet.pts
        self._container.mux(packets)
        self._container.close()
        return Part(self.path, self.frames, self.start, self.last)

    def discard(self) -> None:
        """Close and remove the file."""
        try:
            self._container.close()
        except (av.FFmpegError, OSError):
            pass  # the file is removed in any case
        finally:
            self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Timeline:
    """The time stamps of all frames of all parts, in order, in ticks; and by how many frames decoding runs ahead."""

    pts: npt.NDArray[np.int64]
    delay: int
    frame: int

    @staticmethod
    def of(parts: list[Part], picture: Picture) -> Timeline:
        """Read the packets of all parts once."""
        pts: list[int] = []
        delay = 0
        for part in parts:
            with av.open(str(part.path)) as container:
                stream = container.streams.video[0]
                coded = [
                    part.start + round(p.pts * p.time_base / picture.clock) for p in container.demux(stream) if p.size
                ]
            order = np.argsort(np.argsort(coded, kind="stable"), kind="stable")
            delay = max(delay, int((np.arange(len(coded)) - order).max()))
            pts += sorted(coded)
        return Timeline(np.array(pts, np.int64), delay, round(1 / picture.fps / picture.clock))

    def dts(self, index: int) -> int:
        """Return the decoding time of a packet by number: the time of the frame that is shown `delay` places before."""
        if index >= self.delay:
            return int(self.pts[index - self.delay])
        return int(self.pts[0]) - (self.delay - index) * self.frame

    def duration(self, pts: int) -> int:
        """Return how long a frame is shown: until the next one."""
        index = int(np.searchsorted(self.pts, pts))
        return int(self.pts[index + 1]) - pts if index + 1 < len(self.pts) else self.frame

    @property
    def last_step(self) -> int:
        """Return the step after the last decoding time with which all steps are as long as all frames are shown."""
        shown = int(self.pts[-1]) + self.frame - int(self.pts[0])
        return max(1, shown - (self.dts(len(self.pts) - 1) - self.dts(0)))
