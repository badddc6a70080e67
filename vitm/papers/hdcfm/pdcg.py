"""PDCG: a generator that fills over-exposed regions after HDCFM (ACM MM 2022, section 3.3)."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.ops.tiling import map_rows
from vitm.papers.hdcfm.layers import DYCT
from vitm.papers.hdcfm.network import HDCFM

MaskKind = Literal["frame", "channel"]
MULTIPLE = 8  # three halvings


def over_exposure_mask(sdr: Tensor, kind: MaskKind = "frame", start: float = 0.95) -> Tensor:
    """Compute M_H of equation 3: 0 up to `start`, 1 where the SDR code is full.

    The paper takes it from HDRTVNet, which computes it from the brightest channel of the SDR frame.

    Args:
        sdr: (B, 3, H, W), BT.709 gamma code in [0, 1].
        kind: `"frame"`: one mask, of the brightest channel; `"channel"`: one for each channel.
        start: code above which a pixel begins to count as over-exposed.

    Returns:
        (B, 1, H, W) or, by channel, (B, 3, H, W), in [0, 1], fp32.

    Example:
        >>> over_exposure_mask(torch.tensor([0.5, 0.95, 0.975, 1.0]).expand(1, 3, 1, 4)).flatten()
        tensor([0.0000, 0.0000, 0.5000, 1.0000])
    """
    code = sdr.float()
    code = code.amax(1, keepdim=True) if kind == "frame" else code
    return ((code - start) / (1 - start)).clamp(0, 1)


class Block(nn.Module):
    """Residual block x + conv3x3(DYCT(x))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dyct = DYCT(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        out: Tensor = x + self.conv(self.dyct(x))
        return out


class Up(nn.Module):
    """Up-sampling to twice the size: nearest neighbour and convolution, or sub-pixel convolution; then ReLU."""

    def __init__(self, channels: int, kind: Literal["nearest", "shuffle"]) -> None:
        super().__init__()
        factor = 4 if kind == "shuffle" else 1
        self.conv = nn.Conv2d(channels, channels * factor, 3, padding=1)
        self.shuffles = kind == "shuffle"

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, 2 H, 2 W)."""
        x = F.pixel_shuffle(self.conv(x), 2) if self.shuffles else self.conv(F.interpolate(x, scale_factor=2))
        return x.relu_()


class PDCG(nn.Module):
    """Generates what is over-exposed in an HDR frame, and leaves the rest as it is (equation 3).

    Convention: any height and width of at least 8; they are padded to multiples of 8 by reflection. The output is not
    clamped. Kernel sizes, activations and width are not in the paper (README.md).

    Args:
        width: number of channels, at least 20: a twentieth predicts filters.
        blocks: number of residual blocks with dynamic context transformation, at 1/8 of the size (paper: 16).
        upsample: form of up-sampling: `"nearest"`: nearest neighbour, then a convolution; `"shuffle"`: sub-pixel
            convolution.
        mask: kind of the mask, see `over_exposure_mask`.
    """

    def __init__(
        self,
        width: int = 64,
        blocks: int = 16,
        upsample: Literal["nearest", "shuffle"] = "nearest",
        mask: MaskKind = "frame",
    ) -> None:
        super().__init__()
        if width < 20:
            raise ValueError(f"PDCG needs a width of at least 20, got {width}")
        self.mask_channels = 1 if mask == "frame" else 3
        inputs = (3 + self.mask_channels, width, width)
        self.down = nn.ModuleList(nn.Conv2d(n, width, 3, stride=2, padding=1) for n in inputs)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.up = nn.ModuleList(Up(width, upsample) for _ in range(3))
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, hdr_pq: Tensor, mask: Tensor) -> Tensor:
        """Fill the masked regions.

        Args:
            hdr_pq: HDCFM's output X_HR (B, 3, H, W), BT.2020 PQ code.
            mask: mask M_H (B, 1, H, W), or (B, 3, H, W) for a mask by channel.

        Returns:
            X_HG (B, 3, H, W), BT.2020 PQ code, fp32, equal to `hdr_pq` where the mask is 0.

        Raises:
            ValueError: if the shapes do not belong together, or the frame is smaller than 8 x 8.
        """
        B, _, H, W = hdr_pq.shape if hdr_pq.ndim == 4 else (0, 0, 0, 0)
        if hdr_pq.shape != (B, 3, H, W) or mask.shape != (B, self.mask_channels, H, W) or min(H, W) < MULTIPLE:
            raise ValueError(
                f"PDCG needs hdr_pq (B, 3, H, W) and mask (B, {self.mask_channels}, H, W) with H, W >= {MULTIPLE}, got "
                f"{tuple(hdr_pq.shape)} and {tuple(mask.shape)}"
            )
        x = F.pad(torch.cat([hdr_pq, mask], 1), (0, -W % MULTIPLE, 0, -H % MULTIPLE), mode="reflect")
        generated = self._generate(x)[:, :, :H, :W].float()
        hdr_pq, mask = hdr_pq.float(), mask.float()
        return generated * mask + hdr_pq * (1 - mask)  # eq. 3

    def _generate(self, x: Tensor) -> Tensor:
        quarter = self.down[1](self.down[0](x).relu_()).relu_()  # F_d2
        x = self.blocks(self.down[2](quarter).relu_())
        x = self.up[1](self.up[0](x) + quarter)  # F_u1 + F_d2
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or x.is_meta:
            return self._tail(x)
        return map_rows(self._tail, (x,), halo=1, band=64)  # two 3x3 convolutions reach two rows, one of `x`

    def _tail(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.up[2](x))
        return out


class HDCFMPDCG(nn.Module):
    """Both stages: HDCFM, which stays as it was trained, then PDCG on what is over-exposed in the SDR frame.

    Args:
        base: arguments of `HDCFM`; None for the defaults.
        width: see `PDCG`.
        blocks: see `PDCG`.
        upsample: see `PDCG`.
        mask: see `PDCG`.
    """

    def __init__(
        self,
        base: dict[str, Any] | None = None,
        width: int = 64,
        blocks: int = 16,
        upsample: Literal["nearest", "shuffle"] = "nearest",
        mask: MaskKind = "frame",
    ) -> None:
        super().__init__()
        self.mask: MaskKind = mask
        self.hdcfm = HDCFM(**(base or {})).requires_grad_(False).eval()
        self.pdcg = PDCG(width, blocks, upsample, mask)

    def train(self, mode: bool = True) -> HDCFMPDCG:
        """Set the training mode; HDCFM stays in eval mode: without dropout."""
        super().train(mode)
        self.hdcfm.eval()
        return self

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert frames.

        Args:
            sdr: (B, 3, H, W), BT.709 gamma code in [0, 1], H and W at least 32.

        Returns:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped.

        Raises:
            ValueError: for other shapes.
        """
        hdr_pq: Tensor = self.pdcg(*self.first_stage(sdr))
        return hdr_pq

    @torch.no_grad()
    def first_stage(self, sdr: Tensor) -> tuple[Tensor, Tensor]:
        """Return what PDCG takes: HDCFM's output and the mask, both fp32, without gradients."""
        return self.hdcfm(sdr).float(), over_exposure_mask(sdr, self.mask)
