"""The patched content light level: byte strings written out by hand from H.265."""

from __future__ import annotations

import struct

import pytest

from vitm.video.codecs.sei import nal_length_size, patch_packet, patch_record, patch_unit

HEADER = bytes((39 << 1, 1))  # prefix SEI, temporal id 0
MASTERING = bytes((137, 24)) + bytes(range(24))
SLICE = bytes((19 << 1, 1, 0x90, 4, 3, 0xE8, 1, 0x90))  # an IDR slice that happens to hold the bytes of a message


@pytest.mark.parametrize(
    ("levels", "payload"),
    [
        ((1565, 170), b"\x06\x1d\x00\xaa"),
        ((0, 0), b"\x00\x00\x03\x00\x00"),  # four zeros and then 80: only the first pair needs the 03
        ((256, 2), b"\x01\x00\x00\x03\x02"),
        ((10000, 400), b"\x27\x10\x01\x90"),
    ],
)
def test_values_and_emulation_prevention(levels: tuple[int, int], payload: bytes) -> None:
    unit = HEADER + b"\x90\x04\x03\xe8\x01\x90\x80"
    assert patch_unit(unit, *levels) == HEADER + b"\x90\x04" + payload + b"\x80"


def test_other_messages_and_units_stay() -> None:
    unit = HEADER + MASTERING + b"\x90\x04\x03\xe8\x01\x90\x80"
    assert patch_unit(unit, 1, 2) == HEADER + MASTERING + b"\x90\x04\x00\x01\x00\x02\x80"
    assert patch_unit(SLICE, 1, 2) == SLICE
    only_mastering = HEADER + MASTERING + b"\x80"
    assert patch_unit(only_mastering, 1, 2) == only_mastering


def test_long_payloads_are_skipped_whole() -> None:
    """An unregistered message of 300 bytes: size 255 + 45; it holds zeros that were escaped."""
    text = b"\x05\xff\x2d" + b"\x90\x04" + b"\x00\x00\x03\x01" + b"x" * 295
    unit = HEADER + text + b"\x90\x04\x03\xe8\x01\x90\x80"
    assert patch_unit(unit, 7, 8) == HEADER + text + b"\x90\x04\x00\x07\x00\x08\x80"


@pytest.mark.parametrize("size", [2, 4])
def test_lengths_follow_in_packets(size: int) -> None:
    sei = HEADER + b"\x90\x04\x03\xe8\x01\x90\x80"
    longer = HEADER + b"\x90\x04\x01\x00\x00\x03\x02\x80"
    packet = b"".join(len(u).to_bytes(size, "big") + u for u in (sei, SLICE))
    assert patch_packet(packet, size, 256, 2) == b"".join(len(u).to_bytes(size, "big") + u for u in (longer, SLICE))


def test_configuration_record() -> None:
    start = bytes((1, *range(20), 0xFC | 3))
    sps = bytes((33 << 1, 1, 5, 6))
    sei = HEADER + b"\x90\x04\x03\xe8\x01\x90\x80"
    longer = HEADER + b"\x90\x04\x01\x00\x00\x03\x02\x80"

    def record(message: bytes) -> bytes:
        arrays = ((33, [sps]), (39, [message, HEADER + MASTERING + b"\x80"]))
        body = b"".join(
            bytes((0x80 | kind, 0, len(units))) + b"".join(struct.pack(">H", len(u)) + u for u in units)
            for kind, units in arrays
        )
        return start + bytes((len(arrays),)) + body

    assert nal_length_size(record(sei)) == 4
    assert patch_record(record(sei), 256, 2) == record(longer)


def test_no_record() -> None:
    with pytest.raises(ValueError, match="hvcC"):
        nal_length_size(b"\x00\x00\x00\x01\x40")
