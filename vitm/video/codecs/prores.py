"""ProRes 422 HQ, 10 bit, by FFmpeg's prores_ks: for editing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from vitm.video.codecs.base import Codec
from vitm.video.tags import BT2020_1000_NITS, MasteringDisplay


@dataclass(frozen=True)
class ProRes(Codec):
    """ProRes 422 HQ in MOV, PQ: every frame a key frame, about 25 MB a second of 1080p.

    The colour tags are in each frame's header and in the `colr` box; the HDR metadata in the `mdcv` and `clli` boxes.

    Args:
        mastering: the ST 2086 metadata.
    """

    mastering: MasteringDisplay = BT2020_1000_NITS

    encoder: ClassVar[str] = "prores_ks"
    pixel_format: ClassVar[Literal["yuv420p10le", "yuv422p10le"]] = "yuv422p10le"
    fourcc: ClassVar[str] = "apch"
    suffixes: ClassVar[tuple[str, ...]] = (".mov",)
    part_suffix: ClassVar[str] = ".mov"

    @property
    def display(self) -> MasteringDisplay:
        """The ST 2086 metadata."""
        return self.mastering

    def options(self) -> dict[str, str]:
        """The encoder's options; some editors accept only Apple's vendor mark."""
        return {"profile": "hq", "vendor": "apl0"}
