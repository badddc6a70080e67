"""The layers of HDCFM and PDCG: dynamic filters, context gates, modulation (ACM MM 2022, section 3.2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vitm.nets.blocks import Pointwise
from vitm.ops.ddf import ddf

CONDITIONS = 6  # channels of the vector and of the map that the estimator predicts


class DDF(nn.Module):
    """Decoupled dynamic filters, predicted from the features that they filter (section 3.2.6, equation 2).

    Args:
        channels: number of channels C.
        kernels: layers that predict the filters. `"released"`: one convolution for the pixels, two on the averages for
            the channels; `"paper"`: equation 2, two convolutions for the pixels and one for the channels, which is four
            times the released parameters and more than the paper counts.
    """

    def __init__(self, channels: int, kernels: Literal["released", "paper"] = "released") -> None:
        super().__init__()
        inner = channels // 5  # se_ratio 0.2
        squeezed = [Pointwise(channels, inner), nn.ReLU(), Pointwise(inner, 9)]
        released = kernels == "released"
        self.spatial = nn.Sequential(*([Pointwise(channels, 9)] if released else squeezed))  # SKP
        squeezed = [Pointwise(channels, inner), nn.ReLU(), Pointwise(inner, 9 * channels)]
        self.channel = nn.Sequential(*(squeezed if released else [Pointwise(channels, 9 * channels)]))  # CKP

    def forward(self, x: Tensor) -> Tensor:
        """Filter (B, C, H, W); the result is fp32."""
        return ddf(x, self.spatial(x), self.channel_filters(self.pool(x)))

    def pool(self, x: Tensor) -> Tensor:
        """Average: (B, C, H, W) to (B, C, 1, 1)."""
        return x.mean((2, 3), keepdim=True)

    def channel_filters(self, pooled: Tensor) -> Tensor:
        """Predict filters of the channels (B, C, 9) from averages (B, C, 1, 1)."""
        out: Tensor = self.channel(pooled).view(*pooled.shape[:2], 9)
        return out

    def pixel_filters(self, x: Tensor, scale: Tensor) -> Tensor:
        """Predict filters (9, n) of pixels whose features are x (C, n) * scale (C, 1)."""
        first, rest = self.spatial[0], self.spatial[1:]
        assert isinstance(first, Pointwise)
        weight, bias = first.affine
        out: Tensor = rest(torch.addmm(bias, weight * scale.T, x)[None, ..., None])[0, ..., 0]
        return out


class ContextBlock(nn.Module):
    """Context block: a gate in (0, 1) for each channel, from the pooled features; it starts at 1/2.

    Args:
        channels: number of channels C.
        pooling: form of pooling: `"average"` (released), or `"attention"`: a learned weight for each position, as in
            the GCNet block that the paper cites.
        kernels: see `DDF`.
    """

    def __init__(
        self,
        channels: int,
        pooling: Literal["average", "attention"] = "average",
        kernels: Literal["released", "paper"] = "released",
    ) -> None:
        super().__init__()
        inner = channels // 4
        self.attention = Pointwise(channels, 1) if pooling == "attention" else None
        self.transform = nn.Sequential(
            Pointwise(channels, inner),
            DDF(inner, kernels),
            nn.LayerNorm([inner, 1, 1]),
            nn.ReLU(),
            DDF(inner, kernels),
            Pointwise(inner, channels),
        )
        for parameter in self.transform[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        out: Tensor = x * self.gate(self.pool(x))
        return out

    def pool(self, x: Tensor) -> Tensor:
        """Average, with weights or without: (B, C, H, W) to (B, C, 1, 1)."""
        if self.attention is None:
            return x.mean((2, 3), keepdim=True)
        weights: Tensor = self.attention(x).flatten(2).softmax(2)
        return (x.flatten(2) @ weights.transpose(1, 2))[..., None]

    def gate(self, pooled: Tensor) -> Tensor:
        """Map averages (B, C, 1, 1) to gates (B, C, 1, 1) in (0, 1)."""
        out: Tensor = self.transform(pooled).sigmoid()
        return out


class DYCT(nn.Sequential):
    """Dynamic context transformation (section 3.2.6): DDF, then CB."""

    def __init__(self, channels: int = 64) -> None:
        super().__init__(DDF(channels), ContextBlock(channels))


class Modulation(nn.Module):
    """Half of HM (section 3.2.3): a scale and a shift for each channel, predicted from conditions.

    Args:
        channels: number of channels C.
        kind: form of modulation: `"released"`: x (1 + a) + b; `"paper"`: x a + b.
    """

    def __init__(self, channels: int, kind: Literal["released", "paper"] = "released") -> None:
        super().__init__()
        self.offset = 1.0 if kind == "released" else 0.0
        self.scale = Pointwise(CONDITIONS, channels)
        self.shift = Pointwise(CONDITIONS, channels)

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Modulate features (B, C, H, W) by conditions (B, 6, 1, 1) or (B, 6, H, W)."""
        out: Tensor = x * (self.scale(conditions) + self.offset) + self.shift(conditions)
        return out

    def coefficients(self, conditions: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Return factor and addend (C, n) that modulate x for features x * scale + shift, from conditions (6, n)."""
        (a, a0), (b, b0) = self.scale.affine, self.shift.affine
        a0 = a0 + self.offset
        return torch.addmm(a0 * scale, a * scale, conditions), torch.addmm(a0 * shift + b0, a * shift + b, conditions)
