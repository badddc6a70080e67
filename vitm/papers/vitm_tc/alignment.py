"""The local feature alignment block of ICAM: flow correction, deformable alignment, fusion (section 3.3.1)."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.ops.deform import DeformConv2d
from vitm.ops.warp import warp
from vitm.papers.vitm_tc.bands import in_bands

Layer = TypeVar("Layer", bound=nn.Module)


def conv_stack(*widths: int, stride: int = 1, last: bool = True) -> nn.Sequential:
    """Return 3x3 convolutions of these widths, each followed by LeakyReLU(0.1); the last one only if `last`."""
    layers: list[nn.Module] = []
    for i in range(len(widths) - 1):
        layers += [nn.Conv2d(widths[i], widths[i + 1], 3, stride, 1), nn.LeakyReLU(0.1, inplace=True)]
    return nn.Sequential(*(layers if last else layers[:-1]))


def warp_features(features: Tensor, flow: Tensor) -> Tensor:
    """Warp features (W of equations 3 and 5), with the channels last, as the convolutions after it prefer."""
    return warp(features, flow).contiguous(memory_format=torch.channels_last)


class FlowCorrection(nn.Module):
    """The correction C of equation 3: fits the flow between frames of different luminance to their features.

    It starts as zero.

    Args:
        channels: number of channels of the features F^l.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3 * channels, channels, 3, 1, 1)
        tail = conv_stack(channels, channels, channels, 2, last=False)
        self.rest = nn.Sequential(nn.LeakyReLU(0.1, inplace=True), *tail)
        zero(self.rest[-1])

    def forward(
        self, current: Tensor, reference: Tensor, flow: Tensor, shares: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Correct a flow.

        Args:
            current: features F^l_cur (B, C, H, W).
            reference: features F^l_ref, the same shape.
            flow: from the current frame to the reference (B, 2, H, W), pixels, x first.
            shares: parts of the two features in the first layer, where they are known; see `share`.

        Returns:
            Corrected flow (B, 2, H, W), fp32.
        """
        parts = shares or (self.share(current, 0), self.share(reference, 1))
        return in_bands(self, self._correct, *parts, warp_features(reference, flow), halo=4) + flow  # eq. 3

    def share(self, features: Tensor, role: int) -> Tensor:
        """Return the part of F^l in the first layer as current frame (role 0) or reference (1), alike for all flows."""
        return in_bands(self, lambda x: F.conv2d(x, self._weight(role), padding=1), features, halo=1)

    def _correct(self, current_part: Tensor, reference_part: Tensor, warped: Tensor) -> Tensor:
        sums = F.conv2d(warped, self._weight(2), self.first.bias, padding=1).add_(current_part).add_(reference_part)
        out: Tensor = self.rest(sums)
        return out.float()

    def _weight(self, role: int) -> Tensor:
        return self.first.weight.chunk(3, 1)[role]


class GuidedDeformation(nn.Module):
    """The alignment D of equation 5: deformable convolution by the flow plus a learned residue, as in BasicVSR++.

    It starts as `warp_features` along the flow.

    Args:
        channels: number of channels of the features F^l.
        groups: number of deformable groups.
        max_residue: largest learned residue, in pixels.
    """

    def __init__(self, channels: int, groups: int = 8, max_residue: float = 10.0) -> None:
        super().__init__()
        self.groups = groups
        self.max_residue = max_residue
        self.offset = conv_stack(3 * channels + 2, channels, channels, channels, 27 * groups, last=False)
        self.deform = DeformConv2d(channels, channels, 3)
        zero(self.offset[-1])
        zero(self.deform)
        with torch.no_grad():
            nn.init.dirac_(self.deform.weight).mul_(2)  # the modulation starts as a half

    def forward(self, current: Tensor, reference: Tensor, flow: Tensor) -> Tensor:
        """Align the features of a reference.

        Args:
            current: features F^l_cur (B, C, H, W).
            reference: features F^l_ref, the same shape.
            flow: corrected flow from the current frame to the reference (B, 2, H, W), pixels, x first.

        Returns:
            The aligned feature (B, C, H, W).
        """
        warped = warp_features(reference, flow)
        predicted = in_bands(self, self._predict, current, reference, warped, flow, halo=4)
        n = 18 * self.groups
        aligned: Tensor = self.deform(reference, predicted[:, :n], predicted[:, n:])  # eq. 5
        return aligned.contiguous(memory_format=torch.channels_last)

    def _predict(self, current: Tensor, reference: Tensor, warped: Tensor, flow: Tensor) -> Tensor:
        predicted = self.offset(torch.cat([current, reference, warped, flow.to(warped.dtype)], 1)).float()
        n = 18 * self.groups
        offset = self.max_residue * predicted[:, :n].tanh() + flow.flip(1).repeat(1, n // 2, 1, 1)  # flow is (dx, dy)
        return torch.cat([offset, predicted[:, n:].sigmoid()], 1)


class DenseBlock(nn.Module):
    """Four 3x3 convolutions, each of which sees all features before it, then a 1x1 (Huang et al., CVPR 2017)."""

    def __init__(self, inputs: int, outputs: int, growth: int = 32, depth: int = 4) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv_stack(inputs + i * growth, growth) for i in range(depth))
        self.last = nn.Conv2d(inputs + depth * growth, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        for conv in self.convs:
            x = torch.cat([x, conv(x)], 1)
        out: Tensor = self.last(x)
        return out


class Fusion(nn.Module):
    """The fusion of equation 6: a mask M^l_ref of what is useful in an aligned feature, and F_u, which adds it.

    It starts by passing the current feature on.

    Args:
        channels: number of channels of the features F^l.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mask = conv_stack(channels, channels, channels, last=False)
        blocks = [DenseBlock(n * channels, channels) for n in (2, 1, 1)]
        zero(blocks[-1].last)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, current: Tensor, aligned: Tensor) -> Tensor:
        """Fuse F^l_cur and the aligned feature, both (B, C, H, W)."""
        x = in_bands(self, self._useful, current, aligned, halo=2)
        for block in self.blocks:
            x = in_bands(self, block, x, halo=4)
        return current + x  # eq. 6

    def _useful(self, current: Tensor, aligned: Tensor) -> Tensor:
        return torch.cat([current, aligned * self.mask(aligned).sigmoid()], 1)


def zero(layer: Layer) -> Layer:
    """Set the parameters of a layer to zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
