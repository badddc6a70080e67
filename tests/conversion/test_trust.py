"""What must not go wrong: two conversions of one file at once, a full disk at any time, and a very long clip."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from vitm.conversion import Encoding, Grading, convert
from vitm.files import WriteError
from vitm.video import FrameReader, write_image


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for i in range(12):
        write_image(folder / f"{i}.png", noise.random((48, 64, 3), dtype=np.float32), bits=8)
    return folder


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Let writing fail beyond a size, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("overwrite", [False, True])
def test_two_conversions_of_one_file_at_once(overwrite: bool, clip: Path, tmp_path: Path) -> None:
    """The second one stops, whatever its options are, and the first one does not notice."""
    refused = []

    def meanwhile(done: int, total: int) -> None:
        if done in (1, 5):
            for strength in (1.0, 0.5):
                options = {"grading": Grading(strength=strength), "overwrite": overwrite}
                with pytest.raises(WriteError, match="another run is using this folder"):
                    convert(clip, tmp_path / "a.mp4", "clip", **options, progress=False)
                refused.append(done)

    report = convert(clip, tmp_path / "a.mp4", "clip", encoding=Encoding(segment_frames=4), progress=meanwhile)
    assert refused == [1, 1, 5, 5]
    assert report.frames == len(FrameReader(tmp_path / "a.mp4", expect="hdr10")) == 12
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_at_any_time(clip: Path, tmp_path: Path) -> None:
    """Whenever it happens: an error in words, no output, and the same call goes on when there is room."""
    output, encoding = tmp_path / "a.mp4", Encoding(segment_frames=4, lossless=True)
    convert(clip, tmp_path / "whole.mp4", "clip", encoding=encoding, progress=False)
    size = (tmp_path / "whole.mp4").stat().st_size
    for limit in (10, 600, size // 12, size // 4, size // 2, size * 9 // 10):
        with no_file_larger_than(limit), pytest.raises(WriteError, match=r"cannot (write|use)"):
            convert(clip, output, "clip", encoding=encoding, progress=False)
        assert not output.exists()
        assert not (tmp_path / "a.mp4.json").exists()
    report = convert(clip, output, "clip", encoding=encoding, progress=False)
    assert report.resumed_after >= 4  # what was finished before was kept
    for frame, expected in zip(FrameReader(output), FrameReader(tmp_path / "whole.mp4"), strict=True):
        np.testing.assert_array_equal(frame.rgb, expected.rgb)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_ten_thousand_frames_in_constant_memory(tmp_path: Path) -> None:
    exe = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    source = tmp_path / "long.mp4"
    tags = "format=yuv420p,setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
    picture = ("-f", "lavfi", "-i", f"testsrc2=s=64x36:r=25:d=400,{tags}")
    subprocess.run([exe, "-v", "error", *picture, "-c:v", "libx264", "-preset", "ultrafast", str(source)], check=True)
    megabytes, files = {}, {}

    def look(done: int, total: int) -> None:
        if done in (2_000, 9_900):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            megabytes[done] = pages * resource.getpagesize() / 1e6
            files[done] = len(list(Path("/proc/self/fd").iterdir()))

    report = convert(source, tmp_path / "a.mp4", "clip", encoding=Encoding(preset="ultrafast"), progress=look)
    assert report.frames == 10_000
    assert megabytes[9_900] - megabytes[2_000] < 30
    assert files[9_900] <= files[2_000] + 2
