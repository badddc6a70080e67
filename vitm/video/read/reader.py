"""Reading: `probe`, `verify`, and `FrameReader`, the same for a video file and for a folder of frames."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from vitm.video.errors import VideoDecodeError
from vitm.video.images import SUFFIXES
from vitm.video.planes import Codes, Float, PixelLayout, frame_planes, pixel_layout, planes_to_rgb
from vitm.video.read.changes import Look, OnChange, Stretch, fitted, list_stretches
from vitm.video.read.container import Hardware, check_hardware
from vitm.video.read.damage import surviving_frames
from vitm.video.read.decoder import Decoder
from vitm.video.read.frames import Pictures, probe_pictures
from vitm.video.read.hdr import to_bt2020
from vitm.video.read.interlaced import Deinterlace, frame_filter
from vitm.video.read.sdr import is_bt709, to_bt709
from vitm.video.read.stream import Video, facts_of, probe_video
from vitm.video.read.table import FrameTable, frame_table
from vitm.video.tags import (
    Assume,
    Role,
    StreamInfo,
    check_choice,
    check_role,
    fill_missing,
    replace_tags,
    require_tags,
)

OnError = Literal["stop", "repeat"]

_OFF_BY = 2  # by so many frames at its end a file may hold less than its container declares


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
    """Return what a video file says of itself, cheaply and without any guess: missing tags are None.

    Args:
        path: a video file. (A folder of frames says too little of itself: use `FrameReader` with `expect`.)

    Raises:
        FileNotFoundError: if there is no such file.
        VideoDecodeError: if it is no video, cut short, interlaced, or of an unsupported pixel format.
    """
    return _probe(Path(path)).info


def _probe(path: Path, past_damage: bool = False, interlaced: bool = False) -> Video:
    if path.is_dir():
        raise VideoDecodeError(
            f"{path}: a folder, whose frames do not say what their codes mean: use FrameReader(..., expect=...)"
        )
    if path.suffix.lower() in SUFFIXES:
        raise VideoDecodeError(f"{path}: a picture; use FrameReader(..., expect=...), or read_image")
    return probe_video(path, past_damage, interlaced)


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
    """The frames of a video, a folder of frames, an animation or a picture, as float32 R'G'B'.

    Colour is never guessed: a video has tags for matrix, range, transfer and primaries, or `assume` must say what
    the missing tags are. As "sdr", video of BT.601 (625 or 525 lines), sRGB, gamma 2.2 or 2.8, xvYCC, BT.2020 or
    Display P3 is converted to BT.709 by the light that its display shows; colours outside BT.709 keep values below 0 or
    above 1. Chroma is interpolated bilinearly at the stream's siting ("left" where it has none).
    Rotated phone video comes upright. Read are the videos that PyAV decodes to 8-, 10- or 12-bit Y'CbCr 4:2:0, 4:2:2 or
    4:4:4, or to RGB; folders of PNG (8, 16 bit), TIFF (8, 16 bit, float), EXR, Radiance or DPX frames; and photographs
    (JPEG, WebP, GIF, BMP, AVIF; JPEG XL and HEIC with the extra "pictures"), one by one, in folders, or as animations.

    HDR photographs of P3 primaries are converted to BT.2020 in light. As "hdr10", a JPEG with a gain map gives its HDR
    picture, with SDR white at 203 cd/m2.

    Each iteration opens the file anew; readers may be iterated several times, and side by side.

    Args:
        path: a video file, a folder, or an image file.
        expect: the role that the file must fit: "sdr", "hdr10" (PQ, BT.2020, at least 10 bits), "hlg", or "linear".
            Needed for PNG, TIFF and DPX, which do not say what their codes mean; EXR and Radiance are linear.
        assume: what the missing tags are: "bt709", "bt2020-pq", "bt2020-hlg", "bt601-625", "bt601-525",
            "gamma22", "display-p3", "bt2020-sdr" (each narrow range), "srgb" (full range, as JPEG), or "auto", which
            goes by the size: see `vitm.video.tags.usual_colours`. Tags that are there stay. So it is
            for pictures that do not say their colours (PNG, TIFF, DPX), whose R'G'B' is full range; photographs without
            a profile are sRGB.
        override: what the tags are, where those of a video or picture are wrong: a name that `assume` takes, "full" or
            "narrow" for the range, or both, as "bt709,full". The codes of a photograph are those after its profile.
        fps: frame rate of a folder.
        on_error: at a damaged frame, "stop" raises, naming its time; "repeat" gives the last good frame in its place,
            so that number and times of the frames stay, and notes it in `damaged`. Decoders do not notice all damage,
            least of H.265 and AV1, and frames that refer to a damaged one may show traces of it up to the next key
            frame. A file that is cut short, or whose first frame is damaged, is refused in any case.
        deinterlace: what to do with interlaced video: "auto" makes each frame that is marked as interlaced progressive
            by FFmpeg's bwdif filter, "bwdif" all frames, "off" takes all for progressive (which film on television
            often is, though marked otherwise). None refuses marked frames.
        on_change: what to do where size, format or colour of a video change in the middle: "error" raises, naming the
            time; "scale" brings all frames to the size of the first one, with black bars where the shape differs, each
            by its own colour tags; "split" gives each frame in its own size, see `stretches`.
        decoder: hardware that decodes a video, "cuda" (NVDEC), "qsv", "vaapi", "videotoolbox" or "d3d11va", to the same
            codes; it is tried on the first frame. None for the CPU, which repeats damaged frames in any case.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        VideoTagError: if a tag is missing or unsupported, or the file does not fit `expect`.
        VideoDecodeError: if the file is no video, cut short or damaged at its start; if frames are missing or unlike.
        ValueError: for an unknown `expect`, `assume`, `override` or `on_error`, or `fps` with a video.
    """

    info: StreamInfo

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        expect: Role | None = None,
        assume: Assume | None = None,
        override: str | None = None,
        fps: Fraction | int | None = None,
        on_error: OnError = "stop",
        deinterlace: Deinterlace | None = None,
        on_change: OnChange = "error",
        decoder: Hardware | None = None,
    ) -> None:
        path = Path(path)
        check_choice("decoder", decoder, Hardware)
        check_choice("on_change", on_change, OnChange)
        check_choice("on_error", on_error, OnError)
        check_choice("deinterlace", deinterlace, Deinterlace)
        self._repeats = on_error == "repeat"
        self._on_change, self._expect, self._assume, self._override = on_change, expect, assume, override
        self._infos: dict[Look, StreamInfo] = {}
        self._damaged: dict[int, Fraction | None] = {}
        self._pictures: Pictures | None = None
        self._notes: list[str] = []
        self._open: weakref.WeakSet[Generator[Any, None, None]] = weakref.WeakSet()
        if path.is_dir() or path.suffix.lower() in SUFFIXES:
            rate = None if fps is None else Fraction(fps)
            self._pictures = probe_pictures(path, expect, rate, assume, override)
            self.info = self._pictures.info
            self._conversion(self.info)
            if decoder is not None:
                raise ValueError(f"{path}: decoder={decoder!r} is for videos")
            return
        if fps is not None:
            raise ValueError(f"{path}: fps={fps} is for folders of frames; a video has its own time stamps")
        self._through = frame_filter(deinterlace, path)
        self._reaches_back = int(deinterlace in ("auto", "bwdif"))  # a deinterlaced frame needs the one before it
        self._video = _probe(path, self._repeats, deinterlace is not None)
        self._table = self._video.table
        self.info = self.info_of(self._video.look)
        self._hardware = decoder
        if decoder is not None:
            check_hardware(path, decoder)

    def __len__(self) -> int:
        return self.info.n_frames

    def _conversion(self, info: StreamInfo) -> Callable[[Float, StreamInfo], Float] | None:
        """Return how colours are converted to those of the role, and note it; None if they are those."""
        if self._expect == "sdr" and not is_bt709(info):
            self._note(f"{info.transfer} with {info.primaries} primaries is converted to BT.709")
            return to_bt709
        if self._expect in ("hdr10", "hlg") and info.primaries != "bt2020":
            self._note(f"{info.primaries} primaries are converted to BT.2020")
            return to_bt2020
        return None

    @property
    def damaged(self) -> list[tuple[int, Fraction | None]]:
        """Return number and time in seconds of the damaged frames so far, in place of which others were repeated."""
        return sorted(self._damaged.items())

    @property
    def notes(self) -> list[str]:
        """Return what is unusual about the file and was settled, in words; complete after an iteration."""
        return [*self.info.notes, *self._notes]

    def __iter__(self) -> Iterator[Frame]:
        """Yield all frames in order.

        Raises:
            VideoDecodeError: at a damaged frame, naming its time, or if there are fewer frames than declared.
        """
        if self._pictures is not None:
            return self._track(self._read_pictures(range(len(self))))
        return self._track(self._repaired(range(len(self))) if self._repeats else self._whole())

    def read(self, indices: Sequence[int]) -> Iterator[Frame]:
        """Yield some frames, decoded from the key frames before them.

        Args:
            indices: frame numbers, ascending.

        Raises:
            IndexError: if a number is not in the video.
            ValueError: if they do not ascend.
            VideoDecodeError: at a damaged frame.
        """
        wanted = [int(i) for i in indices]
        if any(b <= a for a, b in itertools.pairwise(wanted)):
            raise ValueError(f"{self.info.path}: frames {wanted}: expected numbers that ascend")
        if wanted and not 0 <= wanted[0] <= wanted[-1] < len(self):
            raise IndexError(
                f"{self.info.path}: frames {wanted[0]} to {wanted[-1]}, but there are {len(self)} frames, from 0 on"
            )
        if self._pictures is not None:
            return self._track(self._read_pictures(wanted))
        return self._track(self._repaired(wanted) if self._repeats else self._seek(wanted))

    def check_all(self) -> None:
        """Decode every frame without converting it; raises as iteration does."""
        if self._pictures is not None:
            for _ in self._read_pictures(range(len(self))):
                pass
            return
        if self._repeats:
            for _ in self._survivors(range(len(self))):
                pass
            return
        for _ in self._decoded():
            pass

    def stored(self) -> Iterator[tuple[list[Codes], PixelLayout]]:
        """Yield the planes of all frames of a video as stored, upright, without any conversion.

        Raises:
            VideoDecodeError: at a damaged frame, naming its time, or if there are fewer frames than declared.
        """
        for frame in self._decoded():
            yield [self._upright(plane) for plane in frame_planes(frame)], pixel_layout(frame.format.name)

    def stretches(self) -> list[Stretch]:
        """Decode everything once and return the stretches between changes of size, format and colour; none of pictures.

        Raises:
            VideoDecodeError: at a damaged frame, naming its time.
        """
        if self._pictures is not None:
            return []
        if self._repeats:
            survivors = self._survivors(range(len(self)))
            return list_stretches((self._look(frame), seconds) for _, seconds, _, frame in survivors)
        decoded = enumerate(self._decoded())
        return list_stretches((self._look(frame), self._seconds(index, frame)) for index, frame in decoded)

    def info_of(self, look: Look) -> StreamInfo:
        """Return what the frames of a look are, with the tags that they were given.

        Raises:
            VideoTagError: if a tag is missing or unsupported, or they do not fit the role.
        """
        if look not in self._infos:
            info, size = self._video.info, (look.width, look.height)
            width, height = size[::-1] if info.rotation % 180 else size
            info = replace(info, **facts_of(look, info.path), width=width, height=height)
            info = fill_missing(replace_tags(info, self._override), self._assume)
            require_tags(info)
            check_role(info, self._expect)
            self._conversion(info)
            self._infos[look] = info
        return self._infos[look]

    def _look(self, frame: Any) -> Look:
        """Return the look of a frame, if it is the video's, or may be another."""
        look = Look.of(frame, self._video.look)
        if look == self._video.look:
            return look
        time = "at an unknown time" if frame.pts is None else f"at {frame.time:.3f} s"
        change = f"size, format or colour changes {time}, from {self._video.look} to {look}"
        if self._on_change == "error":
            raise VideoDecodeError(
                f"{self.info.path}: {change}: pass on_change='scale' (to the size of its beginning) "
                "or on_change='split' (each part by itself)"
            )
        if look not in self._infos:
            self._note(change)
        info = self.info_of(look)
        if self._expect != "sdr" and (info.transfer, info.primaries) != (self.info.transfer, self.info.primaries):
            raise VideoDecodeError(f"{self.info.path}: {change}: only SDR can be converted, so split it there")
        return look

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

    def _read_pictures(self, indices: Sequence[int]) -> Generator[Frame, None, None]:
        pictures = self._pictures
        assert pictures is not None
        last, good = -1, np.empty(0, np.float32)
        with pictures.open() as read:
            for i in indices:
                pts = pictures.seconds(i)
                try:
                    good = self._converted(read(i), self.info)
                except VideoDecodeError:
                    if not self._repeats or i == 0:
                        raise
                    good = good.copy() if last == i - 1 else self._converted(_last_good(read, i), self.info)
                    self._damaged[i] = pts
                last = i
                yield Frame(good, pts, i)

    def _converted(self, rgb: Float, info: StreamInfo) -> Float:
        convert = self._conversion(info)
        return rgb if convert is None else convert(rgb, info)

    def _decoded(self) -> Generator[Any, None, None]:
        """Yield all frames as decoded, which must be as many as declared and all alike."""
        count = 0
        times: set[int | None] = set()
        with self._decoder() as decoder:
            for frame in self._through(decoder.frames()):
                self._look(frame)
                if count == len(self):
                    break
                times.add(frame.pts)
                yield frame
                count += 1
        if count < len(self):
            table = self._frames()
            anywhere = not table.timed or any(int(time) not in times for time in table.pts[:count])
            self._end_early(count, anywhere)

    def _decoder(self, seeking: bool = False) -> Decoder:
        cut_end = self._table is not None and self._table.cut_end
        timed = self._table is None or self._table.timed
        threads = not cut_end and (timed or not seeking)
        return Decoder(self.info.path, threads=threads, past_damage=cut_end, hardware=self._hardware)

    def _whole(self) -> Generator[Frame, None, None]:
        for index, frame in enumerate(self._decoded()):
            yield Frame(self._rgb(frame), self._seconds(index, frame), index)

    def _end_early(self, count: int, anywhere: bool = False) -> None:
        """Note that a container declares a frame or two more than it holds, or raise where more is missing.

        Args:
            count: the number of frames that were decoded.
            anywhere: whether others than the last are missing.
        """
        path = self.info.path
        if len(self) - count > _OFF_BY or anywhere or self._ends_in_damage():
            raise VideoDecodeError(
                f"{path}: {len(self)} frames are declared, but only {count} can be decoded: copy the file again"
            )
        self._note(f"{len(self)} frames are declared, and {count} are there")

    def _note(self, words: str) -> None:
        if words not in self._notes:
            self._notes.append(words)

    def _ends_in_damage(self) -> bool:
        """Decode the last frames once more, in one thread: with several, damage at the end may go unnoticed."""
        table = self._frames()
        lost: list[int] = []
        with Decoder(self.info.path, threads=False, past_damage=True) as decoder:
            start = next(iter(table.starts_before(len(table) - 1)), None)
            for _ in decoder.frames(start, on_damage=lambda packet, pts: lost.append(packet)):
                pass
        return bool(lost)

    def _frames(self) -> FrameTable:
        """Return the table of all frames, made when it is first needed."""
        if self._table is None:
            self._table = frame_table(self.info.path, self._repeats)
            surplus = len(self) - len(self._table)
            if not 0 <= surplus <= _OFF_BY:
                raise VideoDecodeError(
                    f"{self.info.path}: {len(self)} frames are declared, but {len(self._table)} are there"
                )
            if surplus:
                self._note(f"{len(self)} frames are declared, and {len(self._table)} are there")
        return self._table

    def _seconds(self, index: int, frame: Any) -> Fraction:
        """Return the time of a frame in seconds; `frame` is any one of the stream."""
        pts = frame.pts if self._table is None or index >= len(self._table) else int(self._table.pts[index])
        return pts * Fraction(frame.time_base) - self._video.start

    def _repaired(self, wanted: Sequence[int]) -> Generator[Frame, None, None]:
        """Yield frames by number, the last good one in place of each damaged one."""
        number, rgb = -1, np.empty(0, np.float32)
        for index, seconds, good, decoded in self._survivors(wanted):
            if good != number:
                number, rgb = good, self._rgb(decoded)
            yield Frame(rgb if good == index else rgb.copy(), seconds, index)

    def _survivors(self, wanted: Sequence[int]) -> Iterator[tuple[int, Fraction, int, Any]]:
        """Yield number and time of each wanted frame, and number and decoded frame of the last good one up to it."""
        if not wanted:
            return
        path = self.info.path
        frames = surviving_frames(
            path,
            self._frames(),
            max(0, wanted[0] - self._reaches_back),
            self._through,
            alike=self._on_change == "error",
        )
        held, coming = None, next(frames, None)
        for index in wanted:
            while coming is not None and coming[0] <= index:
                held, coming = coming, next(frames, None)
            if held is None:
                raise VideoDecodeError(
                    f"{path}: damaged at the beginning: there is no good frame to repeat: cut it off first"
                )
            good, frame = held
            self._look(frame)
            if coming is None and good < index and len(self) - 1 - good <= _OFF_BY and not self._ends_in_damage():
                self._end_early(good + 1)
                return
            seconds = self._seconds(index, frame)
            if good != index:
                self._damaged[index] = seconds
            yield index, seconds, good, frame

    def _seek(self, wanted: list[int]) -> Generator[Frame, None, None]:
        table = self._frames()
        find = table.find()
        with self._decoder(seeking=True) as decoder:
            position = -1
            frames: Iterator[Any] = iter(())
            for index in wanted:
                starts = table.starts_before(max(0, index - self._reaches_back))
                if position < 0 or (starts and starts[0].index > position):
                    frames = iter(())  # a key frame lies between
                frame = _reach(frames, index, find)
                for start in (*starts, None):
                    if frame is not None:
                        break
                    frames = self._through(decoder.frames(start))
                    frame = _reach(frames, index, find)
                if frame is None:
                    if len(self) - index <= _OFF_BY:
                        self._end_early(index)
                        return
                    time = float(self._seconds(index, next(decoder.frames())))
                    raise VideoDecodeError(f"{self.info.path}: frame {index} at {time:.3f} s cannot be decoded")
                position = index
                yield Frame(self._rgb(frame), self._seconds(index, frame), index)

    def _upright(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        mirrored = image[:, ::-1] if self.info.mirrored else image
        return np.rot90(mirrored, -self.info.rotation // 90)

    def _rgb(self, frame: Any) -> npt.NDArray[np.float32]:
        info = self.info_of(self._look(frame))
        rgb = planes_to_rgb(
            frame_planes(frame),
            pixel_layout(frame.format.name),
            str(info.matrix),
            bool(info.full_range),
            info.chroma_location,
        )
        rgb = np.ascontiguousarray(self._upright(self._converted(rgb, info)))
        if self._on_change == "scale" and rgb.shape[:2] != (self.info.height, self.info.width):
            rgb = fitted(rgb, self.info.width, self.info.height)
        return rgb


def _last_good(read: Callable[[int], Float], index: int) -> Float:
    """Return the last good picture before a damaged one."""
    for i in range(index - 1, 0, -1):
        try:
            return read(i)
        except VideoDecodeError:
            continue
    return read(0)


def _reach(frames: Iterator[Any], index: int, find: Callable[[Any], int]) -> Any:
    """Return the frame of this number, if these lead to it; earlier ones are passed over."""
    for frame in frames:
        number = find(frame)
        if number >= index:
            return frame if number == index else None
    return None
