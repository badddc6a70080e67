"""HDR pictures, read back by independent decoders: FFmpeg, libavif, libjxl, libultrahdr, and Pillow's list of them."""

from __future__ import annotations

import importlib.util
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from PIL.MpoImagePlugin import MpoImageFile

from vitm.color.gamut import primaries_conversion
from vitm.video import FrameReader, WriteError, open_writer
from vitm.video.gain_map import read_gain_map


def pq(nits: np.ndarray) -> np.ndarray:
    """ST 2084, equation 5.2."""
    y = (np.asarray(nits, np.float64) / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


@pytest.fixture
def nits() -> np.ndarray:
    """Light of BT.709 colours in blocks of 16, up to 900 cd/m2, as BT.2020."""
    rng = np.random.default_rng(0)
    light = rng.uniform(2, 900, (3, 4, 3)).repeat(16, axis=0).repeat(16, axis=1)
    return light @ np.array(primaries_conversion("bt709", "bt2020")).T


@pytest.fixture
def sdr() -> np.ndarray:
    return np.random.default_rng(1).random((3, 4, 3), np.float32).repeat(16, axis=0).repeat(16, axis=1)


def write(path: Path, nits: np.ndarray, codec: str, **options: object) -> Path:
    height, width = nits.shape[:2]
    with open_writer(path, width, height, 24, codec, **options) as writer:
        writer.write(pq(nits).astype(np.float32))
    return path


def test_png_says_that_it_is_pq(nits: np.ndarray, tmp_path: Path, ffmpeg: Callable[..., bytes]) -> None:
    path = write(tmp_path / "a.png", nits, "png")
    raw = ffmpeg("-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb48le", "-")
    codes = np.frombuffer(raw, np.uint16).reshape(nits.shape)
    np.testing.assert_allclose(codes, 65535 * pq(nits), atol=0.6)
    data = path.read_bytes()
    chunk = data.index(b"cICP") + 4
    assert tuple(data[chunk : chunk + 4]) == (9, 16, 0, 1)  # H.273: BT.2020, PQ, R'G'B', full range
    assert data.index(b"cICP") < data.index(b"IDAT")
    levels = struct.unpack_from(">2I", data, data.index(b"cLLI") + 4)
    assert levels[0] / 1e4 == pytest.approx(nits.max(), rel=1e-4)
    assert levels[1] / 1e4 == pytest.approx(nits.max(axis=2).mean(), rel=1e-3)
    reader = FrameReader(path)
    assert (reader.info.transfer, reader.info.primaries) == ("pq", "bt2020")


def test_avif_is_what_libavif_decodes(nits: np.ndarray, tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    path = write(tmp_path / "a.avif", nits, "avif")
    codes = imagecodecs.avif_decode(path.read_bytes())
    assert codes.dtype == np.uint16
    assert np.abs(codes[8::16, 8::16] - 1023 * pq(nits)[8::16, 8::16]).max() < 4
    data = path.read_bytes()
    colours = data.index(b"colrnclx") + 8  # ISO/IEC 23000-22, 7.3.6.4
    assert struct.unpack_from(">3HB", data, colours) == (9, 16, 9, 0x80)
    reader = FrameReader(path, expect="hdr10")  # by dav1d
    assert (reader.info.bit_depth, reader.info.primaries) == (10, "bt2020")
    assert np.abs(next(iter(reader)).rgb[8::16, 8::16] - pq(nits)[8::16, 8::16]).max() < 4 / 1023


def test_jpeg_xl_is_what_libjxl_decodes(nits: np.ndarray, tmp_path: Path, ffmpeg_log: Callable[..., str]) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    path = write(tmp_path / "a.jxl", nits, "jxl")
    codes = imagecodecs.jpegxl_decode(path.read_bytes())
    assert codes.dtype == np.uint16
    inner = np.s_[8::16, 8::16]
    assert np.abs(codes[inner] / 65535 - pq(nits)[inner]).max() < 4 / 1023
    assert "rgb48le(pc, gbr/bt2020/smpte2084), 64x48" in ffmpeg_log("-i", str(path), "-f", "null", "-")
    reader = FrameReader(path, expect="hdr10")
    assert (reader.info.bit_depth, reader.info.primaries, reader.info.transfer) == (16, "bt2020", "pq")
    np.testing.assert_allclose(next(iter(reader)).rgb, codes / 65535, atol=3 / 65535)


def test_ultra_hdr_is_what_libultrahdr_decodes(nits: np.ndarray, sdr: np.ndarray, tmp_path: Path) -> None:
    """Linear light of BT.709, 1 being SDR white (203 cd/m2); and the SDR picture, for all other programs."""
    imagecodecs = pytest.importorskip("imagecodecs")
    path = write(tmp_path / "a.jpg", nits, "ultrahdr", sdr=sdr)
    data = path.read_bytes()
    assert imagecodecs.ultrahdr_check(data)
    expected = nits @ np.array(primaries_conversion("bt2020", "bt709")).T / 203
    light = imagecodecs.ultrahdr_decode(data, dtype=np.float16).astype(np.float64)[..., :3]
    inner = np.s_[8::16, 8::16]
    np.testing.assert_allclose(light[inner], expected[inner], rtol=0.04, atol=0.01)
    np.testing.assert_allclose(read_gain_map(path).hdr[inner], light[inner], rtol=0.01, atol=0.01)
    with MpoImageFile(path) as picture:  # by the list of pictures
        base = np.asarray(picture) / 255
        assert picture.n_frames == 2
        picture.seek(1)
        assert picture.size == (64, 48)
    linear = np.where(base <= 0.04045, base / 12.92, ((base + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1
    np.testing.assert_allclose(linear[inner], sdr[inner] ** 2.4, atol=0.02)


def test_ultra_hdr_is_what_the_reference_decodes(
    nits: np.ndarray, sdr: np.ndarray, tmp_path: Path, shared: Path
) -> None:
    spec = importlib.util.spec_from_file_location("ultrahdr_reference", shared / "tools/ultrahdr_reference.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    nits, sdr = (x.repeat(3, axis=0).repeat(3, axis=1) for x in (nits, sdr))  # it passes over small pictures
    path = write(tmp_path / "a.jpg", nits, "ultrahdr", sdr=sdr)
    _, light, _ = reference.ultra(str(path))
    expected = nits @ np.array(primaries_conversion("bt2020", "bt709")).T / 203
    np.testing.assert_allclose(light[24::48, 24::48], expected[24::48, 24::48], rtol=0.04, atol=0.01)


def test_exr_and_tiff(nits: np.ndarray, tmp_path: Path, ffmpeg: Callable[..., bytes]) -> None:
    with OpenEXR.File(str(write(tmp_path / "a.exr", nits, "exr"))) as exr:
        np.testing.assert_allclose(exr.channels()["RGB"].pixels, nits / 100, rtol=2e-3)
    raw = ffmpeg("-i", str(write(tmp_path / "a.tif", nits, "tiff")), "-f", "rawvideo", "-pix_fmt", "rgb48le", "-")
    np.testing.assert_allclose(np.frombuffer(raw, np.uint16).reshape(nits.shape), 65535 * pq(nits), atol=0.6)


def test_jpeg_xl_names_the_extra_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match=r'pip install "vitm\[pictures\]"'):
        open_writer(tmp_path / "a.jxl", 64, 48, 24, "jxl")


def test_what_cannot_be_one_picture(nits: np.ndarray, sdr: np.ndarray, tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "a.png", 64, 48, 24, "png")
    writer.write(pq(nits).astype(np.float32))
    with pytest.raises(WriteError, match="a second frame"):
        writer.write(pq(nits).astype(np.float32))
    with pytest.raises(ValueError, match=r"name the output \*\.avif"):
        open_writer(tmp_path / "a.jpg", 64, 48, 24, "avif")
    with pytest.raises(ValueError, match="sdr is the SDR picture"):
        open_writer(tmp_path / "a.jpg", 64, 48, 24, "ultrahdr")
    with pytest.raises(WriteError, match="no folder"):
        open_writer(tmp_path / "none/a.png", 64, 48, 24, "png")
    assert not list(tmp_path.iterdir())
