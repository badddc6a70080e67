"""Reading: against zscale on real files, and every way in which a file can be wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.video.material import BT709, HDR10, HLG, planes_420
from vitm.video import FrameReader, VideoDecodeError, VideoTagError, probe, verify

TEN_BIT = 1023.0


@pytest.fixture
def hdr_mp4(make_video: Callable[..., Path]) -> Path:
    """24 frames of HEVC with a key frame every 8, index in front."""
    return make_video(
        "hdr.mp4",
        planes_420(24),
        codec="libx265",
        tags=HDR10,
        options={"preset": "ultrafast", "x265-params": "log-level=none:keyint=8:crf=4"},
        container_options={"movflags": "faststart"},
    )


@pytest.fixture
def sdr_mp4(make_video: Callable[..., Path]) -> Path:
    return make_video(
        "sdr.mp4",
        planes_420(24, bits=8),
        pix_fmt="yuv420p",
        codec="libx264",
        tags=BT709,
        options={"g": "8", "crf": "4"},
        container_options={"movflags": "faststart"},
    )


# --- right values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a_hdr10", "a_sdr", "b_offset_and_bars_hdr10", "b_offset_and_bars_sdr"])
def test_real_pairs_agree_with_zscale(name: str, shared: Path, zscale_rgb: Callable[..., np.ndarray]) -> None:
    path = shared / "data" / "pairs" / f"{name}.mp4"
    expected = zscale_rgb(path, 640, 360, 3)
    reader = FrameReader(path, expect="hdr10" if "hdr10" in name else "sdr")
    for frame, reference in zip(reader, expected, strict=False):
        assert frame.rgb.dtype == np.float32
        assert np.abs(frame.rgb - reference).max() * TEN_BIT < 0.01
    assert frame.index == 2


def test_real_phone_clip_agrees_with_zscale(shared: Path, zscale_rgb: Callable[..., np.ndarray]) -> None:
    path = shared / "data" / "clips" / "hdr10-av1.mp4"
    frame = next(iter(FrameReader(path, expect="hdr10")))
    assert np.abs(frame.rgb - zscale_rgb(path, 720, 1280, 1)[0]).max() * TEN_BIT < 0.01


def test_rotated_phone_video_is_upright(shared: Path, zscale_rgb: Callable[..., np.ndarray]) -> None:
    path = shared / "data" / "clips" / "hlg_dolby_vision.mov"
    reader = FrameReader(path, expect="hlg")
    assert (reader.info.width, reader.info.height, reader.info.rotation) == (720, 1280, 90)
    frames = list(reader)
    assert len(frames) == len(reader) == 4  # the edit list leaves out one of the five stored frames
    stored = zscale_rgb(path, 1280, 720, 1, "-noautorotate")[0]
    assert np.abs(frames[0].rgb - stored.transpose(1, 0, 2)[:, ::-1]).max() * TEN_BIT < 0.01
    turned = zscale_rgb(path, 720, 1280, 1)[0]  # FFmpeg turns it before it interpolates the chroma: about the same
    assert np.median(np.abs(frames[0].rgb - turned)) * TEN_BIT < 0.5


@pytest.mark.parametrize("location", ["left", "topleft", "center", "top"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_chroma_siting_is_read(
    location: str, codec: str, ffmpeg: Callable[..., bytes], zscale_rgb: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    path = tmp_path / "a.mp4"
    tags = f"chroma_location={location}:colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=64x48:duration=0.1", "-vf", f"format=yuv420p,setparams={tags}"),
        *("-c:v", codec, "-x265-params", "log-level=none", str(path)),
    )
    reader = FrameReader(path, expect="sdr")
    assert reader.info.chroma_location == location
    assert np.abs(next(iter(reader)).rgb - zscale_rgb(path, 64, 48, 1)[0]).max() * TEN_BIT < 0.01


def test_probe_of_the_pairs(shared: Path) -> None:
    for name, truth in json.loads((shared / "data" / "pairs" / "manifest.json").read_text()).items():
        sdr, hdr = (probe(shared / "data" / "pairs" / f"{name}_{kind}.mp4") for kind in ("sdr", "hdr10"))
        assert sdr.n_frames == truth["frames"] + truth["sdr_leading_frames"]
        assert hdr.n_frames == truth["frames"] - truth["hdr_dropped_leading_frames"]
        for info in (sdr, hdr):
            assert (info.width, info.height, info.fps, info.has_audio) == (640, 360, 24, False)
            assert info.full_range is False
            assert info.duration == Fraction(info.n_frames, 24)
        assert (sdr.bit_depth, sdr.matrix, sdr.transfer, sdr.primaries) == (8, "bt709", "bt709", "bt709")
        assert (hdr.bit_depth, hdr.matrix, hdr.transfer, hdr.primaries) == (10, "bt2020", "pq", "bt2020")
        assert (sdr.chroma_location, hdr.chroma_location) == ("left", "topleft")
        assert hdr.mastering_display is not None
        assert hdr.mastering_display.max_nits == truth["peak_nits"]
        assert hdr.mastering_display.red == (0.708, 0.292)
        assert abs(hdr.max_cll - truth["MaxCLL"]) <= 1
        assert abs(hdr.max_fall - truth["MaxFALL"]) <= 1
        assert sdr.max_cll is None


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_variable_frame_rate_keeps_its_times(suffix: str, make_video: Callable[..., Path]) -> None:
    pts = [0, 40, 60, 160, 200]
    path = make_video(
        f"vfr{suffix}",
        planes_420(5),
        codec="libx265",
        options={"x265-params": "log-level=none", "preset": "ultrafast"},
        tags=HDR10,
        pts=pts,
        time_base=Fraction(1, 1000),
    )
    assert [f.pts_seconds for f in FrameReader(path)] == [Fraction(p, 1000) for p in pts]
    assert [f.pts_seconds for f in FrameReader(path).read([1, 3])] == [Fraction(40, 1000), Fraction(160, 1000)]


# --- random access --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["hdr_mp4", "sdr_mp4"])
def test_read_gives_the_frames_of_the_iteration(which: str, request: pytest.FixtureRequest) -> None:
    reader = FrameReader(request.getfixturevalue(which))
    frames = list(reader)
    assert [f.index for f in frames] == list(range(24))
    assert len(reader) == 24
    for wanted in ([0], [23], [7, 8, 9], [3, 4, 20], list(range(24)), []):
        got = list(reader.read(wanted))
        assert [f.index for f in got] == wanted
        for f in got:
            assert f.pts_seconds == Fraction(f.index, 24) == frames[f.index].pts_seconds
            np.testing.assert_array_equal(f.rgb, frames[f.index].rgb)
    assert len({round(float(f.rgb[:16, :16, 1].mean()), 3) for f in frames}) == 24  # the frames do differ


def test_read_after_an_open_gop(make_video: Callable[..., Path]) -> None:
    """Leading pictures of a key frame refer to the group before: they must not be decoded from the key frame."""
    path = make_video(
        "open.mkv",
        planes_420(40, bits=8),
        pix_fmt="yuv420p",
        codec="libx264",
        tags=BT709,
        options={"x264-params": "keyint=10:min-keyint=10:open-gop=1:bframes=3:b-adapt=0:scenecut=0"},
    )
    reader = FrameReader(path)
    frames = list(reader)
    for i in range(40):
        (got,) = reader.read([i])
        np.testing.assert_array_equal(got.rgb, frames[i].rgb)


def test_readers_run_side_by_side(hdr_mp4: Path) -> None:
    with FrameReader(hdr_mp4) as reader:
        pairs = list(zip(reader, reader, strict=True))
    assert all(a.index == b.index for a, b in pairs)
    assert len(pairs) == 24


def test_read_refuses_bad_indices(hdr_mp4: Path) -> None:
    reader = FrameReader(hdr_mp4)
    with pytest.raises(ValueError, match="ascend"):
        reader.read([3, 2])
    with pytest.raises(IndexError, match="24 frames"):
        reader.read([24])


# --- tags -----------------------------------------------------------------------------------------------------------

UNTAGGED = {"color_primaries": 2, "color_trc": 2, "colorspace": 2, "color_range": 0}


@pytest.mark.parametrize(
    ("tag", "name"),
    [("colorspace", "matrix"), ("color_trc", "transfer"), ("color_primaries", "primaries"), ("color_range", "range")],
)
def test_a_missing_tag_is_never_guessed(tag: str, name: str, make_video: Callable[..., Path]) -> None:
    path = make_video("x.mkv", planes_420(1), tags=HDR10 | {tag: UNTAGGED[tag]})
    with pytest.raises(VideoTagError, match=f"{path}: no {name} tag.*assume='bt2020-pq'"):
        FrameReader(path)
    info = FrameReader(path, assume="bt2020-pq", expect="hdr10").info
    assert (info.matrix, info.transfer, info.primaries, info.full_range) == ("bt2020", "pq", "bt2020", False)


def test_assume_never_changes_a_tag(make_video: Callable[..., Path]) -> None:
    path = make_video("x.mkv", planes_420(1), tags=HDR10 | {"color_primaries": 2})
    info = FrameReader(path, assume="bt709").info
    assert (info.matrix, info.transfer, info.primaries) == ("bt2020", "pq", "bt709")
    with pytest.raises(VideoTagError, match="SDR video was expected"):
        FrameReader(path, assume="bt709", expect="sdr")


def test_assume_decodes_an_untagged_file_as_the_tagged_one(make_video: Callable[..., Path]) -> None:
    tagged = make_video("a.mkv", planes_420(1, bits=8), pix_fmt="yuv420p", tags=BT709)
    bare = make_video("b.mkv", planes_420(1, bits=8), pix_fmt="yuv420p", tags=UNTAGGED)
    (a,), (b,) = FrameReader(tagged), FrameReader(bare, assume="bt709", expect="sdr")
    np.testing.assert_array_equal(a.rgb, b.rgb)


@pytest.mark.parametrize(
    ("tags", "bits", "expect", "message"),
    [
        (HDR10, 10, "sdr", "tagged PQ .*SDR video was expected"),
        (HLG, 10, "sdr", "tagged HLG .*SDR video was expected"),
        (BT709, 10, "hdr10", "tagged bt709 .*hdr10 .*was expected"),
        (HLG, 10, "hdr10", "tagged HLG .*hdr10 "),
        (HDR10, 10, "hlg", "tagged PQ .*hlg "),
        (HDR10, 8, "hdr10", "8-bit HDR"),
        (BT709 | {"color_primaries": 11}, 10, "sdr", "p3-dci primaries, but SDR"),
        (HDR10 | {"color_primaries": 12}, 10, "hdr10", "p3-d65 primaries"),
        (BT709 | {"color_trc": 7}, 8, "sdr", "tagged smpte240m"),
        (BT709 | {"colorspace": 8}, 8, "sdr", "matrix 'H.273 code 8' is not supported"),
        (HDR10 | {"colorspace": 10}, 10, "hdr10", "matrix 'bt2020-cl' is not supported"),
        (HDR10, 10, "linear", "linear frames were expected"),
    ],
)
def test_a_file_must_fit_its_role(
    tags: dict[str, int], bits: int, expect: str, message: str, make_video: Callable[..., Path]
) -> None:
    path = make_video("x.mkv", planes_420(1, bits=bits), pix_fmt="yuv420p" if bits == 8 else "yuv420p10le", tags=tags)
    with pytest.raises(VideoTagError, match=message) as error:
        FrameReader(path, expect=expect)  # type: ignore[arg-type]
    assert str(path) in str(error.value)


def test_the_sdr_transfers_of_h273_are_one(make_video: Callable[..., Path]) -> None:
    for code in (1, 6, 14, 15):
        path = make_video(f"{code}.mkv", planes_420(1), tags=BT709 | {"color_trc": code})
        assert len(list(FrameReader(path, expect="sdr"))) == 1


def test_unknown_words(hdr_mp4: Path) -> None:
    with pytest.raises(ValueError, match=r"expect='hdr'.*sdr, hdr10, hlg, linear"):
        FrameReader(hdr_mp4, expect="hdr")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"assume='bt2020'.*bt709, bt2020-pq"):
        FrameReader(hdr_mp4, assume="bt2020")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="folders"):
        FrameReader(hdr_mp4, fps=24)


# --- damage ---------------------------------------------------------------------------------------------------------


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.mp4"):
        probe(tmp_path / "nothing.mp4")
    text = tmp_path / "text.mp4"
    text.write_text("no video at all " * 100)
    with pytest.raises(VideoDecodeError, match=r"text\.mp4: not a video"):
        probe(text)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(VideoDecodeError, match=r"empty\.mp4: not a video"):
        probe(tmp_path / "empty.mp4")
    with pytest.raises(VideoDecodeError, match="use FrameReader"):
        probe(tmp_path)


def test_no_video_stream(sine: Callable[..., Path]) -> None:
    path = sine("tone.m4a")
    with pytest.raises(VideoDecodeError, match=r"tone\.m4a: no video stream"):
        probe(path)


@pytest.mark.parametrize("which", ["hdr_mp4", "sdr_mp4"])
def test_a_truncated_mp4_is_refused_before_any_work(which: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(which)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(VideoDecodeError, match=rf"{path.name}: cut short: 24 frames .* frame of 0\.\d+ s"):
        FrameReader(path)


def test_a_truncated_mkv_is_refused_before_any_work(make_video: Callable[..., Path]) -> None:
    path = make_video("long.mkv", planes_420(48), tags=HDR10)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(
        VideoDecodeError, match=r"long\.mkv: cut short: its segment ends at byte [\d,]+, the file at [\d,]+"
    ):
        FrameReader(path)


@pytest.mark.parametrize("which", ["hdr_mp4", "sdr_mp4"])
def test_damage_inside_is_found_with_its_time(which: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(which)
    data = bytearray(path.read_bytes())
    for i in np.random.default_rng(0).integers(len(data) * 6 // 10, len(data) * 7 // 10, 40):
        data[i] ^= 0xFF
    path.write_bytes(data)
    reader = FrameReader(path)  # the beginning is whole
    with pytest.raises(VideoDecodeError, match=rf"{path.name}: damaged (after|at) 0\.\d+ s"):
        list(reader)
    with pytest.raises(VideoDecodeError, match="damaged"):
        verify(path)


def test_verify_returns_what_the_file_is(hdr_mp4: Path) -> None:
    assert verify(hdr_mp4, expect="hdr10") == probe(hdr_mp4)


def test_fewer_frames_than_declared(hdr_mp4: Path) -> None:
    """Some damage makes decoders drop a frame without a word; one or two fewer at the end are a container's error."""
    reader = FrameReader(hdr_mp4)
    object.__setattr__(reader.info, "n_frames", 27)
    with pytest.raises(VideoDecodeError, match=r"27 frames are declared, but (only )?24"):
        list(reader)
    object.__setattr__(reader.info, "n_frames", 26)
    assert [f.index for f in reader] == list(range(24))
    assert reader.notes == ["26 frames are declared, and 24 are there"]


def test_interlaced_video_is_refused(ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    path = tmp_path / "i.mp4"
    ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=size=64x48:duration=0.2", "-vf", "setfield=tff", "-pix_fmt", "yuv420p"),
        *("-c:v", "libx264", "-flags", "+ilme+ildct", str(path)),
    )
    with pytest.raises(VideoDecodeError, match="interlaced"):
        probe(path)


def test_a_cover_picture_is_no_video(sine: Callable[..., Path], ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    cover, path = tmp_path / "cover.png", tmp_path / "song.m4a"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48", "-frames:v", "1", str(cover))
    ffmpeg(
        *("-i", str(sine("tone.m4a")), "-i", str(cover), "-map", "0", "-map", "1", "-c", "copy"),
        *("-disposition:v:0", "attached_pic", str(path)),
    )
    with pytest.raises(VideoDecodeError, match="no video stream"):
        probe(path)


def test_leading_frames_cut_by_an_edit_list_are_not_counted(
    shared: Path, ffmpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "cut.mp4"
    ffmpeg("-ss", "1.5", "-i", str(shared / "data" / "pairs" / "a_sdr.mp4"), "-t", "1", "-c", "copy", str(path))
    reader = FrameReader(path, expect="sdr")
    assert len(list(reader)) == len(reader)
    whole = FrameReader(shared / "data" / "pairs" / "a_sdr.mp4")
    (expected,) = whole.read([36])
    np.testing.assert_array_equal(next(iter(reader)).rgb, expected.rgb)


def test_a_copy_with_another_name_reads_the_same(hdr_mp4: Path, tmp_path: Path) -> None:
    odd = tmp_path / "ünïcode naïve %03d.mp4"
    shutil.copy(hdr_mp4, odd)
    assert len(list(FrameReader(odd))) == 24
