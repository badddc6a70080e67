"""One image file: a frame of a sequence (PNG, TIFF, EXR, Radiance, DPX), or a photograph.

imageio silently reads a 16-bit PNG as 8 bit, and OpenCV 5 has no EXR: each type goes to a library that is exact for it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
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
from vitm.video.photographs import (
    ALPHA_IS_LEFT_OUT,
    PHOTOGRAPHS,
    Header,
    damage_named,
    photograph_header,
    read_photograph,
)
from vitm.video.planes import frame_planes, pixel_layout, planes_to_rgb
from vitm.video.read.container import open_video
from vitm.video.tags import PRIMARIES, TRANSFERS, check_choice, tag_name

Image = npt.NDArray[Any]
Float = npt.NDArray[np.float32]

WRITTEN = (".png", ".tif", ".tiff", ".exr", ".hdr")
SEQUENCES = (*WRITTEN, ".dpx")  # what films are kept in, frame by frame
SUFFIXES = (*SEQUENCES, *PHOTOGRAPHS)
_TIFF = "tifffile"  # the plugin of imageio that keeps 16-bit and floating-point RGB as they are
_TIFF_KINDS = (1, 2)  # PhotometricInterpretation: grey from black to white, RGB; TIFF 6.0, section 6
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type; PNG, 11.2.1
_PNG_HEADER = 33  # bytes of the signature and the IHDR chunk
_BT2020_XY = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290)
_BT709_XY = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, 0.3127, 0.3290)


def read_image(path: str | PathLike[str]) -> Image:
    """Read one image as RGB codes or linear light, as stored.

    Grey pictures get three equal channels, palettes become colours, and alpha is left out: `image_header` notes it.

    Args:
        path: a file of one of `SUFFIXES`; a photograph as `vitm.video.photographs.read_photograph` reads it.

    Returns:
        (H, W, 3), RGB. PNG, TIFF and photographs: uint8, uint16 or fp32, in the file's own type; DPX, AVIF and JPEG
        XL: fp32 codes, nominally from 0 to 1; EXR and Radiance: fp32 linear light.

    Raises:
        FileNotFoundError: there is no such file.
        VideoDecodeError: it is damaged, is of another type, or holds NaN or infinity.
        ImportError: HEIC and JPEG XL need the extra "pictures".
    """
    path = Path(path)
    suffix = _suffix_of(path)
    with damage_named(path):
        image = _pixels(path, suffix)
    return checked_rgb(image, path)


def _pixels(path: Path, suffix: str) -> Image:
    """Decode a file by the library that is exact for its type."""
    if suffix in PHOTOGRAPHS:
        return read_photograph(path)
    if suffix == ".exr":
        with OpenEXR.File(str(path)) as exr:
            return _exr_pixels(exr.channels(), path)
    if suffix in (".tif", ".tiff"):
        return np.asarray(iio.imread(path, plugin=_TIFF))
    if suffix == ".dpx":
        with open_video(path) as (container, stream):
            frame = _first_frame(container, stream, path)
            return planes_to_rgb(frame_planes(frame), pixel_layout(frame.format.name), "rgb", True, None)
    if suffix == ".png":
        _check_png(path)
    decoded = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise VideoDecodeError(f"{path}: not a readable {suffix[1:]} file, or damaged")
    return np.asarray(decoded if decoded.ndim == 2 else decoded[..., 2::-1])  # OpenCV's order is B, G, R, A


def _first_frame(container: Any, stream: Any, path: Path) -> Any:
    frame = next(container.decode(stream), None)
    if frame is None:
        raise VideoDecodeError(f"{path}: holds no picture that can be decoded")
    return frame


def checked_rgb(image: Image, path: Path) -> Image:
    """Return decoded samples of any layout as RGB (H, W, 3) of uint8, uint16 or fp32.

    Raises:
        VideoDecodeError: they are no picture, are of another type, or hold NaN or infinity.
    """
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 2, 3, 4):
        raise VideoDecodeError(f"{path}: array of shape {image.shape}; expected grey or RGB (H, W, 3)")
    image = image[..., :3] if image.shape[2] >= 3 else image[..., :1].repeat(3, axis=2)
    if image.dtype == np.bool_:
        image = image * np.uint8(255)
    if image.dtype not in (np.uint8, np.uint16):
        if image.dtype.kind != "f":
            raise VideoDecodeError(f"{path}: samples of type {image.dtype}; expected uint8, uint16 or floating point")
        image = image.astype(np.float32, copy=False)
        _check_finite(image, path)
    return np.ascontiguousarray(image)


def write_png16(path: str | PathLike[str], rgb: npt.ArrayLike) -> None:
    """Write a 16-bit RGB PNG.

    Args:
        path: the file; it appears when it is whole.
        rgb: (H, W, 3), RGB: floating-point codes in [0, 1] (clipped; 1 becomes 65535), or uint16 as they are.

    Raises:
        ValueError: for other shapes or types, or NaN.
        WriteError: if the file cannot be written.
    """
    write_image(path, rgb, bits=16)


def write_png_pq(path: str | PathLike[str], hdr_pq: Float, levels: tuple[float, float] | None = None) -> None:
    """Write PQ codes of BT.2020 as a 16-bit PNG that says so (PNG, third edition, 11.3.2.6 and 11.3.2.8).

    Args:
        path: the file; it appears when it is whole.
        hdr_pq: (H, W, 3), PQ codes in [0, 1].
        levels: MaxCLL and MaxFALL in cd/m2, which become the cLLI chunk; None for none.

    Raises:
        ValueError: for other shapes or types, or NaN.
        WriteError: if the file cannot be written.
    """
    _, data = cv2.imencode(".png", _integer_image(hdr_pq, 16, path)[..., ::-1])
    chunks = _png_chunk(b"cICP", bytes((9, 16, 0, 1)))  # H.273: BT.2020, PQ, R'G'B', full range
    if levels is not None:
        chunks += _png_chunk(b"cLLI", struct.pack(">2I", *(round(10_000 * nits) for nits in levels)))
    with replace_when_whole(path) as part:
        part.write_bytes(data[:_PNG_HEADER].tobytes() + chunks + data[_PNG_HEADER:].tobytes())


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write_exr(
    path: str | PathLike[str],
    rgb_linear: npt.ArrayLike,
    primaries: Literal["bt709", "bt2020"] = "bt2020",
    half: bool = False,
    white_nits: float | None = None,
) -> None:
    """Write linear light as EXR, losslessly compressed, with its primaries in the header.

    Args:
        path: the file; it appears when it is whole.
        rgb_linear: (H, W, 3), RGB, linear light of any scale.
        primaries: primaries, which become the file's chromaticities.
        half: whether samples have 16 bits, up to 65504, instead of 32.
        white_nits: light of (1, 1, 1) in cd/m2, which becomes the file's whiteLuminance; None: not known.

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
    """Write an image of the type that the suffix says: .png and .tif (codes), .exr (BT.2020) and .hdr (linear light).

    Args:
        path: the file; it appears when it is whole.
        rgb: (H, W, 3), RGB. For PNG and TIFF: floating-point codes in [0, 1] (clipped, rounded), or integers of `bits`
            bits as they are.
        bits: number of bits of a sample of PNG and TIFF.

    Raises:
        ValueError: for another suffix, shape or type, or NaN.
        WriteError: if the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise ValueError(f"{path}: cannot write {suffix!r} (supported: {', '.join(WRITTEN)})")
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
    """Return what an image file says of itself; the pixels of PNG, TIFF and EXR are not decoded for that.

    Raises:
        FileNotFoundError: there is no such file.
        VideoDecodeError: it is damaged, or neither RGB nor grey.
        ImportError: HEIC and JPEG XL need the extra "pictures".
    """
    suffix = _suffix_of(path)
    with damage_named(path):
        if suffix in PHOTOGRAPHS:
            return photograph_header(path)
        if suffix == ".png":
            return _png_header(path)
        if suffix == ".exr":
            with OpenEXR.File(str(path), header_only=True) as exr:
                header = exr.header()
                low, high = header["dataWindow"]
                primaries, white_nits = _primaries_of(header.get("chromaticities")), header.get("whiteLuminance")
            size = int(high[0] - low[0] + 1), int(high[1] - low[1] + 1)
            return Header(*size, "float32", primaries, white_nits=white_nits)
        if suffix == ".hdr":
            height, width = read_image(path).shape[:2]
            return Header(width, height, "float32", "bt709")
        if suffix == ".dpx":
            with open_video(path) as (container, stream):
                frame = _first_frame(container, stream, path)
                layout = pixel_layout(frame.format.name)
                notes = (ALPHA_IS_LEFT_OUT,) if layout.alpha else ()
                return Header(frame.width, frame.height, f"uint{layout.bits}", notes=notes)
        page = iio.improps(path, plugin=_TIFF)
        photometric = iio.immeta(path, plugin=_TIFF, page=0).get("PhotometricInterpretation")
        if photometric not in _TIFF_KINDS or page.shape[2:] not in ((), (3,), (4,)):
            raise VideoDecodeError(f"{path}: not an RGB or grey TIFF")
        if str(page.dtype) not in ("bool", "uint8", "uint16", "float16", "float32", "float64"):
            raise VideoDecodeError(f"{path}: samples of type {page.dtype}; expected uint8, uint16 or floating point")
        notes = (ALPHA_IS_LEFT_OUT,) if page.shape[2:] == (4,) else ()
        return Header(
            page.shape[1],
            page.shape[0],
            str(page.dtype).replace("bool", "uint8"),
            notes=notes,
            channels=(*page.shape[2:], 1)[0],
        )


def _png_header(path: Path) -> Header:
    """Read size, depth and colour type of a PNG (PNG, third edition, 11.2.1), and its cICP chunk (11.3.2.6)."""
    with path.open("rb") as file:
        signature, width, height, bits, colour = struct.unpack(">16sIIBB", file.read(26))
        if signature[:8] != b"\x89PNG\r\n\x1a\n":
            raise VideoDecodeError(f"{path}: not a PNG file")
        file.seek(_PNG_HEADER)
        codes, transparent = None, colour in (4, 6)
        while len(start := file.read(8)) == 8 and start[4:] not in (b"IDAT", b"IEND"):
            (length,) = struct.unpack_from(">I", start)
            content = file.read(length + 4)
            codes = content[:2] if start[4:] == b"cICP" else codes
            transparent |= start[4:] == b"tRNS"
    colours = () if codes is None else (tag_name(PRIMARIES, codes[0]), tag_name(TRANSFERS, codes[1]))
    notes = (ALPHA_IS_LEFT_OUT,) if transparent else ()
    header = Header(width, height, "uint16" if bits == 16 else "uint8", *colours)
    return replace(header, notes=notes, channels=_PNG_CHANNELS.get(colour, 0))


def _primaries_of(chromaticities: Sequence[float] | None) -> str:
    """Return the primaries by EXR's rule: without the attribute, they are BT.709's."""
    if chromaticities is None or np.allclose(chromaticities, _BT709_XY, atol=1e-3):
        return "bt709"
    return "bt2020" if np.allclose(chromaticities, _BT2020_XY, atol=1e-3) else "other"


def _exr_pixels(channels: dict[str, Any], path: Path) -> Image:
    """Return the picture among the channels of an EXR."""
    for name in ("RGB", "RGBA", "Y"):
        if name in channels:
            return np.asarray(channels[name].pixels)
    raise VideoDecodeError(f"{path}: channels {', '.join(sorted(channels))}; expected R, G and B, or Y")


def _check_png(path: Path) -> None:
    """Check that every chunk is there and whole: OpenCV pads a cut PNG with black and says nothing."""
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
