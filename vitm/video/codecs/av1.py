"""AV1 Main, 10 bit, by SVT-AV1: HDR10 in about half of x265's time."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import ClassVar

from vitm.video.codecs.base import HDR10Codec, Levels
from vitm.video.errors import VideoDecodeError

_METADATA = 5  # obu_type, AV1 specification, 6.2.2
_CONTENT_LIGHT, _MASTERING = 1, 2  # metadata_type METADATA_TYPE_HDR_CLL and METADATA_TYPE_HDR_MDCV, 6.7.1
_MASTERING_PEAK = 1 + 16  # bytes of an OBU before luminance_max: the type, primaries and white; 5.8.4


@dataclass(frozen=True)
class AV1(HDR10Codec):
    """AV1, 10 bit, PQ, with ST 2086 metadata, MaxCLL and MaxFALL (metadata OBUs).

    Args:
        crf: SVT-AV1's constant rate factor, 1 (best) to 63.
        preset: SVT-AV1's speed preset, 0 (slow) to 13.
        lossless: keep the 10-bit codes exactly; `crf` is not used.
        mastering: as for `HDR10Codec`.

    Raises:
        ValueError: for options out of range.
    """

    crf: int = 20
    preset: int = 8
    lossless: bool = False

    encoder: ClassVar[str] = "libsvtav1"
    fourcc: ClassVar[str] = "av01"
    suffixes: ClassVar[tuple[str, ...]] = (".mp4", ".mkv")  # FFmpeg's MOV has no AV1
    min_size: ClassVar[tuple[int, int]] = (64, 64)
    in_stream: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 <= self.crf <= 63:
            raise ValueError(f"crf={self.crf}: expected 1 (best) to 63")
        if not 0 <= self.preset <= 13:
            raise ValueError(f"preset={self.preset}: expected 0 (slow) to 13")

    def options(self) -> dict[str, str]:
        """Return the encoder's options."""
        m = self.display
        points = zip(("G", "B", "R", "WP"), (m.green, m.blue, m.red, m.white), strict=True)
        display = "".join(f"{name}({x},{y})" for name, (x, y) in points) + f"L({m.max_nits},{m.min_nits:f})"
        params = {
            "color-primaries": 9,
            "transfer-characteristics": 16,
            "matrix-coefficients": 9,
            "color-range": 0,
            "chroma-sample-position": "topleft",
            "mastering-display": display,
            "content-light": "1000,400",  # placeholder
            **({"lossless": 1} if self.lossless else {}),
        }
        text = ":".join(f"{k}={v}" for k, v in params.items())
        return {"preset": str(self.preset), "crf": str(self.crf), "svtav1-params": text}

    def quiet(self) -> None:
        """Set SVT-AV1's log level to "fatal": it would print its settings, and a complaint when it is aborted."""
        os.environ.setdefault("SVT_LOG", "0")

    def patch_packet(self, packet: bytes, record: bytes, levels: Levels) -> bytes:
        """Return a temporal unit with these light levels and the mastering peak in its metadata OBUs.

        AV1 specification, 5.3, 5.8.3 and 5.8.4; luminance_max counts 1 / 256 cd/m2 (6.7.4).

        Raises:
            VideoDecodeError: it is damaged.
        """
        try:
            return self._patched(packet, levels)
        except (IndexError, struct.error) as error:
            raise VideoDecodeError(f"a damaged AV1 packet of {len(packet)} bytes") from error

    def _patched(self, packet: bytes, levels: Levels) -> bytes:
        out, position = bytearray(packet), 0
        while position < len(packet):
            header = packet[position]
            body = position + (2 if header & 4 else 1)  # obu_extension_flag
            size = len(packet) - body
            if header & 2:  # obu_has_size_field
                size, body = _leb128(packet, body)
            if header >> 3 & 15 == _METADATA and packet[body] == _CONTENT_LIGHT:
                struct.pack_into(">2H", out, body + 1, *levels)
            if header >> 3 & 15 == _METADATA and packet[body] == _MASTERING:
                struct.pack_into(">I", out, body + _MASTERING_PEAK, round(self.display.max_nits * 256))
            position = body + size
        return bytes(out)


def _leb128(data: bytes, position: int) -> tuple[int, int]:
    """Return a little-endian number in groups of seven bits, and the position after it (4.10.5)."""
    value, shift = 0, 0
    while True:
        value |= (data[position] & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if not data[position - 1] & 0x80:
            return value, position
