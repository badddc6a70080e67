"""The HDR metadata of an H.265 stream, rewritten after encoding: light levels are known only at its end.

ITU-T H.265 (V9): 7.3.1.1 NAL units, 7.3.5 SEI messages, D.2.28 mastering display colour volume, D.2.35 content light
level information; ISO/IEC 14496-15, 8.3.3.1 for the decoder configuration record (hvcC).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from vitm.video.errors import VideoDecodeError

_PREFIX_SEI = 39  # nal_unit_type, table 7-1
_FIRST_NON_SLICE = 32
_RANDOM_ACCESS = range(16, 24)
_MASTERING, _CONTENT_LIGHT = 137, 144  # payloadType
_RECORD_HEADER = 22  # bytes of hvcC before the number of its arrays


def nal_length_size(record: bytes) -> int:
    """Return the bytes of the length before each NAL unit of a packet, from hvcC."""
    if len(record) <= _RECORD_HEADER or record[0] != 1:
        raise VideoDecodeError("not an H.265 decoder configuration record (hvcC)")
    return (record[21] & 3) + 1


def patch_record(record: bytes, max_cll: int, max_fall: int, mastering: bytes | None = None) -> bytes:
    """Return the decoder configuration record with these values in its SEI messages.

    Raises:
        VideoDecodeError: it is damaged.
    """
    try:
        return _patched_record(record, max_cll, max_fall, mastering)
    except (IndexError, struct.error) as error:
        raise VideoDecodeError(f"a damaged H.265 decoder configuration record of {len(record)} bytes") from error


def _patched_record(record: bytes, max_cll: int, max_fall: int, mastering: bytes | None) -> bytes:
    out = bytearray(record[: _RECORD_HEADER + 1])
    position = _RECORD_HEADER + 1
    for _ in range(record[_RECORD_HEADER]):
        (count,) = struct.unpack_from(">H", record, position + 1)
        out += record[position : position + 3]
        position += 3
        for _ in range(count):
            (length,) = struct.unpack_from(">H", record, position)
            unit = patch_unit(record[position + 2 : position + 2 + length], max_cll, max_fall, mastering)
            out += struct.pack(">H", len(unit)) + unit
            position += 2 + length
    return bytes(out + record[position:])


def patch_packet(packet: bytes, length_size: int, max_cll: int, max_fall: int, mastering: bytes | None = None) -> bytes:
    """Return a packet of length-prefixed NAL units (MP4, Matroska) with these values in its SEI messages.

    Raises:
        VideoDecodeError: it is damaged.
    """
    out = bytearray()
    position = 0
    while position < len(packet):
        start = position + length_size
        length = int.from_bytes(packet[position:start], "big")
        try:
            unit = patch_unit(packet[start : start + length], max_cll, max_fall, mastering)
        except IndexError as error:
            raise VideoDecodeError(f"a damaged H.265 packet: the NAL unit at byte {start} of {len(packet)}") from error
        out += len(unit).to_bytes(length_size, "big") + unit
        position = start + length
    return bytes(out)


def with_metadata(packet: bytes, length_size: int, max_cll: int, max_fall: int, mastering: bytes) -> bytes:
    """Return a packet with these values: those that it has are replaced, and a key frame that lacks one gets it.

    The SEI unit comes before the picture's first slice (7.4.2.4.4).

    Args:
        packet: length-prefixed NAL units of one picture.
        length_size: bytes of each length.
        max_cll: MaxCLL in cd/m2.
        max_fall: MaxFALL in cd/m2.
        mastering: the mastering display, 24 bytes (D.2.28).

    Raises:
        VideoDecodeError: it is damaged.
    """
    packet = patch_packet(packet, length_size, max_cll, max_fall, mastering)
    values = {_MASTERING: mastering, _CONTENT_LIGHT: struct.pack(">HH", max_cll, max_fall)}
    position, kind = 0, _PREFIX_SEI
    while position < len(packet):
        start = position + length_size
        length = int.from_bytes(packet[position:start], "big")
        kind = packet[start] >> 1 & 0x3F
        if kind < _FIRST_NON_SLICE:
            break
        if kind == _PREFIX_SEI:
            _map_messages(_unescape(packet[start + 2 : start + length]), lambda told: values.pop(told, None))
        position = start + length
    if kind not in _RANDOM_ACCESS or not values:
        return packet
    body = b"".join(_coded(told) + _coded(len(value)) + value for told, value in values.items())
    unit = bytes((_PREFIX_SEI << 1, 1)) + _escape(body + b"\x80")
    return packet[:position] + len(unit).to_bytes(length_size, "big") + unit + packet[position:]


def patch_unit(unit: bytes, max_cll: int, max_fall: int, mastering: bytes | None = None) -> bytes:
    """Return a NAL unit with these values; all but prefix SEI units come back as they are.

    Without `mastering`, 24 bytes, the mastering display stays.
    """
    if unit[0] >> 1 & 0x3F != _PREFIX_SEI:
        return unit
    values = {_CONTENT_LIGHT: struct.pack(">HH", max_cll, max_fall), _MASTERING: mastering}
    body = _map_messages(_unescape(unit[2:]), values.get)
    return unit[:2] + _escape(body)


def _map_messages(body: bytes, replacement: Callable[[int], bytes | None]) -> bytes:
    """Return sei_rbsp() with those payloads replaced that have a replacement (7.3.5)."""
    out, position = bytearray(), 0
    while position < len(body) - 1:  # the last byte holds the trailing bits
        kind, position = _number(body, position)
        size, position = _number(body, position)
        payload = body[position : position + size]
        position += size
        new = replacement(kind)
        payload = payload if new is None else new
        out += _coded(kind) + _coded(len(payload)) + payload
    return bytes(out) + body[position:]


def _number(body: bytes, position: int) -> tuple[int, int]:
    """Return a payload type or size and the position after it: bytes of 255, then the rest."""
    value = 0
    while body[position] == 0xFF:
        value, position = value + 255, position + 1
    return value + body[position], position + 1


def _coded(value: int) -> bytes:
    return b"\xff" * (value // 255) + bytes((value % 255,))


def _unescape(data: bytes) -> bytes:
    """Return the data without emulation prevention bytes (7.4.2)."""
    return data.replace(b"\x00\x00\x03", b"\x00\x00")


def _escape(body: bytes) -> bytes:
    """Return the data with emulation prevention bytes: no 00 00 0x, x <= 3, may remain."""
    return re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", body)
