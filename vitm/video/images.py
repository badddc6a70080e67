"""One image file: PNG, TIFF, EXR or Radiance.

imageio silently reads a 16-bit PNG as 8 bit, and OpenCV 5 has no EXR: each type goes to a library that is exact for it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import cv2
import imageio.v3 as iio
import numpy as np
import numpy.typing as npt
import OpenEXR

from vitm.files import WriteError, replace_when_whole
from vitm.video.errors import VideoDecodeError
from vitm.video.tags import check_choice

Image = npt.NDArray[Any]
Float = npt.NDArray[np.float32]

SUFFIXES = (".png", ".tif", ".tiff", ".exr", ".hdr")
_TIFF = "tifffile"  # the plugin of imageio that keeps 16-bit and floating-point RGB as they are
_TIFF_RGB = 2  # PhotometricInterpretation, TIFF 6.0, section 6
_BT2020_XY = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290)
_BT709_XY = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, 0.3127, 0.3290)


@dataclass(frozen=True)
class Header:
    """Size, sample type ("uint8", "uint16", "float32") and primaries (None: the file does not say)."""

    width: int
    height: int
    sample: str
    primaries: str | None = None


def read_image(path: str | PathLike[str]) -> Image:
    """One RGB image, exactly as stored.

    Args:
        path: a .png or .tif file (uint8, uint16, float), .exr or .hdr (linear light).

    Returns:
        (H, W, 3), RGB. PNG and TIFF: uint8, uint16 or float32, in the file's own type; EXR and Radiance: float32.

    Raises:
        FileNotFoundError: if there is no such file.
        VideoDecodeError: if it is damaged, has not three channels, is of another type, or holds NaN or infinity.
    """
    path = Path(path)
    suffix = _suffix_of(path)
    try:
        if suffix == ".exr":
            with OpenEXR.File(str(path)) as exr:
                image = _exr_pixels(exr.channels(), path)
        elif suffix in (".tif", ".tiff"):
            image = iio.imread(path, plugin=_TIFF)
        else:
            if suffix == ".png":
                _check_png(path)
            decoded = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            if decoded is None:
                raise VideoDecodeError(f"{path}: not a readable {suffix[1:]} file, or damaged")
            image = decoded[..., 2::-1] if decoded.shape[2:] == (3,) else decoded  # OpenCV's order is B, G, R
    except VideoDecodeError:
        raise
    except (OSError, RuntimeError, ValueError, IndexError, struct.error, zlib.error, cv2.error) as error:
        raise VideoDecodeError(f"{path}: not a readable {suffix[1:]} file, or damaged ({error})") from error
    if image.ndim != 3 or image.shape[2] != 3:
        raise VideoDecodeError(f"{path}: array of shape {image.shape}; expected RGB (H, W, 3) without alpha or palette")
    if image.dtype not in (np.uint8, np.uint16):
        if image.dtype.kind != "f":
            raise VideoDecodeError(f"{path}: samples of type {image.dtype}; expected uint8, uint16 or floating point")
        image = image.astype(np.float32, copy=False)
        _check_finite(image, path)
    return np.ascontiguousarray(image)


def write_png16(path: str | PathLike[str], rgb: npt.ArrayLike) -> None:
    """A 16-bit RGB PNG.

    Args:
        path: the file; it appears when it is whole.
        rgb: (H, W, 3), RGB: floating-point codes in [0, 1] (clipped; 1 becomes 65535), or uint16 as they are.

    Raises:
        ValueError: for other shapes or types, or NaN.
        WriteError: if the file cannot be written.
    """
    write_image(path, rgb, bits=16)


def write_exr(
    path: str | PathLike[str],
    rgb_linear: npt.ArrayLike,
    primaries: Literal["bt709", "bt2020"] = "bt2020",
    half: bool = False,
    white_nits: float | None = None,
) -> None:
    """A linear-light EXR, losslessly compressed, with its primaries in the header.

    Args:
        path: the file; it appears when it is whole.
        rgb_linear: (H, W, 3), RGB, linear light of any scale.
        primaries: written as the file's chromaticities.
        half: 16-bit samples, to 65504, instead of 32-bit ones.
        white_nits: written as the file's whiteLuminance: the light of (1, 1, 1) in cd/m2. None: not known.

    Raises:
        ValueError: for other shapes, NaN, infinity, or values that half precision does not reach.
        WriteError: if the file cannot be written.
    """
    check_choice("primaries", primaries, Literal["bt709", "bt2020"])
    image = _float_image(rgb_linear, path)
    if half and float(np.abs(image).max(initial=0.0)) > 65504.0:
        raise ValueError(
            f"{path}: values up to {np.abs(image).max():g} do not fit half precision (65504): use half=False"
        )
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "chromaticities": _BT2020_XY if primaries == "bt2020" else _BT709_XY,
    }
    if white_nits is not None:
        header["whiteLuminance"] = white_nits
    with replace_when_whole(path) as temporary:
        try:
            OpenEXR.File(header, {"RGB": image.astype(np.float16) if half else image}).write(str(temporary))
        except RuntimeError as error:
            raise WriteError(f"cannot write {path}: {error}; nothing was left behind") from error


def write_image(path: str | PathLike[str], rgb: npt.ArrayLike, bits: Literal[8, 16] = 16) -> None:
    """An image of the type that the suffix says: .png and .tif (codes), .exr (BT.2020) and .hdr (linear light).

    Args:
        path: the file; it appears when it is whole.
        rgb: (H, W, 3), RGB. For PNG and TIFF: floating-point codes in [0, 1] (clipped, rounded), or integers of `bits`
            bits as they are.
        bits: bits a sample of PNG and TIFF.

    Raises:
        ValueError: for another suffix, shape or type, or NaN.
        WriteError: if the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: cannot write {suffix!r} (supported: {', '.join(SUFFIXES)})")
    if suffix == ".exr":
        return write_exr(path, rgb)
    image = _float_image(rgb, path) if suffix == ".hdr" else _integer_image(rgb, bits, path)
    with replace_when_whole(path) as temporary:
        if suffix in (".tif", ".tiff"):
            iio.imwrite(temporary, image, plugin=_TIFF, extension=".tif", photometric="rgb", compression="zlib")
        else:
            _, data = cv2.imencode(suffix, image[..., ::-1])
            temporary.write_bytes(data.tobytes())
    return None


def _suffix_of(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise VideoDecodeError(f"{path}: not an image type that is read here ({', '.join(SUFFIXES)})")
    return suffix


def image_header(path: Path) -> Header:
    """Size and sample type of an image file, without decoding the pixels of a PNG, TIFF or EXR.

    Raises:
        FileNotFoundError: if there is no such file.
        VideoDecodeError: if it is damaged, or not RGB.
    """
    suffix = _suffix_of(path)
    try:
        if suffix == ".png":
            with path.open("rb") as file:
                signature, width, height, bits, colour = struct.unpack(">16sIIBB", file.read(26))
            if signature[:8] != b"\x89PNG\r\n\x1a\n" or bits not in (8, 16) or colour != 2:
                raise VideoDecodeError(f"{path}: not an 8- or 16-bit RGB PNG (alpha, grey and palette are not read)")
            return Header(width, height, f"uint{bits}")
        if suffix == ".exr":
            with OpenEXR.File(str(path), header_only=True) as exr:
                header = exr.header()
                low, high = header["dataWindow"]
                primaries = _primaries_of(header.get("chromaticities"))
            return Header(int(high[0] - low[0] + 1), int(high[1] - low[1] + 1), "float32", primaries)
        if suffix == ".hdr":
            height, width = read_image(path).shape[:2]
            return Header(width, height, "float32", "bt709")
        page = iio.improps(path, plugin=_TIFF)
        photometric = iio.immeta(path, plugin=_TIFF, page=0).get("PhotometricInterpretation")
        if photometric != _TIFF_RGB or len(page.shape) != 3 or page.shape[2] != 3:
            raise VideoDecodeError(f"{path}: not an RGB TIFF without alpha")
        return Header(page.shape[1], page.shape[0], str(page.dtype))
    except VideoDecodeError:
        raise
    except (OSError, RuntimeError, ValueError, IndexError, KeyError, struct.error, zlib.error) as error:
        raise VideoDecodeError(f"{path}: not a readable {suffix[1:]} file, or damaged ({error})") from error


def _primaries_of(chromaticities: Sequence[float] | None) -> str:
    """EXR's rule: without the attribute, the primaries are BT.709's."""
    if chromaticities is None or np.allclose(chromaticities, _BT709_XY, atol=1e-3):
        return "bt709"
    return "bt2020" if np.allclose(chromaticities, _BT2020_XY, atol=1e-3) else "other"


def _exr_pixels(channels: dict[str, Any], path: Path) -> Image:
    for name in ("RGB", "RGBA"):
        if name in channels:
            return np.asarray(channels[name].pixels)[..., :3]
    raise VideoDecodeError(f"{path}: channels {', '.join(sorted(channels))}; expected R, G and B")


def _check_png(path: Path) -> None:
    """OpenCV pads a cut PNG with black and says nothing: check that every chunk is there and whole."""
    data = path.read_bytes()
    position, kind = 8, b""
    while position + 12 <= len(data) and kind != b"IEND":
        (length,) = struct.unpack_from(">I", data, position)
        kind, end = data[position + 4 : position + 8], position + 8 + length
        if data[end : end + 4] != struct.pack(">I", zlib.crc32(data[position + 4 : end])):
            raise VideoDecodeError(f"{path}: damaged PNG (chunk {kind!r} at byte {position} is cut short or altered)")
        position = end + 4
    if kind != b"IEND":
        raise VideoDecodeError(f"{path}: damaged PNG (it ends after {len(data)} bytes without an end mark)")


def _check_finite(image: Float, path: Path) -> None:
    finite = np.isfinite(image)
    if not finite.all():
        row, column = np.argwhere(~finite.all(axis=2))[0]
        raise VideoDecodeError(
            f"{path}: {int((~finite).sum())} samples are NaN or infinite, first at x={column}, y={row}"
        )


def _check_rgb(image: Image, path: str | PathLike[str]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"{path}: array of shape {image.shape}; expected RGB (H, W, 3)")


def _float_image(rgb: npt.ArrayLike, path: str | PathLike[str]) -> Float:
    image = np.ascontiguousarray(rgb, dtype=np.float32)
    _check_rgb(image, path)
    if not np.isfinite(image).all():
        raise ValueError(f"{path}: the image holds NaN or infinity")
    return image


def _integer_image(rgb: npt.ArrayLike, bits: int, path: str | PathLike[str]) -> Image:
    if bits not in (8, 16):
        raise ValueError(f"bits={bits}: expected 8 or 16")
    image = np.asarray(rgb)
    _check_rgb(image, path)
    dtype = np.dtype(f"uint{bits}")
    if image.dtype == dtype:
        return image
    if image.dtype.kind != "f":
        raise ValueError(f"{path}: samples of type {image.dtype}; expected floating point in [0, 1] or {dtype}")
    if np.isnan(image).any():
        raise ValueError(f"{path}: the image holds NaN")
    return (image.clip(0, 1).astype(np.float64) * np.iinfo(dtype).max + 0.5).astype(dtype)
