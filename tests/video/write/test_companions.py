"""What travels with the picture, read back by another FFmpeg; and what is dropped is named."""

from __future__ import annotations

import re
import subprocess
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from vitm.video import FrameReader, StreamWarning, VideoDecodeError, Writer, open_writer, verify

SRT = "1\n00:00:00,200 --> 00:00:00,600\nHello <i>wörld</i>\nsecond line\n\n2\n00:00:00,700 --> 00:00:00,950\nBye\n\n"
META = """;FFMETADATA1
title=My Film
artist=Somebody
[CHAPTER]
TIMEBASE=1/1000
START=0
END=400
title=One
[CHAPTER]
TIMEBASE=1/1000
START=400
END=1000
title=Two
"""


@pytest.fixture
def source(tmp_path: Path, ffmpeg: Callable[..., bytes]) -> Callable[..., Path]:
    """One second of H.264, two AAC tracks, a subtitle, two chapters, a title; made by the static FFmpeg."""

    def make(name: str, subtitles: str, *more: str) -> Path:
        folder = tmp_path / "source"
        folder.mkdir(exist_ok=True)
        (folder / "s.srt").write_text(SRT)
        (folder / "m.txt").write_text(META)
        ffmpeg(
            *("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=1"),
            *("-f", "lavfi", "-i", "sine=duration=1", "-f", "lavfi", "-i", "sine=frequency=880:duration=1"),
            *("-i", str(folder / "s.srt"), "-i", str(folder / "m.txt"), "-map_metadata", "4", "-map_chapters", "4"),
            *("-map", "0", "-map", "1", "-map", "2", "-map", "3", "-c:v", "libx264", "-pix_fmt", "yuv420p"),
            *("-c:a", "aac", "-c:s", subtitles, "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=fra"),
            *("-metadata:s:a:1", "title=Commentary", "-metadata:s:s:0", "language=deu"),
            *("-disposition:a:1", "comment", "-disposition:s:0", "forced", *more, str(folder / name)),
        )
        return folder / name

    return make


def write(path: Path, source: Path, codec: Any = "hevc", **options: Any) -> Writer:
    with open_writer(path, 64, 64, 25, codec, streams_from=source, **options) as writer:
        for i in range(25):
            writer.write(np.full((64, 64, 3), i / 30, np.float32))
    return writer


def report(path: Path) -> str:
    """What the static FFmpeg says of a file."""
    exe = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    return subprocess.run([exe, "-hide_banner", "-i", str(path)], capture_output=True, text=True, check=False).stderr


def audio_data(path: Path) -> list[list[bytes]]:
    with av.open(str(path)) as container:
        result: dict[int, list[bytes]] = {s.index: [] for s in container.streams.audio}
        for packet in container.demux(*container.streams.audio):
            if packet.size:
                result[packet.stream.index].append(bytes(packet))
        return list(result.values())


@pytest.mark.parametrize(
    ("name", "coding", "suffix"),
    [
        ("a.mkv", "srt", ".mp4"),
        ("a.mkv", "srt", ".mkv"),
        ("a.mkv", "ass", ".mp4"),
        ("a.mkv", "ass", ".mkv"),
        ("a.mp4", "mov_text", ".mp4"),
        ("a.mp4", "mov_text", ".mkv"),
        ("a.mp4", "mov_text", ".mov"),
        ("a.mkv", "srt", ".mov"),
    ],
)
@pytest.mark.filterwarnings("ignore::vitm.video.StreamWarning")
def test_everything_goes_along(
    name: str, coding: str, suffix: str, tmp_path: Path, source: Callable[..., Path], ffmpeg: Callable[..., bytes]
) -> None:
    original = source(name, coding)
    path = tmp_path / f"out{suffix}"
    write(path, original)
    assert audio_data(path) == audio_data(original)
    text = report(path)
    for words in ("My Film", "Somebody", "One", "Two", "Commentary", "(eng): Audio: aac"):
        assert words in text
    assert re.search(r"Stream #0:2.*\(fr[ae]\): Audio: aac", text)
    assert re.search(
        r"Stream #0:3.*\((deu|ger)\): Subtitle: " + {"mkv": "(subrip|ass)"}.get(suffix[1:], "mov_text"), text
    )
    assert re.search(r"Chapter #0:1: start 0\.[34]\d*, end", text)
    if suffix != ".mov":
        assert "(comment)" in text
        assert "(forced)" in text
    # lines and italics in each coding; times from the first frame, as -copyts leaves the file's own start in them
    srt = ffmpeg("-copyts", "-i", str(path), "-map", "0:s:0", "-f", "srt", "-").decode()
    assert "Hello <i>wörld</i>\nsecond line" in srt
    times = [(int(m[1]), int(m[2])) for m in re.finditer(r"00:00:00,(\d+) --> 00:00:00,(\d+)", srt)]
    first = next(iter(FrameReader(path)))
    assert first.pts_seconds is not None
    start = next(p.pts * p.time_base for p in av.open(str(path)).demux(video=0))
    for (a, b), (expected_a, expected_b) in zip(times, [(200, 600), (700, 950)], strict=True):
        assert abs(a - float(start) * 1000 - expected_a) <= 10
        assert abs(b - float(start) * 1000 - expected_b) <= 10


@pytest.mark.parametrize("codec", ["prores", "av1"])
@pytest.mark.filterwarnings("ignore::vitm.video.StreamWarning")
def test_other_codecs_and_segments(codec: str, tmp_path: Path, source: Callable[..., Path]) -> None:
    original = source("a.mkv", "srt")
    path = tmp_path / {"prores": "out.mov", "av1": "out.mp4"}[codec]
    write(path, original, codec, work_dir=tmp_path / "w", segment_frames=10)
    assert audio_data(path) == audio_data(original)
    text = report(path)
    for words in ("My Film", "Two", "Commentary", "Subtitle: mov_text"):
        assert words in text
    assert verify(path, expect="hdr10").n_frames == 25


def test_what_is_dropped_is_named(tmp_path: Path, source: Callable[..., Path], ffmpeg: Callable[..., bytes]) -> None:
    (tmp_path / "font.ttf").write_bytes(b"\0\1\0\0" + bytes(100))
    styled = source("a.mkv", "ass", "-attach", str(tmp_path / "font.ttf"), "-metadata:s:t", "mimetype=font/ttf")
    with pytest.warns(StreamWarning) as caught:
        writer = write(tmp_path / "out.mov", styled)
    assert [str(w.message).removeprefix(f"{tmp_path / 'out.mov'}: ") for w in caught] == writer.dropped
    dropped = "\n".join(writer.dropped)
    for words in (
        r"subtitle stream 3 \((ssa|ass)\): its text becomes mov_text; fonts and positions are lost",
        r"attachment stream 4 .*: \.mov cannot hold it; an \.mkv can",
        r"disposition 'comment' of audio stream 2: \.mov does not hold it",
        r"disposition 'forced' of subtitle stream 3: \.mov does not hold it",
    ):
        assert re.search(words, dropped)
    assert len(writer.dropped) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert write(tmp_path / "out.mkv", styled).dropped == []
    with av.open(str(tmp_path / "out.mkv")) as container:
        (attachment,) = container.streams.attachments
        assert attachment.data == (tmp_path / "font.ttf").read_bytes()


@pytest.fixture
def covered(tmp_path: Path, source: Callable[..., Path], ffmpeg: Callable[..., bytes]) -> tuple[Path, Path]:
    """An MP4 with a cover picture, and the picture by itself."""
    cover, original = tmp_path / "cover.png", tmp_path / "cover.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=32x32", "-frames:v", "1", str(cover))
    ffmpeg(
        *("-i", str(source("a.mp4", "mov_text")), "-i", str(cover), "-map", "0:v", "-map", "0:a", "-map", "1"),
        *("-c", "copy", "-disposition:v:1", "attached_pic", str(original)),
    )
    return original, cover


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_cover_picture_goes_along(
    suffix: str, tmp_path: Path, covered: tuple[Path, Path], ffmpeg: Callable[..., bytes]
) -> None:
    original, cover = covered
    path = tmp_path / f"out{suffix}"
    assert not any("cover" in words for words in write(path, original).dropped)
    assert "(attached pic)" in report(path)
    ffmpeg("-i", str(path), "-map", "0:v:1", "-c", "copy", "-f", "image2pipe", str(tmp_path / "copy.png"))
    assert (tmp_path / "copy.png").read_bytes() == cover.read_bytes()
    assert verify(path, expect="hdr10").n_frames == 25
    again = tmp_path / f"again{suffix}"  # from the other container's way of holding it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write(again, path)
    assert "(attached pic)" in report(again)


def test_a_cover_picture_that_does_not_fit_is_named(tmp_path: Path, covered: tuple[Path, Path]) -> None:
    with pytest.warns(StreamWarning, match=r"video stream \d \(png\): \.mov cannot hold a cover picture; an \.mp4"):
        write(tmp_path / "a.mov", covered[0], "prores")


def test_webvtt_stays_in_matroska(tmp_path: Path, source: Callable[..., Path], ffmpeg: Callable[..., bytes]) -> None:
    original = source("vtt.mkv", "webvtt")
    writer = write(tmp_path / "a.mkv", original)
    assert writer.dropped == []
    as_text = ("-map", "0:s:0", "-f", "webvtt", "-")
    assert "Subtitle: webvtt" in report(tmp_path / "a.mkv")
    assert ffmpeg("-i", str(tmp_path / "a.mkv"), *as_text) == ffmpeg("-i", str(original), *as_text)


def test_each_sound_track_has_its_choice(tmp_path: Path, source: Callable[..., Path]) -> None:
    original = source("a.mkv", "srt", "-c:a:1", "pcm_u8")
    with pytest.warns(StreamWarning):
        writer = write(tmp_path / "a.mp4", original, audio="drop,transcode")
    assert writer.dropped[:2] == [
        "audio stream 1 (aac): left out, as asked",
        "audio stream 2 (pcm_u8): .mp4 cannot hold it; it becomes AAC",
    ]
    with av.open(str(tmp_path / "a.mp4")) as container:
        (track,) = container.streams.audio
        assert track.codec_context.name == "aac"
        assert track.metadata["language"] in ("fre", "fra")
    with pytest.raises(ValueError, match=r"audio=.copy,copy,copy.: 3 words, but .* has 2 sound tracks"):
        write(tmp_path / "b.mp4", original, audio="copy,copy,copy")
    with pytest.raises(ValueError, match="audio='mute': expected one of copy, transcode, drop"):
        write(tmp_path / "b.mp4", original, audio="copy,mute")


@pytest.mark.parametrize(("codec", "name"), [("pcm_mulaw", "a.wav"), ("adpcm_ima_wav", "a.wav"), ("wmav2", "a.wma")])
def test_sound_of_windows_keeps_its_samples_in_matroska(
    codec: str, name: str, tmp_path: Path, ffmpeg: Callable[..., bytes]
) -> None:
    """FFmpeg copies it, by a name that PyAV does not write: what is heard must be the same."""
    original, copied = tmp_path / name, tmp_path / "copied.mkv"
    noise = "aevalsrc=0.4*sin(2000*t)|0.3*random(0):d=0.5:s=44100"
    ffmpeg("-f", "lavfi", "-i", noise, "-c:a", codec, str(original))
    ffmpeg("-i", str(original), "-c", "copy", str(copied))
    with pytest.warns(StreamWarning, match=rf"{codec}\): it is not copied into \.mkv; it becomes FLAC, which"):
        write(tmp_path / "out.mkv", original)
    assert "Audio: flac, 44100 Hz, stereo, s16" in report(tmp_path / "out.mkv")
    heard, expected = (
        np.frombuffer(ffmpeg("-i", str(path), "-map", "0:a", "-f", "s16le", "-"), np.int16).astype(int)
        for path in (tmp_path / "out.mkv", copied)
    )
    assert len(heard) == len(expected) > 40_000
    assert np.abs(heard - expected).max() <= (1 if codec == "wmav2" else 0)  # WMA's samples are rounded


def test_sound_shorter_than_a_frame_of_flac(tmp_path: Path, ffmpeg: Callable[..., bytes]) -> None:
    """The encoder gives it at its end alone, and without a time."""
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.05", "-c:a", "wmav2", str(tmp_path / "a.wma"))
    with pytest.warns(StreamWarning):
        write(tmp_path / "out.mkv", tmp_path / "a.wma")
    heard = ffmpeg("-i", str(tmp_path / "out.mkv"), "-map", "0:a", "-f", "s16le", "-")
    assert len(heard) == len(ffmpeg("-i", str(tmp_path / "a.wma"), "-f", "s16le", "-")) > 2000


@pytest.mark.parametrize("audio", ["copy", "transcode"])
def test_sound_that_no_library_knows_is_named(audio: str, tmp_path: Path, source: Callable[..., Path]) -> None:
    """New phones write such a track (`apac`) beside an ordinary one."""
    data = bytearray(source("a.mp4", "mov_text").read_bytes())
    entry = data.index(b"mp4a", data.index(b"stsd", data.index(b"soun")))
    data[entry : entry + 4] = b"apac"
    described = data.index(b"esds", entry)
    data[described : described + 4] = b"dapa"
    original = tmp_path / "phone.mp4"
    original.write_bytes(data)
    with pytest.warns(StreamWarning):
        writer = write(tmp_path / "out.mkv", original, audio=audio)
    assert "audio stream 1 (unknown codec): FFmpeg does not know its codec, so it is left out" in writer.dropped
    assert len(audio_data(tmp_path / "out.mkv")) == 1
    assert len(FrameReader(original, assume="bt709")) == 25


def test_channels_without_places_are_refused_before_the_first_frame(
    tmp_path: Path, ffmpeg: Callable[..., bytes]
) -> None:
    """PCM of Matroska does not say which channel is where, and MP4 demands it (ISO/IEC 14496-12, 12.2.4)."""
    original = tmp_path / "surround.mkv"
    ffmpeg("-f", "lavfi", "-i", "anullsrc=channel_layout=5.1:d=1", "-c:a", "pcm_s16le", str(original))
    with pytest.warns(StreamWarning, match=r"pcm_s16le\): \.mp4 cannot hold it; an \.mkv can; audio='transcode'"):
        open_writer(tmp_path / "a.mp4", 64, 64, 25, streams_from=original).abort()
    with pytest.warns(StreamWarning, match="it becomes AAC"):
        write(tmp_path / "a.mp4", original, audio="transcode")
    assert "Audio: aac" in report(tmp_path / "a.mp4")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_titles_that_are_not_utf8_go_along(suffix: str, tmp_path: Path, ffmpeg: Callable[..., bytes]) -> None:
    """Old AVI files hold titles in the code page of their maker; they are read as Latin-1."""
    original = tmp_path / "old.avi"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25:duration=0.2", "-c:v", "mpeg4"),
        *("-metadata", "title=Sch0n", str(original)),
    )
    original.write_bytes(original.read_bytes().replace(b"Sch0n", "Schön".encode("latin-1")))
    write(tmp_path / f"a{suffix}", original)
    assert re.search(r"title +: Schön", report(tmp_path / f"a{suffix}"))


def test_bitmap_subtitles_stay_in_matroska_only(tmp_path: Path) -> None:
    original = tmp_path / "pgs.mkv"
    with av.open(str(original), "w") as container:
        stream = container.add_mux_stream("hdmv_pgs_subtitle", time_base=Fraction(1, 1000))
        packet: Any = av.Packet(bytes.fromhex("80 0000"))  # an END segment alone
        packet.pts = packet.dts = 200
        packet.time_base, packet.duration, packet.stream = Fraction(1, 1000), 100, stream
        container.mux(packet)
    with pytest.warns(StreamWarning, match=r"subtitle stream 0 \(.*\): \.mp4 cannot hold it; an \.mkv can"):
        write(tmp_path / "a.mp4", original)
    assert write(tmp_path / "a.mkv", original).dropped == []
    assert "Subtitle: hdmv_pgs_subtitle" in report(tmp_path / "a.mkv")


def test_a_timecode_goes_along(tmp_path: Path, source: Callable[..., Path]) -> None:
    original = source("a.mov", "mov_text", "-timecode", "01:02:03:04")
    for suffix in (".mp4", ".mov", ".mkv"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StreamWarning)
            writer = write(tmp_path / f"out{suffix}", original)
        assert not any("data stream" in words for words in writer.dropped)
        assert "01:02:03:04" in report(tmp_path / f"out{suffix}")
        assert len(FrameReader(tmp_path / f"out{suffix}")) == 25


def test_all_times_are_from_the_start_of_the_source(
    tmp_path: Path, source: Callable[..., Path], ffmpeg: Callable[..., bytes]
) -> None:
    """A source moved by 5 s: subtitles, chapters and sound move back with the frames."""
    late, chapters_file = tmp_path / "late.mkv", tmp_path / "late.txt"
    chapters_file.write_text(
        META.replace("=400", "=5400").replace("=1000\n", "=6000\n").replace("START=0", "START=5000")
    )
    moved = ("-itsoffset", "5", "-i", str(source("a.mkv", "srt")), "-i", str(chapters_file))
    ffmpeg(*moved, "-map", "0", "-map_chapters", "1", "-c", "copy", str(late))
    with av.open(str(late)) as container:
        assert container.start_time == pytest.approx(5e6, abs=3e4)
    path = tmp_path / "out.mp4"
    with open_writer(path, 64, 48, 25, streams_from=late) as writer:
        for frame in FrameReader(late, assume="bt709"):
            writer.write(frame.rgb, frame.pts_seconds)
    with av.open(str(path)) as container:
        chapters = [float(c["start"] * c["time_base"]) for c in container.chapters()]
        first = {s.index: None for s in container.streams if s.type != "data"}
        for packet in container.demux([container.streams[i] for i in first]):
            if packet.size > 2 and first[packet.stream.index] is None:  # MP4 fills pauses with empty texts
                first[packet.stream.index] = float(packet.pts * packet.time_base)
    assert chapters == pytest.approx([0, 0.4], abs=0.03)
    assert first[0] == pytest.approx(0.0, abs=0.03)
    assert first[1] == pytest.approx(0.0, abs=0.03)
    assert first[3] == pytest.approx(0.2, abs=0.03)


def test_a_source_of_sound_only(tmp_path: Path, sine: Callable[..., Path]) -> None:
    writer = write(tmp_path / "out.mp4", sine("tone.m4a"))
    assert writer.dropped == []
    assert audio_data(tmp_path / "out.mp4") == audio_data(tmp_path / "tone.m4a")


def test_variable_times_come_through_with_the_sound(tmp_path: Path, source: Callable[..., Path]) -> None:
    times = [Fraction(i * 40 + (i % 3) * 7, 1000) for i in range(25)]
    path = tmp_path / "out.mp4"
    with open_writer(path, 64, 64, 25, streams_from=source("a.mp4", "mov_text")) as writer:
        for i, time in enumerate(times):
            writer.write(np.full((64, 64, 3), i / 30, np.float32), time)
    assert [f.pts_seconds for f in FrameReader(path)] == times


def test_a_source_that_disappears(tmp_path: Path, source: Callable[..., Path]) -> None:
    original = source("a.mp4", "mov_text")
    with pytest.raises(FileNotFoundError, match="streams_from"):
        write(tmp_path / "a.mp4", tmp_path / "none.mp4")
    writer = open_writer(tmp_path / "a.mp4", 64, 64, 25, streams_from=original)
    writer.write(np.zeros((64, 64, 3), np.float32))
    original.write_bytes(b"gone")
    with pytest.raises((VideoDecodeError, OSError)):
        writer.close()
    assert not list(tmp_path.glob("*.mp4"))
