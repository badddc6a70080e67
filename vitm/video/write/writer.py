"""Writing videos: what all writers share, and the writer of one file in one go."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any, Self

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch

from vitm.files import WriteError, check_writable, temporary_beside, write_error
from vitm.video.codecs.base import Codec
from vitm.video.codecs.h265 import HEVC, Preset
from vitm.video.errors import StreamWarning
from vitm.video.planes import Float
from vitm.video.tags import MasteringDisplay
from vitm.video.write.companions import lost_descriptions, plan_companions
from vitm.video.write.light import light_levels, measure_on_device, peak_light
from vitm.video.write.mux import finish
from vitm.video.write.parts import Part, PartEncoder, Picture
from vitm.video.write.proof import check_stream

Stored = tuple[npt.NDArray[Any], ...]  # what a frame is stored as: the planes of a video, or the picture itself


class Writer(ABC):
    """Takes frames in order; the output appears when it is closed, whole, or not at all.

    Use it as a context manager: an exception inside the block aborts it.

    Attributes:
        path: the output.
        width: width of the frames.
        height: height of the frames.
        n_frames: how many frames the output holds so far; also those of an earlier run that this one goes on from.
        finished_frames: how many of these an earlier run finished: write the frames from this number on.
        max_cll: largest max(R, G, B) of all pixels so far, in cd/m2 (CTA-861.3).
        max_fall: largest mean of it over a frame.
        mastering: the ST 2086 metadata of the output, where it has some; complete after `close`.
        dropped: what of another file did not go along, in words; complete after `close`.
    """

    def __init__(self, path: str | PathLike[str], width: int, height: int) -> None:
        self.path = Path(path)
        self.width, self.height = width, height
        self.n_frames = self.finished_frames = 0
        self.max_cll = self.max_fall = 0.0
        self.mastering: MasteringDisplay | None = None
        self.dropped: list[str] = []
        self._closed = False
        self._packed: list[tuple[torch.Size, np.dtype[Any]]] = []  # shapes and types of what `pack` packs

    def write(self, hdr_pq: npt.ArrayLike | torch.Tensor, pts: Fraction | float | None = None) -> None:
        """Add one frame.

        Args:
            hdr_pq: PQ codes, BT.2020, clipped to [0, 1]: an array (H, W, 3), or a tensor (3, H, W) on any device; or
                what `pack` made of it, on the CPU.
            pts: time in seconds; index / fps if None. Pass `Frame.pts_seconds` to keep a variable frame rate, and to
                keep the sound in step with a video that does not start at 0. Folders of frames have no times.

        Raises:
            ValueError: for another size, NaN or infinity, integers, or times that do not ascend.
            WriteError: if the disk is full, or the writer is closed.
        """
        if self._closed:
            raise WriteError(f"{self.path}: the writer is closed")
        if isinstance(hdr_pq, torch.Tensor) and hdr_pq.ndim == 1 and hdr_pq.dtype == torch.uint8:
            stored, levels = self._unpacked(hdr_pq)
        else:
            image = self._as_image(hdr_pq)
            stored, levels = self._stored(image), light_levels(image)
        ticks = self._check_time(pts)
        self._measure(levels)
        try:
            self._put(stored, ticks)
        except (av.FFmpegError, OSError) as error:
            self.abort()
            raise error if isinstance(error, WriteError) else write_error(error, self.path) from error
        self.n_frames += 1

    def pack(self, hdr_pq: torch.Tensor) -> torch.Tensor:
        """Return a frame as the output stores it, computed on the frame's device: less is then copied to the host.

        Args:
            hdr_pq: (3, H, W), PQ codes, BT.2020.

        Returns:
            Bytes for `write`, of one length for all frames, on the same device, for which nothing waits.
        """
        clipped = hdr_pq.float().clamp(0, 1)
        parts = measure_on_device(hdr_pq), *(self._stored_on_device(clipped) or (clipped.permute(1, 2, 0),))
        self._packed = [(part.shape, np.dtype(str(part.dtype).removeprefix("torch."))) for part in parts]
        return torch.cat([part.contiguous().view(torch.uint8).flatten() for part in parts])

    def _unpacked(self, packed: torch.Tensor) -> tuple[Stored, tuple[float, float]]:
        """Return what is stored of a packed frame, and its largest and its mean light in cd/m2."""
        parts, start = [], 0
        for shape, dtype in self._packed:
            end = start + shape.numel() * dtype.itemsize
            parts.append(packed[start:end].numpy().view(dtype).reshape(shape))
            start = end
        low, high, mean = map(float, parts[0])
        self._check_finite(low, high)
        stored = tuple(parts[1:])
        if stored[0].dtype == np.float32:
            stored = self._stored(stored[0])
        return stored, (peak_light(min(max(high, 0.0), 1.0)), mean)

    def close(self) -> None:
        """Finish the output: it appears under its name now. A second call does nothing.

        Raises:
            WriteError: if no frame was written, or the output cannot be finished.
        """
        if self._closed:
            return
        try:
            if self.n_frames == 0:
                raise WriteError(f"{self.path}: no frame was written, so there is no output")
            self._finish()
        except (av.FFmpegError, OSError) as error:
            raise error if isinstance(error, WriteError) else write_error(error, self.path) from error
        finally:
            self.abort()

    def abort(self) -> None:
        """Give up: no output appears, and nothing is left behind but what a later run can go on from."""
        self._closed = True
        self._clean_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close() if kind is None else self.abort()

    def _stored(self, image: Float) -> Stored:
        """Return what is stored of a frame (H, W, 3), PQ codes in [0, 1]."""
        return (image,)

    def _stored_on_device(self, hdr_pq: torch.Tensor) -> tuple[torch.Tensor, ...] | None:
        """Return the same of a frame (3, H, W), on its device; None to bring the frame to the host as it is."""
        return None

    @abstractmethod
    def _put(self, stored: Stored, ticks: int) -> None:
        """Add a checked frame."""

    @abstractmethod
    def _finish(self) -> None:
        """Make the output appear."""

    @abstractmethod
    def _clean_up(self) -> None:
        """Remove what is not finished."""

    def _check_time(self, pts: Fraction | float | None) -> int:
        return self.n_frames

    def _measure(self, levels: tuple[float, float]) -> None:
        """Keep the largest light of a frame, and the largest mean."""
        self.max_cll, self.max_fall = max(self.max_cll, levels[0]), max(self.max_fall, levels[1])

    def _as_image(self, hdr_pq: npt.ArrayLike | torch.Tensor) -> Float:
        if isinstance(hdr_pq, torch.Tensor):
            if not hdr_pq.is_floating_point() or hdr_pq.shape != (3, self.height, self.width):
                raise ValueError(
                    f"frame {self.n_frames}: {hdr_pq.dtype} tensor of shape {tuple(hdr_pq.shape)}; "
                    f"expected floating point (3, {self.height}, {self.width})"
                )
            planes = hdr_pq.detach().float().cpu().numpy()
            hdr_pq = cv2.merge(list(planes)) if planes.flags.c_contiguous else planes.transpose(1, 2, 0)
        image = np.asarray(hdr_pq)
        if image.dtype.kind != "f" or image.shape != (self.height, self.width, 3):
            raise ValueError(
                f"frame {self.n_frames}: {image.dtype} array of shape {image.shape}; "
                f"expected floating point ({self.height}, {self.width}, 3)"
            )
        low, high = image.min(), image.max()  # NaN where there is one
        self._check_finite(low, high)
        clipped = image if low >= 0 and high <= 1 else np.clip(image, 0.0, 1.0)
        return np.ascontiguousarray(clipped, dtype=np.float32)

    def _check_finite(self, low: float, high: float) -> None:
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError(f"frame {self.n_frames}: holds NaN or infinity")

    def _drop(self, lost: Iterable[str]) -> None:
        for words in lost:
            self.dropped.append(words)
            warnings.warn(f"{self.path}: {words}", StreamWarning, stacklevel=3)


def check_suffix(path: Path, what: str, suffixes: Sequence[str]) -> None:
    """Raise a ValueError if an output of this kind has another suffix."""
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{path}: cannot write {what}: name the output {', '.join('*' + s for s in suffixes)}")


class VideoWriter(Writer):
    """Writes a video with any codec: `open_writer` makes one.

    MaxCLL and MaxFALL are measured on the frames as given, clipped to [0, 1], before 10-bit rounding and compression;
    they are written when the last frame is known: into the stream (H.265, AV1) and into the container. While the file
    is finished, the disk holds it twice. Matroska counts milliseconds; MP4 and MOV keep times exactly.

    Args:
        path: output; the suffix (.mp4, .mov or .mkv) chooses the container.
        codec: how to encode.
        width: width of the frames, in pixels.
        height: height of the frames, in pixels.
        fps: frames a second; exact fractions are kept (24000/1001).
        sample_aspect_ratio: aspect ratio of the pixels; None for square ones.
        streams_from: a file whose sound, subtitles, chapters, attachments, titles, languages and dispositions go along,
            with times relative to that file's start. Text subtitles are converted where the container demands it. What
            it cannot hold is named in `dropped` and in a `StreamWarning`.
        audio: "copy" to copy the sound that the container holds, "transcode" to make AAC of the rest, "drop" to leave
            sound out; or such a word for each sound track, as "copy,drop".
        span: the part of `streams_from` that goes along, in seconds from its start; None for all of it.

    Raises:
        ValueError: for sizes that the codec does not encode, another suffix, or arguments out of range.
        FileNotFoundError: if `streams_from` does not exist.
        VideoDecodeError: if `streams_from` cannot be read.
        WriteError: if the folder is missing or not writable.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        codec: Codec,
        width: int,
        height: int,
        fps: Fraction | int,
        *,
        sample_aspect_ratio: Fraction | None = None,
        streams_from: str | PathLike[str] | None = None,
        audio: str = "copy",
        span: tuple[Fraction, Fraction | None] | None = None,
    ) -> None:
        super().__init__(path, width, height)
        self.codec, self.fps = codec, Fraction(fps)
        self._last_ticks = -1
        self._parts: list[Part] = []
        self._encoder: PartEncoder | None = None
        check_suffix(self.path, f"{self.path.suffix!r} with {type(codec).__name__}", codec.suffixes)
        codec.check_size(width, height)
        if self.fps <= 0:
            raise ValueError(f"fps={fps}: expected a positive number")
        check_writable(self.path)
        self._companions = None if streams_from is None else plan_companions(Path(streams_from), self.path, audio, span)
        # fine enough for any source's time stamps, and exact for this frame rate
        clock = math.lcm(self.fps.numerator, 90_000)
        self._picture = Picture(
            width, height, self.fps, Fraction(1, clock if clock < 2**31 else 90_000), sample_aspect_ratio
        )
        if self._companions is not None:
            self._drop(self._companions.dropped)
        self._begin()

    def _begin(self) -> None:
        """Open the encoder."""
        self._open_part(temporary_beside(self.path, self.codec.part_suffix))

    def _open_part(self, path: Path) -> PartEncoder:
        try:
            self._encoder = PartEncoder(path, self.codec, self._picture)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return self._encoder

    def _check_time(self, pts: Fraction | float | None) -> int:
        clock = self._picture.clock
        ticks = round((self.n_frames / self.fps if pts is None else Fraction(pts)) / clock)
        if ticks <= self._last_ticks:
            raise ValueError(
                f"frame {self.n_frames}: time {float(ticks * clock):.6f} s does not come after "
                f"{float(self._last_ticks * clock):.6f} s"
            )
        return ticks

    def _stored(self, image: Float) -> Stored:
        return self.codec.planes(image)

    def _stored_on_device(self, hdr_pq: torch.Tensor) -> tuple[torch.Tensor, ...] | None:
        if type(self.codec).planes is not Codec.planes:  # a codec that makes its own, of arrays
            return None
        return self.codec.planes_on_device(hdr_pq)

    def _put(self, stored: Stored, ticks: int) -> None:
        assert self._encoder is not None
        y, cb, cr = stored
        self._encoder.add((y, cb, cr), ticks)
        self._last_ticks = ticks

    def _finish(self) -> None:
        assert self._encoder is not None
        self._join([self._encoder.finish()])

    def _join(self, parts: list[Part]) -> None:
        final = temporary_beside(self.path)
        try:
            levels = (min(round(self.max_cll), 65535), min(round(self.max_fall), 65535))
            codec = self.codec.settled(levels)
            self.mastering = codec.display
            finish(parts, final, codec, self._picture, levels, self._companions)
            if self._companions is not None:
                self._drop(lost_descriptions(self._companions, final))
            check_stream(final, codec, levels)
            final.replace(self.path)
        finally:
            final.unlink(missing_ok=True)

    def _clean_up(self) -> None:
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            encoder.discard()


class HDR10Writer(VideoWriter):
    """Writes an HDR10 video: H.265 Main 10, 4:2:0 (top-left), narrow range, PQ, BT.2020 non-constant luminance.

        with HDR10Writer("out.mp4", 1920, 1080, Fraction(24000, 1001), streams_from="in.mp4") as writer:
            for frame in frames:
                writer.write(hdr_pq, pts=frame.pts_seconds)

    The output appears only when it is whole, in place of any older file; after an error nothing is left behind.

    Args:
        path: output; the suffix (.mp4, .mov or .mkv) chooses the container.
        width: width of the frames, in pixels; even, since 4:2:0 has half the chroma samples, and at least 64.
        height: height of the frames, in pixels; even and at least 32.
        fps: frames a second; exact fractions are kept (24000/1001).
        crf: x265's constant rate factor, 0 (best) to 51; about 50 dB in PQ codes at 10.
        preset: x265's speed preset.
        lossless: keep the 10-bit codes exactly (about 1 MB a 1080p frame); `crf` is not used.
        mastering: the ST 2086 metadata; None for the BT.2020 display of 1,000, 2,000, 4,000 or 10,000 cd/m2 that can
            show the picture.
        sample_aspect_ratio: aspect ratio of the pixels; None for square ones.
        streams_from: as in `VideoWriter`.
        x265_params: more of x265's own parameters, as {"keyint": "48"}.

    Raises:
        ValueError: for odd or non-positive sizes, or arguments out of range.
        FileNotFoundError: if `streams_from` does not exist.
        VideoDecodeError: if `streams_from` cannot be read.
        WriteError: if the folder is missing or not writable.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        width: int,
        height: int,
        fps: Fraction | int,
        *,
        crf: float = 12.0,
        preset: Preset = "superfast",
        lossless: bool = False,
        mastering: MasteringDisplay | None = None,
        sample_aspect_ratio: Fraction | None = None,
        streams_from: str | PathLike[str] | None = None,
        x265_params: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(
            path,
            HEVC(crf=crf, preset=preset, lossless=lossless, x265_params=x265_params, mastering=mastering),
            width,
            height,
            fps,
            sample_aspect_ratio=sample_aspect_ratio,
            streams_from=streams_from,
        )
