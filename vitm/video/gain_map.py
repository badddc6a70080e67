"""Photographs with a gain map (Ultra HDR JPEG): the SDR picture, and the HDR picture that a map of gains makes of it.

A file holds two JPEG images, one behind the other: the base image and the gain map. How the map is applied stands in
XMP (`hdrgm`, Adobe Gain Map 1.0, Ultra HDR Image Format 1.1) or in the binary form of ISO 21496-1, annex C, or in both.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from vitm.color import DIFFUSE_WHITE_NITS, pq_inverse_eotf
from vitm.color.gamut import primaries_conversion
from vitm.video.errors import VideoDecodeError
from vitm.video.icc import ProfilePrimaries, profile_primaries

_Float = npt.NDArray[np.float32]
PerChannel = tuple[float, float, float]

XMP = b"http://ns.adobe.com/xap/1.0/\0"
ISO = b"urn:iso:std:iso:ts:21496:-1\0"
_ICC = b"ICC_PROFILE\0"
_EXIF = b"Exif\0\0"
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_PRIMARIES = {"bt709": "bt709", "display-p3": "p3-d65", "bt2020": "bt2020"}  # names in vitm.color.gamut
_MULTICHANNEL, _BASE_SPACE, _COMMON_DENOMINATOR = 0x80, 0x40, 0x08  # flags of ISO 21496-1


@dataclass(frozen=True)
class GainMap:
    """Describe how a gain map is applied, by values of R, G and B (ISO 21496-1, 5.2).

    Attributes:
        minimum: log2 of the gain where the map is 0.
        maximum: log2 of the gain where the map is 1.
        gamma: exponent that the map was encoded with.
        base_offset: offset that is added to the base image's linear light.
        alternate_offset: offset that is subtracted from the result.
        headroom: log2 of the HDR picture's peak over SDR white, for a display that shows all of it.
    """

    minimum: PerChannel = (0.0, 0.0, 0.0)
    maximum: PerChannel = (1.0, 1.0, 1.0)
    gamma: PerChannel = (1.0, 1.0, 1.0)
    base_offset: PerChannel = (1 / 64, 1 / 64, 1 / 64)
    alternate_offset: PerChannel = (1 / 64, 1 / 64, 1 / 64)
    headroom: float = 1.0


@dataclass(frozen=True)
class GainMapPicture:
    """Hold a photograph and its HDR version, upright.

    Attributes:
        sdr: (H, W, 3), uint8, R'G'B' with the sRGB curve, in `primaries`.
        hdr: (H, W, 3), fp32, linear light in `primaries`; 1 is SDR white.
        primaries: primaries of both pictures.
        tagged: whether a profile says the primaries; without one, the file is sRGB.
        gain_map: description of the gain map.
    """

    sdr: npt.NDArray[np.uint8]
    hdr: _Float
    primaries: ProfilePrimaries
    tagged: bool
    gain_map: GainMap


def read_gain_map(path: str | PathLike[str]) -> GainMapPicture:
    """Read an Ultra HDR photograph, for a display that shows all of its headroom.

    Args:
        path: a JPEG file with a gain map.

    Raises:
        FileNotFoundError: there is no such file.
        VideoDecodeError: it is no JPEG, has no gain map, or one of its parts is damaged.
    """
    path = Path(path)
    images = [_Jpeg(data) for data in _images(path.read_bytes(), path)]
    base = images[0]
    pair = next(((image, gains) for image in images[1:] if (gains := _gains(image, path)) is not None), None)
    if pair is None:
        raise VideoDecodeError(f"{path}: a JPEG without a gain map; expected an Ultra HDR photograph")
    map_image, gain_map = pair
    sdr = _decode(base.data, path, "base image")
    encoded = _decode(map_image.data, path, "gain map").astype(np.float32) / 255
    encoded = np.asarray(cv2.resize(encoded, (sdr.shape[1], sdr.shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)
    low, high = np.asarray(gain_map.minimum, np.float32), np.asarray(gain_map.maximum, np.float32)
    log_gain = low + (high - low) * encoded ** (1 / np.asarray(gain_map.gamma, np.float32))  # ISO 21496-1, 6.3
    base_offset = np.asarray(gain_map.base_offset, np.float32)
    hdr = (_srgb_eotf(sdr) + base_offset) * np.exp2(log_gain) - np.asarray(gain_map.alternate_offset, np.float32)
    primaries = _primaries(base)
    turn = _orientation(base)
    return GainMapPicture(
        sdr=_upright(sdr, turn),
        hdr=_upright(np.maximum(hdr, 0).astype(np.float32), turn),
        primaries=primaries or "bt709",
        tagged=primaries is not None,
        gain_map=gain_map,
    )


def has_gain_map(path: str | PathLike[str]) -> bool:
    """Return whether a file is a JPEG with a gain map; False for damaged ones and for other files."""
    try:
        path = Path(path)
        images = [_Jpeg(data) for data in _images(path.read_bytes(), path)]
        return any(_gains(image, path) is not None for image in images[1:])
    except (OSError, VideoDecodeError):
        return False


def hdr10_of(linear: _Float, primaries: ProfilePrimaries) -> _Float:
    """Return the PQ code in BT.2020 of light relative to SDR white, which is put at 203 cd/m2.

    Args:
        linear: (H, W, 3), fp32, linear light in `primaries`; 1 is SDR white.
        primaries: its primaries.

    Returns:
        (H, W, 3), fp32 code in [0, 1].
    """
    matrix = np.array(primaries_conversion(_PRIMARIES[primaries], "bt2020"))
    nits = torch.from_numpy(cv2.transform(linear, DIFFUSE_WHITE_NITS * matrix)).clamp(0, 10_000)
    codes: _Float = pq_inverse_eotf(nits).numpy()
    return codes


class _Jpeg:
    """Hold one JPEG image: its bytes and its application segments."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.segments = [content for marker, content in _segments(data) if 0xE0 <= marker <= 0xEF]

    def segment(self, header: bytes) -> bytes | None:
        """Return what follows the first segment's header, or None."""
        return next((s[len(header) :] for s in self.segments if s.startswith(header)), None)


def _images(data: bytes, path: Path) -> Iterator[bytes]:
    """Give the JPEG images of a file in their order, each from its start to its end marker."""
    if not data.startswith(b"\xff\xd8\xff"):
        raise VideoDecodeError(f"{path}: not a JPEG file")
    start = 0
    while start >= 0:
        end = _end(data, start)
        yield data[start:end]
        start = data.find(b"\xff\xd8\xff", end)


def _segments(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Give the marker and the content of each segment before the image's first scan."""
    at = start + 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in (_SOS, _EOI):
            return
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def _end(data: bytes, start: int) -> int:
    """Return where an image ends: behind its end marker, or at the end of a file that is cut short."""
    at = start + 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:  # in a scan: to the next marker that is not a stuffed byte or a restart
            at = data.find(b"\xff", at)
            if at < 0:
                break
            continue
        marker = data[at + 1]
        if marker == _EOI:
            return at + 2
        if marker in (0x00, 0xFF) or 0xD0 <= marker <= 0xD7:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        at += 2 + length
    return at + 2 if data[at : at + 2] == b"\xff\xd9" else len(data)


def _gains(image: _Jpeg, path: Path) -> GainMap | None:
    """Return the description of a gain map in an image, from its binary form or else from XMP; None without one."""
    binary, xmp = image.segment(ISO), image.segment(XMP)
    try:
        if binary is not None and len(binary) > 4:
            return _from_binary(binary)
        if xmp is not None and b"hdrgm:GainMapMax" in xmp:
            return _from_xmp(xmp.decode("utf-8", errors="replace"))
    except (struct.error, ValueError, ZeroDivisionError) as error:
        raise VideoDecodeError(f"{path}: its gain map's description is damaged ({error})") from error
    return None


def _from_binary(data: bytes) -> GainMap:
    """Read the form of ISO 21496-1, C.2: versions, flags, headrooms, then five values for one channel or for three."""
    minimum_version, _, flags = struct.unpack_from(">HHB", data)
    if minimum_version:
        raise ValueError(f"version {minimum_version} is not known")
    channels = 3 if flags & _MULTICHANNEL else 1
    numbers = _numbers(data, 5, common=bool(flags & _COMMON_DENOMINATOR), channels=channels)
    base_headroom, headroom = next(numbers), next(numbers)
    if base_headroom > headroom:
        raise ValueError("its base image is the HDR one, which is not supported")
    rows = [[next(numbers) for _ in range(5)] for _ in range(channels)]
    minimum, maximum, gamma, base_offset, alternate_offset = (_triple([row[i] for row in rows]) for i in range(5))
    return _checked(GainMap(minimum, maximum, gamma, base_offset, alternate_offset, headroom))


def _numbers(data: bytes, at: int, *, common: bool, channels: int) -> Iterator[float]:
    signed = [False, False, *[True, True, False, True, True] * channels]
    denominator = 0
    if common:
        (denominator,) = struct.unpack_from(">I", data, at)
        at += 4
    for sign in signed:
        (numerator,) = struct.unpack_from(">i" if sign else ">I", data, at)
        at += 4
        if not common:
            (denominator,) = struct.unpack_from(">I", data, at)
            at += 4
        yield numerator / denominator


def _from_xmp(text: str) -> GainMap:
    """Read the attributes and the lists of `hdrgm`; values that are missing have the specification's default."""
    if re.search(r'hdrgm:BaseRenditionIsHDR\s*=\s*"True"', text):
        raise ValueError("its base image is the HDR one, which is not supported")

    def values(name: str, default: float) -> PerChannel:
        if one := re.search(rf'hdrgm:{name}\s*=\s*"([^"]+)"', text):
            return _triple([float(one[1])])
        if many := re.search(rf"<hdrgm:{name}>(.*?)</hdrgm:{name}>", text, re.DOTALL):
            return _triple([float(x) for x in re.findall(r"<rdf:li>([^<]+)</rdf:li>", many[1])] or [float(many[1])])
        return _triple([default])

    return _checked(
        GainMap(
            values("GainMapMin", 0.0),
            values("GainMapMax", 1.0),
            values("Gamma", 1.0),
            values("OffsetSDR", 1 / 64),
            values("OffsetHDR", 1 / 64),
            values("HDRCapacityMax", 1.0)[0],
        )
    )


def _triple(values: list[float]) -> PerChannel:
    if len(values) not in (1, 3):
        raise ValueError(f"{len(values)} values; expected one, or three")
    first, *_ = values
    return (first, first, first) if len(values) == 1 else (values[0], values[1], values[2])


def _checked(gain_map: GainMap) -> GainMap:
    numbers = (*gain_map.minimum, *gain_map.maximum, *gain_map.base_offset, *gain_map.alternate_offset)
    if not all(np.isfinite(numbers)) or max(map(abs, numbers)) > 64:
        raise ValueError("a gain is not a number, or is beyond 64 stops")
    if any(not 0 < gamma < 100 for gamma in gain_map.gamma):
        raise ValueError(f"its gamma is {gain_map.gamma}; expected a positive one")
    return gain_map


def _decode(data: bytes, path: Path, part: str) -> npt.NDArray[np.uint8]:
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None:
        raise VideoDecodeError(f"{path}: its {part} cannot be decoded")
    image: npt.NDArray[np.uint8] = pixels
    return image


def _srgb_eotf(codes: npt.NDArray[np.uint8]) -> _Float:
    """Return the linear light of codes by IEC 61966-2-1, from a table."""
    code = np.arange(256, dtype=np.float64) / 255
    table = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4).astype(np.float32)
    light: _Float = table[codes]
    return light


def _primaries(image: _Jpeg) -> ProfilePrimaries | None:
    """Return the known primaries of an image's profile; None without one."""
    profile = image.segment(_ICC)
    return None if profile is None else profile_primaries(profile[2:])  # number of the part, count of the parts


def _orientation(image: _Jpeg) -> int:
    """Return the orientation of Exif (tag 274), 1 where there is none."""
    exif = image.segment(_EXIF)
    if exif is None or exif[:2] not in (b"II", b"MM"):
        return 1
    order = "<" if exif[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, at)
        for i in range(count):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, at + 2 + 12 * i)
            if tag == 274:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def _upright(image: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Undo the orientation of Exif: 2 to 4 mirror and turn by 180 degrees, 5 to 8 also swap the axes."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)
