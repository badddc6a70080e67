"""Metrics with one value a frame, averaged over frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from vitm.metrics import functional
from vitm.metrics.functional.ssim import SSIMVariant
from vitm.metrics.protocol import FRAMES, Protocol


class FrameMetric(Metric, ABC):
    """The mean over all frames of a value each. Processes are joined by sum and count, so they may hold unequal shares.

    Predictions and targets are clipped and rounded to 16 bit first, as the papers' files were; the target too, for
    fp32 does not hold k / 65535 exactly and equal files must read as equal.

    Args:
        round_16bit: whether to clip and round.
        protocol: how the metric differs from `FRAMES` in all but rounding.
        kwargs: options of `torchmetrics.Metric`.
    """

    full_state_update = False
    is_differentiable = False
    context: ClassVar[int] = 0
    """As in `ClipMetric`: a frame is measured by itself."""
    total: Tensor
    count: Tensor

    def __init__(self, round_16bit: bool = True, protocol: Protocol = FRAMES, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.round_16bit = round_16bit
        self.protocol = protocol if round_16bit else replace(protocol, rounding="unrounded")
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @abstractmethod
    def values(self, pred: Tensor, target: Tensor) -> Tensor:
        """One value a frame: (B, 3, H, W) -> (B,), (B, T, 3, H, W) -> (B, T)."""

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """As in `ClipMetric`: 2 x (T, 3, H, W), rounded already -> (T, 1), fp64."""
        return self.values(pred, target).double()[:, None]

    def pool(self, values: Tensor) -> Tensor:
        """What `compute` gives for these values of frames, (N,), alone."""
        return values.mean()

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Adds frames.

        Args:
            pred: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes, fp32 or fp64.
            target: the same shape.
        """
        if self.round_16bit:
            pred, target = functional.quantize_16bit(pred), functional.quantize_16bit(target)
        self.add(self.values(pred, target))

    def add(self, values: Tensor) -> None:
        """Adds values of frames to the state."""
        self.total += values.sum()
        self.count += values.numel()

    def compute(self) -> Tensor:
        """The mean over frames; nan before the first."""
        return self.total / self.count


class PSNR(FrameMetric):
    """Mean of the frames' PSNR in dB (not the PSNR of the mean error). See `functional.psnr`.

    Identical frames have no finite PSNR: they are left out of the mean and counted in `n_identical`. If all are
    identical the result is inf.
    """

    higher_is_better = True
    n_identical: Tensor

    def __init__(self, round_16bit: bool = True, **kwargs: Any) -> None:
        super().__init__(round_16bit, **kwargs)
        self.add_state("n_identical", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def values(self, pred: Tensor, target: Tensor) -> Tensor:
        """PSNR of each frame."""
        return functional.psnr(pred, target)

    def add(self, values: Tensor) -> None:
        """Adds the finite values, counts the others."""
        identical = values.isposinf()
        self.n_identical += identical.sum()
        super().add(values[~identical])

    def pool(self, values: Tensor) -> Tensor:
        """The mean of the finite values."""
        finite = values[~values.isposinf()]
        return finite.mean() if len(finite) else values.mean()

    def compute(self) -> Tensor:
        """The mean over frames that differ from their target."""
        all_identical = (self.count == 0) & (self.n_identical > 0)
        return torch.where(all_identical, torch.inf, super().compute())


class SSIM(FrameMetric):
    """Mean of the frames' SSIM. See `functional.ssim`.

    Args:
        variant: window, moments and range: "gauss11", "uniform7" or "kpn".
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    higher_is_better = True

    def __init__(self, variant: SSIMVariant = "gauss11", round_16bit: bool = True, **kwargs: Any) -> None:
        super().__init__(round_16bit, replace(FRAMES, variant=variant), **kwargs)
        self.variant = variant

    def values(self, pred: Tensor, target: Tensor) -> Tensor:
        """SSIM of each frame."""
        return functional.ssim(pred, target, self.variant)


class DeltaEITP(FrameMetric):
    """Mean of the frames' Delta E ITP. See `functional.delta_e_itp`.

    Args:
        reduction: over the pixels of a frame: "mean" or "p95".
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    higher_is_better = False

    def __init__(self, reduction: Literal["mean", "p95"] = "mean", round_16bit: bool = True, **kwargs: Any) -> None:
        super().__init__(round_16bit, replace(FRAMES, variant="" if reduction == "mean" else reduction), **kwargs)
        self.reduction = reduction

    def values(self, pred: Tensor, target: Tensor) -> Tensor:
        """Delta E ITP of each frame."""
        return functional.delta_e_itp(pred, target, self.reduction)
