"""Image networks that convert clips too: frame by frame, or with KPN-MFI's multi-frame interaction added."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from vitm.ops.padding import pad_to_multiple
from vitm.papers.kpn_mfi.mfi import MFI, neighbours


class Encoded(NamedTuple):
    """Frames between the encoder and the decoder.

    Attributes:
        deep: output (B, C, h, w) of the last down-sampling layer, where frames interact.
        rest: other inputs of the decoder: skips, masks, the frames themselves.
    """

    deep: Tensor
    rest: Any


class ClipNetwork(nn.Module, ABC):
    """An encoder and a decoder of single frames; between them the frames of a clip may interact.

    Without `mfi` it is the image network, and the frames of a clip are converted one by one. With it there is one `MFI`
    on the output of the last down-sampling layer, all else shared by the frames (KPN-MFI, section 4.3 and Table 2).

    Convention: any height and width; frames are padded at the bottom and the right to multiples of `stride` by
    reflection (replication where they are too small), and cropped back. The output is not clamped.

    Args:
        stride: by how much the encoder reduces height and width.
        channels: number of channels of the deep features.
        mfi: whether frames interact.
    """

    def __init__(self, stride: int, channels: int, mfi: bool) -> None:
        super().__init__()
        self.stride = stride
        self.mfi = MFI(channels) if mfi else None
        self.context = 2 if mfi else 0  # frames before a frame that its result depends on
        self.window_frames = 3 if mfi else 1

    @abstractmethod
    def encode(self, sdr: Tensor) -> Encoded:
        """Encode frames (B, 3, H, W), H and W multiples of `stride`, up to the last down-sampling layer."""

    @abstractmethod
    def decode(self, encoded: Encoded) -> Tensor:
        """Decode what `encode` returned, perhaps with other deep features, to hdr_pq (B, 3, H, W)."""

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert frames or clips.

        Args:
            sdr: (B, 3, H, W) or (B, T, 3, H, W), BT.709 gamma code in [0, 1].

        Returns:
            hdr_pq of the same shape, BT.2020 PQ code, not clamped.

        Raises:
            ValueError: if the shape is another.
        """
        if sdr.ndim not in (4, 5) or sdr.shape[-3] != 3:
            raise ValueError(f"expected sdr of shape (B, 3, H, W) or (B, T, 3, H, W), got {tuple(sdr.shape)}")
        encoded = self.encode(pad_to_multiple(sdr.flatten(0, -4), self.stride))
        if self.mfi is not None:
            frames = sdr.shape[1] if sdr.ndim == 5 else 1
            clips = rearrange(encoded.deep, "(b t) c h w -> t b c h w", t=frames)
            encoded = encoded._replace(deep=rearrange(self.mfi(clips.unbind()), "t b c h w -> (b t) c h w"))
        return self.decode(encoded)[..., : sdr.shape[-2], : sdr.shape[-1]].reshape(sdr.shape)

    @torch.no_grad()
    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Convert a clip of any length with the memory of three frames; equal to `forward` on the whole clip.

        Args:
            frames: an iterator of sdr (B, 3, H, W), BT.709 gamma code in [0, 1], all of one size.

        Yields:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped, one for each frame and in the same order.
        """
        if self.mfi is None:
            yield from map(self, frames)
            return
        window: deque[Encoded] = deque(maxlen=3)
        H = W = n = 0
        for n, frame in enumerate(frames, 1):
            H, W = frame.shape[-2:]
            window.append(self.encode(pad_to_multiple(frame, self.stride)))
            for slot in (0, 1)[n > 3 :] if n >= 3 else ():
                yield self._interacted(window, slot)[..., :H, :W]
        for slot in range(n) if n < 3 else (2,):
            yield self._interacted(window, slot)[..., :H, :W]

    def _interacted(self, window: Sequence[Encoded], slot: int) -> Tensor:
        assert self.mfi is not None
        earlier, later = (window[i].deep for i in neighbours(slot, len(window)))
        return self.decode(window[slot]._replace(deep=self.mfi.interact(window[slot].deep, earlier, later)))
