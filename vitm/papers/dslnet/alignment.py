"""DMFA, dynamic multi-frame alignment: frames to features of the target frame (section DMFA, Figure 5)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.ops.deform import DeformConv2d, deform_conv2d
from vitm.ops.large_kernel import DepthwiseConv2d, dynamic_depthwise_conv2d
from vitm.papers.dslnet.layers import conv3x3, plain_convs


class DynamicDepthwise(nn.Module):
    """A depthwise convolution whose kernels are predicted from the averages of its input.

    Args:
        width: number of channels.
        kernel_size: size k of the kernels.
        norm: norm of the predictor's inner layer: `"layer"`, or `"batch"`, which needs more than one sample to train.
    """

    def __init__(self, width: int, kernel_size: int, norm: Literal["layer", "batch"]) -> None:
        super().__init__()
        inner = width // 4
        self.kernel_size = kernel_size
        self.squeeze = nn.Linear(width, inner, bias=False)
        self.norm = nn.LayerNorm(inner) if norm == "layer" else nn.BatchNorm1d(inner)
        self.predict = nn.Linear(inner, width * kernel_size**2)
        self.bias = nn.Parameter(torch.zeros(width))

    def kernels(self, x: Tensor) -> Tensor:
        """Predict kernels (B, C, k, k) from features (B, C, H, W)."""
        kernels: Tensor = self.predict(F.relu(self.norm(self.squeeze(x.mean((2, 3))))))
        return kernels.view(len(x), -1, self.kernel_size, self.kernel_size)

    def forward(self, x: Tensor, kernels: Tensor | None = None) -> Tensor:
        """Filter features (B, C, H, W); with the kernels of a larger picture where they are given."""
        return dynamic_depthwise_conv2d(x, self.kernels(x) if kernels is None else kernels, self.bias)


class DMFA(nn.Module):
    """Offsets by LDOE, large kernels at half resolution, and a deformable convolution of all frames.

    The text feeds LDOE's rectified map to the deformable convolution. Rectified offsets point right and down alone, and
    their number does not fit: a 3x3 convolution that starts at zero makes offsets from it, one group for each frame.

    Args:
        frames: number of frames N.
        width: channels C of the result.
        kernel_size: size of LDOE's two large depthwise convolutions.
        dynamic_kernel: size k of the dynamic convolution between them.
        dynamic: whether its kernels are predicted, or learnt (Table 2, M5 and M6).
        norm: see `DynamicDepthwise`.
        modulated: whether a predicted mask weighs every tap (deformable convolution v2; the paper cites v1).
        differences: whether weights of neighbours are those of their differences from the target frame.
    """

    def __init__(
        self,
        frames: int,
        width: int,
        kernel_size: int,
        dynamic_kernel: int,
        dynamic: bool,
        norm: Literal["layer", "batch"],
        modulated: bool,
        differences: bool,
    ) -> None:
        super().__init__()
        self.frames, self.differences = frames, differences
        self.stem = nn.Sequential(conv3x3(3 * frames, width, 2), nn.ReLU(), DepthwiseConv2d(width, kernel_size))
        self.middle: DynamicDepthwise | DepthwiseConv2d = (
            DynamicDepthwise(width, dynamic_kernel, norm) if dynamic else DepthwiseConv2d(width, dynamic_kernel)
        )
        self.tail = nn.Sequential(
            DepthwiseConv2d(width, kernel_size), nn.ReLU(), nn.ConvTranspose2d(width, width, 2, 2), nn.ReLU()
        )
        self.taps = 9 * frames
        self.offsets = conv3x3(width, self.taps * (3 if modulated else 2))
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)  # type: ignore[arg-type]
        self.deform = DeformConv2d(3 * frames, width)
        self.stem_reach = 1 + 2 * (kernel_size // 2)  # rows away that a result of the stem depends on
        self.offsets_reach = kernel_size // 2 + dynamic_kernel // 2 + 1  # the same of the offsets, in rows of the stem

    def forward(self, x: Tensor) -> Tensor:
        """Align all frames on channels (B, 3 N, H, W), H and W even: (B, C, H, W)."""
        return self.sample(x, self.predict_offsets(self.stem(x)))

    def predict_offsets(self, half: Tensor, kernels: Tensor | None = None) -> Tensor:
        """Predict offsets of the taps, and masks, from the stem's features (B, C, H/2, W/2): (B, _, H, W)."""
        middle = self.middle(half) if kernels is None else self.middle(half, kernels)
        out: Tensor = self.offsets(self.tail(middle))
        return out

    def sample(self, x: Tensor, offsets: Tensor) -> Tensor:
        """Convolve all frames (B, 3 N, H, W) where the offsets point: (B, C, H, W)."""
        offset, mask = offsets[:, : 2 * self.taps], offsets[:, 2 * self.taps :]
        mask_or_none = mask.sigmoid() if mask.shape[1] else None
        return F.relu(deform_conv2d(x, offset, self.weight(), self.deform.bias, mask_or_none, 1))

    def weight(self) -> Tensor:
        """Return the weight of the deformable convolution, (C, 3 N, 3, 3).

        With `differences`, the target frame's is its own minus the sum of all neighbours': where frames agree, it alone
        decides, however the neighbours' start. Both forms can be any convolution.
        """
        own = self.deform.weight
        if not self.differences:
            return own
        frames = [*own.chunk(self.frames, 1)]
        middle = self.frames // 2
        frames[middle] = 2 * frames[middle] - torch.stack(frames).sum(0)
        return torch.cat(frames, 1)


class StackedConvs(nn.Module):
    """3x3 convolutions in place of DMFA (Table 4), or one of them, of the target frame (Table 2, M0 to M4)."""

    def __init__(self, frames: int, width: int, count: int) -> None:
        super().__init__()
        self.convs = plain_convs(3 * frames, width, count)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3 N, H, W) to (B, C, H, W)."""
        out: Tensor = self.convs(x)
        return out
