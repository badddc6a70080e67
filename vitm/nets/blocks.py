"""Blocks that several papers take from HDRTVNet (ICCV 2021)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Pointwise(nn.Conv2d):
    """A 1x1 convolution whose result has the memory format of its input, whatever the format of its weights."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        return F.conv2d(x, self.weight.flatten(1)[:, :, None, None], self.bias)

    @property
    def affine(self) -> tuple[Tensor, Tensor]:
        """The weights (outputs, inputs) and the bias (outputs, 1)."""
        assert self.bias is not None
        return self.weight.flatten(1), self.bias[:, None]


class ColorBlock(nn.Module):
    """1x1 convolution, 3x3 average of stride 2 that counts the zeros around the image, LeakyReLU, instance norm."""

    def __init__(self, inputs: int, outputs: int, normalise: bool = True) -> None:
        super().__init__()
        self.conv = Pointwise(inputs, outputs)
        self.act = nn.LeakyReLU(0.2, inplace=True)
        self.norm = nn.InstanceNorm2d(outputs, affine=True) if normalise else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H/2, W/2), rounded up.

        The average comes first: it commutes with the convolution, except that it lowers the bias at the border.
        """
        weight, bias = self.conv.affine
        inside = F.avg_pool2d(x.new_ones(1, 1, *x.shape[2:]), 3, 2, 1)
        x = F.conv2d(F.avg_pool2d(x, 3, 2, 1), weight[..., None, None]) + bias[..., None] * inside
        out: Tensor = self.norm(self.act(x))
        return out
