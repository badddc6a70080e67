"""Every container as people have them: FFmpeg's number of frames, its pictures, and the same by random access."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vitm.video import FrameReader, VideoDecodeError
from vitm.video.read.decoder import Decoder

NOISE = "noise=alls=60:allf=t:all_seed=1"
BT709 = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
W, H, N = 64, 48, 50

Film = Callable[..., Path]


@pytest.fixture
def film(ffmpeg: Callable[..., bytes], tmp_path: Path) -> Film:
    """Two seconds of a test picture, coded by FFmpeg."""

    def make(name: str, *options: str, filters: str = BT709) -> Path:
        path = tmp_path / name
        source = f"testsrc2=s={W}x{H}:r=25:d=2"
        ffmpeg("-f", "lavfi", "-i", source, "-vf", f"{filters},format=yuv420p", *options, str(path))
        return path

    return make


def luma_of_ffmpeg(path: Path, ffmpeg: Callable[..., bytes]) -> np.ndarray:
    raw = ffmpeg("-i", str(path), "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
    frames = np.frombuffer(raw, np.uint8).reshape(-1, W * H * 3 // 2)
    return frames[:, : W * H].reshape(-1, H, W)


def luma(reader: FrameReader) -> np.ndarray:
    return np.stack([planes[0] for planes, _ in reader.stored()])


def check_all_ways(path: Path, ffmpeg: Callable[..., bytes], **options: str) -> list[Fraction]:
    """Iteration gives FFmpeg's pictures; reading by number gives those of the iteration. Returns the times."""
    expected = luma_of_ffmpeg(path, ffmpeg)
    reader = FrameReader(path, expect="sdr", **options)  # type: ignore[arg-type]
    count = len(expected)
    assert len(reader) == count
    np.testing.assert_array_equal(luma(reader), expected)
    frames = list(reader)
    assert [f.index for f in frames] == list(range(count))
    assert reader.damaged == []
    for wanted in [[i] for i in range(count - 1, -1, -5)] + [
        [1, 2, count // 2, count - 1],
        list(range(count // 3, count)),
    ]:
        got = list(reader.read(wanted))
        assert [(f.index, f.pts_seconds) for f in got] == [(i, frames[i].pts_seconds) for i in wanted]
        for frame in got:
            np.testing.assert_array_equal(frame.rgb, frames[frame.index].rgb)
    return [f.pts_seconds for f in frames]


def evenly(times: list[Fraction], tick: float = 1e-6) -> bool:
    return bool(np.allclose(np.diff([float(t) for t in times]), 0.04, atol=tick))


H264 = ("-c:v", "libx264", "-g", "12")
CONTAINERS = {
    "a.ts": H264,
    "a.m2ts": H264,
    "a.mpg": ("-c:v", "mpeg2video", "-bf", "2"),
    "a.vob": ("-c:v", "mpeg2video", "-bf", "2"),
    "a.avi": H264,
    "a.flv": H264,
    "a.mkv": H264,
    "a.mov": H264,
    "fragments.mp4": (*H264, "-movflags", "frag_keyframe+empty_moov"),
    "a.wmv": ("-c:v", "wmv2"),
    "a.ogv": ("-c:v", "libtheora", "-pix_fmt", "yuv420p"),
    "xvid.avi": ("-c:v", "mpeg4", "-bf", "2", "-vtag", "xvid"),
    "motion.avi": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p"),
    "open.ts": ("-c:v", "libx264", "-x264-params", "open-gop=1:keyint=12:bframes=3"),
    "open_hevc.ts": ("-c:v", "libx265", "-x265-params", "keyint=12:bframes=3:log-level=none"),
    "refresh.ts": ("-c:v", "libx264", "-x264-params", "intra-refresh=1:keyint=25:bframes=0"),
    "a.webm": ("-c:v", "libvpx-vp9", "-g", "12", "-auto-alt-ref", "1", "-lag-in-frames", "16"),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_count_pictures_times_and_seeks(name: str, film: Film, ffmpeg: Callable[..., bytes]) -> None:
    path = film(name, *CONTAINERS[name])
    options = {"assume": "bt709"} if name.endswith((".avi", ".ogv", ".wmv", ".flv", ".webm")) else {}
    times = check_all_ways(path, ffmpeg, **options)
    if name == "a.ogv":
        assert N // 2 < len(times) < N  # Theora holds frames that hardly change
        return
    assert len(times) == N
    assert evenly(times, 0.0011 if name.endswith((".mkv", ".webm", ".flv", ".wmv")) else 1e-6)


def test_a_raw_stream_is_shown_at_its_nominal_rate(film: Film, ffmpeg: Callable[..., bytes]) -> None:
    path = film("a.h264", *H264)
    assert check_all_ways(path, ffmpeg) == [Fraction(i, 25) for i in range(N)]
    assert any("nominal rate" in note for note in FrameReader(path).notes)


def pack_b_frames(source: Path, path: Path) -> Path:
    """A copy whose B-frames lie in the packet of the frame before, a dummy following, as old DivX encoders did it."""
    vop, dummy = b"\0\0\1\xb6", b"\0\0\1\xb6\x50\0\0\0"
    with av.open(str(source)) as original, av.open(str(path), "w") as target:
        coded = [bytes(p) for p in original.demux(video=0) if p.size]
        kinds = [data[data.index(vop) + 4] >> 6 for data in coded]  # 0: I, 1: P, 2: B
        packed: list[tuple[bytes, bool]] = []
        for i, data in enumerate(coded):
            if kinds[i] == 2:
                packed.append((dummy, False))
            else:
                packed.append((data + (coded[i + 1] if kinds[i + 1 : i + 2] == [2] else b""), kinds[i] == 0))
        at = packed[0][0].index(vop)
        packed[0] = (packed[0][0][:at] + b"\0\0\1\xb2DivX503b1393p\0" + packed[0][0][at:], True)
        stream = target.add_stream_from_template(original.streams.video[0])
        stream.codec_context.codec_tag = "XVID"
        for i, (data, key) in enumerate(packed):
            packet = av.Packet(data)
            packet.pts = packet.dts = i
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 25), stream, key
            target.mux(packet)
    return path


def test_packed_b_frames(film: Film, ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    plain = film("plain.avi", "-c:v", "mpeg4", "-bf", "1", "-b_strategy", "0", "-g", "12")
    times = check_all_ways(pack_b_frames(plain, tmp_path / "packed.avi"), ffmpeg, assume="bt709")
    assert times == [Fraction(i, 25) for i in range(N)]
    check_all_ways(tmp_path / "packed.avi", ffmpeg, assume="bt709", on_error="repeat")


@pytest.mark.parametrize("name", ["a.avi", "a.ts", "open.ts", "a.webm"])
def test_going_past_damage_replaces_nothing_that_ffmpeg_decodes(
    name: str, film: Film, ffmpeg: Callable[..., bytes]
) -> None:
    reader = FrameReader(film(name, *CONTAINERS[name]), assume="bt709", on_error="repeat")
    plain = FrameReader(reader.info.path, assume="bt709")
    for got, expected in zip(reader, plain, strict=True):
        np.testing.assert_array_equal(got.rgb, expected.rgb)
    assert reader.damaged == []


def middle(path: Path, share: float, packet: int = 188, keep: int = 2) -> Path:
    """A copy that lacks its beginning, but for the tables of the transport stream."""
    data = path.read_bytes()
    cut = path.with_stem("middle")
    cut.write_bytes(data[: packet * keep] + data[int(len(data) * share) // packet * packet :])
    return cut


@pytest.mark.parametrize("share", [0.2, 0.4, 0.55])
@pytest.mark.parametrize("name", ["a.ts", "open.ts", "open_hevc.ts"])
def test_a_recording_that_starts_within_a_group(
    name: str, share: float, film: Film, ffmpeg: Callable[..., bytes]
) -> None:
    path = middle(film(name, *CONTAINERS[name]), share)
    expected = luma_of_ffmpeg(path, ffmpeg)
    assert 5 < len(expected) < N
    check_all_ways(path, ffmpeg)
    for way in ("stop", "repeat"):
        reader = FrameReader(path, on_error=way)  # type: ignore[arg-type]
        assert any("begins at its first key frame" in note for note in reader.notes)


def test_a_copy_that_starts_within_a_group(film: Film, ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    """Matroska cut by copying packets, and an H.265 file whose first pictures refer to a group that is gone."""
    whole = film("whole.mkv", *H264)
    path = tmp_path / "cut.mkv"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
            if number >= 5:
                packet.stream = stream
                target.mux(packet)
    check_all_ways(path, ffmpeg)
    hevc = film("hevc.mp4", "-c:v", "libx265", "-x265-params", "keyint=12:bframes=3:log-level=none:scenecut=0")
    cut = tmp_path / "cut.mp4"
    with av.open(str(hevc)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        keys = 0
        for packet in (p for p in source.demux(video=0) if p.size):
            keys += packet.is_keyframe
            if keys >= 2:
                packet.stream = stream
                target.mux(packet)
    check_all_ways(cut, ffmpeg)


def test_a_recording_that_ends_within_a_frame(film: Film, ffmpeg: Callable[..., bytes]) -> None:
    path = film("a.ts", *H264, filters=f"{NOISE},{BT709}")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.7)])
    expected = luma_of_ffmpeg(path, ffmpeg)
    for way in ("stop", "repeat"):
        reader = FrameReader(path, on_error=way)  # type: ignore[arg-type]
        assert len(reader) == len(list(reader)) == len(expected) - 1
        np.testing.assert_array_equal(luma(reader), expected[:-1])
        assert "it ends within a frame, which is left out" in reader.notes
        assert reader.damaged == []


def test_damage_within_a_transport_stream(film: Film) -> None:
    path = film("a.ts", *H264, filters=f"{NOISE},{BT709}")
    intact = list(FrameReader(path))
    data = path.read_bytes()
    at = len(data) // 2 // 188 * 188
    path.write_bytes(data[: at + 30] + b"\xff" * 188 * 12 + data[at + 188 * 12 + 30 :])  # a burst of noise on the air
    with pytest.raises(VideoDecodeError, match=r"a\.ts: damaged"):
        list(FrameReader(path))
    reader = FrameReader(path, on_error="repeat")
    frames = list(reader)
    by_time = {f.pts_seconds: f.rgb for f in intact}
    assert N - 3 < len(frames) <= N  # a frame whose header is gone is not known: the one before it is shown for longer
    assert 0 < len(reader.damaged) < 12
    for frame in (*frames[:12], *frames[-12:]):
        np.testing.assert_array_equal(frame.rgb, by_time[frame.pts_seconds])


# --- whole or cut short ---------------------------------------------------------------------------------------------

SOUND = ("-f", "lavfi", "-i", "sine=d=2")


@pytest.mark.parametrize("suffix", ["mkv", "webm", "mp4", "mov", "avi", "flv", "ogv", "wmv"])
@pytest.mark.parametrize("keep", [0.4, 0.98])
def test_a_file_that_is_cut_short_is_refused(
    suffix: str, keep: float, ffmpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    """Picture and sound, so that the durations of streams say nothing. By the structure of the container."""
    codecs = {
        "webm": ("libvpx-vp9", "libopus"),
        "ogv": ("libtheora", "libvorbis"),
        "wmv": ("wmv2", "wmav2"),
        "avi": ("libx264", "libmp3lame"),
    }
    video, audio = codecs.get(suffix, ("libx264", "aac"))
    path = tmp_path / f"a.{suffix}"
    front = ("-movflags", "faststart") if suffix in ("mp4", "mov") else ()
    ffmpeg(
        *("-f", "lavfi", "-i", f"testsrc2=s={W}x{H}:r=25:d=2", *SOUND, "-vf", f"{BT709},format=yuv420p"),
        *("-c:v", video, "-c:a", audio, *front, str(path)),
    )
    assert N // 2 < len(FrameReader(path, assume="bt709")) <= N
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(VideoDecodeError, match=rf"a\.{suffix}: cut short: .*(ends|end mark|bytes long)"):
        FrameReader(path, assume="bt709", on_error="repeat")


def test_stale_durations_and_longer_sound_are_no_damage(
    film: Film, ffmpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    path = film("plain.mkv", *H264)
    stale = tmp_path / "stale.mkv"
    ffmpeg("-i", str(path), "-c", "copy", "-metadata:s:v:0", "DURATION-eng=00:09:56.45", str(stale))
    assert len(FrameReader(stale)) == N
    for suffix, video, audio in (("wmv", "wmv2", "wmav2"), ("avi", "mpeg4", "mp3"), ("mkv", "libx264", "aac")):
        longer = tmp_path / f"longer.{suffix}"
        ffmpeg(
            *("-f", "lavfi", "-i", f"testsrc2=s={W}x{H}:r=25:d=2", "-f", "lavfi", "-i", "sine=d=5"),
            *("-vf", f"{BT709},format=yuv420p", "-c:v", video, "-c:a", audio, str(longer)),
        )
        assert len(list(FrameReader(longer, assume="bt709"))) == N


def test_a_live_recording_without_sizes(film: Film, ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    path, live = film("plain.mkv", *H264), tmp_path / "live.mkv"
    live.write_bytes(ffmpeg("-i", str(path), "-c", "copy", "-f", "matroska", "-live", "1", "-"))
    assert len(FrameReader(live)) == N
    live.write_bytes(live.read_bytes()[:-1000])
    with pytest.raises(VideoDecodeError, match="cut short"):
        FrameReader(live)


def test_times_that_go_back_begin_at_the_first(film: Film, tmp_path: Path) -> None:
    """Two recordings spliced so that they overlap: nominal times from the first frame on, none before the start."""
    first, second = (film(f"{i}.ts", "-c:v", "libx264", "-output_ts_offset", str(1.5 * i)) for i in range(2))
    path = tmp_path / "spliced.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    reader = FrameReader(path, expect="sdr", on_error="repeat")
    times = [frame.pts_seconds for frame in reader]
    assert times == [Fraction(i, 25) for i in range(len(reader))]
    assert len(times) >= 2 * N - 2


def test_decoders_side_by_side_do_not_take_each_others_marks(film: Film) -> None:
    """PyAV keeps the marks of all decoders in one place."""
    path = film("b.avi", "-c:v", "mpeg4", "-bf", "2")
    with Decoder(path, threads=False) as alone:
        expected = [frame.opaque for frame in alone.frames()]
    with Decoder(path, threads=False) as decoder:
        frames = decoder.frames()
        marks = [next(frames).opaque]
        with Decoder(path, threads=False) as other:
            assert [frame.opaque for frame in other.frames()] == expected
        marks += [frame.opaque for frame in frames]
    assert marks == expected
