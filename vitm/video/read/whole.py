"""Whether a file is whole, as its container's own structure tells; without decoding anything."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

# Matroska (RFC 9559)
_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
# ASF (Microsoft, 2004): 10.1 and 10.2
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def what_is_missing(path: Path) -> str | None:
    """Return in words what a file lacks at its end, or None if it is whole or its format does not tell.

    MP4 and MOV tell by their boxes, Matroska by its elements, AVI by its chunks, Ogg by its pages and end marks, FLV by
    its tags, ASF by its objects. Transport and program streams end anywhere.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        file.seek(0)
        for begins, check in _CHECKS:
            if begins(head):
                try:
                    return check(file, size)
                except (struct.error, IndexError, OverflowError):
                    return "it ends within its own structure"
    return None


def _beyond(name: str, end: int, size: int) -> str | None:
    return f"{name} ends at byte {end:,}, the file at {size:,}" if end > size else None


def _boxes(file: BinaryIO, size: int) -> str | None:
    """Check boxes (ISO/IEC 14496-12, 4.2), and the fragments that a segment index announces (8.16.3)."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if length == 1:
            (length,), head = struct.unpack(">Q", file.read(8)), 16
        if length == 0:  # up to the end of the file
            return None
        if length < head:  # something else follows the boxes
            return None
        if missing := _beyond(f"its box {kind.decode('latin-1')!r}", position + length, size):
            return missing
        if kind == b"sidx" and (missing := _segments(file.read(min(length - head, 1 << 24)), position + length, size)):
            return missing
        position += length
    return None


def _segments(body: bytes, end: int, size: int) -> str | None:
    fields = ">QQ" if body[0] else ">II"
    first_offset = struct.unpack_from(fields, body, 12)[1]
    position = 12 + struct.calcsize(fields)
    (count,) = struct.unpack_from(">2xH", body, position)
    sizes = (struct.unpack_from(">I", body, position + 4 + 12 * i)[0] & 0x7FFFFFFF for i in range(count))
    return _beyond("the last fragment of its index", end + first_offset + sum(sizes), size)


def _elements(file: BinaryIO, size: int) -> str | None:
    """Check elements (RFC 8794, 4 and 5): identifier and size of variable length; a size of all ones is unknown.

    An element of unknown size was written while it was recorded: the elements in it follow, and tell by themselves.
    """
    names = {_SEGMENT: "its segment", _CLUSTER: "its last cluster"}
    position = 0
    while position < size:
        file.seek(position)
        data = file.read(12)
        id_length = 9 - data[0].bit_length()
        size_length = 9 - data[id_length].bit_length()
        if id_length > 4 or size_length > 8:  # something else follows the elements
            return None
        kind = int.from_bytes(data[:id_length], "big")
        ones = (1 << 7 * size_length) - 1
        length = int.from_bytes(data[id_length : id_length + size_length], "big") & ones
        position += id_length + size_length
        if length == ones:
            continue
        if missing := _beyond(names.get(kind, "its last element"), position + length, size):
            return missing
        position += length
    return None


def _chunks(file: BinaryIO, size: int) -> str | None:
    """Check RIFF chunks of up to 2 GB one after another; an odd one has a byte of padding, which may be missing."""
    position = 0
    while position + 12 <= size:
        file.seek(position)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF" or length in (0, 0xFFFFFFFF):  # something else follows, or a recorder did not finish it
            return None
        if missing := _beyond("its list of frames", position + 8 + length, size):
            return missing
        position += 8 + length + length % 2
    return None


def _pages(file: BinaryIO, size: int) -> str | None:
    """Check pages (RFC 3533, 6), of which the last one of a stream says so."""
    position, ended = 0, False
    while position + 27 <= size:
        file.seek(position)
        page = file.read(27)
        if page[:4] != b"OggS":
            return None
        table = file.read(page[26])
        length = 27 + page[26] + sum(table)
        if len(table) < page[26] or position + length > size:
            return _beyond("its last page", position + max(length, 27 + page[26]), size)
        ended = ended or bool(page[5] & 4)
        position += length
    return None if ended else "none of its streams has an end mark"


def _tags(file: BinaryIO, size: int) -> str | None:
    """Check tags, each followed by its size, and the size of the file, if told (FLV 10.1, E.2 to E.4)."""
    file.seek(0)
    head = file.read(4096)
    at = head.find(b"\x00\x08filesize\x00")
    if at >= 0 and at + 19 <= len(head):
        (declared,) = struct.unpack_from(">d", head, at + 11)
        if declared > size:
            return f"it was {declared:,.0f} bytes long, and is {size:,}"
    (position,) = struct.unpack_from(">I", head, 5)
    position += 4
    while position + 11 <= size:
        file.seek(position)
        tag = file.read(4)
        end = position + 11 + int.from_bytes(tag[1:4], "big")
        if missing := _beyond("its last tag", end, size):
            return missing
        position = end + 4
    return None


def _objects(file: BinaryIO, size: int) -> str | None:
    """Check objects (ASF, 2.1, 3.2 and 5.1); a broadcast does not know the size of its data."""
    position, broadcast = 0, False
    while position + 24 <= size:
        file.seek(position)
        kind, length = struct.unpack("<16sQ", file.read(24))
        if length < 24:
            return None
        if kind == _ASF_HEADER:
            header = file.read(min(length - 24, 1 << 20))
            at = header.find(_ASF_PROPERTIES)
            broadcast = at >= 0 and bool(header[at + 88] & 1)
        if not broadcast and (
            missing := _beyond("its data" if kind == _ASF_DATA else "its last object", position + length, size)
        ):
            return missing
        position += length
    return None


_CHECKS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], str | None]], ...] = (
    (lambda head: head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp", b"pnot"), _boxes),
    (lambda head: head[:4] == _EBML.to_bytes(4, "big"), _elements),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"AVI ", _chunks),
    (lambda head: head[:4] == b"OggS", _pages),
    (lambda head: head[:3] == b"FLV", _tags),
    (lambda head: head == _ASF_HEADER, _objects),
)
