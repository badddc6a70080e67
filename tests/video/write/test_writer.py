"""Writing HDR10: exact planes, right tags in three probes, measured light levels, sound, and no debris."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import vitm.video.write.writer as writer_module
from tests.video.material import HDR10, planes_420
from vitm.video import (
    P3_D65_1000_NITS,
    FrameReader,
    HDR10Writer,
    StreamWarning,
    VideoDecodeError,
    WriteError,
    open_writer,
    probe,
)
from vitm.video.codecs import make_codec
from vitm.video.codecs.h265 import HEVC
from vitm.video.planes import Codes, Float, frame_planes, rgb_to_planes
from vitm.video.write.writer import VideoWriter

FAST = {"preset": "ultrafast", "crf": 10}


def pq_nits(code: np.ndarray) -> np.ndarray:
    """ST 2084, equation 4.1, as printed."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    p = np.asarray(code, np.float64) ** (1 / m2)
    return 10_000 * (np.maximum(p - c1, 0) / (c2 - c3 * p)) ** (1 / m1)


def random_frames(n: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [(rng.random((height, width, 3), dtype=np.float32) * (0.4 + 0.05 * i)) for i in range(n)]


def write(path: Path, frames: Iterable[np.ndarray], fps: Fraction | int = 24, **options: object) -> HDR10Writer:
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    with HDR10Writer(path, width, height, fps, **{**FAST, **options}) as writer:  # type: ignore[arg-type]
        writer.write(first)
        for frame in frames:
            writer.write(frame)
    return writer


def stored_planes(path: Path) -> list[tuple[np.ndarray, ...]]:
    with av.open(str(path)) as container:
        return [tuple(np.array(p) for p in frame_planes(f)) for f in container.decode(video=0)]


# --- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_lossless_writing_keeps_every_code(suffix: str, n: int, tmp_path: Path) -> None:
    frames = random_frames(n, 50, 66)  # no multiple of the coding units
    write(tmp_path / f"a{suffix}", frames, lossless=True)
    stored = stored_planes(tmp_path / f"a{suffix}")
    assert len(stored) == len(FrameReader(tmp_path / f"a{suffix}")) == n
    for planes, frame in zip(stored, frames, strict=True):
        for got, expected in zip(planes, rgb_to_planes(frame), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_all_codes_of_white_to_black_survive(tmp_path: Path) -> None:
    """877 grey steps, one a 2x2 block: lossless writing and reading gives each its own code back."""
    codes = np.resize(np.arange(64, 941), (32, 32)).repeat(2, axis=0).repeat(2, axis=1)
    grey = ((codes - 64) / 876).astype(np.float32)[..., None].repeat(3, axis=2)
    write(tmp_path / "a.mp4", [grey], lossless=True)
    (planes,) = stored_planes(tmp_path / "a.mp4")
    np.testing.assert_array_equal(planes[0], codes)
    (frame,) = FrameReader(tmp_path / "a.mp4", expect="hdr10")
    np.testing.assert_allclose(frame.rgb, grey, atol=1e-6)


def test_zscale_reads_what_we_write(tmp_path: Path, zscale_rgb: Callable[..., np.ndarray]) -> None:
    """A picture that is flat in blocks of 8: away from their borders there is no chroma interpolation to differ in."""
    blocks = np.random.default_rng(1).random((6, 8, 3), dtype=np.float32).repeat(8, axis=0).repeat(8, axis=1)
    write(tmp_path / "a.mp4", [blocks], lossless=True)
    got = zscale_rgb(tmp_path / "a.mp4", 64, 48, 1)[0]
    inner = (slice(3, None, 8), slice(3, None, 8))
    # half a code of Y and of C: 0.5 / 876 + 1.8814 x 0.5 / 896 in blue
    assert np.abs(got[inner] - blocks[inner]).max() < 0.5 / 876 + 1.8814 * 0.5 / 896 + 1e-5


@pytest.mark.parametrize("planar", [False, True])
def test_tensors_and_arrays_are_the_same(planar: bool, tmp_path: Path) -> None:
    (frame,) = random_frames(1)
    tensor = torch.from_numpy(frame).permute(2, 0, 1)
    write(tmp_path / "a.mp4", [frame], lossless=True)
    with HDR10Writer(tmp_path / "b.mp4", 64, 48, 24, preset="ultrafast", lossless=True) as writer:
        writer.write((tensor.contiguous() if planar else tensor).requires_grad_())
    for a, b in zip(stored_planes(tmp_path / "a.mp4")[0], stored_planes(tmp_path / "b.mp4")[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_values_outside_are_clipped(tmp_path: Path) -> None:
    write(
        tmp_path / "a.mp4", [np.full((48, 64, 3), 1.5, np.float32), np.full((48, 64, 3), -1, np.float32)], lossless=True
    )
    white, black = stored_planes(tmp_path / "a.mp4")
    assert [int(p.min()) for p in white] == [int(p.max()) for p in white] == [940, 512, 512]
    assert [int(p.min()) for p in black] == [int(p.max()) for p in black] == [64, 512, 512]


class Inverted(HEVC):
    """A codec of somebody's own, which makes planes of arrays."""

    def planes(self, hdr_pq: Float) -> tuple[Codes, Codes, Codes]:
        return rgb_to_planes(1 - hdr_pq)


@pytest.mark.parametrize("codec", ["hevc", "hlg", "prores", "own"])
def test_packed_frames_are_stored_as_others(codec: str, tmp_path: Path) -> None:
    """On a device, as a GPU's are: the same codes, but where a value is half-way between two; the same light."""
    coder = Inverted() if codec == "own" else make_codec(codec)
    plain, packed = (VideoWriter(tmp_path / f"{name}.mov", coder, 64, 48, 24) for name in ("plain", "packed"))
    stored: dict[VideoWriter, list[Codes]] = {plain: [], packed: []}
    for writer in stored:
        writer._put = lambda planes, ticks, to=stored[writer]: to.extend(planes)  # type: ignore[method-assign]
    for frame in random_frames(3):
        frame[0, 0], frame[1, 1] = 1.5, -0.5
        plain.write(frame)
        packed.write(packed.pack(torch.from_numpy(frame).permute(2, 0, 1)))
    for a, b in zip(*stored.values(), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert np.abs(a.astype(int) - b).max() <= 1
        assert (a != b).mean() < 2e-3
    assert packed.max_cll == plain.max_cll == 10_000
    assert packed.max_fall == pytest.approx(plain.max_fall, rel=1e-4)
    with pytest.raises(ValueError, match="frame 3: holds NaN or infinity"):
        packed.write(packed.pack(torch.full((3, 48, 64), torch.nan)))
    plain.abort()
    packed.abort()


def test_packed_frames_are_small(tmp_path: Path) -> None:
    """What is copied back from a GPU: a quarter of fp32 for 4:2:0 in 10 bits, and three numbers."""
    writer = VideoWriter(tmp_path / "a.mp4", HEVC(), 64, 48, 24)
    assert len(writer.pack(torch.rand(3, 48, 64))) == 48 * 64 * 3 + 12
    writer.abort()


# --- metadata -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_light_levels_are_those_of_the_frames(suffix: str, tmp_path: Path) -> None:
    frames = random_frames(6)
    frames[2][10, 20] = (0.3, 0.81, 0.5)  # the brightest pixel
    path = tmp_path / f"a{suffix}"
    writer = write(path, frames, mastering=P3_D65_1000_NITS, x265_params={"keyint": "2"})
    brightest = [pq_nits(f.max(axis=2)) for f in frames]
    max_cll, max_fall = max(b.max() for b in brightest), max(b.mean() for b in brightest)
    assert writer.max_cll == pytest.approx(max_cll, rel=1e-5)
    assert writer.max_fall == pytest.approx(max_fall, rel=2e-4)
    info = probe(path)
    assert (info.max_cll, info.max_fall) == (round(max_cll), round(max_fall))
    assert info.mastering_display == P3_D65_1000_NITS
    with av.open(str(path)) as container:  # at every key frame, since players start anywhere
        levels = {
            bytes(d)[:8] for f in container.decode(video=0) for d in f.side_data if "CONTENT_LIGHT" in str(d.type)
        }
    assert levels == {np.array([round(max_cll), round(max_fall)], "<u4").tobytes()}
    assert b"\x90\x04\x03\xe8\x01\x90" not in path.read_bytes()  # the placeholder is gone everywhere


@pytest.mark.parametrize(("cll", "fall"), [(256, 2), (0, 0), (1000, 3)])
def test_light_levels_that_need_emulation_prevention(
    cll: int, fall: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HDR10Writer, "_measure", lambda self, _: vars(self).update(max_cll=cll, max_fall=fall))
    write(tmp_path / "a.mp4", random_frames(4))
    info = probe(tmp_path / "a.mp4")
    assert (info.max_cll, info.max_fall) == (cll, fall)
    assert len(list(FrameReader(tmp_path / "a.mp4"))) == 4


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_tags_rate_and_aspect(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, random_frames(5), fps=Fraction(24000, 1001), sample_aspect_ratio=Fraction(4, 3))
    info = FrameReader(path, expect="hdr10").info
    assert (info.matrix, info.transfer, info.primaries, info.full_range) == ("bt2020", "pq", "bt2020", False)
    assert (info.width, info.height, info.n_frames, info.bit_depth) == (64, 48, 5, 10)
    assert (info.fps, info.sample_aspect_ratio, info.chroma_location) == (
        Fraction(24000, 1001),
        Fraction(4, 3),
        "topleft",
    )
    tick = Fraction(1, 1000) if suffix == ".mkv" else 0  # Matroska counts milliseconds
    for frame in FrameReader(path):
        assert frame.pts_seconds is not None
        assert abs(frame.pts_seconds - frame.index * Fraction(1001, 24000)) <= tick


def test_ffmpeg_names_the_file_hdr10(tmp_path: Path) -> None:
    exe = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    write(tmp_path / "a.mp4", random_frames(5), fps=Fraction(24000, 1001))
    text = subprocess.run([exe, "-i", str(tmp_path / "a.mp4")], capture_output=True, text=True, check=False).stderr
    for words in ("hevc (Main 10) (hvc1", "yuv420p10le(tv, bt2020nc/bt2020/smpte2084", "64x48", "23.98 fps"):
        assert words in text


def test_ffprobe_and_mediainfo_agree(tmp_path: Path) -> None:
    if not (shutil.which("ffprobe") and shutil.which("mediainfo")):
        pytest.skip("needs ffprobe and mediainfo")
    path = tmp_path / "a.mp4"
    writer = write(path, random_frames(5))
    command = ["ffprobe", "-v", "error", "-show_frames", "-read_intervals", "%+#1", "-of", "json", str(path)]
    frame = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["frames"][0]
    assert (frame["color_transfer"], frame["color_primaries"], frame["color_space"]) == (
        "smpte2084",
        "bt2020",
        "bt2020nc",
    )
    assert (frame["color_range"], frame["chroma_location"], frame["pix_fmt"]) == ("tv", "topleft", "yuv420p10le")
    side = {d["side_data_type"]: d for d in frame["side_data_list"]}
    assert side["Content light level metadata"]["max_content"] == round(writer.max_cll)
    assert side["Content light level metadata"]["max_average"] == round(writer.max_fall)
    assert side["Mastering display metadata"]["max_luminance"] == "10000000/10000"
    assert side["Mastering display metadata"]["red_x"] == "35400/50000"
    text = subprocess.run(["mediainfo", str(path)], capture_output=True, text=True, check=True).stdout
    assert "HDR10 compatible" in text
    assert f"{round(writer.max_cll)} cd/m2" in text


# --- times and sound ------------------------------------------------------------------------------------------------


def packets_of(path: Path, kind: str = "audio") -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [(p.pts * p.time_base, bytes(p)) for p in container.demux(stream) if p.size]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_the_sound_is_copied(suffix: str, tmp_path: Path, sine: Callable[..., Path]) -> None:
    tone = sine("tone.m4a")
    write(tmp_path / f"a{suffix}", random_frames(24), streams_from=tone)
    assert probe(tmp_path / f"a{suffix}").has_audio
    before, after = packets_of(tone), packets_of(tmp_path / f"a{suffix}")
    assert [data for _, data in after] == [data for _, data in before]
    assert (
        max(abs((a - b) - (after[0][0] - before[0][0])) for (a, _), (b, _) in zip(after, before, strict=True)) <= 1e-3
    )
    assert abs(after[0][0] - max(before[0][0], 0)) < 0.025  # at most the encoder's delay of 1024 samples
    with av.open(str(tmp_path / f"a{suffix}")) as container:
        samples = np.concatenate([f.to_ndarray() for f in container.decode(audio=0)], axis=1)
    spectrum = np.abs(np.fft.rfft(samples[0, :48_000]))
    assert spectrum.argmax() * 48_000 / len(samples[0, :48_000]) == pytest.approx(440, abs=2)


def test_a_real_clip_keeps_its_sound_and_its_times(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "clips" / "hdr10-av1.mp4"
    reader = FrameReader(source, expect="hdr10")
    path = tmp_path / "a.mp4"
    with HDR10Writer(path, 64, 48, reader.info.fps or 30, preset="ultrafast", streams_from=source) as writer:
        for frame in reader.read(range(10)):
            writer.write(np.ascontiguousarray(frame.rgb[:48, :64]), pts=frame.pts_seconds)
    assert packets_of(path) == packets_of(source)
    for got, expected in zip(FrameReader(path), reader.read(range(10)), strict=True):
        assert got.pts_seconds == expected.pts_seconds


def test_sound_stays_in_step_with_a_file_that_starts_late(
    tmp_path: Path, sine: Callable[..., Path], make_video: Callable[..., Path], ffmpeg: Callable[..., bytes]
) -> None:
    """A transport stream starts at 1.4 s or so; both streams must be moved by the same time."""
    video = make_video("v.mp4", planes_420(24), codec="libx265", tags=HDR10, options={"x265-params": "log-level=none"})
    source = tmp_path / "late.ts"
    ffmpeg("-i", str(video), "-i", str(sine("tone.m4a")), "-c", "copy", str(source))
    distance = packets_of(source)[0][0] - min(t for t, _ in packets_of(source, "video"))
    assert min(t for t, _ in packets_of(source, "video")) > 1
    with HDR10Writer(tmp_path / "a.mkv", 64, 48, 24, preset="ultrafast", streams_from=source) as writer:
        for frame in FrameReader(source):
            writer.write(frame.rgb, pts=frame.pts_seconds)
    video_start = min(t for t, _ in packets_of(tmp_path / "a.mkv", "video"))
    assert video_start < 0.1
    assert abs(packets_of(tmp_path / "a.mkv")[0][0] - video_start - distance) <= 2e-3


def test_a_variable_frame_rate_is_kept(tmp_path: Path) -> None:
    times = [Fraction(t, 1000) for t in (0, 40, 60, 160, 200, 333)]
    with HDR10Writer(tmp_path / "a.mp4", 64, 48, 25, preset="ultrafast") as writer:
        for frame, time in zip(random_frames(6), times, strict=True):
            writer.write(frame, pts=time)
    assert [f.pts_seconds for f in FrameReader(tmp_path / "a.mp4")] == times


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_late_first_frame_keeps_its_exact_time(suffix: str, tmp_path: Path) -> None:
    """Edit lists count in ticks of the movie, by default milliseconds."""
    times = [Fraction(1001 * i, 30000) for i in (1, 2, 3, 5)]
    with HDR10Writer(tmp_path / f"a{suffix}", 64, 48, Fraction(30000, 1001), preset="ultrafast") as writer:
        for frame, time in zip(random_frames(4), times, strict=True):
            writer.write(frame, pts=time)
    assert sorted(t for t, _ in packets_of(tmp_path / f"a{suffix}", "video")) == times


def test_times_must_ascend(tmp_path: Path) -> None:
    writer = HDR10Writer(tmp_path / "a.mp4", 64, 48, 25, preset="ultrafast")
    writer.write(random_frames(1)[0], pts=0.04)
    with pytest.raises(ValueError, match=r"frame 1: time 0\.040000 s does not come after 0\.040000"):
        writer.write(random_frames(1)[0], pts=0.04)
    writer.abort()
    assert not list(tmp_path.iterdir())


def test_sound_that_the_container_cannot_hold(tmp_path: Path, sine: Callable[..., Path]) -> None:
    """It is named, and never fails the film."""
    tone = sine("tone.wav", codec="pcm_u8")
    with pytest.warns(
        StreamWarning, match=r"audio stream 0 \(pcm_u8\): \.mp4 cannot hold it; an \.mkv can; audio='tran"
    ):
        writer = write(tmp_path / "a.mp4", random_frames(2), streams_from=tone)
    assert len(writer.dropped) == 1
    assert not probe(tmp_path / "a.mp4").has_audio
    write(tmp_path / "a.mkv", random_frames(2), streams_from=tone)
    assert probe(tmp_path / "a.mkv").has_audio
    with pytest.raises(FileNotFoundError, match=r"none\.wav"):
        HDR10Writer(tmp_path / "b.mp4", 64, 48, 24, streams_from=tmp_path / "none.wav")
    (tmp_path / "text.wav").write_text("no sound " * 50)
    with pytest.raises(VideoDecodeError, match=r"text\.wav: cannot be read"):
        HDR10Writer(tmp_path / "b.mp4", 64, 48, 24, streams_from=tmp_path / "text.wav")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mkv", "a.mp4", "text.wav", "tone.wav"]


@pytest.mark.parametrize(("codec", "name"), [("pcm_u8", "tone.wav"), ("wmav2", "tone.wma"), ("libvorbis", "tone.ogg")])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_becomes_aac_where_the_container_demands_it(
    codec: str, name: str, suffix: str, tmp_path: Path, ffmpeg: Callable[..., bytes]
) -> None:
    tone, out = tmp_path / name, tmp_path / f"a{suffix}"
    ffmpeg("-f", "lavfi", "-i", "sine=440:d=1:r=48000", "-c:a", codec, str(tone))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StreamWarning)
        with open_writer(out, 64, 48, 24, streams_from=tone, audio="transcode") as writer:
            for frame in random_frames(24):
                writer.write(frame)
    with av.open(str(out)) as container:
        kept = container.streams.audio[0].codec_context.name
    assert kept in (codec, "vorbis", "aac")
    assert any("it becomes AAC" in words for words in writer.dropped) == (kept == "aac")
    raw = ffmpeg("-i", str(out), "-vn", "-ac", "1", "-ar", "48000", "-f", "f32le", "-")  # as FFmpeg hears it
    samples = np.frombuffer(raw, np.float32)
    source = ffmpeg("-i", str(tone), "-ac", "1", "-ar", "48000", "-f", "f32le", "-")
    assert abs(len(samples) - len(source) // 4) <= 1024  # AAC's frames are of 1024 samples
    spectrum = np.abs(np.fft.rfft(samples[:48_000]))
    assert spectrum.argmax() * 48_000 / len(samples[:48_000]) == pytest.approx(440, abs=2)


def test_sound_is_left_out_as_asked(tmp_path: Path, sine: Callable[..., Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StreamWarning)
        with open_writer(tmp_path / "a.mp4", 64, 48, 24, streams_from=sine("tone.m4a"), audio="drop") as writer:
            writer.write(random_frames(1)[0])
    assert not probe(tmp_path / "a.mp4").has_audio
    assert "left out, as asked" in writer.dropped[0]
    with pytest.raises(ValueError, match="audio='mute': expected one of copy, transcode, drop"):
        open_writer(tmp_path / "b.mp4", 64, 48, 24, streams_from=tmp_path / "tone.m4a", audio="mute")


def test_a_source_without_sound_gives_none(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    silent = make_video("s.mkv", planes_420(2), tags=HDR10)
    write(tmp_path / "a.mp4", random_frames(2), streams_from=silent)
    assert not probe(tmp_path / "a.mp4").has_audio


# --- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": "a.avi"}, r"cannot write '\.avi'"),
        ({"width": 65}, "even width and height"),
        ({"height": 47}, "even width and height"),
        ({"width": 0}, "at least 64x32"),
        ({"fps": 0}, "positive"),
        ({"crf": 52}, "crf=52"),
        ({"preset": "quick"}, "superfast"),
        ({"x265_params": {"max-cll": "1,1"}}, "max-cll are set by the writer"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str, tmp_path: Path) -> None:
    good: dict[str, object] = {"path": "a.mp4", "width": 64, "height": 48, "fps": 24}
    given = good | arguments
    with pytest.raises(ValueError, match=message):
        HDR10Writer(tmp_path / str(given.pop("path")), **given)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((48, 62, 3), np.float32), r"\(48, 62, 3\); expected floating point \(48, 64, 3\)"),
        (np.zeros((48, 64, 3), np.uint16), "uint16 array"),
        (torch.zeros(48, 64, 3), r"expected floating point \(3, 48, 64\)"),
        (np.full((48, 64, 3), np.nan, np.float32), "frame 1: holds NaN"),
    ],
)
def test_bad_frames_leave_nothing_behind(frame: np.ndarray | torch.Tensor, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "a.mp4", [random_frames(1)[0], frame])  # type: ignore[list-item]
    assert not list(tmp_path.iterdir())


def test_an_exception_keeps_the_older_file(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"the older file")

    def interrupted() -> Iterator[np.ndarray]:
        yield from random_frames(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.mp4", interrupted())
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.mp4", b"the older file")]
    write(tmp_path / "a.mp4", random_frames(2))
    assert probe(tmp_path / "a.mp4").n_frames == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_no_frames_no_file(tmp_path: Path) -> None:
    writer = HDR10Writer(tmp_path / "a.mp4", 64, 48, 24)
    with pytest.raises(WriteError, match="no frame was written"):
        writer.close()
    assert not list(tmp_path.iterdir())


def test_writing_after_the_end(tmp_path: Path) -> None:
    writer = write(tmp_path / "a.mp4", random_frames(1))
    writer.close()
    with pytest.raises(WriteError, match="closed"):
        writer.write(random_frames(1)[0])


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WriteError, match="there is no folder"):
        HDR10Writer(tmp_path / "none" / "a.mp4", 64, 48, 24)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(WriteError, match="is a folder"):
        HDR10Writer(tmp_path / "folder.mp4", 64, 48, 24)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(WriteError, match="no permission to write"):
        HDR10Writer(tmp_path / "a.mp4", 64, 48, 24)


FULL = """
import resource, sys
import numpy as np
from vitm.video import HDR10Writer, WriteError
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
rng = np.random.default_rng(0)
try:
    with HDR10Writer(sys.argv[1], 128, 128, 24, preset="ultrafast", lossless=True) as writer:
        for _ in range(12):
            writer.write(rng.random((128, 128, 3), dtype=np.float32))
except WriteError as error:
    print(error.errno, error)
"""


@pytest.mark.slow
def test_a_write_that_fails_midway(tmp_path: Path) -> None:
    """The system refuses files over 200 kB: the same way out as a full disk."""
    command = [sys.executable, "-c", FULL, str(tmp_path / "a.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{errno.EFBIG} cannot write {tmp_path / 'a.mp4'}: the file would be larger")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_at_the_last_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer_module, "finish", full)
    with pytest.raises(WriteError, match="the disk is full; there is no output") as error:
        write(tmp_path / "a.mp4", random_frames(1))
    assert error.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())
