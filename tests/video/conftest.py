"""Small videos made on the spot, and FFmpeg's zscale as the independent converter."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.video.material import fill_frame


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Write frames, given as planes, with PyAV."""

    def make(
        name: str,
        frames: Sequence[Sequence[np.ndarray]],
        *,
        pix_fmt: str = "yuv420p10le",
        codec: str = "ffv1",
        tags: dict[str, int] | None = None,
        fps: Fraction = Fraction(24),
        pts: Sequence[int] | None = None,
        time_base: Fraction | None = None,
        options: dict[str, str] | None = None,
        container_options: dict[str, str] | None = None,
    ) -> Path:
        path = tmp_path / name
        height, width = frames[0][0].shape[:2]
        time_base = time_base or 1 / fps
        with av.open(str(path), "w", container_options=container_options or {}) as container:
            stream = container.add_stream(codec, rate=fps, options=options or {})
            stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
            stream.codec_context.time_base = time_base
            for tag, value in (tags or {}).items():
                setattr(stream.codec_context, tag, value)
            for i, planes in enumerate(frames):
                frame = fill_frame(width, height, pix_fmt, planes)
                frame.pts, frame.time_base = (i if pts is None else pts[i]), time_base
                for tag, value in (tags or {}).items():
                    setattr(frame, tag, value)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return make


@pytest.fixture(scope="session")
def ffmpeg() -> Callable[..., bytes]:
    """Run the static FFmpeg with these arguments; its standard output."""
    exe = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()

    def run(*arguments: str, data: bytes | None = None) -> bytes:
        command = [exe, "-hide_banner", "-v", "error", *arguments]
        done = subprocess.run(command, input=data, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


@pytest.fixture(scope="session")
def ffmpeg_log() -> Callable[..., str]:
    """Run the static FFmpeg with these arguments; what it says of the files."""
    exe = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()

    def run(*arguments: str) -> str:
        done = subprocess.run([exe, "-hide_banner", *arguments], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stderr.decode()

    return run


@pytest.fixture(scope="session")
def zscale_rgb(ffmpeg: Callable[..., bytes]) -> Callable[..., np.ndarray]:
    """Frames of a video as non-linear float RGB (T, H, W, 3), by zscale with bilinear chroma."""

    def decode(path: Path, width: int, height: int, frames: int, *options: str) -> np.ndarray:
        raw = ffmpeg(
            *options,
            *("-i", str(path), "-frames:v", str(frames)),
            *("-vf", "zscale=matrix=gbr:range=full:filter=bilinear:dither=none,format=gbrpf32le"),
            *("-f", "rawvideo", "-"),
        )
        gbr = np.frombuffer(raw, np.float32).reshape(frames, 3, height, width)
        return gbr[:, (2, 0, 1)].transpose(0, 2, 3, 1)

    return decode


@pytest.fixture
def sine(tmp_path: Path) -> Callable[..., Path]:
    """A stereo tone, made with PyAV."""

    def make(name: str, seconds: float = 1.0, codec: str = "aac") -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=48_000)
            stream.layout, stream.bit_rate = "stereo", 128_000
            t = np.arange(round(seconds * 48_000)) / 48_000
            samples = np.float32([np.sin(2 * np.pi * 440 * t), np.sin(2 * np.pi * 660 * t)]) * 0.5
            resampler = av.AudioResampler(format=stream.codec_context.format, layout="stereo", rate=48_000)
            for start in range(0, samples.shape[1], 1024):
                frame = av.AudioFrame.from_ndarray(
                    np.ascontiguousarray(samples[:, start : start + 1024]), format="fltp", layout="stereo"
                )
                frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
                for converted in resampler.resample(frame):
                    container.mux(stream.encode(converted))
            container.mux(stream.encode(None))
        return path

    return make
