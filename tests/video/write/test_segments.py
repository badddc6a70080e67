"""Writing in segments: the same frames, times and metadata as in one go, also after the process was killed."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import colour
import numpy as np
import pytest

from tests.video.material import moving_blocks
from vitm.video import FrameReader, SegmentedWriter, WriteError, open_writer, probe
from vitm.video.codecs import make_codec
from vitm.video.codecs.base import Codec
from vitm.video.codecs.h265 import HEVC
from vitm.video.planes import frame_planes

N = 21
FRAMES = moving_blocks(N)
FRAMES[3][0, 0] = 1  # the brightest pixel is in an early segment
UNEVEN = [Fraction(i * 40 + (i % 3) * 7, 1000) for i in range(N)]
LOSSLESS = {
    "hevc": {"lossless": True, "preset": "medium"},
    "hlg": {"lossless": True, "preset": "ultrafast"},
    "av1": {"lossless": True},
}


def stored(path: Path) -> list[tuple[Fraction, list[np.ndarray]]]:
    with av.open(str(path)) as container:
        return [(f.pts * f.time_base, [np.array(p) for p in frame_planes(f)]) for f in container.decode(video=0)]


def put(writer: object, frames: range, times: list[Fraction] = UNEVEN) -> None:
    for i in frames:
        writer.write(FRAMES[i], times[i])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("codec", "suffix", "segment"),
    [
        *(("hevc", ".mp4", 1), ("hevc", ".mp4", 8), ("hevc", ".mkv", 4), ("hevc", ".mov", 8)),
        *(("av1", ".mp4", 8), ("av1", ".mkv", 4), ("prores", ".mov", 8)),
    ],
)
def test_segments_give_the_frames_of_one_go(codec: str, suffix: str, segment: int, tmp_path: Path) -> None:
    options = LOSSLESS.get(codec, {})
    whole, joined = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    with open_writer(whole, 128, 96, 25, codec, **options) as one:  # type: ignore[arg-type]
        put(one, range(N))
    work = {"work_dir": tmp_path / "work", "segment_frames": segment}
    with open_writer(joined, 128, 96, 25, codec, **work, **options) as many:  # type: ignore[arg-type]
        put(many, range(N))
    for (time_a, planes_a), (time_b, planes_b), expected in zip(stored(whole), stored(joined), UNEVEN, strict=True):
        assert time_a == time_b
        assert abs(time_b - expected) <= (Fraction(1, 2000) if suffix == ".mkv" else 0)  # Matroska: milliseconds
        for a, b in zip(planes_a, planes_b, strict=True):
            np.testing.assert_array_equal(a, b)
    assert (one.max_cll, one.max_fall) == (many.max_cll, many.max_fall)
    first, second = probe(whole), probe(joined)
    assert (first.max_cll, first.max_fall, first.fps) == (second.max_cll, second.max_fall, second.fps)
    assert second.fps == (25 if suffix == ".mkv" else N / (UNEVEN[-1] + Fraction(1, 25)))
    assert sorted(p.name for p in tmp_path.iterdir()) == [whole.name, joined.name]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_compressed_segments_are_clean_joins(suffix: str, tmp_path: Path, ffmpeg: Callable[..., bytes]) -> None:
    """B frames at every join; strict decoding in another FFmpeg, ascending times, and seeking to each frame."""
    path = tmp_path / f"a{suffix}"
    with SegmentedWriter(path, tmp_path / "w", HEVC(preset="medium"), 128, 96, 25, segment_frames=7) as writer:
        put(writer, range(N))
    raw = ffmpeg("-err_detect", "explode", "-i", str(path), "-fps_mode", "passthrough", "-f", "rawvideo", "-")
    assert len(raw) == N * 128 * 96 * 3 // 2 * 2
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    dts = [p.dts for p in packets if p.dts is not None]
    assert all(b > a for a, b in itertools.pairwise(dts))
    assert all(p.dts is None or p.dts <= p.pts for p in packets)
    assert sum(p.is_keyframe for p in packets) == 3
    reader = FrameReader(path, expect="hdr10")
    frames = list(reader)
    assert len(frames) == N
    for i in (20, 14, 13, 7, 6, 0):
        (got,) = reader.read([i])
        np.testing.assert_array_equal(got.rgb, frames[i].rgb)
        assert np.abs(got.rgb - FRAMES[i]).mean() < 0.02


def test_the_light_levels_are_those_of_all_segments(tmp_path: Path) -> None:
    frames = [np.full((96, 128, 3), level, np.float32) for level in (0.3, 0.3, 0.7, 0.3, 0.3, 0.2)]
    path = tmp_path / "a.mp4"
    with SegmentedWriter(path, tmp_path / "w", HEVC(), 128, 96, 24, segment_frames=2) as writer:
        for frame in frames:
            writer.write(frame)
    with av.open(str(path)) as container:
        told = {bytes(d)[:8] for f in container.decode(video=0) for d in f.side_data if "CONTENT_LIGHT" in str(d.type)}
    peak = round(float(colour.models.eotf_ST2084(np.array(0.7))))
    assert told == {np.array([peak, peak], "<u4").tobytes()}
    assert b"\x90\x04\x03\xe8\x01\x90" not in path.read_bytes()


# --- going on -------------------------------------------------------------------------------------------------------


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    def open_again(name: str = "a.mp4") -> SegmentedWriter:
        codec = HEVC(lossless=True, preset="ultrafast")
        return SegmentedWriter(tmp_path / name, tmp_path / "w", codec, 128, 96, 25, segment_frames=6)

    def interrupted() -> None:
        with open_again() as writer:
            put(writer, range(15))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["w"]
    with open_again() as writer:
        assert writer.finished_frames == writer.n_frames == 12
        with pytest.raises(ValueError, match=r"frame 12: time 0\.447000 s does not come after 0\.454000"):
            writer.write(FRAMES[12], 0.447)
        put(writer, range(12, N))
    with open_writer(tmp_path / "b.mp4", 128, 96, 25, lossless=True, preset="ultrafast") as whole:
        put(whole, range(N))
    for (time_a, a), (time_b, b) in zip(stored(tmp_path / "a.mp4"), stored(tmp_path / "b.mp4"), strict=True):
        assert time_a == time_b
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    assert (writer.max_cll, writer.max_fall) == (whole.max_cll, whole.max_fall)


KILLED = """
import sys, time
import numpy as np
from vitm.video import open_writer
writer = open_writer(sys.argv[1], 128, 96, 25, preset="ultrafast", work_dir=sys.argv[2], segment_frames=4)
for i in range(10):
    writer.write(np.full((96, 128, 3), 0.1 + 0.05 * i, np.float32))
print("ten", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_a_killed_process_goes_on(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "a.mp4"), str(tmp_path / "w")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ten\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert any(p.name.startswith(".part_00002") for p in (tmp_path / "w").iterdir())  # the unfinished segment
    options = {"preset": "ultrafast", "work_dir": tmp_path / "w", "segment_frames": 4}
    with open_writer(tmp_path / "a.mp4", 128, 96, 25, **options) as writer:  # type: ignore[arg-type]
        assert writer.finished_frames == 8
        assert not any(p.name.startswith(".part") for p in (tmp_path / "w").iterdir())
        for i in range(8, 12):
            writer.write(np.full((96, 128, 3), 0.1 + 0.05 * i, np.float32))
    frames = list(FrameReader(tmp_path / "a.mp4", expect="hdr10"))
    np.testing.assert_allclose([f.rgb.mean() for f in frames], 0.1 + 0.05 * np.arange(12), atol=3e-3)
    assert [f.pts_seconds for f in frames] == [Fraction(i, 25) for i in range(12)]


def test_all_segments_there_but_not_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def writer() -> SegmentedWriter:
        return SegmentedWriter(tmp_path / "a.mp4", tmp_path / "w", HEVC(), 128, 96, 25, segment_frames=4)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vitm.video.write.writer.finish", full)
    with pytest.raises(WriteError, match="disk is full"), writer() as first:
        put(first, range(6))
    monkeypatch.undo()
    with writer() as second:
        assert second.finished_frames == 6  # the short last segment too
    assert len(FrameReader(tmp_path / "a.mp4")) == 6
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_other_settings_are_refused(tmp_path: Path) -> None:
    def again(codec: Codec, fps: int = 25) -> None:
        SegmentedWriter(tmp_path / "a.mp4", tmp_path / "w", codec, 128, 96, fps).abort()

    again(HEVC(crf=12))
    again(HEVC(crf=12))
    with pytest.raises(ValueError, match=r"unfinished work with other settings \(codec\)"):
        again(HEVC(crf=13))
    with pytest.raises(ValueError, match="other settings"):
        again(make_codec("hlg"))
    with pytest.raises(ValueError, match=r"other settings \(fps\)"):
        again(HEVC(crf=12), fps=24)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"holds thesis\.tex and is no folder of unfinished work"):
        SegmentedWriter(tmp_path / "a.mp4", tmp_path / "mine", HEVC(), 128, 96, 25)
    with pytest.raises(ValueError, match="segment_frames=0"):
        SegmentedWriter(tmp_path / "a.mp4", tmp_path / "w", HEVC(), 128, 96, 25, segment_frames=0)
    with pytest.raises(WriteError, match="cannot use the folder"):
        SegmentedWriter(tmp_path / "a.mp4", tmp_path / "no" / "w", HEVC(), 128, 96, 25)


def test_a_foreign_segment_is_refused(tmp_path: Path) -> None:
    """Parameter sets of another encoding would be lost at the join."""
    work = tmp_path / "w"
    writer = SegmentedWriter(tmp_path / "a.mp4", work, HEVC(), 128, 96, 25, segment_frames=2)
    put(writer, range(4))
    with SegmentedWriter(
        tmp_path / "b.mp4", tmp_path / "v", HEVC(preset="slow"), 128, 96, 25, segment_frames=2
    ) as other:
        put(other, range(4))
        shutil.copy(tmp_path / "v" / "part_00001.mp4", work / "part_00001.mp4")
    with pytest.raises(WriteError, match=r"part_00001\.mp4 was encoded otherwise"):
        writer.close()
    assert not (tmp_path / "a.mp4").exists()


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    def run() -> SegmentedWriter:
        return SegmentedWriter(tmp_path / "a.mp4", tmp_path / "w", HEVC(), 128, 96, 25, segment_frames=2)

    first = run()
    put(first, range(3))
    with pytest.raises(WriteError, match="another run is using this folder"):
        run()
    put(first, range(3, 4))
    first.abort()
    second = run()
    assert second.finished_frames == 4
    second.abort()
