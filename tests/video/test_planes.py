"""Raw planes against zscale, NumPy interpolation and the standard's own numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.video.material import BT709, HDR10, fill_frame
from vitm.video import FrameReader, VideoDecodeError
from vitm.video.planes import (
    frame_planes,
    pixel_layout,
    planes_to_rgb,
    rgb_to_planes,
    tensor_to_planes,
    upsample_chroma,
)

PLANAR = [f"yuv{c}p{b}" for c in ("420", "422", "444") for b in ("", "10le", "12le")]
PLANAR.append("yuv440p")  # zscale has it in 8 bit only


def random_planes(name: str, rng: np.random.Generator, width: int = 38, height: int = 22) -> list[np.ndarray]:
    layout = pixel_layout(name)
    across, down = layout.subsampling
    shapes = [(height, width)] + [(-(-height // down), -(-width // across))] * 2
    return [rng.integers(0, 1 << layout.bits, s).astype(layout.dtype) for s in shapes]


@pytest.mark.parametrize("name", [*PLANAR, "yuv440p12le", "yuv444p16le", "yuvj420p", "yuvj444p"])
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


@pytest.mark.parametrize("name", ["bgr0", "0rgb", "rgba", "argb", "bgra", "bgr48le", "rgba64le", "ya8", "ya16le"])
def test_packed_channels_in_any_order(name: str) -> None:
    """The names of the formats say the order of the channels; the padding and alpha are not read."""
    layout = pixel_layout(name)
    names = name.rstrip("lew123456789").rstrip("0") + ("0" if name == "bgr0" else "")
    rng = np.random.default_rng(4)
    channels = rng.integers(0, 1 << layout.bits, (22, 38, len(names))).astype(layout.dtype)
    planes = frame_planes(fill_frame(38, 22, name, [channels.reshape(22, -1)]))
    for plane, channel in zip(planes, "yyy" if "y" in names else "rgb", strict=True):
        np.testing.assert_array_equal(plane, channels[..., names.index(channel)])
    assert layout.alpha == ("a" in names)


@pytest.mark.parametrize(
    ("pixel_format", "matrix", "full"),
    [
        ("gray16le", None, True),
        ("gray10le", None, True),
        ("yuv440p10le", "bt709", False),
        ("yuva444p10le", "bt709", False),
    ],
)
def test_rare_formats_are_what_zscale_makes_of_them(
    pixel_format: str, matrix: str | None, full: bool, tmp_path: Path, ffmpeg: Callable[..., bytes]
) -> None:
    """Flat colours, so that no filter of chroma matters."""
    tags = "setparams=color_primaries=bt709:color_trc=bt709"
    tags += ":colorspace=bt709:range=tv" if matrix else ":range=pc"
    source = "color=c=0xB05020:s=64x48:d=0.1:r=25,format=gbrp16le,zscale=matrix=709:range=limited"
    ffmpeg("-f", "lavfi", "-i", f"{source},format={pixel_format},{tags}", "-c:v", "ffv1", str(tmp_path / "a.mkv"))
    raw = (
        ffmpeg(
            *("-i", str(tmp_path / "a.mkv"), "-frames:v", "1", "-vf", "zscale=matrix=gbr:range=full,format=gbrp16le"),
            *("-f", "rawvideo", "-"),
        )
        if matrix
        else ffmpeg(
            *("-i", str(tmp_path / "a.mkv"), "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", pixel_format, "-"),
        )
    )
    codes = np.frombuffer(raw, np.uint16).reshape(-1, 48, 64)
    peak = 65535 if matrix or pixel_format == "gray16le" else 1023
    expected = codes[[2, 0, 1]] if matrix else codes[[0, 0, 0]]
    reader = FrameReader(tmp_path / "a.mkv", expect="sdr")
    frame = next(iter(reader))
    np.testing.assert_allclose(frame.rgb.transpose(2, 0, 1), expected / peak, atol=1.5 / 65535)
    assert reader.info.full_range == full
    assert ("its alpha channel is left out" in reader.notes) == ("a" in pixel_format[:4] and "gray" not in pixel_format)


@pytest.mark.parametrize(("pixel_format", "location"), [("yuv420p", "left"), ("yuv422p10le", None), ("yuv444p", None)])
def test_bands_change_no_bit(pixel_format: str, location: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    layout, random = pixel_layout(pixel_format), np.random.default_rng(3)
    across, down = layout.subsampling
    sizes = [(71, 37), *2 * [(-(-71 // down), -(-37 // across))]]
    y, cb, cr = (random.integers(0, 2**layout.bits, size).astype(layout.dtype) for size in sizes)
    whole = planes_to_rgb((y, cb, cr), layout, "bt709", False, location)
    monkeypatch.setattr("vitm.video.planes._BAND", 1)
    np.testing.assert_array_equal(planes_to_rgb((y, cb, cr), layout, "bt709", False, location), whole)


def test_prores_4444_with_alpha(tmp_path: Path, ffmpeg: Callable[..., bytes]) -> None:
    """The colours that FFmpeg decodes; the alpha channel is left out, and named."""
    tags = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
    source = f"testsrc2=s=64x48:d=0.1:r=25,format=yuva444p10le,{tags}"
    ffmpeg("-f", "lavfi", "-i", source, "-c:v", "prores_ks", "-profile:v", "4444", str(tmp_path / "a.mov"))
    reader = FrameReader(tmp_path / "a.mov", expect="sdr")
    planes, _ = next(iter(reader.stored()))
    raw = ffmpeg("-i", str(tmp_path / "a.mov"), "-frames:v", "1", "-f", "rawvideo", "-")
    codes = np.frombuffer(raw, np.uint16).reshape(4, 48, 64)
    np.testing.assert_array_equal(np.stack(planes), codes[:3])
    assert reader.notes == ["its alpha channel is left out"]


def test_unsupported_format_says_which_are_supported() -> None:
    with pytest.raises(VideoDecodeError, match=r"'yuv410p'.*supported: yuv420p"):
        pixel_layout("yuv410p")


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


@pytest.mark.parametrize("chroma", ["4:2:0", "4:2:2", "4:4:4"])
def test_planes_of_tensors_are_the_exact_sums_rounded_half_up(chroma: str) -> None:
    """BT.2100-2, tables 6 and 9, in fp64; chroma by [1 2 1] / 4, sample by sample, with the edge repeated."""
    rgb = np.random.default_rng(5).random((66, 98, 3), dtype=np.float32)
    rgb[:2, :2], rgb[-2:, -2:] = 1, 0
    r, g, b = rgb.astype(np.float64).transpose(2, 0, 1)
    y = 0.2627 * r + 0.6780 * g + 0.0593 * b
    exact = [219 * 4 * y + 64, *(224 * 4 * c + 512 for c in ((b - y) / 1.8814, (r - y) / 1.4746))]
    for i in (1, 2):
        if chroma != "4:4:4":
            padded = np.pad(exact[i], [(0, 0), (1, 0)], mode="edge")
            exact[i] = padded[:, :-1:2] / 4 + padded[:, 1::2] / 2 + padded[:, 2::2] / 4
        if chroma == "4:2:0":
            padded = np.pad(exact[i], [(1, 0), (0, 0)], mode="edge")
            exact[i] = padded[:-1:2] / 4 + padded[1::2] / 2 + padded[2::2] / 4
    planes = [plane.numpy() for plane in tensor_to_planes(torch.from_numpy(rgb).permute(2, 0, 1), chroma)]  # type: ignore[arg-type]
    for plane, value in zip(planes, exact, strict=True):
        assert (plane.dtype, plane.shape) == (np.uint16, value.shape)
        clear = np.abs((value + 0.5) % 1 - 0.5) < 0.5 - 1e-3  # not half-way between two codes
        assert clear.mean() > 0.99
        np.testing.assert_array_equal(plane[clear], np.floor(value + 0.5)[clear])
        assert np.abs(plane - value).max() < 0.5 + 1e-3
    if chroma != "4:4:4":
        for plane, other in zip(planes, rgb_to_planes(rgb, chroma), strict=True):  # type: ignore[arg-type]
            assert (plane != other).mean() < 1e-3
