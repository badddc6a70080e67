"""A video that changes its size in the middle: one output for each part, with the sound and subtitles of that part."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import pytest

from vitm.conversion import Reading, convert, convert_parts
from vitm.video import FrameReader, VideoDecodeError

BT709 = "format=yuv420p,setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"


@pytest.fixture
def changing(tmp_path: Path) -> Path:
    """Twelve frames of 64x48 and eight of 96x64, with sound; made by the static FFmpeg."""
    exe = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    data = b""
    for number, (size, seconds, start) in enumerate((("64x48", 0.48, 0), ("96x64", 0.32, 0.6))):
        part = tmp_path / f"{number}.ts"
        inputs = ("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d={seconds},{BT709}")
        sound = ("-f", "lavfi", "-i", f"sine=frequency={440 * (number + 1)}:d={seconds}", "-c:a", "aac")
        out = ("-c:v", "libx264", "-mpegts_flags", "initial_discontinuity", "-output_ts_offset", str(start), str(part))
        subprocess.run([exe, "-v", "error", *inputs, *sound, *out], check=True)
        data += part.read_bytes()
    path = tmp_path / "changing.ts"
    path.write_bytes(data)
    return path


def sound(path: Path) -> list[bytes]:
    """The packets of the only sound track, without the headers that MPEG-TS puts before each."""
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    return [packet[7:] if packet[:1] == b"\xff" else packet for packet in packets]


def test_one_output_for_each_part(changing: Path, tmp_path: Path) -> None:
    with pytest.raises(VideoDecodeError, match="from 64x48 yuv420p bt709 to 96x64 yuv420p bt709: pass on_change='sc"):
        convert(changing, tmp_path / "out.mp4", "clip", progress=False)
    reports = convert_parts(changing, tmp_path / "out.mp4", model="clip", progress=False)
    assert [report.output.name for report in reports] == ["out_1.mp4", "out_2.mp4"]
    assert [report.frames for report in reports] == [12, 8]
    for report, size in zip(reports, ((64, 48), (96, 64)), strict=True):
        with FrameReader(report.output, expect="hdr10") as reader:
            assert (reader.info.width, reader.info.height) == size
            assert abs(next(iter(reader)).pts_seconds or 0) < 0.05
        with av.open(str(report.output)) as container:
            seconds = [float(stream.duration * stream.time_base) for stream in container.streams]
        assert abs(seconds[0] - seconds[1]) < 0.1
    parts = [sound(report.output) for report in reports]
    assert parts[0] + parts[1] == sound(changing)
    assert all(parts)


def test_scaled_to_the_size_of_the_beginning(changing: Path, tmp_path: Path) -> None:
    report = convert(changing, tmp_path / "out.mp4", "clip", reading=Reading(on_change="scale"), progress=False)
    assert report.frames == 20
    assert any("changes at" in words for words in report.notes)
    assert FrameReader(tmp_path / "out.mp4").info.width == 64
    assert sound(tmp_path / "out.mp4") == sound(changing)


def test_a_video_without_changes_has_one_output(tmp_path: Path, changing: Path) -> None:
    (report,) = convert_parts(tmp_path / "0.ts", tmp_path / "out.mp4", model="clip", progress=False)
    assert report.output == tmp_path / "out.mp4"
    with pytest.raises(ValueError, match="on_change='split' makes several outputs: use convert_parts"):
        convert(changing, tmp_path / "b.mp4", "clip", reading=Reading(on_change="split"), progress=False)
