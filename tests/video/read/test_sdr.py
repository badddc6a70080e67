"""SDR of every standard as BT.709: against FFmpeg's zscale, which goes by the light of displays as well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.video.material import BT709, planes_420
from vitm.color import srgb_eotf
from vitm.video import FrameReader, StreamInfo, VideoTagError
from vitm.video.read.sdr import to_bt709
from vitm.video.tags import replace_tags, usual_colours

NOTHING = {"color_primaries": 2, "color_trc": 2, "colorspace": 2, "color_range": 0}
# FFmpeg's codes of primaries, transfer and matrix
STANDARDS = {
    "bt601-625": (5, 6, 5),
    "bt601-525": (6, 6, 6),
    "gamma22": (1, 4, 1),
    "bt2020-sdr": (9, 14, 9),
    "display-p3": (12, 13, 1),
}
OTHERS = {
    "gamma 2.8": (5, 5, 5),
    "xvYCC": (1, 11, 1),
    "matrix of 601 alone": (1, 1, 6),
    "all of 601 but the matrix": (5, 6, 1),
}


def tags(codes: tuple[int, int, int], full: bool = False) -> dict[str, int]:
    return dict(zip(("color_primaries", "color_trc", "colorspace"), codes, strict=True)) | {"color_range": 1 + full}


def zscaled(path: Path, ffmpeg: Callable[..., bytes]) -> np.ndarray:
    """The first frame as R'G'B' of BT.709; zscale clips what lies outside."""
    to_709 = "zscale=matrix=gbr:primaries=709:transfer=709:range=full:filter=bilinear:dither=none,format=gbrpf32le"
    raw = ffmpeg("-i", str(path), "-frames:v", "1", "-vf", to_709, "-f", "rawvideo", "-")
    return np.frombuffer(raw, np.float32).reshape(3, 48, 64)[(2, 0, 1), ...].transpose(1, 2, 0)


@pytest.mark.parametrize("codes", [*STANDARDS.values(), *OTHERS.values()], ids=[*STANDARDS, *OTHERS])
@pytest.mark.parametrize("full", [False, True])
def test_conversion_agrees_with_zscale(
    codes: tuple[int, int, int], full: bool, make_video: Callable[..., Path], ffmpeg: Callable[..., bytes]
) -> None:
    path = make_video("a.mkv", planes_420(1), tags=tags(codes, full))
    stored, frame = next(iter(FrameReader(path))).rgb, next(iter(FrameReader(path, expect="sdr"))).rgb
    inside = ((stored >= 0) & (stored <= 1) & (frame >= 0) & (frame <= 1)).all(axis=2)  # zscale clips all others
    assert inside.mean() > 0.1
    assert np.abs(frame - zscaled(path, ffmpeg))[inside].max() * 1023 < 0.3


def test_srgb_by_its_own_definition() -> None:
    """The light of IEC 61966-2-1, coded for the display of BT.1886."""
    codes = np.linspace(0, 1, 256, dtype=np.float32).reshape(1, 256, 1).repeat(3, axis=2)
    info = StreamInfo(Path("x"), "video", 256, 1, 1, None, 8, "rgb24", "rgb", None, "rgb", True, "srgb", "bt709")
    expected = srgb_eotf(torch.from_numpy(codes)).numpy() ** (1 / 2.4)
    np.testing.assert_allclose(to_bt709(codes, info), expected, atol=2e-6)


def test_colours_outside_and_codes_above_white_are_kept(make_video: Callable[..., Path]) -> None:
    """Green of BT.2020 is less than no red in BT.709; code 255 is above white."""
    y, cb, cr = (np.full((48, 64), 64 + round(876 * 0.678), np.uint16), *(np.zeros((24, 32), np.uint16),) * 2)
    cb[:], cr[:] = 512 - round(896 * 0.678 / 1.8814), 512 - round(896 * 0.678 / 1.4746)
    path = make_video("green.mkv", [(y, cb, cr)], tags=tags((9, 14, 9)))
    red, green, blue = next(iter(FrameReader(path, expect="sdr"))).rgb[20, 20]
    assert red < -0.5
    assert green > 1
    assert blue < 0
    y[:], cb[:], cr[:] = 1019, 512, 512
    white = make_video("white.mkv", [(y, cb, cr)], tags=tags((9, 14, 9)))
    np.testing.assert_allclose(next(iter(FrameReader(white, expect="sdr"))).rgb, (1019 - 64) / 876, atol=1e-4)


def test_without_a_role_codes_stay(make_video: Callable[..., Path], zscale_rgb: Callable[..., np.ndarray]) -> None:
    path = make_video("a.mkv", planes_420(1), tags=tags((5, 6, 5)))
    reader = FrameReader(path)
    assert np.abs(next(iter(reader)).rgb - zscale_rgb(path, 64, 48, 1)[0]).max() * 1023 < 0.01
    assert reader.notes == []
    assert FrameReader(path, expect="sdr").notes == ["bt601 with bt470bg primaries is converted to BT.709"]


def test_equal_functions_change_no_code(make_video: Callable[..., Path]) -> None:
    paths = [make_video(f"{t}.mkv", planes_420(1), tags=tags((1, t, 1))) for t in (1, 6, 14, 15, 11)]
    frames = [next(iter(FrameReader(path, expect="sdr"))).rgb for path in paths]
    for other in frames[1:]:
        np.testing.assert_array_equal(other, frames[0])


@pytest.mark.parametrize("name", STANDARDS)
def test_assume_is_as_tagged(name: str, make_video: Callable[..., Path]) -> None:
    bare = make_video("bare.mkv", planes_420(1), tags=NOTHING)
    tagged = make_video("tagged.mkv", planes_420(1), tags=tags(STANDARDS[name]))
    got = next(iter(FrameReader(bare, assume=name, expect="sdr")))  # type: ignore[arg-type]
    np.testing.assert_array_equal(got.rgb, next(iter(FrameReader(tagged, expect="sdr"))).rgb)
    wrong = make_video("wrong.mkv", planes_420(1), tags=BT709)
    got = next(iter(FrameReader(wrong, override=name, expect="sdr")))
    np.testing.assert_array_equal(got.rgb, next(iter(FrameReader(tagged, expect="sdr"))).rgb)


@pytest.mark.parametrize(
    ("width", "height", "rotation", "name"),
    [
        (720, 480, 0, "bt601-525"),
        (720, 486, 0, "bt601-525"),
        (352, 240, 0, "bt601-525"),
        (320, 180, 0, "bt601-525"),
        (720, 576, 0, "bt601-625"),
        (352, 288, 0, "bt601-625"),
        (576, 720, 90, "bt601-625"),
        (1280, 720, 0, "bt709"),
        (1280, 534, 0, "bt709"),
        (1920, 1080, 0, "bt709"),
    ],
)
def test_the_rule_of_auto(width: int, height: int, rotation: int, name: str) -> None:
    facts = (Path("x"), "video", width, height, 1, None, 8, "yuv420p", "4:2:0", "left", None, None, None, None)
    assert usual_colours(StreamInfo(*facts, rotation=rotation)) == name  # type: ignore[arg-type]


def test_auto_and_jpeg(ffmpeg: Callable[..., bytes], tmp_path: Path) -> None:
    """Motion JPEG is tagged BT.601, full range, and nothing else."""
    path = tmp_path / "a.avi"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:d=0.2", "-pix_fmt", "yuvj420p", "-c:v", "mjpeg", str(path))
    with pytest.raises(VideoTagError, match="no transfer tag"):
        FrameReader(path, expect="sdr")
    reader = FrameReader(path, expect="sdr", assume="auto")
    info = reader.info
    assert (info.matrix, info.transfer, info.primaries, info.full_range) == ("bt470bg", "srgb", "bt709", True)
    assert len(list(reader)) == 5


def test_overriding_the_range(make_video: Callable[..., Path]) -> None:
    path = make_video("a.mkv", planes_420(1), tags=BT709)
    full = make_video("full.mkv", planes_420(1), tags=BT709 | {"color_range": 2})
    for way in ("full", "bt709,full"):
        got = next(iter(FrameReader(path, override=way)))
        np.testing.assert_array_equal(got.rgb, next(iter(FrameReader(full))).rgb)
    assert FrameReader(full, override="bt709").info.full_range is True
    with pytest.raises(ValueError, match="override='bt7009': expected one of bt709, "):
        FrameReader(path, override="bt7009")


def test_override_of_rgb_keeps_the_matrix() -> None:
    info = StreamInfo(Path("x"), "video", 4, 4, 1, None, 8, "gbrp", "rgb", None, "rgb", True, "bt709", "bt709")
    assert replace_tags(info, "srgb").matrix == "rgb"
    assert replace_tags(info, "srgb").transfer == "srgb"
