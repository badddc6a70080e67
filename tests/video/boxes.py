"""A reader of MP4 boxes, written from ISO/IEC 14496-12, for the tests."""

from __future__ import annotations

import struct
from pathlib import Path

_CONTAINERS = {b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"stsd": 8}


def sample_entry_boxes(path: Path, fourcc: bytes) -> dict[bytes, bytes]:
    """The boxes inside the first visual sample entry of this kind (12.1.3: 78 bytes of fields come before them)."""
    found: dict[bytes, bytes] = {}

    def walk(data: bytes) -> None:
        position = 0
        while position + 8 <= len(data):
            size, kind = struct.unpack_from(">I4s", data, position)
            head = 8
            if size == 1:
                (size,), head = struct.unpack_from(">Q", data, position + 8), 16
            body = data[position + head : position + size]
            if kind in _CONTAINERS:
                walk(body[_CONTAINERS[kind] :])
            elif kind == fourcc and not found:
                inner, at = body[78:], 0
                while at + 8 <= len(inner):
                    length, name = struct.unpack_from(">I4s", inner, at)
                    found[name] = inner[at + 8 : at + length]
                    at += max(length, 8)
            position += max(size, head)

    walk(path.read_bytes())
    return found
