"""Differentiable HDR: a stack of exposures, each made from the one before, merged by a function with gradients."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.ops.padding import pad_to_multiple
from vitm.papers.vitm_tc.display import to_hdr_pq
from vitm.papers.vitm_tc.exposure import linearise


class ConditionalNorm(nn.Module):
    """An instance norm whose scale and shift depend on the step of the recursion (Dumoulin et al., ICLR 2017)."""

    def __init__(self, width: int, steps: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(steps, width))
        self.shift = nn.Parameter(torch.zeros(steps, width))

    def forward(self, x: Tensor, step: int) -> Tensor:
        """Normalise (B, width, H, W)."""
        x = F.instance_norm(x) if x[0, 0].numel() > 1 else x
        return torch.addcmul(self.shift[step][:, None, None], x, self.scale[step][:, None, None])


class Block(nn.Module):
    """Two convolutions with swish, the second one normalised for the step."""

    def __init__(self, inputs: int, outputs: int, steps: int, kernel: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm = ConditionalNorm(outputs, steps)

    def forward(self, x: Tensor, step: int) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        return F.silu(self.norm(self.conv2(F.silu(self.conv1(x), inplace=True)), step), inplace=True)


class GatedUnit(nn.Module):
    """A convolutional gated recurrent unit (Ballas et al., ICLR 2016), which remembers the exposures before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.candidate = nn.Conv2d(2 * width, width, 3, padding=1)

    def forward(self, x: Tensor, memory: Tensor | None) -> Tensor:
        """Return the new memory (B, width, H, W) after an input of its shape; None is an empty memory."""
        memory = torch.zeros_like(x) if memory is None else memory
        update, reset = self.gates(torch.cat([x, memory], 1)).sigmoid().chunk(2, 1)
        candidate = self.candidate(torch.cat([x, reset * memory], 1)).tanh()
        return torch.lerp(memory.to(candidate.dtype), candidate, update)


class ExposureChange(nn.Module):
    """A recurrent U-Net that makes of a frame the next one of a stack, brighter or darker.

    Args:
        widths: numbers of channels at 1/1, 1/2, 1/4, ...
        steps: length of the recursion.
    """

    def __init__(self, widths: tuple[int, ...], steps: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down = nn.ModuleList(Block(n, m, steps) for n, m in pairwise(widths))
        self.unit = GatedUnit(widths[-1])
        pairs = [*pairwise(widths)][::-1]
        self.up = nn.ModuleList(Block(m + n, n, steps, kernel=1) for n, m in pairs)
        self.last = nn.Conv2d(widths[0] + 3, 3, 3, padding=1)

    def forward(self, code: Tensor, step: int, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the next frame (B, 3, H, W), camera code in [0, 1], and the memory for the one after it."""
        x = F.silu(self.first(code))
        skips = []
        for down in self.down:
            skips.append(x)
            x = F.max_pool2d(down(x, step), 2)
        x = memory = self.unit(x, memory)
        for up in self.up:
            x = up(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), skips.pop()], 1), step)
        return self.last(torch.cat([x, code], 1)).float().sigmoid(), memory


class DiffHDR(nn.Module):
    """Two recurrent networks that raise and lower the exposure, stop by stop, and the merging of the stack.

    Kim et al., "End-to-End Differentiable Learning to HDR Image Synthesis for Multi-exposure Images", AAAI 2021, after
    "Deep Recursive HDRI" (Lee et al., ECCV 2018). 9,965,192 parameters. As published: recursion up and down, a gated
    unit, norms of the step, widths, and a loss that reaches the networks through the merged light. Assumed: three
    colours at once, no networks that refine the exposures, and a merging that knows the camera's curve, 2.2 in
    VITM-TC's data, where the paper estimates it from the stack.

    Convention: any height and width; frames are padded to multiples of 16 by reflection, and cropped back.

    Args:
        widths: numbers of channels at 1/1, 1/2, 1/4, ...
        steps: number of exposures above and below the frame's own, a stop apart (paper: 3).
    """

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 128, 256), steps: int = 3) -> None:
        super().__init__()
        if len(widths) < 2 or steps < 1:
            raise ValueError(f"widths is {tuple(widths)}, steps {steps}; expected two sizes or more, and 1 or more")
        self.steps, self.multiple = steps, 2 ** (len(widths) - 1)
        self.brighter = ExposureChange(widths, steps)
        self.darker = ExposureChange(widths, steps)

    def forward(self, ldr: Tensor) -> Tensor:
        """Convert frames.

        Args:
            ldr: (B, 3, H, W), camera code in [0, 1].

        Returns:
            Linear light (B, 3, H, W) in the exposure of the frames, fp32.

        Raises:
            ValueError: if the shape is another.
        """
        return merge_stack(self.stack(ldr), self.stops)

    @property
    def stops(self) -> list[int]:
        """Exposures of the stack, relative to the frame."""
        return [*range(-self.steps, self.steps + 1)]

    def stack(self, ldr: Tensor) -> Tensor:
        """Return the exposures (B, 2 steps + 1, 3, H, W) from dark to bright, camera code; the middle is the frame."""
        if ldr.ndim != 4 or ldr.shape[1] != 3:
            raise ValueError(f"expected ldr of shape (B, 3, H, W), got {tuple(ldr.shape)}")
        frame = pad_to_multiple(ldr, self.multiple)
        up, down = self._recursion(self.brighter, frame), self._recursion(self.darker, frame)
        return torch.stack([*reversed(down), frame.float(), *up], 1)[..., : ldr.shape[2], : ldr.shape[3]]

    def _recursion(self, network: ExposureChange, frame: Tensor) -> list[Tensor]:
        exposures: list[Tensor] = []
        code, memory = frame, None
        for step in range(self.steps):
            code, memory = network(code, step, memory)
            exposures.append(code)
        return exposures

    @staticmethod
    def to_hdr_pq(x_linear: Tensor) -> Tensor:
        """Convert the result to HDR10 code, see `vitm.papers.vitm_tc.display`."""
        return to_hdr_pq(x_linear)


def merge_stack(stack: Tensor, stops: list[int], least: float = 1e-4) -> Tensor:
    """Merge exposures to light, as Debevec and Malik do (SIGGRAPH 1997, equation 6), with gradients everywhere.

    `ln E = sum_j w(Z_j) (ln f^-1(Z_j) - ln t_j) / sum_j w(Z_j)`, w a hat over the codes. The darkest exposure keeps its
    weight above the middle, and the brightest one below it, so that no pixel is without.

    Args:
        stack: (B, N, 3, H, W), camera code in [0, 1], from dark to bright.
        stops: exposures in stops, log2 of t.
        least: least light of an exposure, which keeps the logarithm finite.

    Returns:
        Linear light (B, 3, H, W), at exposure 0, fp32.
    """
    code = stack.float().clamp(0, 1)
    hat = 1 - (2 * code - 1).abs() + 1e-3
    full = torch.full_like(code[:, 0], 1.0)
    weights = [*hat.unbind(1)]
    weights[0] = torch.where(code[:, 0] > 0.5, full, weights[0])
    weights[-1] = torch.where(code[:, -1] < 0.5, full, weights[-1])
    weight = torch.stack(weights, 1)
    exposures = linearise(code).clamp_min(least).log().unbind(1)
    log_light = torch.stack([x - stop * math.log(2) for x, stop in zip(exposures, stops, strict=True)], 1)
    return ((weight * log_light).sum(1) / weight.sum(1)).exp()
