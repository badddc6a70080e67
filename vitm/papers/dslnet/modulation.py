"""STFM's first two branches: what the frames tell (ConditionNet, Figure 6), and features modulated by it (Figure 7)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.nets.blocks import ColorBlock, Pointwise
from vitm.ops.tiling import upsample_rows

WIDTHS = (3, 16, 32, 64, 128)
SMALLEST = 17  # pixels a side: less is a single pixel after four halvings, which has no variance


class LiteralColorBlock(nn.Module):
    """The colour block in the order that equation 2 prints: instance norm, LeakyReLU, average, 1x1 convolution.

    It takes the frame's own mean and contrast away before anything can read them.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(inputs, affine=True)
        self.conv = Pointwise(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H/2, W/2), rounded up."""
        out: Tensor = self.conv(F.avg_pool2d(F.leaky_relu(self.norm(x), 0.2), 3, 2, 1))  # eq. 2
        return out


class FrameCode(NamedTuple):
    """ConditionNet's description of one frame.

    Attributes:
        deep: (B, 128, H/16, W/16), rounded up.
        mean: (B, 128, 1, 1), its averages.
    """

    deep: Tensor
    mean: Tensor


class Coefficients(NamedTuple):
    """Scales less one and shifts, beside each other on channels; None for a modulation that is switched off.

    Attributes:
        temporal: (B, 2 C, 1, 1).
        channel: (B, 2 C, 1, 1) of each repetition.
        spatial: (B, 2 C, H/32, W/32) of each repetition, to be enlarged.
    """

    temporal: Tensor | None
    channel: tuple[Tensor, ...] | None
    spatial: tuple[Tensor, ...] | None


class Modulation(nn.Module):
    """A 1x1 convolution and TFM, then three times ReLU, 1x1 convolution, CFM and SFM.

    Every modulation is x A + B (equations 6 and 7), with A = 1 + the predicted scale; predictors start at zero.

    Args:
        frames: number of frames N.
        width: number of channels C.
        tfm: whether all frames modulate in time.
        cfm: whether a vector of the target frame modulates.
        sfm: whether a map of the target frame modulates.
        shared: whether the three repetitions share their coefficients.
        colorblock: form of the colour block: `"hdrtvnet"`: `ColorBlock`, or `"literal"`: `LiteralColorBlock`.
    """

    def __init__(
        self,
        frames: int,
        width: int,
        tfm: bool,
        cfm: bool,
        sfm: bool,
        shared: bool,
        colorblock: Literal["hdrtvnet", "literal"],
    ) -> None:
        super().__init__()
        self.width = width
        block = ColorBlock if colorblock == "hdrtvnet" else LiteralColorBlock
        self.condition = nn.Sequential(*(block(WIDTHS[i], WIDTHS[i + 1]) for i in range(4)))
        self.convs = nn.ModuleList(Pointwise(width, width) for _ in range(4))
        sets, deep = 1 if shared else 3, WIDTHS[-1]

        def vector(inputs: int, count: int) -> nn.Sequential:
            return nn.Sequential(Pointwise(inputs, 64), Pointwise(64, 2 * width * count))

        self.tme = vector(deep * frames, 1) if tfm else None
        self.cme = vector(deep, sets) if cfm else None
        self.sme = nn.Sequential(nn.LeakyReLU(0.2), nn.AvgPool2d(3, 2, 1), Pointwise(deep, 2 * width * sets))
        if not sfm:
            self.sme = None  # type: ignore[assignment]
        for head in (self.tme, self.cme, self.sme):
            if head is not None:
                nn.init.zeros_(head[-1].weight)  # type: ignore[arg-type]
                nn.init.zeros_(head[-1].bias)  # type: ignore[arg-type]

    def code(self, frame: Tensor) -> FrameCode:
        """Describe a frame, sdr (B, 3, H, W)."""
        deep = self.condition(frame)
        return FrameCode(deep, deep.mean((2, 3), keepdim=True))

    def coefficients(self, codes: list[FrameCode]) -> Coefficients:
        """Return the coefficients for the middle one of N frames."""
        target = codes[len(codes) // 2]

        def repetitions(predicted: Tensor) -> tuple[Tensor, ...]:
            sets = predicted.chunk(predicted.shape[1] // (2 * self.width), dim=1)
            return sets if len(sets) == 3 else sets * 3

        # Pooling commutes with the 1x1 convolution before it in equations 4 and 5.
        return Coefficients(
            None if self.tme is None else self.tme(torch.cat([c.mean for c in codes], dim=1)),  # eq. 4
            None if self.cme is None else repetitions(self.cme(target.mean)),  # eq. 5
            None if self.sme is None else repetitions(self.sme(target.deep)),  # eq. 3, before Up
        )

    def forward(self, x: Tensor, coefficients: Coefficients, rows: Tensor, height: int) -> Tensor:
        """Modulate features.

        Args:
            x: (B, C, h, W), a band of consecutive rows of a map, or all of it.
            coefficients: from the method `coefficients`.
            rows: (h, 1), numbers of these rows.
            height: rows of the map.

        Returns:
            The same shape.
        """
        x = self.convs[0](x)
        if coefficients.temporal is not None:
            x = _modulate(x, coefficients.temporal)  # eq. 6
        for i in range(3):
            x = self.convs[i + 1](F.relu(x))
            if coefficients.channel is not None:
                x = _modulate(x, coefficients.channel[i])  # eq. 7
            if coefficients.spatial is not None:
                x = _modulate(x, upsample_rows(coefficients.spatial[i], (height, x.shape[3]), rows[:, 0]))  # eq. 7
        return x


def _modulate(x: Tensor, scale_and_shift: Tensor) -> Tensor:
    scale, shift = scale_and_shift.chunk(2, dim=1)
    return torch.addcmul(x + shift, x, scale)
