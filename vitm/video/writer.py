"""Writing HDR10: HEVC Main 10, PQ, BT.2020, with measured light levels, and the sound of another file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self, get_args

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch

from vitm.color.transfer import pq_eotf
from vitm.video.atomic import check_writable, temporary_beside, write_error
from vitm.video.errors import VideoWriteError
from vitm.video.mux import check_audio, finish
from vitm.video.planes import Float, rgb_to_planes_420
from vitm.video.tags import MasteringDisplay

Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]

BT2020_1000_NITS = MasteringDisplay(
    red=(0.708, 0.292),
    green=(0.170, 0.797),
    blue=(0.131, 0.046),
    white=(0.3127, 0.3290),
    min_nits=1e-4,
    max_nits=1000.0,
)
P3_D65_1000_NITS = MasteringDisplay(
    red=(0.680, 0.320),
    green=(0.265, 0.690),
    blue=(0.150, 0.060),
    white=(0.3127, 0.3290),
    min_nits=1e-4,
    max_nits=1000.0,
)

_SUFFIXES = (".mp4", ".mov", ".mkv")
# H.273: BT.2020, PQ, BT.2020 non-constant luminance; narrow range
_TAGS = {"color_primaries": 9, "color_trc": 16, "colorspace": 9, "color_range": 1}
_OWN_PARAMS = ("master-display", "max-cll", "hdr10", "repeat-headers", "chromaloc", "lossless", "crf", "preset", "info")
_LEVELS = 65535  # steps of the histogram from which averages of light are computed


class HDR10Writer:
    """Writes an HDR10 video: H.265 Main 10, 4:2:0 (top-left), narrow range, PQ, BT.2020 non-constant luminance.

    MaxCLL and MaxFALL (CTA-861.3) are measured on the frames as given, clipped to [0, 1], before 10-bit rounding and
    compression; they are written into the stream when the last frame is known. Use it as a context manager: the output
    appears only when it is whole, in place of any older file; after an error nothing is left behind. While the file is
    finished, the disk holds it twice.

        with HDR10Writer("out.mp4", 1920, 1080, Fraction(24000, 1001), audio_from="in.mp4") as writer:
            for frame in frames:
                writer.write(hdr_pq, pts=frame.pts_seconds)

    Args:
        path: output; the suffix (.mp4, .mov or .mkv) chooses the container.
        width: of the frames, in pixels; even, since 4:2:0 has half the chroma samples, and at least 64.
        height: of the frames, in pixels; even and at least 32.
        fps: frames a second; exact fractions are kept (24000/1001).
        crf: x265's constant rate factor, 0 (best) to 51; about 50 dB in PQ codes at 10.
        preset: x265's speed preset.
        lossless: keep the 10-bit codes exactly (about 1 MB a 1080p frame); `crf` is not used.
        mastering: the ST 2086 metadata.
        sample_aspect_ratio: of the pixels; None for square ones.
        audio_from: a file whose audio streams are copied, with their times relative to that file's start. Subtitles,
            chapters and other streams are not copied.
        x265_params: more of x265's own parameters, as {"keyint": "48"}.

    Raises:
        ValueError: for odd or non-positive sizes, or arguments out of range.
        FileNotFoundError: if `audio_from` does not exist.
        VideoDecodeError: if `audio_from` cannot be read.
        VideoWriteError: if the folder is missing or not writable, or the container cannot hold the audio.
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
        mastering: MasteringDisplay = BT2020_1000_NITS,
        sample_aspect_ratio: Fraction | None = None,
        audio_from: str | PathLike[str] | None = None,
        x265_params: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self.width, self.height, self.fps = width, height, Fraction(fps)
        self.n_frames = 0
        self.max_cll = 0.0
        self.max_fall = 0.0
        self._audio = None if audio_from is None else Path(audio_from)
        self._container: Any = None
        self._last_pts = -1
        if self.path.suffix.lower() not in _SUFFIXES:
            raise ValueError(
                f"{path}: cannot write {self.path.suffix!r}: name the output {', '.join('*' + s for s in _SUFFIXES)}"
            )
        if width < 64 or height < 32 or width % 2 or height % 2:  # x265 corrupts its heap below 64 pixels
            raise ValueError(
                f"{width}x{height}: HDR10 (4:2:0) needs an even width and height of at least 64x32: crop or pad"
            )
        if self.fps <= 0:
            raise ValueError(f"fps={fps}: expected a positive number")
        if not 0 <= crf <= 51:
            raise ValueError(f"crf={crf}: expected 0 (best) to 51")
        if preset not in get_args(Preset):
            raise ValueError(f"preset={preset!r}: expected one of {', '.join(get_args(Preset))}")
        if reserved := sorted(set(x265_params or {}) & set(_OWN_PARAMS)):
            raise ValueError(f"x265_params: {', '.join(reserved)} are set by HDR10Writer itself")
        check_writable(self.path)
        if self._audio is not None:
            check_audio(self._audio, self.path)
        params = {
            "log-level": "error",
            "hdr10": "1",
            "hdr10-opt": "1",
            "repeat-headers": "1",
            "chromaloc": "2",  # top-left
            "info": "0",  # x265's list of settings would keep the placeholder of max-cll
            "master-display": _master_display(mastering),
            "max-cll": "1000,400",  # placeholder
            "lossless": str(int(lossless)),
            **(x265_params or {}),
        }
        self._options = {
            "preset": preset,
            "crf": str(crf),
            "x265-params": ":".join(f"{k}={v}" for k, v in params.items()),
        }
        self._aspect = sample_aspect_ratio
        # fine enough for any source's time stamps, and exact for this frame rate
        clock = math.lcm(self.fps.numerator, 90_000)
        self._time_base = Fraction(1, clock if clock < 2**31 else 90_000)
        self._encoded = temporary_beside(self.path, ".mp4")
        try:
            self._container, self._stream = self._open_encoder()
        except BaseException:
            self.abort()
            raise

    def write(self, hdr_pq: npt.ArrayLike | torch.Tensor, pts: Fraction | float | None = None) -> None:
        """Encode one frame.

        Args:
            hdr_pq: PQ codes, BT.2020, clipped to [0, 1]: an array (H, W, 3), or a tensor (3, H, W) on any device.
            pts: time in seconds; index / fps if None. Pass `Frame.pts_seconds` to keep a variable frame rate, and to
                keep the sound in step with a video that does not start at 0.

        Raises:
            ValueError: for another size, NaN or infinity, integers, or times that do not ascend.
            VideoWriteError: if the disk is full, or the writer is closed.
        """
        if self._container is None:
            raise VideoWriteError(f"{self.path}: the writer is closed")
        image = self._as_image(hdr_pq)
        ticks = round((self.n_frames / self.fps if pts is None else Fraction(pts)) / self._time_base)
        if ticks <= self._last_pts:
            raise ValueError(
                f"frame {self.n_frames}: time {float(ticks * self._time_base):.6f} s does not come after "
                f"{float(self._last_pts * self._time_base):.6f} s"
            )
        self._measure(image)
        planes = rgb_to_planes_420(image)
        packed = np.concatenate([p.reshape(-1) for p in planes]).reshape(self.height * 3 // 2, self.width)
        frame = av.VideoFrame.from_ndarray(packed, format="yuv420p10le")
        frame.pts, frame.time_base = ticks, self._time_base
        frame.duration = round(1 / self.fps / self._time_base)
        for tag, value in _TAGS.items():
            setattr(frame, tag, value)
        self._encode(frame)
        self._last_pts = ticks
        self.n_frames += 1

    def close(self) -> None:
        """Finish the file: it appears under its name now. A second call does nothing.

        Raises:
            VideoWriteError: if no frame was written, or the file cannot be finished.
        """
        if self._container is None:
            return
        final = None
        try:
            if self.n_frames == 0:
                raise VideoWriteError(f"{self.path}: no frame was written, so there is no output")
            self._encode(None)
            self._container.close()
            final = temporary_beside(self.path)
            finish(self._encoded, final, self._audio, (round(self.max_cll), round(self.max_fall)))
            final.replace(self.path)
        except (av.FFmpegError, OSError) as error:
            raise error if isinstance(error, VideoWriteError) else write_error(error, self.path) from error
        finally:
            self.abort()
            if final is not None:
                final.unlink(missing_ok=True)

    def abort(self) -> None:
        """Give up: remove what was encoded; no output appears."""
        container, self._container = self._container, None
        try:
            if container is not None:
                container.close()
        except (av.FFmpegError, OSError):
            pass  # the file is removed in any case
        finally:
            self._encoded.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close() if kind is None else self.abort()

    def _open_encoder(self) -> tuple[Any, Any]:
        container = av.open(str(self._encoded), "w")
        stream: Any = container.add_stream("libx265", rate=self.fps, options=self._options)
        stream.width, stream.height, stream.pix_fmt = self.width, self.height, "yuv420p10le"
        context = stream.codec_context
        context.codec_tag, context.time_base = "hvc1", self._time_base
        if self._aspect is not None:
            context.sample_aspect_ratio = self._aspect
        for tag, value in _TAGS.items():
            setattr(context, tag, value)
        return container, stream

    def _encode(self, frame: Any) -> None:
        try:
            packets = self._stream.encode(frame)
            if frame is None and self.n_frames <= 2:
                for packet in packets:  # x265 leaves these time stamps undefined in videos shorter than its delay
                    packet.dts = packet.pts
            self._container.mux(packets)
        except (av.FFmpegError, OSError) as error:
            self.abort()
            raise write_error(error, self.path) from error

    def _as_image(self, hdr_pq: npt.ArrayLike | torch.Tensor) -> Float:
        if isinstance(hdr_pq, torch.Tensor):
            if not hdr_pq.is_floating_point() or hdr_pq.shape != (3, self.height, self.width):
                raise ValueError(
                    f"frame {self.n_frames}: {hdr_pq.dtype} tensor of shape {tuple(hdr_pq.shape)}; "
                    f"expected floating point (3, {self.height}, {self.width})"
                )
            hdr_pq = hdr_pq.detach().float().permute(1, 2, 0).cpu().numpy()
        image = np.asarray(hdr_pq)
        if image.dtype.kind != "f" or image.shape != (self.height, self.width, 3):
            raise ValueError(
                f"frame {self.n_frames}: {image.dtype} array of shape {image.shape}; "
                f"expected floating point ({self.height}, {self.width}, 3)"
            )
        if not np.isfinite(image).all():
            raise ValueError(f"frame {self.n_frames}: holds NaN or infinity")
        return np.ascontiguousarray(np.clip(image, 0.0, 1.0), dtype=np.float32)

    def _measure(self, image: Float) -> None:
        """CTA-861.3: MaxCLL is the largest max(R, G, B) of all pixels, MaxFALL the largest mean of it over a frame."""
        red, green, blue = cv2.split(image)
        brightest = cv2.max(cv2.max(red, green), blue)
        levels = (brightest * _LEVELS + 0.5).astype(np.uint16)
        histogram = cv2.calcHist([levels], [0], None, [_LEVELS + 1], [0, _LEVELS + 1]).ravel().astype(np.float64)
        peak = pq_eotf(torch.tensor(float(brightest.max()), dtype=torch.float64))
        self.max_cll = max(self.max_cll, float(peak))
        self.max_fall = max(self.max_fall, float(histogram @ _nits_of_levels()) / brightest.size)


@cache
def _nits_of_levels() -> npt.NDArray[np.float64]:
    return np.asarray(pq_eotf(torch.arange(_LEVELS + 1, dtype=torch.float64) / _LEVELS).numpy())


def _master_display(display: MasteringDisplay) -> str:
    """x265's notation: chromaticities in 0.00002, luminance in 0.0001 cd/m2 (ST 2086; H.265, D.3.28)."""
    points = (display.green, display.blue, display.red, display.white)
    g, b, r, w = (f"({round(x * 50_000)},{round(y * 50_000)})" for x, y in points)
    return f"G{g}B{b}R{r}WP{w}L({round(display.max_nits * 10_000)},{round(display.min_nits * 10_000)})"
