"""The large-kernel residual block of DSLNet, and stacks of plain convolutions for its ablations."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vitm.ops.large_kernel import DepthwiseConv2d


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution that keeps the size, or halves it."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)


def plain_convs(inputs: int, width: int, count: int) -> nn.Sequential:
    """Return `count` 3x3 convolutions with a ReLU after each."""
    layers: list[nn.Module] = []
    for i in range(count):
        layers += [conv3x3(width if i else inputs, width), nn.ReLU()]
    return nn.Sequential(*layers)


class LKRB(nn.Module):
    """Large-kernel residual block: 3x3 convolution, ReLU, depthwise k x k, ReLU, added to the input (section STFM).

    Args:
        width: number of channels.
        kernel_size: size k of the depthwise convolution.
        order: order of the layers. `"text"`: as above; `"eq8"`: ReLU, depthwise k x k, ReLU, 3x3
            convolution (equation 8).
    """

    def __init__(self, width: int, kernel_size: int, order: Literal["text", "eq8"]) -> None:
        super().__init__()
        self.conv = conv3x3(width, width)
        self.depthwise = DepthwiseConv2d(width, kernel_size)
        self.order = order
        self.reach = 1 + kernel_size // 2

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        if self.order == "text":
            out: Tensor = x + F.relu(self.depthwise(F.relu(self.conv(x))))
        else:
            out = x + self.conv(F.relu(self.depthwise(F.relu(x))))  # eq. 8
        return out


class PlainBlock(nn.Module):
    """Residual block of Table 2, M0 and M1: 3x3 convolution, ReLU, 3x3 convolution, added to the input."""

    reach = 2

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(conv3x3(width, width), nn.ReLU(), conv3x3(width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        out: Tensor = x + self.convs(x)
        return out


class Blocks(nn.Sequential):
    """Residual blocks one after another; each says by its `reach` how many rows away its result depends on."""
