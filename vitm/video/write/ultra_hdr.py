"""A JPEG with a gain map (Ultra HDR): an SDR picture that is HDR on displays that can show it."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import numpy.typing as npt
import torch

from vitm.color import DIFFUSE_WHITE_NITS, bt1886_eotf, pq_eotf, srgb_eotf, srgb_inverse_eotf
from vitm.color.gamut import BT2020_TO_BT709
from vitm.video.gain_map import ISO, XMP, GainMap, PerChannel
from vitm.video.planes import Float

_QUALITY = 95
_VERSIONS = bytes(4)  # ISO 21496-1: the least version of a reader, and the writer's
_MULTICHANNEL, _BASE_SPACE = 0x80, 0x40  # flags of ISO 21496-1
_DENOMINATOR = 1_000_000
_MULTI_PICTURE = b"MPF\0"
_RDF = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
_GAIN_MAP = 'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'
_OFFSET = GainMap().base_offset[0]
_CONTAINER = "http://ns.google.com/photos/1.0/container/"


def ultra_hdr_jpeg(sdr: Float, hdr_pq: Float) -> bytes:
    """Return a JPEG file that is an SDR picture, with a gain map of its size that makes an HDR picture of it.

    The gains are taken against the SDR picture as the JPEG holds it, so that they make up for its losses. Both pictures
    are of BT.709: the negative parts of HDR colours outside are cut.

    Args:
        sdr: (H, W, 3), BT.709 gamma code, clipped to [0, 1].
        hdr_pq: (H, W, 3), BT.2020 PQ code; SDR white is 203 cd/m2.

    Returns:
        The file: two JPEG images, described by ISO 21496-1, by XMP (Ultra HDR Image Format 1.1), and by a list of
        pictures (CIPA DC-007).
    """
    base = _jpeg(srgb_inverse_eotf(bt1886_eotf(torch.from_numpy(sdr).clamp(0, 1))).numpy())
    decoded = cv2.imdecode(np.frombuffer(base, np.uint8), cv2.IMREAD_COLOR_RGB)
    matrix = np.array(BT2020_TO_BT709) / DIFFUSE_WHITE_NITS
    hdr = np.maximum(cv2.transform(pq_eotf(torch.from_numpy(hdr_pq)).numpy(), matrix), 0)
    shown = srgb_eotf(torch.from_numpy(decoded) / 255).numpy()
    log_gain = np.log2((hdr + _OFFSET) / (shown + _OFFSET))  # ISO 21496-1, 6.3, the other way round
    low = log_gain.min(axis=(0, 1))
    high = np.maximum(log_gain.max(axis=(0, 1)), low + 0.01)
    gain_map = GainMap(_triple(low), _triple(high), headroom=max(0.01, float(high.max())))
    gains = _with_segment(_jpeg((log_gain - low) / (high - low)), ISO + _gain_map_binary(gain_map))
    gains = _with_segment(gains, XMP + _gain_map_xmp(gain_map))
    base = _with_segment(base, ISO + _VERSIONS)
    base = _with_segment(base, XMP + _container_xmp(len(gains)))
    return _with_segment(base, _MULTI_PICTURE + _list_of_pictures(len(base), len(gains))) + gains


def _triple(values: npt.NDArray[np.float32]) -> PerChannel:
    red, green, blue = map(float, values)
    return red, green, blue


def _jpeg(codes: Float) -> bytes:
    """Return a JPEG image of codes in [0, 1], in full resolution of colour."""
    pixels = cv2.cvtColor((255 * codes + 0.5).astype(np.uint8), cv2.COLOR_RGB2BGR)
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, *sampling])
    return data.tobytes()


def _with_segment(jpeg: bytes, content: bytes) -> bytes:
    """Put a segment behind the start of a JPEG image: APP1 for XMP, APP2 for the others."""
    marker = 0xE1 if content.startswith(XMP) else 0xE2
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + jpeg[2:]


def _list_of_pictures(first: int, second: int) -> bytes:
    """Return the list of the two pictures of a file (CIPA DC-007, 5.2.3), as a TIFF directory of three tags.

    Args:
        first: size of the first picture, without this list, in bytes.
        second: size of the second one.
    """
    tags = (
        struct.pack("<HHI4s", 0xB000, 7, 4, b"0100"),  # version
        struct.pack("<HHII", 0xB001, 4, 1, 2),  # number of pictures
        struct.pack("<HHII", 0xB002, 7, 32, 50),  # their entries: two of 16 bytes, behind this directory
    )
    size = 50 + 32
    whole = first + 8 + size  # with this list and the head of its segment
    entries = struct.pack("<3I2H", 0x030000, whole, 0, 0, 0)  # the primary picture
    entries += struct.pack("<3I2H", 0, second, whole - 2 - 8, 0, 0)  # offsets count from this list
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(tags) + struct.pack("<I", 0) + entries


def _gain_map_binary(gain_map: GainMap) -> bytes:
    """Describe a gain map by ISO 21496-1, C.2: versions, flags, headrooms, then five values a channel."""
    numbers = [("I", 0.0), ("I", gain_map.headroom)]
    for c in range(3):
        numbers += [("i", gain_map.minimum[c]), ("i", gain_map.maximum[c]), ("I", gain_map.gamma[c])]
        numbers += [("i", gain_map.base_offset[c]), ("i", gain_map.alternate_offset[c])]
    fractions = (struct.pack(f">{sign}I", round(number * _DENOMINATOR), _DENOMINATOR) for sign, number in numbers)
    return _VERSIONS + bytes((_MULTICHANNEL | _BASE_SPACE,)) + b"".join(fractions)


def _gain_map_xmp(gain_map: GainMap) -> bytes:
    """Describe a gain map (Ultra HDR Image Format 1.1, "HDR gain map metadata")."""

    def values(name: str, numbers: PerChannel) -> str:
        items = "".join(f"<rdf:li>{number:.6f}</rdf:li>" for number in numbers)
        return f"<hdrgm:{name}><rdf:Seq>{items}</rdf:Seq></hdrgm:{name}>"

    return (
        f'{_RDF}<rdf:Description {_GAIN_MAP} hdrgm:BaseRenditionIsHDR="False" hdrgm:HDRCapacityMin="0" '
        f'hdrgm:HDRCapacityMax="{gain_map.headroom:.6f}" hdrgm:OffsetSDR="{gain_map.base_offset[0]}" '
        f'hdrgm:OffsetHDR="{gain_map.alternate_offset[0]}" hdrgm:Gamma="1">'
        f"{values('GainMapMin', gain_map.minimum)}{values('GainMapMax', gain_map.maximum)}"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


def _container_xmp(length: int) -> bytes:
    """Describe the two pictures of a file, of which the second has so many bytes (the same, "GContainer")."""
    items = "".join(
        f'<rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="{name}" Item:Mime="image/jpeg"{size}/>'
        "</rdf:li>"
        for name, size in (("Primary", ""), ("GainMap", f' Item:Length="{length}"'))
    )
    return (
        f'{_RDF}<rdf:Description {_GAIN_MAP} xmlns:Container="{_CONTAINER}" xmlns:Item="{_CONTAINER}item/">'
        f"<Container:Directory><rdf:Seq>{items}</rdf:Seq></Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()
