"""H.265 Main 10 by the encoders of graphics cards: HDR10 many times as fast as by x265."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from vitm.video.codecs.base import HDR10Codec, Levels
from vitm.video.codecs.sei import nal_length_size, with_metadata


@dataclass(frozen=True)
class HardwareHEVC(HDR10Codec):
    """HDR10 by the encoder of a graphics card. The HDR metadata is put into its stream here: most do not write it.

    Args:
        crf: quality, 0 (best) to 51, in the steps of H.265's quantisation as x265 counts them.
        preset: speed of the encoder, in its own words; None for its usual one.
        mastering: as for `HDR10Codec`.

    Raises:
        ValueError: the quality is out of range.
    """

    crf: float = 12.0
    preset: str | None = None

    pixel_format: ClassVar[Literal["p010le"]] = "p010le"
    fourcc: ClassVar[str] = "hvc1"
    min_size: ClassVar[tuple[int, int]] = (256, 144)
    in_stream: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf={self.crf}: expected 0 (best) to 51")

    def options(self) -> dict[str, str]:
        """Return the encoder's options."""
        speed = {} if self.preset is None else {"preset": str(self.preset)}
        return {"profile": "main10", **speed, **self.quality()}

    @abstractmethod
    def quality(self) -> dict[str, str]:
        """Return the encoder's options for the quality."""

    def patch_packet(self, packet: bytes, record: bytes, levels: Levels) -> bytes:
        """Return a packet with these light levels and the mastering display, if it is of a key frame."""
        return with_metadata(packet, nal_length_size(record), *levels, self.display.record)


class NVENC(HardwareHEVC):
    """HDR10 by NVIDIA's encoder. Presets are p1 (fast) to p7."""

    encoder: ClassVar[str] = "hevc_nvenc"

    def quality(self) -> dict[str, str]:
        """Return options for a constant quality with a varying rate."""
        return {"rc": "vbr", "cq": f"{self.crf:g}", "b": "0"}


class QSV(HardwareHEVC):
    """HDR10 by Intel's encoder (Quick Sync Video). Presets are veryfast to veryslow."""

    encoder: ClassVar[str] = "hevc_qsv"

    def quality(self) -> dict[str, str]:
        """Return the option for a constant quality, which begins with 1."""
        return {"global_quality": str(max(1, round(self.crf)))}


class VAAPI(HardwareHEVC):
    """HDR10 by the encoders that Linux reaches by VA-API. It has no presets."""

    encoder: ClassVar[str] = "hevc_vaapi"

    def quality(self) -> dict[str, str]:
        """Return options for a constant quantisation, which begins with 1."""
        return {"rc_mode": "CQP", "qp": str(max(1, round(self.crf)))}


class VideoToolbox(HardwareHEVC):
    """HDR10 by Apple's encoder. It has no presets."""

    encoder: ClassVar[str] = "hevc_videotoolbox"

    def quality(self) -> dict[str, str]:
        """Return options for a constant quality, which counts from 1 to 100 (best), in FFmpeg's steps of 118."""
        return {"flags": "+qscale", "global_quality": str(118 * round(100 - 99 * self.crf / 51))}
