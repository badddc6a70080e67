"""Image files and folders of frames, against other readers and writers of the same formats."""

from __future__ import annotations

import errno
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import OpenEXR
import pytest
import tifffile

from vitm.video import (
    FrameReader,
    VideoDecodeError,
    VideoTagError,
    WriteError,
    read_image,
    verify,
    write_exr,
    write_image,
    write_png16,
)
from vitm.video.images import write_png_pq


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).random((6, 9, 3), dtype=np.float32)


def png(path: Path, image: np.ndarray) -> Path:
    """A PNG written from the specification alone: 8- or 16-bit RGB, no filter."""
    height, width = image.shape[:2]
    rows = image.astype(f">u{image.dtype.itemsize}").reshape(height, -1).view(np.uint8)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8 * image.dtype.itemsize, 2, 0, 0, 0)
    body = zlib.compress(b"".join(b"\x00" + row.tobytes() for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    return path


def folder_of(tmp_path: Path, write: Callable[[Path, np.ndarray], object], names: list[str], image: np.ndarray) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for name in names:
        write(folder / name, image)
    return folder


# --- colours that files do not say, or say wrongly ------------------------------------------------------------------


def srgb_light(codes: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1."""
    return np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_assumed_colours_of_pictures(suffix: str, tmp_path: Path, rgb: np.ndarray) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, rgb, bits=16)
    (plain,), (frame,) = FrameReader(path, expect="sdr"), FrameReader(path, expect="sdr", assume="srgb")
    np.testing.assert_allclose(plain.rgb, rgb, atol=1e-5)
    np.testing.assert_allclose(frame.rgb**2.4, srgb_light(rgb), atol=1e-4)
    reader = FrameReader(path, expect="sdr", assume="display-p3")
    assert reader.notes == ["srgb with p3-d65 primaries is converted to BT.709"]
    assert (reader.info.transfer, reader.info.primaries) == ("srgb", "p3-d65")
    with pytest.raises(VideoTagError, match="tagged PQ with bt2020 primaries, but an SDR video was expected"):
        FrameReader(path, expect="sdr", assume="bt2020-pq")


def test_assumed_colours_do_not_replace_those_that_a_picture_says(tmp_path: Path, rgb: np.ndarray) -> None:
    write_png_pq(tmp_path / "a.png", rgb)
    with pytest.raises(VideoTagError, match="this is HDR already"):
        FrameReader(tmp_path / "a.png", expect="sdr", assume="bt709")
    (frame,) = FrameReader(tmp_path / "a.png", expect="sdr", override="bt709")
    np.testing.assert_allclose(frame.rgb, rgb, atol=1e-5)


@pytest.mark.parametrize("bits", [8, 16])
def test_narrow_range_of_pictures(bits: int, tmp_path: Path) -> None:
    """Codes 16 and 235 of eight bits are black and white (BT.709-6, item 4.6); 4096 and 60160 of sixteen."""
    codes = np.array([[16, 235, 125.5, 254]]) * 2 ** (bits - 8)
    write_image(tmp_path / "a.png", codes.astype(f"uint{bits}")[..., None].repeat(3, axis=2), bits=bits)  # type: ignore[arg-type]
    (frame,) = FrameReader(tmp_path / "a.png", expect="sdr", override="narrow")
    np.testing.assert_allclose(
        frame.rgb[0, :, 1], [0, 1, (int(codes[0, 2]) / 2 ** (bits - 8) - 16) / 219, 238 / 219], atol=1e-6
    )


@pytest.mark.parametrize(("name", "override"), [("a.exr", "bt709"), ("a.tif", "narrow")])
def test_overrides_that_a_picture_cannot_take(name: str, override: str, tmp_path: Path, rgb: np.ndarray) -> None:
    write_exr(tmp_path / name, rgb) if name == "a.exr" else tifffile.imwrite(tmp_path / name, rgb, photometric="rgb")
    with pytest.raises(ValueError, match=f"override='{override}': .* (leave it out|give the colours alone)"):
        FrameReader(tmp_path / name, expect=None if name == "a.exr" else "sdr", override=override)


# --- single images --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_is_read_in_its_own_depth_and_order(dtype: type, tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, np.iinfo(dtype).max + 1, (6, 9, 3)).astype(dtype)
    got = read_image(png(tmp_path / "a.png", image))
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, image)


def test_png16_is_written_exactly(tmp_path: Path, rgb: np.ndarray, ffmpeg: Callable[..., bytes]) -> None:
    path = tmp_path / "a.png"
    write_png16(path, rgb)
    raw = ffmpeg("-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb48le", "-")
    expected = np.floor(rgb.astype(np.float64) * 65535 + 0.5)
    np.testing.assert_array_equal(np.frombuffer(raw, np.uint16).reshape(6, 9, 3), expected)
    codes = np.random.default_rng(2).integers(0, 65536, (6, 9, 3)).astype(np.uint16)
    write_png16(path, codes)
    np.testing.assert_array_equal(read_image(path), codes)


def test_png8_and_clipping(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.float32([[[-0.5, 0.5, 1.5]]]), bits=8)
    np.testing.assert_array_equal(iio.imread(tmp_path / "a.png"), [[[0, 128, 255]]])


@pytest.mark.parametrize("half", [False, True])
def test_exr_both_ways(half: bool, tmp_path: Path, rgb: np.ndarray) -> None:
    linear = rgb * 1000 - 1
    path = tmp_path / "a.exr"
    write_exr(path, linear, half=half)
    expected = linear.astype(np.float16).astype(np.float32) if half else linear
    with OpenEXR.File(str(path), separate_channels=True) as exr:
        channels = exr.channels()
        for i, name in enumerate("RGB"):
            np.testing.assert_array_equal(channels[name].pixels.astype(np.float32), expected[..., i])
            assert channels[name].pixels.dtype == (np.float16 if half else np.float32)
        np.testing.assert_allclose(exr.header()["chromaticities"][:2], (0.708, 0.292), atol=1e-6)
    np.testing.assert_array_equal(read_image(path), expected)


def test_real_exr(shared: Path) -> None:
    image = read_image(shared / "data" / "panoramas" / "forest.exr")
    assert image.shape == (512, 1024, 3)
    assert image.dtype == np.float32
    assert image[:200].mean() > image[300:].mean()  # the sky is up


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_tiff_is_read_exactly(dtype: type, tmp_path: Path, rgb: np.ndarray) -> None:
    image = rgb if dtype is np.float32 else (rgb * np.iinfo(dtype).max).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb")
    got = read_image(tmp_path / "a.tif")
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, image)


def test_tiff16_is_written_exactly(tmp_path: Path, rgb: np.ndarray) -> None:
    write_image(tmp_path / "a.tiff", rgb)
    got = cv2.imread(str(tmp_path / "a.tiff"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    np.testing.assert_array_equal(got, np.floor(rgb.astype(np.float64) * 65535 + 0.5))


def test_radiance_keeps_order_and_scale(tmp_path: Path, rgb: np.ndarray) -> None:
    write_image(tmp_path / "a.hdr", rgb * 50)
    np.testing.assert_allclose(read_image(tmp_path / "a.hdr"), rgb * 50, atol=50 / 128)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_exr_names_the_pixel(bad: float, tmp_path: Path, rgb: np.ndarray) -> None:
    rgb[2, 5, 1] = bad
    path = tmp_path / "a.exr"
    OpenEXR.File({"type": OpenEXR.scanlineimage}, {"RGB": rgb}).write(str(path))
    with pytest.raises(VideoDecodeError, match=r"a\.exr: 1 samples are NaN or infinite, first at x=5, y=2"):
        read_image(path)
    with pytest.raises(ValueError, match="NaN or infinity"):
        write_exr(tmp_path / "b.exr", rgb)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".exr", ".hdr"])
@pytest.mark.parametrize("keep", [0.0, 0.2, 0.7])
def test_cut_files_are_refused(suffix: str, keep: float, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, np.random.default_rng(3).random((64, 64, 3), dtype=np.float32))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(VideoDecodeError, match=rf"a\{suffix}"):
        read_image(path)


def test_a_flipped_bit_in_a_png_is_found(tmp_path: Path, rgb: np.ndarray) -> None:
    write_png16(tmp_path / "a.png", rgb)
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(VideoDecodeError, match="damaged PNG"):
        read_image(tmp_path / "a.png")


def test_other_shapes_are_refused(tmp_path: Path, rgb: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "five.tif", np.zeros((4, 4, 5), np.uint8), planarconfig="contig")
    tifffile.imwrite(tmp_path / "signed.tif", np.zeros((4, 4, 3), np.int16), photometric="rgb")
    for name, message in (("five.tif", "expected grey or RGB"), ("signed.tif", "samples of type int16")):
        with pytest.raises(VideoDecodeError, match=message):
            read_image(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.png")
    with pytest.raises(ValueError, match=r"\(9, 6\)"):
        write_png16(tmp_path / "b.png", np.zeros((9, 6), np.float32))
    with pytest.raises(ValueError, match="int64"):
        write_png16(tmp_path / "b.png", np.zeros((9, 6, 3), np.int64))
    with pytest.raises(ValueError, match="supported"):
        write_image(tmp_path / "b.jpg", rgb)
    with pytest.raises(ValueError, match="half precision"):
        write_exr(tmp_path / "b.exr", rgb * 1e6, half=True)
    assert not list(tmp_path.glob("*b.*"))


def test_nothing_is_left_behind_when_a_write_fails(
    tmp_path: Path, rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.png").write_bytes(b"the older file")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WriteError, match=r"old\.png: the disk is full") as error:
        write_png16(tmp_path / "old.png", rgb)
    assert error.value.errno == errno.ENOSPC
    assert [p.name for p in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_bytes() == b"the older file"
    with pytest.raises(WriteError, match="no folder"):
        write_png16(tmp_path / "none" / "a.png", rgb)


# --- folders --------------------------------------------------------------------------------------------------------


def test_frames_come_in_natural_order_as_floats(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    for i in range(8, 13):
        write_png16(folder / f"shot2_{i}.png", np.full((4, 6, 3), i * 1000, np.uint16))
    reader = FrameReader(folder, expect="hdr10", fps=Fraction(24000, 1001))
    frames = list(reader)
    assert [f.index for f in frames] == [0, 1, 2, 3, 4]
    assert [f.pts_seconds for f in frames][:2] == [0, Fraction(1001, 24000)]
    for f, code in zip(frames, range(8000, 13000, 1000), strict=True):
        np.testing.assert_allclose(f.rgb, code / 65535, rtol=1e-6)
    (third,) = reader.read([2])
    np.testing.assert_array_equal(third.rgb, frames[2].rgb)
    info = reader.info
    assert (info.kind, info.width, info.height, info.n_frames, info.bit_depth) == ("frames", 6, 4, 5, 16)
    assert (info.transfer, info.primaries, info.matrix) == ("pq", "bt2020", "rgb")
    assert (info.path, info.first_number) == (folder, "8")
    assert info.duration == Fraction(5 * 1001, 24000)
    assert next(iter(FrameReader(folder, expect="hdr10"))).pts_seconds is None


def test_exr_folders_are_linear(tmp_path: Path, rgb: np.ndarray) -> None:
    folder = folder_of(tmp_path, write_exr, ["a1.exr", "a2.exr"], rgb * 300)
    for expect in (None, "linear"):
        reader = FrameReader(folder, expect=expect)
        assert (reader.info.transfer, reader.info.primaries) == ("linear", "bt2020")
        np.testing.assert_array_equal(next(iter(reader)).rgb, rgb * 300)
    with pytest.raises(VideoTagError, match="linear light, but sdr codes were expected"):
        FrameReader(folder, expect="sdr")


def test_a_missing_number_is_named(tmp_path: Path, rgb: np.ndarray) -> None:
    folder = folder_of(tmp_path, write_png16, [f"f_{i:03}.png" for i in (1, 2, 4, 7)], rgb)
    with pytest.raises(VideoDecodeError, match=r"frame 3 is missing before f_004\.png"):
        FrameReader(folder, expect="sdr")
    write_png16(folder / "f_003.png", rgb)
    with pytest.raises(VideoDecodeError, match=r"frames 5 to 6 are missing before f_007\.png"):
        FrameReader(folder, expect="sdr")


def test_names_without_a_sequence_need_no_numbers(tmp_path: Path, rgb: np.ndarray) -> None:
    folder = folder_of(tmp_path, write_png16, ["kodim01.png", "kodim5b.png", "zebra.png"], rgb)
    assert len(FrameReader(folder, expect="sdr")) == 3


def test_all_frames_must_be_alike(tmp_path: Path, rgb: np.ndarray) -> None:
    folder = folder_of(tmp_path, write_png16, ["1.png", "2.png", "3.png"], rgb)
    write_png16(folder / "2.png", rgb[:, :-1])
    with pytest.raises(VideoDecodeError, match=r"2\.png: 8x6 uint16, but 1\.png is 9x6 uint16"):
        FrameReader(folder, expect="sdr")
    write_image(folder / "2.png", rgb, bits=8)
    with pytest.raises(VideoDecodeError, match=r"2\.png: 9x6 uint8"):
        FrameReader(folder, expect="sdr")
    (folder / "2.png").unlink()
    write_image(folder / "2.tif", rgb)
    with pytest.raises(VideoDecodeError, match="several types"):
        FrameReader(folder, expect="sdr")


def test_empty_and_missing_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no frames here")
    with pytest.raises(VideoDecodeError, match="no frames"):
        FrameReader(tmp_path / "empty", expect="sdr")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        FrameReader(tmp_path / "nowhere", expect="sdr")


def test_roles_of_folders(tmp_path: Path, rgb: np.ndarray) -> None:
    eight = folder_of(tmp_path, lambda p, x: write_image(p, x, bits=8), ["1.png"], rgb)
    with pytest.raises(VideoTagError, match="do not say what their codes mean: pass expect='sdr'"):
        FrameReader(eight)
    with pytest.raises(VideoTagError, match="8-bit HDR: hdr10"):
        FrameReader(eight, expect="hdr10")
    with pytest.raises(VideoTagError, match="linear light needs floating point"):
        FrameReader(eight, expect="linear")
    reader = FrameReader(eight, expect="sdr")
    assert (reader.info.transfer, reader.info.primaries, reader.info.bit_depth) == ("bt709", "bt709", 8)
    np.testing.assert_allclose(next(iter(reader)).rgb, rgb, atol=0.51 / 255)


def test_damage_inside_a_folder_is_named(tmp_path: Path, rgb: np.ndarray) -> None:
    folder = folder_of(tmp_path, write_png16, ["1.png", "2.png", "3.png"], rgb)
    data = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(data[:-20])
    reader = FrameReader(folder, expect="hdr10")  # the header is whole
    with pytest.raises(VideoDecodeError, match=r"3\.png: damaged PNG"):
        list(reader)
    with pytest.raises(VideoDecodeError, match=r"3\.png: damaged PNG"):
        verify(folder, expect="hdr10")
