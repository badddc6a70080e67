"""FMNet: residual blocks whose features are weighted by what their frequencies are."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.ops.padding import pad_to_multiple

BLOCK = 8  # side of the blocks that are transformed


def dct_matrix(n: int = BLOCK) -> Tensor:
    """Return the orthonormal DCT-II (Ahmed et al., 1974) as a matrix: rows are frequencies, columns are samples.

    Example:
        >>> d = dct_matrix(4)
        >>> torch.allclose(d @ d.T, torch.eye(4), atol=1e-6)
        True
    """
    k, x = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    rows = (math.pi / n * (x + 0.5) * k).cos() * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows.float()


class FrequencyModulation(nn.Module):
    """A modulation of low and of high frequencies, by factors that depend on how strong both are in each channel.

    Features are transformed in blocks of 8x8; frequencies (u, v) with u + v below the cutoff are low. A perceptron maps
    the mean absolute responses of both bands in all channels to a factor for each band and channel. It starts by
    passing features on.

    Args:
        width: number of channels.
        reduction: how many times fewer neurons the hidden layer has than there are factors.
        cutoff: limit of u + v below which a frequency is low.
    """

    low: Tensor
    dct: Tensor

    def __init__(self, width: int, reduction: int = 8, cutoff: int = 3) -> None:
        super().__init__()
        hidden = max(1, 2 * width // reduction)
        self.factors = nn.Sequential(nn.Linear(2 * width, hidden), nn.ReLU(), nn.Linear(hidden, 2 * width))
        nn.init.zeros_(self.factors[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.factors[-1].bias)  # type: ignore[arg-type]
        u = torch.arange(BLOCK)
        self.register_buffer("low", (u[:, None] + u < cutoff).float(), persistent=False)
        self.register_buffer("dct", dct_matrix(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Modulate (B, width, H, W), H and W multiples of 8."""
        B, C, H, W = x.shape
        blocks = x.float().reshape(B, C, H // BLOCK, BLOCK, W // BLOCK, BLOCK)
        responses = torch.einsum("uy,bchywx,vx->bchuwv", self.dct, blocks, self.dct)
        spectrum = responses.abs().mean((2, 4))  # (B, width, u, v)
        bands = [(spectrum * mask).sum((2, 3)) / mask.sum() for mask in (self.low, 1 - self.low)]
        low, high = self.factors(torch.cat(bands, 1))[:, :, None, None].chunk(2, 1)
        kept = torch.einsum("uy,bchuwv,vx->bchywx", self.dct, responses * self.low[:, None], self.dct)
        out: Tensor = x * (1 + high) + kept.reshape(x.shape) * (low - high)
        return out


class ModulatedBlock(nn.Module):
    """Residual block x + conv(modulate(relu(conv(x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = FrequencyModulation(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to (B, width, H, W)."""
        out: Tensor = x + self.conv2(self.modulation(self.conv1(x).relu_()))
        return out


class FMNet(nn.Module):
    """A residual network with frequency-aware modulation.

    Xu et al., "FMNet: Frequency-Aware Modulation Network for SDR-to-HDR Translation", ACM MM 2022. Its code and weights
    are CC BY-NC and were not looked at. Known, from its abstract and its size: blocks that modulate features by their
    responses in the domain of the discrete cosine transform, and 1.24 M parameters. Assumed: an SRResNet at half the
    size around them, with a convolution and a skip past all blocks, 13 blocks, and the form of the modulation
    (`FrequencyModulation`), which together have 1,240,339 parameters.

    Convention: any height and width; frames are padded to multiples of 16 by reflection, and cropped back. The output
    is not clamped.

    Args:
        width: number of channels inside.
        blocks: number of modulated residual blocks.
    """

    def __init__(self, width: int = 64, blocks: int = 13) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.trunk = nn.Sequential(*(ModulatedBlock(width) for _ in range(blocks)))
        self.fuse = nn.Conv2d(width, width, 3, padding=1)
        self.up = nn.Conv2d(width, 4 * width, 3, padding=1)
        self.full = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert frames.

        Args:
            sdr: (B, 3, H, W), BT.709 gamma code in [0, 1].

        Returns:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped.

        Raises:
            ValueError: if the shape is another.
        """
        if sdr.ndim != 4 or sdr.shape[1] != 3:
            raise ValueError(f"expected sdr of shape (B, 3, H, W), got {tuple(sdr.shape)}")
        x = self.first(pad_to_multiple(sdr, 2 * BLOCK)).relu_()
        x = x + self.fuse(self.trunk(x))
        x = F.pixel_shuffle(self.up(x), 2).relu_()
        hdr_pq: Tensor = self.last(self.full(x).relu_())
        return hdr_pq[..., : sdr.shape[2], : sdr.shape[3]]
