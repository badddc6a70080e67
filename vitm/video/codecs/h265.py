"""H.265 Main 10 by x265: HDR10, and HLG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from torch import Tensor

from vitm.color.hlg_conversion import pq_to_hlg
from vitm.video.codecs.base import Codec, HDR10Codec, Levels
from vitm.video.codecs.sei import nal_length_size, patch_packet, patch_record

Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]

_OWN_PARAMS = ("master-display", "max-cll", "hdr10", "repeat-headers", "chromaloc", "lossless", "crf", "preset", "info")


@dataclass(frozen=True)
class H265(Codec):
    """HEVC by x265, without HDR metadata.

    Args:
        crf: x265's constant rate factor, 0 (best) to 51; about 50 dB in PQ codes at 10.
        preset: x265's speed preset.
        lossless: keep the 10-bit codes exactly (about 1 MB a 1080p frame); `crf` is not used.
        x265_params: more of x265's own parameters, as {"keyint": "48"}.

    Raises:
        ValueError: for options out of range.
    """

    crf: float = 12.0
    preset: Preset = "superfast"
    lossless: bool = False
    x265_params: Mapping[str, str] | None = None

    encoder: ClassVar[str] = "libx265"
    fourcc: ClassVar[str] = "hvc1"
    min_size: ClassVar[tuple[int, int]] = (64, 32)  # x265 corrupts its heap below 64 pixels
    in_stream: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf={self.crf}: expected 0 (best) to 51")
        if self.preset not in get_args(Preset):
            raise ValueError(f"preset={self.preset!r}: expected one of {', '.join(get_args(Preset))}")
        if reserved := sorted(set(self.x265_params or {}) & set(_OWN_PARAMS)):
            raise ValueError(f"x265_params: {', '.join(reserved)} are set by the writer itself")

    def options(self) -> dict[str, str]:
        """Return the encoder's options."""
        params = {
            "log-level": "error",
            "repeat-headers": "1",
            "chromaloc": "2",  # top-left
            "info": "0",  # x265's list of settings would keep the placeholder of max-cll
            **self.metadata_params(),
            "lossless": str(int(self.lossless)),
            **(self.x265_params or {}),
        }
        text = ":".join(f"{k}={v}" for k, v in params.items())
        return {"preset": self.preset, "crf": str(self.crf), "x265-params": text}

    def metadata_params(self) -> dict[str, str]:
        """Return x265's parameters for the HDR metadata."""
        return {}


@dataclass(frozen=True)
class HEVC(HDR10Codec, H265):
    """HDR10: PQ with ST 2086 metadata, MaxCLL and MaxFALL.

    Args:
        mastering: as for `HDR10Codec`.
    """

    def metadata_params(self) -> dict[str, str]:
        """Return ST 2086 metadata for x265: chromaticities in 0.00002, light in 0.0001 cd/m2 (H.265, D.3.28)."""
        green, blue, red, white, light = (f"({a},{b})" for a, b in self.display.integers)
        return {
            "hdr10": "1",
            "hdr10-opt": "1",
            "master-display": f"G{green}B{blue}R{red}WP{white}L{light}",
            "max-cll": "1000,400",  # placeholder
        }

    def patch_record(self, record: bytes, levels: Levels) -> bytes:
        """Return the configuration record (hvcC) with these light levels and the mastering display."""
        return patch_record(record, *levels, self.display.record)

    def patch_packet(self, packet: bytes, record: bytes, levels: Levels) -> bytes:
        """Return a packet with these light levels and the mastering display."""
        return patch_packet(packet, nal_length_size(record), *levels, self.display.record)


@dataclass(frozen=True)
class HLG(H265):
    """HLG (ARIB STD-B67) for a nominal peak of 1000 cd/m2, from PQ frames by `pq_to_hlg`; light above it is cut."""

    role: ClassVar[Literal["hdr10", "hlg"]] = "hlg"

    def signal(self, hdr_pq: Tensor) -> Tensor:
        """Return HLG codes, from PQ codes (3, H, W) in [0, 1]."""
        return pq_to_hlg(hdr_pq)
