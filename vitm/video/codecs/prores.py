"""ProRes 422 HQ, 10 bit, by FFmpeg's prores_ks: for editing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from vitm.video.codecs.base import HDR10Codec


@dataclass(frozen=True)
class ProRes(HDR10Codec):
    """ProRes 422 HQ in MOV, PQ: every frame a key frame, about 25 MB a second of 1080p.

    The colour tags are in each frame's header and in the `colr` box; the HDR metadata in the `mdcv` and `clli` boxes.

    Args:
        mastering: as for `HDR10Codec`.
    """

    encoder: ClassVar[str] = "prores_ks"
    pixel_format: ClassVar[Literal["yuv420p10le", "yuv422p10le"]] = "yuv422p10le"
    fourcc: ClassVar[str] = "apch"
    suffixes: ClassVar[tuple[str, ...]] = (".mov",)
    part_suffix: ClassVar[str] = ".mov"

    def options(self) -> dict[str, str]:
        """Return the encoder's options; some editors accept only Apple's vendor mark."""
        return {"profile": "hq", "vendor": "apl0"}
