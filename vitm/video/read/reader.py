"""Reading: `probe`, `verify`, and `FrameReader`, the same for a video file and for a folder of frames."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from vitm.video.errors import VideoDecodeError
from vitm.video.images import SUFFIXES
from vitm.video.planes import frame_planes, pixel_layout, planes_to_rgb
from vitm.video.read.damage import surviving_frames
from vitm.video.read.frames import probe_frames, read_codes
from vitm.video.read.stream import container_start, decode, open_video, packet_table, probe_video
from vitm.video.tags import Assume, Role, StreamInfo, check_choice, check_role, fill_missing, require_tags

OnError = Literal["stop", "repeat"]


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        rgb: (H, W, 3), float32, RGB, upright: non-linear code values, nominally in [0, 1] (linear frames: light). Not
            clipped: codes beyond the nominal range, and Y'CbCr outside the R'G'B' cube, come out slightly outside.
        pts_seconds: exact time from the container's start; index / fps for folders, None for folders without a rate.
        index: place in the video, from 0.
    """

    rgb: npt.NDArray[np.float32]
    pts_seconds: Fraction | None
    index: int


def probe(path: str | PathLike[str]) -> StreamInfo:
    """What a video file says of itself: cheap, and without any guess: missing tags are None.

    Args:
        path: a video file. (A folder of frames says too little of itself: use `FrameReader` with `expect`.)

    Raises:
        FileNotFoundError: if there is no such file.
        VideoDecodeError: if it is no video, cut short, interlaced, or of an unsupported pixel format.
    """
    return _probe(Path(path))


def _probe(path: Path, resilient: bool = False) -> StreamInfo:
    if path.is_dir():
        raise VideoDecodeError(
            f"{path}: a folder; frames do not say what their codes mean: use FrameReader(..., expect=...)"
        )
    if path.suffix.lower() in SUFFIXES:
        raise VideoDecodeError(f"{path}: a single image; give its folder to FrameReader, or use read_image")
    return probe_video(path, resilient)


def verify(path: str | PathLike[str], *, expect: Role | None = None, assume: Assume | None = None) -> StreamInfo:
    """Decode everything once, so that damage anywhere is found before any work starts.

    Args:
        path: a video file or a folder of frames.
        expect: as in `FrameReader`.
        assume: as in `FrameReader`.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        VideoTagError: as `FrameReader`.
        VideoDecodeError: at the first damaged frame.
    """
    with FrameReader(path, expect=expect, assume=assume) as reader:
        reader.check_all()
        return reader.info


class FrameReader:
    """The frames of a video, or of a folder of frames, as float32 R'G'B'.

    Colour is never guessed: a video has tags for matrix, range, transfer and primaries, or `assume` must say what
    the missing tags are. Chroma is interpolated bilinearly at the stream's siting ("left" where it has none).
    Rotated phone video comes upright. Read are the videos that PyAV decodes to 8-, 10- or 12-bit Y'CbCr 4:2:0, 4:2:2 or
    4:4:4, or to RGB; and folders of PNG (8, 16 bit), TIFF (8, 16 bit, float), EXR or Radiance frames.

    Each iteration opens the file anew; readers may be iterated several times, and side by side.

    Args:
        path: a video file or a folder.
        expect: the role that the file must fit: "sdr" (BT.709), "hdr10" (PQ, BT.2020, at least 10 bits), "hlg", or
            "linear". Needed for PNG and TIFF, which do not say what their codes mean; EXR and Radiance are linear.
        assume: "bt709", "bt2020-pq" or "bt2020-hlg" (each narrow range): what a video's missing tags are. Tags that are
            there stay.
        fps: frame rate of a folder.
        on_error: at a damaged frame, "stop" raises, naming its time; "repeat" gives the last good frame in its place,
            so that number and times of the frames stay, and notes it in `damaged`. Decoders do not notice all damage,
            least of H.265 and AV1, and frames that refer to a damaged one may show traces of it up to the next key
            frame. A file that is cut short, or whose first frame is damaged, is refused in any case.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        VideoTagError: if a tag is missing or unsupported, or the file does not fit `expect`.
        VideoDecodeError: if the file is no video, cut short or damaged at its start; if frames are missing or unlike.
        ValueError: for an unknown `expect`, `assume` or `on_error`, or `fps` with a video.
    """

    info: StreamInfo

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        expect: Role | None = None,
        assume: Assume | None = None,
        fps: Fraction | int | None = None,
        on_error: OnError = "stop",
    ) -> None:
        path = Path(path)
        check_choice("on_error", on_error, OnError)
        self._repeats = on_error == "repeat"
        self._damaged: dict[int, Fraction | None] = {}
        self._files: list[Path] = []
        self._open: weakref.WeakSet[Generator[Any, None, None]] = weakref.WeakSet()
        if path.is_dir():
            self.info, self._files = probe_frames(path, expect, None if fps is None else Fraction(fps))
            return
        if fps is not None:
            raise ValueError(f"{path}: fps={fps} is for folders of frames; a video has its own time stamps")
        self.info = fill_missing(_probe(path, self._repeats), assume)
        require_tags(self.info)
        check_role(self.info, expect)

    def __len__(self) -> int:
        return self.info.n_frames

    @property
    def damaged(self) -> list[tuple[int, Fraction | None]]:
        """Number and time in seconds of the damaged frames met so far, in place of which others were repeated."""
        return sorted(self._damaged.items())

    def __iter__(self) -> Iterator[Frame]:
        """All frames in order.

        Raises:
            VideoDecodeError: at a damaged frame, naming its time, or if there are fewer frames than declared.
        """
        if self._files:
            return self._track(self._folder(range(len(self))))
        return self._track(self._repaired(range(len(self))) if self._repeats else self._video())

    def read(self, indices: Sequence[int]) -> Iterator[Frame]:
        """Some frames: seeks to key frames, and decodes only from there.

        Args:
            indices: frame numbers, ascending.

        Raises:
            IndexError: if a number is not in the video.
            ValueError: if they do not ascend.
            VideoDecodeError: at a damaged frame.
        """
        wanted = [int(i) for i in indices]
        if any(b <= a for a, b in itertools.pairwise(wanted)):
            raise ValueError(f"{self.info.path}: frame numbers must ascend, got {wanted}")
        if wanted and not 0 <= wanted[0] <= wanted[-1] < len(self):
            raise IndexError(f"{self.info.path}: frames {wanted[0]} to {wanted[-1]} of a video of {len(self)} frames")
        if self._files:
            return self._track(self._folder(wanted))
        return self._track(self._repaired(wanted) if self._repeats else self._seek(wanted))

    def check_all(self) -> None:
        """Decode every frame without converting it; raises as iteration does."""
        if self._files:
            for _ in self._folder(range(len(self))):
                pass
            return
        if self._repeats:
            for _ in self._survivors(range(len(self))):
                pass
            return
        with open_video(self.info.path) as (container, stream):
            for _ in self._decoded(container, stream):
                pass

    def close(self) -> None:
        """Close the iterations that are still open."""
        for generator in list(self._open):
            generator.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _track(self, generator: Generator[Frame, None, None]) -> Iterator[Frame]:
        self._open.add(generator)
        return generator

    def _folder(self, indices: Sequence[int]) -> Generator[Frame, None, None]:
        last, good = -1, np.empty(0, np.float32)
        for i in indices:
            pts = None if self.info.fps is None else i / self.info.fps
            try:
                good = read_codes(self._files[i], self.info)
            except VideoDecodeError:
                if not self._repeats or i == 0:
                    raise
                good = good.copy() if last == i - 1 else self._good_before(i)
                self._damaged[i] = pts
            last = i
            yield Frame(good, pts, i)

    def _good_before(self, index: int) -> npt.NDArray[np.float32]:
        """The last good frame of a folder before this one."""
        for path in self._files[index - 1 : 0 : -1]:
            try:
                return read_codes(path, self.info)
            except VideoDecodeError:
                continue
        return read_codes(self._files[0], self.info)

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        """All frames, which must be as many as declared and all alike."""
        count = 0
        first: tuple[Any, ...] = ()
        for frame in decode(container, stream, self.info.path):
            kind = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range, frame.color_trc)
            first = first or kind
            if kind != first:
                raise VideoDecodeError(
                    f"{self.info.path}: size, format or colour changes at {frame.time:.3f} s, from {first} to {kind}"
                )
            yield frame
            count += 1
        if count != len(self):
            raise VideoDecodeError(
                f"{self.info.path}: {len(self)} frames are declared, but only {count} can be decoded"
            )

    def _video(self) -> Generator[Frame, None, None]:
        with open_video(self.info.path) as (container, stream):
            for index, frame in enumerate(self._decoded(container, stream)):
                yield self._convert(frame, container, index)

    def _repaired(self, wanted: Sequence[int]) -> Generator[Frame, None, None]:
        """Frames by number, the last good one in place of each damaged one."""
        number, rgb = -1, np.empty(0, np.float32)
        for index, seconds, found, decoded in self._survivors(wanted):
            if found != number:
                number, rgb = found, self._rgb(decoded)
            yield Frame(rgb if found == index else rgb.copy(), seconds, index)

    def _survivors(self, wanted: Sequence[int]) -> Iterator[tuple[int, Fraction, int, Any]]:
        """Number and time of each wanted frame, and number and decoded frame of the last good one up to it."""
        if not wanted:
            return
        path, table = self.info.path, packet_table(self.info.path)
        if len(table.pts) != len(self):
            raise VideoDecodeError(f"{path}: {len(self)} frames are declared, but {len(table.pts)} are there")
        frames = surviving_frames(path, table, wanted[0])
        held, coming = None, next(frames, None)
        for index in wanted:
            while coming is not None and coming[0] <= index:
                held, coming = coming, next(frames, None)
            if held is None:
                raise VideoDecodeError(f"{path}: damaged at the beginning: there is no good frame to repeat")
            found, frame, start = held
            seconds = int(table.pts[index]) * frame.time_base - start
            if found != index:
                self._damaged[index] = seconds
            yield index, seconds, found, frame

    def _seek(self, wanted: list[int]) -> Generator[Frame, None, None]:
        table = packet_table(self.info.path)
        with open_video(self.info.path, seeking=True) as (container, stream):
            frames, position = decode(container, stream, self.info.path), int(table.pts[0]) - 1
            for index in wanted:
                target = int(table.pts[index])
                keys = [int(key) for key in table.key_pts[table.key_pts <= target]]
                for start in self._starts(container, stream, frames, keys, position):
                    frames = start
                    frame = next((f for f in frames if f.pts >= target), None)
                    if frame is not None and frame.pts == target:
                        break
                else:
                    time = float(target * stream.time_base)
                    raise VideoDecodeError(f"{self.info.path}: frame {index} at {time:.3f} s cannot be decoded")
                position = target
                yield self._convert(frame, container, index)

    def _starts(
        self, container: Any, stream: Any, current: Iterator[Any], keys: list[int], position: int
    ) -> Iterator[Iterator[Any]]:
        """Where to decode from to reach a frame, best first: on from here, the key frame before it, earlier ones.

        The earlier ones are for containers without an index, where a seek may come down after the key frame.
        """
        if not keys or keys[-1] <= position:
            yield current
        for key in dict.fromkeys((*keys[:-3:-1], *keys[:1])):
            container.seek(key, stream=stream)
            yield decode(container, stream, self.info.path, since=key)

    def _convert(self, frame: Any, container: Any, index: int) -> Frame:
        return Frame(self._rgb(frame), frame.pts * frame.time_base - container_start(container), index)

    def _rgb(self, frame: Any) -> npt.NDArray[np.float32]:
        info = self.info
        rgb = planes_to_rgb(
            frame_planes(frame),
            pixel_layout(frame.format.name),
            str(info.matrix),
            bool(info.full_range),
            info.chroma_location,
        )
        if info.rotation:
            rgb = np.ascontiguousarray(np.rot90(rgb, -info.rotation // 90))
        return rgb
