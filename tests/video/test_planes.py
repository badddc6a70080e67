"""Raw planes against zscale, NumPy interpolation and the standard's own numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.video.material import BT709, HDR10, fill_frame
from vitm.video import FrameReader, VideoDecodeError
from vitm.video.planes import frame_planes, pixel_layout, planes_to_rgb, rgb_to_planes, upsample_chroma

PLANAR = [f"yuv{c}p{b}" for c in ("420", "422", "444") for b in ("", "10le", "12le")]


def random_planes(name: str, rng: np.random.Generator, width: int = 38, height: int = 22) -> list[np.ndarray]:
    layout = pixel_layout(name)
    across, down = layout.subsampling
    shapes = [(height, width)] + [(-(-height // down), -(-width // across))] * 2
    return [rng.integers(0, 1 << layout.bits, s).astype(layout.dtype) for s in shapes]


@pytest.mark.parametrize("name", [*PLANAR, "yuvj420p", "yuvj444p"])
def test_planar_codes_come_back_exactly(name: str) -> None:
    planes = random_planes(name, np.random.default_rng(0))
    got = frame_planes(fill_frame(38, 22, name, planes))
    for a, b in zip(got, planes, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["gbrp", "gbrp10le", "gbrp12le", "gbrp14le", "gbrp16le"])
def test_planar_rgb_is_reordered(name: str) -> None:
    r, g, b = random_planes(name, np.random.default_rng(1))
    for got, expected in zip(frame_planes(fill_frame(38, 22, name, (g, b, r))), (r, g, b), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("name", "order"), [("rgb24", (0, 1, 2)), ("bgr24", (2, 1, 0)), ("rgb48le", (0, 1, 2))])
def test_packed_rgb(name: str, order: tuple[int, ...]) -> None:
    rgb = np.stack(random_planes(name, np.random.default_rng(2)), axis=2)
    stored = rgb[..., order].reshape(22, -1)
    for i, got in enumerate(frame_planes(fill_frame(38, 22, name, [stored]))):
        np.testing.assert_array_equal(got, rgb[..., i])


@pytest.mark.parametrize(("name", "shift"), [("nv12", 0), ("p010le", 6)])
def test_semiplanar(name: str, shift: int) -> None:
    y, cb, cr = random_planes(name, np.random.default_rng(3))
    pairs = np.stack((cb, cr), axis=2).reshape(cb.shape[0], -1)
    got = frame_planes(fill_frame(38, 22, name, (y << shift, pairs << shift)))
    for a, b in zip(got, (y, cb, cr), strict=True):
        np.testing.assert_array_equal(a, b)


def test_unsupported_format_says_which_are_supported() -> None:
    with pytest.raises(VideoDecodeError, match=r"'yuva420p'.*supported: yuv420p"):
        pixel_layout("yuva420p")


@pytest.mark.parametrize("location", ["left", "topleft", "center", "top"])
@pytest.mark.parametrize("subsampling", [(2, 2), (2, 1)])
def test_upsampling_is_linear_interpolation_at_the_siting(location: str, subsampling: tuple[int, int]) -> None:
    x0 = 0 if "left" in location else 0.5
    y0 = 0 if "top" in location or subsampling[1] == 1 else 0.5
    height, width = 22, 38
    small = np.random.default_rng(4).random((height // subsampling[1], width // 2))
    rows = np.stack([np.interp(np.arange(width), x0 + 2 * np.arange(width // 2), row) for row in small])
    at = y0 + subsampling[1] * np.arange(len(small))
    expected = np.stack([np.interp(np.arange(height), at, column) for column in rows.T], axis=1)
    got = upsample_chroma(small.astype(np.float32), (width, height), subsampling, location)
    np.testing.assert_allclose(got, expected, atol=2e-7)


@pytest.mark.parametrize("name", PLANAR)
@pytest.mark.parametrize("tags", [BT709, HDR10, BT709 | {"color_range": 2}], ids=["bt709", "hdr10", "full"])
def test_decoding_agrees_with_zscale(
    name: str, tags: dict[str, int], make_video: Callable[..., Path], zscale_rgb: Callable[..., np.ndarray]
) -> None:
    """Over every code, also outside the nominal range; bilinear chroma, edges included."""
    path = make_video("x.mkv", [random_planes(name, np.random.default_rng(5), 64, 48)], pix_fmt=name, tags=tags)
    (frame,) = FrameReader(path)
    expected = zscale_rgb(path, 64, 48, 1)[0]
    assert np.abs(frame.rgb - expected).max() * 1023 < 0.01  # ten-bit codes


def test_every_luma_code_follows_table_9() -> None:
    codes = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    grey = np.full((16, 16), 512, np.uint16)
    rgb = planes_to_rgb((codes, grey, grey), pixel_layout("yuv420p10le"), "bt2020", False, "topleft")
    np.testing.assert_allclose(rgb, np.repeat((codes[..., None] - 64.0) / 876.0, 3, axis=2), atol=3e-7)


@pytest.mark.parametrize(
    ("rgb", "codes"),
    [
        ((1, 1, 1), (940, 512, 512)),
        ((0, 0, 0), (64, 512, 512)),
        ((1, 0, 0), (294, 387, 960)),
        ((0, 0, 1), (116, 960, 476)),
    ],
)
def test_encoding_of_corners(rgb: tuple[float, ...], codes: tuple[int, ...]) -> None:
    """By hand from BT.2100, tables 6 and 9; red: 64 + 876 x 0.2627, 512 - 896 x 0.2627 / 1.8814, 512 + 448."""
    planes = rgb_to_planes(np.broadcast_to(np.float32(rgb), (4, 6, 3)).copy())
    assert [p.shape for p in planes] == [(4, 6), (2, 3), (2, 3)]
    for plane, code in zip(planes, codes, strict=True):
        np.testing.assert_array_equal(plane, code)


def test_encoding_agrees_with_zscale(ffmpeg: Callable[..., bytes]) -> None:
    """4:4:4 by zscale; the chroma then by [1 2 1] / 4 at even samples, as a plain sum over shifted planes."""
    rgb = np.random.default_rng(6).random((48, 64, 3), dtype=np.float32)
    raw = ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "gbrpf32le", "-s", "64x48", "-color_range", "pc", "-i", "-"),
        *(
            "-vf",
            "zscale=matrixin=gbr:matrix=2020_ncl:range=limited:dither=none,format=yuv444p16le",
            "-f",
            "rawvideo",
            "-",
        ),
        data=rgb[..., (1, 2, 0)].transpose(2, 0, 1).tobytes(),
    )
    y, cb, cr = np.frombuffer(raw, np.uint16).reshape(3, 48, 64) / 64.0  # 16-bit codes as fractions of 10-bit ones
    got = rgb_to_planes(rgb)
    assert np.abs(got[0] - y).max() < 0.51
    for plane, full in zip(got[1:], (cb, cr), strict=True):
        padded = np.pad(full, 1, mode="edge")
        taps = ((0, 1), (1, 2), (2, 1))
        mean = sum(a * b * padded[i : i + 48 : 2, j : j + 64 : 2] for i, a in taps for j, b in taps) / 16
        assert np.abs(plane - mean).max() < 0.51
