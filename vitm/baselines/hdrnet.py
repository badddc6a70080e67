"""HDRNet: affine maps of colour over place and brightness, from a small picture of the frame."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.ops.bilateral_grid import apply_grid
from vitm.ops.tiling import needs_whole_maps

LOOK = 256  # height and width of the small picture
KNOTS = 16  # of the guide's curves
STRIP = 4096  # pixels whose hinges lie in memory at a time
GLOBAL = 4  # height and width of the map that global features are made of


class Guide(nn.Module):
    """A grey picture along which the grid is read (section 3.4.1, equation 7).

    Colours are mixed, each of them bent by a curve of `KNOTS` pieces, and added. It begins as their mean.
    """

    def __init__(self) -> None:
        super().__init__()
        self.colors, self.mix = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 1, 1)
        self.thresholds = nn.Parameter(torch.linspace(0, 1, KNOTS + 1)[:-1].repeat(3, 1))
        self.slopes = nn.Parameter(torch.zeros(3, KNOTS))
        self.slopes.data[:, 0] = 1
        nn.init.eye_(self.colors.weight.data.view(3, 3))
        nn.init.constant_(self.mix.weight, 1 / 3)
        for conv in (self.colors, self.mix):
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)

    def forward(self, sdr: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, 1, H, W) in [0, 1]."""
        factors, addend = self._sum()
        hinges = torch.maximum(self.colors(sdr).unsqueeze(2), self.thresholds[..., None, None])
        guide = torch.matmul(factors, hinges.flatten(3).flatten(1, 2)) + addend
        return guide.clamp(0, 1).view(len(sdr), 1, *sdr.shape[2:])

    def in_strips(self, sdr: Tensor) -> Tensor:
        """Map (B, 3, H, W) to the same guide without gradients, by strips whose hinges stay in the cache."""
        assert self.colors.bias is not None
        factors, addend = (x[None] for x in self._sum())
        matrix, bias, thresholds = (
            self.colors.weight.flatten(1),
            self.colors.bias[:, None],
            self.thresholds.unsqueeze(2),
        )
        size = sdr.shape[2] * sdr.shape[3]
        count = min(STRIP, size)
        guide = sdr.new_empty(len(sdr), 1, size)
        colors, hinges = sdr.new_empty(3, count), sdr.new_empty(3, KNOTS, count)
        for pixels, out in zip(sdr.flatten(2), guide, strict=True):
            for start in [*range(0, size - count, count), size - count]:
                strip = slice(start, start + count)
                torch.addmm(bias, matrix, pixels[:, strip], out=colors)
                torch.maximum(colors[:, None], thresholds, out=hinges)
                torch.addmm(addend, factors, hinges.flatten(0, 1), out=out[:, strip]).clamp_(0, 1)
        return guide.view(len(sdr), 1, *sdr.shape[2:])

    def _sum(self) -> tuple[Tensor, Tensor]:
        """Return the factor of each hinge, and an addend.

        The guide is sum_c m_c sum_i a_ci max(x_c - t_ci, 0) + b. With max(x - t, 0) = max(x, t) - t, one product gives
        both sums.
        """
        assert self.mix.bias is not None
        factors = (self.slopes * self.mix.weight.view(3, 1)).flatten()
        return factors, self.mix.bias - factors @ self.thresholds.flatten()


class HDRNet(nn.Module):
    """A bilateral grid of affine colour maps, predicted at 256 x 256 and applied at full resolution along a guide.

    Gharbi et al., "Deep Bilateral Learning for Real-Time Image Enhancement", SIGGRAPH 2017, made for photographs: four
    convolutions of stride 2 on the small picture, then a local and a global path (section 3.1), which are added to
    coefficients of a grid of 16 x 16 places, 8 brightnesses and 3 x 4 numbers; slicing (3.2); the guide (3.4.1).

    With the default arguments 482,080 parameters, HDCFM's 482 K: the guide with curves, which has 112 of them, and no
    batch normalisation.

    Convention: any height and width. The small picture is resized bilinearly, without antialiasing.

    Args:
        places: number of the grid's cells along the height and the width, a power of 2 from 8 to 128.
        brightnesses: number of its cells along the guide; the layers' widths are multiples of it.

    Example:
        >>> HDRNet()(torch.rand(1, 3, 30, 41)).shape
        torch.Size([1, 3, 30, 41])
    """

    def __init__(self, places: int = 16, brightnesses: int = 8) -> None:
        super().__init__()
        if places not in (8, 16, 32, 64, 128) or brightnesses < 1:
            raise ValueError(
                f"expected places 8, 16, 32, 64 or 128 and brightnesses >= 1, got {places} and {brightnesses}"
            )

        def halving(n: int, m: int) -> list[nn.Module]:
            return [nn.Conv2d(n, m, 3, stride=2, padding=1), nn.ReLU()]

        self.brightnesses = brightnesses
        widths = [3, *(brightnesses << i for i in range(int(math.log2(LOOK // places))))]
        width = 8 * brightnesses
        self.splat = nn.Sequential(*(layer for n, m in pairwise(widths) for layer in halving(n, m)))
        inner = [widths[-1], *[width] * int(math.log2(places // GLOBAL))]
        self.whole = nn.Sequential(
            *(layer for n, m in pairwise(inner) for layer in halving(n, m)),
            nn.Flatten(),
            nn.Linear(width * GLOBAL**2, 4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, width),
        )
        self.local = nn.Sequential(
            nn.Conv2d(widths[-1], width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False)
        )
        self.coefficients = nn.Conv2d(width, 12 * brightnesses, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.guide = Guide()

    def grid(self, sdr: Tensor) -> Tensor:
        """Predict the grid (B, 12, brightnesses, places, places) for frames (B, 3, H, W)."""
        splat = self.splat(F.interpolate(sdr, size=(LOOK, LOOK), mode="bilinear", align_corners=False))
        fused = F.relu(self.local(splat) + self.whole(splat)[..., None, None])
        coefficients: Tensor = self.coefficients(fused)
        return coefficients.reshape(len(sdr), 12, self.brightnesses, *coefficients.shape[2:]).contiguous()

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert frames.

        Args:
            sdr: (B, 3, H, W), BT.709 gamma code in [0, 1].

        Returns:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped.

        Raises:
            ValueError: if the shape is another.
        """
        if sdr.ndim != 4 or sdr.shape[1] != 3 or 0 in sdr.shape:
            raise ValueError(f"expected sdr of shape (B, 3, H, W) with pixels, got {tuple(sdr.shape)}")
        guide = self.guide(sdr) if needs_whole_maps(self, sdr) else self.guide.in_strips(sdr)
        return apply_grid(self.grid(sdr), guide.squeeze(1), sdr)
