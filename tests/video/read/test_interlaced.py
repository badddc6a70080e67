"""Interlaced video: refused by name, taken for progressive, or as FFmpeg's bwdif makes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vitm.video import FrameReader, VideoDecodeError, probe

W, H, N = 64, 48, 24
ROWS = slice(4, -4)  # versions of FFmpeg differ in the outermost ones
TAGS = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
FIELDS = f"testsrc2=s={W}x{H}:r=50:d={N / 25}"


@pytest.fixture(params=["mp4", "ts", "mpg"])
def interlaced(request: pytest.FixtureRequest, ffmpeg: Callable[..., bytes], tmp_path: Path) -> Path:
    """Moving fields, the upper one first; a key frame every 8 frames."""
    path = tmp_path / f"i.{request.param}"
    codec = ("mpeg2video", "-bf", "2", "-q:v", "2") if request.param == "mpg" else ("libx264", "-crf", "10")
    filters = f"tinterlace=interleave_top,{TAGS}:field_mode=tff,format=yuv420p"
    flags = ("-flags", "+ilme+ildct", "-g", "8")
    ffmpeg("-f", "lavfi", "-i", FIELDS, "-vf", filters, "-c:v", *codec, *flags, str(path))
    return path


def luma(path: Path, ffmpeg: Callable[..., bytes], *options: str) -> np.ndarray:
    raw = ffmpeg("-i", str(path), *options, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, W * H * 3 // 2)[:, : W * H].reshape(-1, H, W)


def test_without_a_choice_it_is_refused(interlaced: Path) -> None:
    with pytest.raises(VideoDecodeError, match=r"interlaced .*its first frame.*deinterlace='auto'"):
        probe(interlaced)


@pytest.mark.parametrize(("mode", "deint"), [("auto", "interlaced"), ("bwdif", "all"), ("off", None)])
@pytest.mark.parametrize("way", ["stop", "repeat"])
def test_frames_are_those_of_ffmpeg(
    mode: str, deint: str | None, way: str, interlaced: Path, ffmpeg: Callable[..., bytes]
) -> None:
    options = ("-vf", f"bwdif=mode=send_frame:deint={deint}") if deint else ()
    expected = luma(interlaced, ffmpeg, *options)
    reader = FrameReader(interlaced, expect="sdr", deinterlace=mode, on_error=way)  # type: ignore[arg-type]
    assert len(reader) == len(expected) == N
    for (planes, _), plane in zip(reader.stored(), expected, strict=True):
        np.testing.assert_array_equal(planes[0][ROWS], plane[ROWS])
    frames = list(reader)
    times = [float(f.pts_seconds) for f in frames]
    np.testing.assert_allclose(np.diff(times), 0.04, atol=1e-6)
    for index in (0, 1, 7, 8, 9, 16, 17, 23):
        (frame,) = reader.read([index])
        assert frame.pts_seconds == frames[index].pts_seconds
        np.testing.assert_array_equal(frame.rgb, frames[index].rgb)


def test_a_progressive_beginning_does_not_hide_it(ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    """Only the first frame was looked at once."""
    path, both = tmp_path / "mixed.ts", tmp_path / "both.m2v"
    for mode in ("prog", "tff"):
        part = tmp_path / f"{mode}.m2v"
        flags = ("-flags", "+ilme+ildct") if mode == "tff" else ()
        filters = f"{TAGS}:field_mode={mode},format=yuv420p"
        source = f"testsrc2=s={W}x{H}:r=25:d=0.4"
        ffmpeg("-f", "lavfi", "-i", source, "-vf", filters, "-c:v", "mpeg2video", *flags, str(part))
    both.write_bytes((tmp_path / "prog.m2v").read_bytes() + (tmp_path / "tff.m2v").read_bytes())
    ffmpeg("-fflags", "+genpts", "-r", "25", "-i", str(both), "-c", "copy", str(path))
    reader = FrameReader(path, expect="sdr")
    with pytest.raises(VideoDecodeError, match=r"interlaced .*\(at \d\.\d+ s\)"):
        list(reader)
    expected = luma(path, ffmpeg, "-vf", "bwdif=mode=send_frame:deint=interlaced")
    got = [planes[0] for planes, _ in FrameReader(path, expect="sdr", deinterlace="auto").stored()]
    np.testing.assert_array_equal(np.stack(got)[:, ROWS], expected[:, ROWS])


def test_unknown_word(interlaced: Path) -> None:
    with pytest.raises(ValueError, match="deinterlace='yadif': expected one of auto, off, bwdif"):
        FrameReader(interlaced, deinterlace="yadif")  # type: ignore[arg-type]
