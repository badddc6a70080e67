"""Photographs, animations and single pictures, against FFmpeg's decoders and arithmetic."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import pytest
import torch
from colour.models.rgb.transfer_functions.itur_bt_2100 import oetf_inverse_BT2100_HLG, ootf_BT2100_HLG
from PIL import Image

from vitm.color import pq_eotf
from vitm.color.gamut import primaries_conversion
from vitm.color.hlg_conversion import hlg_to_pq
from vitm.video import FrameReader, VideoDecodeError, VideoTagError, read_image
from vitm.video.images import image_header


@pytest.fixture
def rgb() -> np.ndarray:
    """Blocks of 16 pixels of random colours."""
    return np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)


def decoded(ffmpeg: Callable[..., bytes], path: Path, pixel_format: str, frames: int = 1) -> np.ndarray:
    """What FFmpeg's decoder makes of a file."""
    raw = ffmpeg("-i", str(path), "-f", "rawvideo", "-fps_mode", "passthrough", "-pix_fmt", pixel_format, "-")
    codes = np.frombuffer(raw, np.uint16 if "48" in pixel_format else np.uint8)
    return codes.reshape(frames, 32, 48, 3)[0 if frames == 1 else slice(None)]


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA", "P", "1"])
def test_png_of_every_kind_is_what_ffmpeg_decodes(
    mode: str, rgb: np.ndarray, tmp_path: Path, ffmpeg: Callable[..., bytes]
) -> None:
    picture = Image.fromarray(rgb).convert("L" if mode == "LA" else mode)
    if mode in ("RGBA", "LA"):
        picture.putalpha(128)
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), decoded(ffmpeg, tmp_path / "a.png", "rgb24"))
    left_out = FrameReader(tmp_path / "a.png", expect="sdr").notes
    assert left_out == (["its alpha channel is left out"] if "A" in mode else [])


@pytest.mark.parametrize("channels", [1, 4])
def test_png_of_16_bits_keeps_them(channels: int, tmp_path: Path, ffmpeg: Callable[..., bytes]) -> None:
    codes = np.random.default_rng(1).integers(0, 65536, (32, 48, channels), np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), codes)
    expected = codes.repeat(3, axis=2) if channels == 1 else codes[..., 2::-1]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)
    assert image_header(tmp_path / "a.png").sample == "uint16"


@pytest.mark.parametrize("name", ["a.webp", "a.bmp", "a.gif"])
def test_photographs_without_loss_are_what_ffmpeg_decodes(
    name: str, rgb: np.ndarray, tmp_path: Path, ffmpeg: Callable[..., bytes]
) -> None:
    options = {"lossless": True} if name == "a.webp" else {}
    iio.imwrite(tmp_path / name, rgb, **options)
    codes = read_image(tmp_path / name)
    np.testing.assert_array_equal(codes, rgb)
    reader = FrameReader(tmp_path / name, expect="sdr")
    assert (len(reader), reader.info.transfer, reader.info.primaries) == (1, "srgb", "bt709")
    light = np.where(rgb <= 10, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    np.testing.assert_allclose(next(iter(reader)).rgb, light ** (1 / 2.4), atol=2e-6)


@pytest.mark.parametrize("grey", [False, True])
def test_jpeg_is_what_ffmpeg_decodes(grey: bool, rgb: np.ndarray, tmp_path: Path, ffmpeg: Callable[..., bytes]) -> None:
    iio.imwrite(tmp_path / "a.jpg", rgb[..., 0] if grey else rgb, quality=98)
    codes = read_image(tmp_path / "a.jpg").astype(int)
    expected = decoded(ffmpeg, tmp_path / "a.jpg", "rgb24").astype(int)
    assert np.abs(codes - expected)[8::16, 8::16].max() <= 3  # in the middle of blocks: no filter of chroma
    assert np.abs(codes - (rgb[..., :1] if grey else rgb))[8::16, 8::16].max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_come_upright(orientation: int, tmp_path: Path) -> None:
    """Exif 2.32, table 6: which corner of the stored picture is the top left one, and which way its rows run."""
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = 255  # top left
    upright[8:, 16:] = 100  # bottom right
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright.swapaxes(0, 1)[::-1],  # row 0 is the right side
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: upright.swapaxes(0, 1)[:, ::-1],  # row 0 is the left side, column 0 the bottom
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    header = image_header(tmp_path / "a.jpg")
    assert (header.width, header.height) == (32, 16)
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg"), upright, atol=4)


XYZ = tuple[float, float, float]


def profile(red: XYZ, green: XYZ, blue: XYZ) -> bytes:
    """An ICC profile (version 2) from its colorants in XYZ of D50, with the exponent 2.2."""

    def xyz(values: XYZ) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"mine\0" + bytes(79)
    parts = {b"desc": text, b"wtpt": xyz((0.9642, 1.0, 0.8249)), b"rXYZ": xyz(red), b"gXYZ": xyz(green)}
    parts |= {b"bXYZ": xyz(blue), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve, b"cprt": b"text\0\0\0\0cc0\0"}
    table, body = struct.pack(">I", len(parts)), b""
    start = 132 + 12 * len(parts)
    for name, data in parts.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = bytearray(128)
    header[8:12], header[12:24], header[36:40] = b"\x02\x40\0\0", b"mntrRGB XYZ ", b"acsp"
    header[68:80] = struct.pack(">3i", 63190, 65536, 54061)
    header[:4] = struct.pack(">I", start + len(body))
    return bytes(header) + table + body


DISPLAY_P3 = profile((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841))
ADOBE_RGB = profile((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))


def test_display_p3_is_converted_in_light(tmp_path: Path) -> None:
    """Red of P3, by the matrix from its primaries (SMPTE EG 432-1): outside BT.709, and kept there."""
    Image.new("RGB", (16, 16), (255, 0, 0)).save(tmp_path / "a.jpg", icc_profile=DISPLAY_P3, quality=100, subsampling=0)
    reader = FrameReader(tmp_path / "a.jpg", expect="sdr")
    light = np.array(primaries_conversion("p3-d65", "bt709"))[:, 0]
    np.testing.assert_allclose(light, [1.2249, -0.0421, -0.0196], atol=1e-3)
    red = next(iter(reader)).rgb[8, 8]
    np.testing.assert_allclose(np.sign(red) * np.abs(red) ** 2.4, light, atol=0.012)  # JPEG: 254
    assert any("p3-d65 primaries is converted" in words for words in reader.notes)


def test_other_profiles_are_converted_to_srgb(tmp_path: Path) -> None:
    """A grey of 2.2 is darker in sRGB's curve by a little, and a colour of Adobe RGB is more saturated in sRGB."""
    Image.new("RGB", (16, 16), (128, 100, 60)).save(
        tmp_path / "a.jpg", icc_profile=ADOBE_RGB, quality=100, subsampling=0
    )
    header = image_header(tmp_path / "a.jpg")
    assert header.notes == ("the colours of its profile (mine) are converted to sRGB",)
    light = (np.array([128, 100, 60]) / 255) ** 2.2
    adobe, srgb = (  # XYZ of D50 from linear R, G, B
        np.array([[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]]),
        np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]]),
    )
    linear = np.linalg.solve(srgb, adobe @ light)
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg")[8, 8], expected, atol=2)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_animations_are_videos_with_their_own_times(
    name: str, rgb: np.ndarray, tmp_path: Path, ffmpeg: Callable[..., bytes]
) -> None:
    pictures = [np.roll(rgb, 16 * i, axis=1) for i in range(4)]
    options = {"a.webp": {"lossless": True}, "a.png": {"extension": ".apng"}}.get(name, {})
    iio.imwrite(tmp_path / name, pictures, duration=[100, 40, 10, 60], loop=0, **options)
    reader = FrameReader(tmp_path / name, expect="sdr")
    frames = list(reader)
    assert [frame.pts_seconds for frame in frames] == [0, Fraction(1, 10), Fraction(14, 100), Fraction(24, 100)]
    assert reader.info.fps == Fraction(4, 1) / Fraction(30, 100)
    codes = 255 * np.stack([frame.rgb if name == "a.png" else _srgb(frame.rgb) for frame in frames])
    np.testing.assert_allclose(codes, np.stack(pictures), atol=0.01)
    if name != "a.webp":  # which FFmpeg decodes as a still
        np.testing.assert_array_equal(decoded(ffmpeg, tmp_path / name, "rgb24", 4), np.stack(pictures))
    (third,) = reader.read([2])
    np.testing.assert_array_equal(third.rgb, frames[2].rgb)
    with pytest.raises(ValueError, match="an animation has its own times"):
        FrameReader(tmp_path / name, expect="sdr", fps=24)


def _srgb(rgb: np.ndarray) -> np.ndarray:
    """sRGB codes of BT.709 codes."""
    light = rgb.astype(np.float64) ** 2.4
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def test_avif_in_pq_is_hdr10(tmp_path: Path, ffmpeg: Callable[..., bytes]) -> None:
    """Flat colours by FFmpeg and libaom, tagged P3 PQ; read as BT.2020 by the matrices of the primaries."""
    codes = np.array([600, 512, 400]) / 1023
    pixels = np.broadcast_to(np.round(codes * 65535), (64, 64, 3)).astype("<u2")
    tags = ("-color_primaries", "smpte432", "-color_trc", "smpte2084", "-colorspace", "bt2020nc", "-color_range", "pc")
    colours = "setparams=color_primaries=smpte432:color_trc=smpte2084,zscale=matrix=2020_ncl:range=full"
    ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "rgb48le", "-s", "64x64", "-i", "-", "-vf", f"{colours},format=yuv444p10le"),
        *("-c:v", "libaom-av1", "-still-picture", "1", "-crf", "0", *tags, str(tmp_path / "a.avif")),
        data=pixels.tobytes(),
    )
    np.testing.assert_allclose(read_image(tmp_path / "a.avif")[32, 32], codes, atol=2 / 1023)
    reader = FrameReader(tmp_path / "a.avif", expect="hdr10")
    assert (reader.info.transfer, reader.info.primaries, reader.info.bit_depth) == ("pq", "p3-d65", 10)
    x = codes ** (1 / 78.84375)  # ST 2084, equation 4.1
    light = (np.maximum(x - 0.8359375, 0) / (18.8515625 - 18.6875 * x)) ** (1 / 0.1593017578125)
    y = (np.array(primaries_conversion("p3-d65", "bt2020")) @ light) ** 0.1593017578125
    expected = ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    np.testing.assert_allclose(next(iter(reader)).rgb[32, 32], expected, atol=3 / 1023)
    with pytest.raises(VideoTagError, match="this is HDR already"):
        FrameReader(tmp_path / "a.avif", expect="sdr")


def test_jpeg_xl_in_srgb(rgb: np.ndarray, tmp_path: Path) -> None:
    """Written by imagecodecs, without loss; and what is not read, in words."""
    encode = pytest.importorskip("imagecodecs").jpegxl_encode
    path = tmp_path / "a.jxl"
    path.write_bytes(encode(rgb, lossless=True))
    np.testing.assert_allclose(read_image(path), rgb / 255, atol=1e-6)
    reader = FrameReader(path, expect="sdr")
    assert (reader.info.bit_depth, reader.info.transfer, reader.info.primaries) == (8, "srgb", "bt709")
    path.write_bytes(encode(rgb, lossless=True)[:-20])
    with pytest.raises(VideoDecodeError, match=r"a\.jxl: not a readable jxl file, or damaged"):
        read_image(path)
    path.write_bytes(encode(rgb.astype(np.float32), lossless=True))
    with pytest.raises(VideoDecodeError, match=r"a\.jxl: pixel format 'gbrpf32le' is not supported"):
        read_image(path)
    with pytest.raises(VideoDecodeError, match=r"a\.mp4: this is JPEG XL: name it"):
        FrameReader(path.rename(tmp_path / "a.mp4"), expect="sdr")


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.tif", "a.dpx", "a.avif", "a.jxl", "a.webm"])
def test_alpha_is_named(name: str, rgb: np.ndarray, tmp_path: Path, ffmpeg: Callable[..., bytes]) -> None:
    """Of VP9 and AVIF, alpha is a picture of its own beside the first one."""
    rgba = np.concatenate((rgb, 255 * (np.arange(48) > 20).astype(np.uint8).repeat(32).reshape(48, 32).T[..., None]), 2)
    if name == "a.avif":
        avif = pytest.importorskip("imagecodecs").avif_encode
        (tmp_path / name).write_bytes(avif(rgba, 90, speed=9))
    elif name == "a.jxl":
        (tmp_path / name).write_bytes(pytest.importorskip("imagecodecs").jpegxl_encode(rgba, lossless=True))
    elif name in ("a.dpx", "a.webm"):
        raw = ("-f", "rawvideo", "-pix_fmt", "rgba", "-s", "48x32", "-i", "-", "-frames:v", "1")
        ffmpeg(*raw, *(("-pix_fmt", "yuva420p") if name == "a.webm" else ()), str(tmp_path / name), data=rgba.tobytes())
    else:
        Image.fromarray(rgba).save(tmp_path / name)
    notes = FrameReader(tmp_path / name, expect="sdr", assume="srgb").notes
    words = "a second picture in it (alpha, or a gain map)" if name == "a.avif" else "its alpha channel"
    assert f"{words} is left out" in notes


@pytest.mark.parametrize(("primaries", "code"), [("bt2020", 9), ("p3-d65", 12)])
def test_avif_in_hlg(primaries: str, code: int, tmp_path: Path) -> None:
    """Written and decoded by libavif; light of the display by colour-science (BT.2100-2, table 5)."""
    imagecodecs = pytest.importorskip("imagecodecs")
    colours = np.array([[[600, 512, 400], [750, 750, 750], [300, 500, 900]]], np.uint16)
    codes = colours.repeat(32, axis=1).repeat(32, axis=0)
    tags = {"primaries": code, "transfer": 18, "matrix": 9}
    path = tmp_path / "a.avif"
    path.write_bytes(imagecodecs.avif_encode(codes, 100, speed=9, bitspersample=10, pixelformat="yuv444", **tags))
    reader = FrameReader(path, expect="hlg")
    assert (reader.info.transfer, reader.info.primaries, reader.info.bit_depth) == ("hlg", primaries, 10)
    signal = imagecodecs.avif_decode(path.read_bytes())[16, 16::32] / 1023
    np.testing.assert_allclose(read_image(path)[16, 16::32], signal, atol=0.6 / 1023)
    scene = oetf_inverse_BT2100_HLG(signal) @ np.array(primaries_conversion(primaries, "bt2020")).T
    expected = ootf_BT2100_HLG(np.maximum(scene, 0), L_W=1000)
    (frame,) = reader
    hlg = torch.from_numpy(frame.rgb[None, 16, 16::32]).movedim(-1, 0)
    np.testing.assert_allclose(pq_eotf(hlg_to_pq(hlg)).numpy()[:, 0].T, expected, rtol=0.01, atol=0.02)
    for role in ("sdr", "hdr10"):
        with pytest.raises(VideoTagError, match=f"tagged HLG with {primaries} primaries, but"):
            FrameReader(path, expect=role)


@pytest.mark.slow
def test_real_avif_is_what_libavif_decodes(shared: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    path = shared / "data/hdr/photos_pq/10bit-HDR-P3-nclx.avif"
    expected = imagecodecs.avif_decode(path.read_bytes())[::7, ::7] / 1023
    assert np.abs(read_image(path)[::7, ::7].clip(0, 1) - expected).max() < 0.6 / 1023


def test_dpx_of_10_bits(tmp_path: Path, ffmpeg: Callable[..., bytes]) -> None:
    codes = np.random.default_rng(2).integers(0, 1024, (32, 48, 3))
    folder = tmp_path / "shot"
    folder.mkdir()
    data = np.stack((codes[..., 1], codes[..., 2], codes[..., 0])).astype("<u2").tobytes()  # gbrp: G, B, R
    for number in (1001, 1002):
        ffmpeg(
            *("-f", "rawvideo", "-pix_fmt", "gbrp10le", "-s", "48x32", "-i", "-"),
            *("-frames:v", "1", str(folder / f"shot.{number}.dpx")),
            data=data,
        )
    reader = FrameReader(folder, expect="sdr")
    assert (len(reader), reader.info.bit_depth) == (2, 10)
    np.testing.assert_allclose(next(iter(reader)).rgb, codes / 1023, atol=1e-6)


@pytest.mark.parametrize("depth", [8, 10])
def test_heic(depth: int, tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    codes = np.full((64, 64, 3), (200, 100, 50), np.uint8)
    if depth == 8:
        picture = pillow_heif.from_bytes("RGB", (64, 64), codes.tobytes())
    else:
        picture = pillow_heif.from_bytes("RGB;16", (64, 64), (codes.astype("<u2") * 257).tobytes())
    picture.save(tmp_path / "a.heic", quality=-1, chroma=444, color_primaries=12, transfer_characteristics=13)
    header = image_header(tmp_path / "a.heic")
    assert (header.width, header.height, header.primaries, header.transfer) == (64, 64, "p3-d65", "srgb")
    image = read_image(tmp_path / "a.heic")
    np.testing.assert_allclose(image / np.iinfo(image.dtype).max, codes / 255, atol=2 / 255)


def test_png_says_its_colours_by_cicp(tmp_path: Path, rgb: np.ndarray) -> None:
    """PNG, third edition, 11.3.2.6: primaries 9, transfer 16, matrix 0, full range."""
    data = cv2.imencode(".png", rgb.astype(np.uint16) * 257)[1].tobytes()
    chunk = b"cICP" + bytes((9, 16, 0, 1))
    chunk = struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    assert FrameReader(tmp_path / "a.png").info.transfer == "pq"
    with pytest.raises(VideoTagError, match="this is HDR already"):
        FrameReader(tmp_path / "a.png", expect="sdr")


def test_a_photograph_with_a_gain_map_is_both(shared: Path) -> None:
    path = shared / "data/hdr/photos_ultrahdr/Ultra_HDR_Samples_Originals_05.jpg"
    sdr, hdr = (FrameReader(path, expect=role) for role in ("sdr", "hdr10"))
    assert "its SDR picture is read, without the gain map" in sdr.notes
    assert (hdr.info.transfer, hdr.info.primaries, hdr.info.width) == ("pq", "bt2020", sdr.info.width)


def test_damage_and_strange_kinds_are_refused(tmp_path: Path, rgb: np.ndarray) -> None:
    iio.imwrite(tmp_path / "a.jpg", rgb)
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:300])
    Image.new("CMYK", (16, 16)).save(tmp_path / "c.jpg")
    (tmp_path / "d.webp").write_bytes(b"RIFF\0\0\0\0WEBP")
    for name in ("b.jpg", "c.jpg", "d.webp"):
        with pytest.raises(VideoDecodeError, match=name):
            list(FrameReader(tmp_path / name, expect="sdr"))


@pytest.mark.parametrize("name", ["a.jpg", "a.gif", "a.webp", "a.png", "a.bmp", "a.avif", "a.heic", "a.dpx", "a.tif"])
def test_damage_anywhere_is_one_kind_of_error(
    name: str, rgb: np.ndarray, tmp_path: Path, ffmpeg: Callable[..., bytes]
) -> None:
    """Files that are cut or altered at random places are read, or refused by `VideoDecodeError` or `VideoTagError`."""
    whole = tmp_path / name
    if name == "a.avif":
        whole.write_bytes(pytest.importorskip("imagecodecs").avif_encode(rgb, 80, speed=9))
    elif name == "a.heic":
        pytest.importorskip("pillow_heif").from_bytes("RGB", (48, 32), rgb.tobytes()).save(whole)
    elif name == "a.dpx":
        ffmpeg("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "48x32", "-i", "-", str(whole), data=rgb.tobytes())
    elif name in ("a.gif", "a.webp"):
        iio.imwrite(whole, [rgb, rgb[::-1]], duration=100)
    else:
        iio.imwrite(whole, rgb)
    data, rng, outcomes = whole.read_bytes(), np.random.default_rng(6), []
    for i in range(24):
        damaged = bytearray(data)
        if i % 3 == 0:
            damaged = damaged[: rng.integers(len(data))]
        for _ in range(1 + i % 4):
            if damaged:
                damaged[rng.integers(min(len(damaged), 400))] = rng.integers(256)
        whole.write_bytes(damaged)
        try:
            outcomes.append(len(list(FrameReader(whole, expect="sdr"))))
        except (VideoDecodeError, VideoTagError) as error:
            outcomes.append(name in str(error) and "refused")
    assert "refused" in outcomes
    assert False not in outcomes
