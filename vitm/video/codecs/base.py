"""What a writer must know of a codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from vitm.video.planes import Codes, Float, pixel_layout, rgb_to_planes, tensor_to_planes
from vitm.video.tags import BT2020_1000_NITS, MasteringDisplay, mastering_display

Levels = tuple[int, int]  # MaxCLL and MaxFALL in cd/m2
_TRANSFERS = {"hdr10": 16, "hlg": 18}  # H.273, table 3


@dataclass(frozen=True)
class Codec(ABC):
    """One way to encode PQ frames. Its fields are its options; equal codecs give parts that can be joined.

    Attributes:
        encoder: FFmpeg's name of the encoder.
        pixel_format: FFmpeg's name of what it encodes.
        role: what its signal is: "hdr10" (PQ) or "hlg".
        fourcc: its name in MP4 and MOV.
        suffixes: the containers that hold it.
        part_suffix: the container of intermediate files, .mp4 or .mov.
        min_size: the smallest width and height.
        in_stream: whether the stream itself, besides the container, says its colours, and `display` where there is one.
    """

    encoder: ClassVar[str]
    pixel_format: ClassVar[Literal["yuv420p10le", "yuv422p10le", "p010le"]] = "yuv420p10le"
    role: ClassVar[Literal["hdr10", "hlg"]] = "hdr10"
    fourcc: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = (".mp4", ".mov", ".mkv")
    part_suffix: ClassVar[str] = ".mp4"
    min_size: ClassVar[tuple[int, int]] = (16, 16)
    in_stream: ClassVar[bool] = False

    @property
    def tags(self) -> Mapping[str, int]:
        """Return PyAV's names with H.273 codes: BT.2020, PQ or HLG, BT.2020 non-constant luminance; narrow range."""
        return {"color_primaries": 9, "color_trc": _TRANSFERS[self.role], "colorspace": 9, "color_range": 1}

    @property
    def display(self) -> MasteringDisplay | None:
        """Return the ST 2086 metadata; None where the signal has none (HLG), and then no light levels either."""
        return None

    def settled(self, levels: Levels) -> Self:
        """Return the codec with the HDR metadata of a finished video, whose light levels are known now."""
        return self

    @abstractmethod
    def options(self) -> dict[str, str]:
        """Return the encoder's options."""

    def check_size(self, width: int, height: int) -> None:
        """Raise ValueError for a size that cannot be encoded."""
        chroma = pixel_layout(self.pixel_format).chroma
        across, down = pixel_layout(self.pixel_format).subsampling
        least = self.min_size
        if width < least[0] or height < least[1] or width % across or height % down:
            even = "an even width and height" if down == 2 else "an even width"
            raise ValueError(f"{width}x{height}: {chroma} needs {even} of at least {least[0]}x{least[1]}: crop or pad")

    def signal(self, hdr_pq: Tensor) -> Tensor:
        """Return R'G'B' of the codec's signal, from PQ codes (3, H, W) in [0, 1]; on their device, without waiting."""
        return hdr_pq

    def planes(self, hdr_pq: Float) -> tuple[Codes, Codes, Codes]:
        """Return the planes of one frame, from (H, W, 3) PQ codes in [0, 1]."""
        rgb = self.signal(torch.from_numpy(hdr_pq).permute(2, 0, 1)).permute(1, 2, 0).numpy()
        return rgb_to_planes(np.ascontiguousarray(rgb), self._chroma)

    def planes_on_device(self, hdr_pq: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the planes of one frame on its device, from (3, H, W) PQ codes in [0, 1]: see `tensor_to_planes`."""
        return tensor_to_planes(self.signal(hdr_pq), self._chroma)

    @property
    def _chroma(self) -> Literal["4:2:0", "4:2:2"]:
        return "4:2:2" if self.pixel_format == "yuv422p10le" else "4:2:0"

    def patch_record(self, record: bytes, levels: Levels) -> bytes:
        """Return the decoder configuration record with the light levels of the whole video."""
        return record

    def patch_packet(self, packet: bytes, record: bytes, levels: Levels) -> bytes:
        """Return a packet with the light levels of the whole video; `record` is the configuration record."""
        return packet

    def quiet(self) -> None:
        """Keep the encoder from printing; called before it opens."""
        return


@dataclass(frozen=True)
class HDR10Codec(Codec):
    """A codec whose videos carry ST 2086 metadata.

    Args:
        mastering: the ST 2086 metadata; None for the BT.2020 display of 1,000 cd/m2, or of 2,000, 4,000 or 10,000 where
            the picture turns out to be brighter: MaxCLL never exceeds the mastering peak.
    """

    mastering: MasteringDisplay | None = None

    @property
    def display(self) -> MasteringDisplay:
        """Return the ST 2086 metadata."""
        return self.mastering or BT2020_1000_NITS

    def settled(self, levels: Levels) -> Self:
        """Return the codec with a mastering display that can show the picture, unless one was given."""
        return self if self.mastering else replace(self, mastering=mastering_display(levels[0]))
