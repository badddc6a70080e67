"""Deep SR-ITM: two streams for base and detail of a frame, whose blocks are modulated place by place."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vitm.ops.filtering import guided_filter
from vitm.ops.padding import pad_to_multiple
from vitm.ops.tiling import map_rows, needs_whole_maps

RADIUS, EPS = 2, 0.01  # of the guided filter: boxes of 5 x 5
DARK = 1e-6  # base below which detail is not divided by less
PAIRS = 3  # of blocks of the base stream, each an ordinary one and a modulated one
FUSED = 10  # blocks after the streams


def base_and_detail(x: Tensor) -> tuple[Tensor, Tensor]:
    """Split frames (B, 3, H, W), H and W at least 3: what the guided filter keeps, and the frames divided by it."""
    base = guided_filter(x, RADIUS, EPS)
    return base, x / base.clamp(min=DARK)


def conv(n: int, m: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    """Return a convolution that keeps height and width, or divides them by the stride."""
    return nn.Conv2d(n, m, size, stride, size // 2)


class Block(nn.Module):
    """Residual block x + f convolution(ReLU(convolution(ReLU(x)))), with f of a modulated block, 1 otherwise.

    Args:
        width: number of channels.
        modulated: whether two convolutions make f from modulation features (the paper's RMB and RSMB).
        merge: size of a convolution before these, which merges features of the other stream (RSB, RSMB); 0: none.
    """

    def __init__(self, width: int, modulated: bool = False, merge: int = 0) -> None:
        super().__init__()
        self.merge = conv(2 * width, width, merge) if merge else None
        self.conv1, self.conv2 = conv(width, width), conv(width, width)
        self.factor = nn.Sequential(conv(width, width), nn.ReLU(), conv(width, width)) if modulated else None

    def forward(self, x: Tensor, modulation: Tensor | None = None, other: Tensor | None = None) -> Tensor:
        """Map (B, width, H, W) to the same shape, with modulation features and those of the other stream."""
        inner = torch.relu(x)
        if self.merge is not None:
            assert other is not None
            inner = self.merge(torch.cat((inner, torch.relu(other)), 1))
        inner = self.conv2(torch.relu(self.conv1(inner)))
        out: Tensor = x + (inner if self.factor is None else inner * self.factor(modulation))
        return out


class Stream(nn.Module):
    """The first layers of a stream: features, and features that modulate its blocks.

    Args:
        width: number of channels.
        stride: stride of the first convolutions.
    """

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.first = conv(6, width, stride=stride)
        self.modulation = nn.Sequential(
            *(conv(6, width, stride=stride), nn.ReLU()),
            *(conv(width, width), nn.ReLU(), conv(width, width), nn.ReLU()),
        )


class DeepSRITM(nn.Module):
    """Streams of residual blocks for base and detail, fused by ten more; the result is added to the frame.

    Kim et al., "Deep SR-ITM: Joint Learning of Super-Resolution and Inverse Tone-Mapping for 4K UHD HDR Applications",
    ICCV 2019, without super-resolution, as the papers' tables use it. The input is split by a guided filter into a base
    and the frame divided by it (section 3.1); both streams see the frame too. Every second block is multiplied by
    factors from shared modulation features (3.2, "SMF"); blocks of the detail stream also see the base stream.

    The default arguments are the published layers at scale 1: 2,391,811 parameters. The tables print other sizes, and
    nobody published the networks. These agree with the digits and are guesses:

    - KPN-MFI's 2.6338 M and 182.5195 G: `merge=3, shared=True` has 2,633,795 and exactly its multiply-adds: streams are
      merged by 3x3 convolutions, and both have one set of modulation layers and one first block.
    - HDCFM's and DSLNet's 2.87 M: `modulated="all", halved=True` has 2,871,875.

    Convention: H and W of at least 3, as BT.709 RGB code where the published network takes Y'CbCr.

    Args:
        width: number of channels.
        modulated: whether every second block of the streams is modulated, or all are.
        merge: size of the convolutions that merge the streams.
        shared: whether the streams share their modulation layers and their first block.
        halved: whether all but the ends works at half resolution: strides of 2 in front, and a pixel shuffle behind.
    """

    def __init__(
        self,
        width: int = 64,
        modulated: Literal["every second", "all"] = "every second",
        merge: int = 1,
        shared: bool = False,
        halved: bool = False,
    ) -> None:
        super().__init__()
        if modulated not in ("every second", "all") or merge % 2 == 0:
            raise ValueError(f'expected modulated "every second" or "all" and an odd merge, got {modulated}, {merge}')
        every = modulated == "all"
        self.scale = 2 if halved else 1
        self.base, self.detail = Stream(width, self.scale), Stream(width, self.scale)
        self.base_blocks = nn.ModuleList(Block(width, modulated=every or i % 2 == 1) for i in range(2 * PAIRS))
        self.first_detail = Block(width, modulated=False)
        self.detail_blocks = nn.ModuleList(Block(width, every or i % 2 == 0, merge) for i in range(2 * PAIRS - 1))
        if shared:
            self.detail.modulation = self.base.modulation
            self.first_detail = self.base_blocks[0]  # type: ignore[assignment]
        self.merge = conv(2 * width, width, merge)
        self.fused = nn.Sequential(
            conv(width, width),
            *(Block(width) for _ in range(FUSED)),
            *(nn.ReLU(), conv(width, width), nn.ReLU(), conv(width, width * self.scale**2), nn.ReLU()),
            *(nn.PixelShuffle(self.scale), conv(width, 3)),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert frames.

        Args:
            sdr: (B, 3, H, W), BT.709 gamma code in [0, 1], H and W at least 3.

        Returns:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped.

        Raises:
            ValueError: if the shape is another.
        """
        if sdr.ndim != 4 or sdr.shape[1] != 3 or min(sdr.shape[2:]) < 3:
            raise ValueError(f"expected sdr of shape (B, 3, H, W) with H, W >= 3, got {tuple(sdr.shape)}")
        whole = needs_whole_maps(self, sdr)
        base, detail = base_and_detail(sdr)
        x = pad_to_multiple(torch.cat((sdr, base, detail), 1), self.scale)
        halo = self.scale * (2 * 2 * PAIRS + 2 * FUSED + 16)  # 3x3 convolutions one after another: 43 with merge=3
        hdr_pq = self._converted(x) if whole else map_rows(self._converted, (x,), halo=halo, multiple=self.scale)
        return hdr_pq[..., : sdr.shape[2], : sdr.shape[3]]

    def _converted(self, x: Tensor) -> Tensor:
        """Convert (B, 9, H, W): frames, their base and their detail."""
        sdr, base, detail = torch.split(x, 3, dim=1)
        inputs = torch.cat((sdr, base), 1), torch.cat((sdr, detail), 1)
        b, d = self.base.first(inputs[0]), self.detail.first(inputs[1])
        by_base, by_detail = self.base.modulation(inputs[0]), self.detail.modulation(inputs[1])
        d = self.first_detail(d)
        for i, block in enumerate(self.base_blocks):
            b = block(b, by_base)
            if i < len(self.detail_blocks):
                d = self.detail_blocks[i](d, by_detail, b)
        hdr_pq: Tensor = sdr + self.fused(self.merge(torch.relu(torch.cat((b, d), 1))))
        return hdr_pq
