"""PSNR as a metric of frames."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vitm.metrics.base import FrameMetric
from vitm.metrics.functional.psnr import psnr
from vitm.metrics.protocol import FRAMES, Protocol
from vitm.metrics.values import MetricValue


class PSNR(FrameMetric):
    """Mean of the frames' PSNR in dB (not the PSNR of the mean error). See `functional.psnr`.

    Identical frames have no finite PSNR: they are left out of the mean and counted in `n_identical`. If all are
    identical the result is inf.

    Args:
        round_16bit: whether to clip and round to 16 bit first.
        protocol: how the metric differs from `FRAMES`, but for the rounding.
        kwargs: options of `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> metric = PSNR()
        >>> metric.update(torch.full((1, 3, 8, 8), 0.5), torch.full((1, 3, 8, 8), 0.6))
        >>> round(metric.compute().item(), 2)
        20.0
    """

    values = (MetricValue("psnr", "PSNR", "dB", "higher"),)
    n_identical: Tensor

    def __init__(self, round_16bit: bool = True, protocol: Protocol = FRAMES, **kwargs: Any) -> None:
        super().__init__(round_16bit, protocol, **kwargs)
        self.add_state("n_identical", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def frame_values(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the PSNR of each frame."""
        return psnr(pred, target)

    def reduce(self, measured: Tensor) -> dict[str, Tensor]:
        """Return the mean of the finite values."""
        finite = measured[~measured.isposinf()]
        return {self.names[0]: finite.mean() if len(finite) else measured.mean()}

    def add(self, values: Tensor) -> None:
        """Add the finite values, and count the others."""
        identical = values.isposinf()
        self.n_identical = self.n_identical + identical.sum()
        self.totals = self.totals + values.masked_fill(identical, 0).sum()
        self.count = self.count + (~identical).sum()

    def compute(self) -> Tensor:
        """Return the mean over frames that differ from their target."""
        all_identical = (self.count == 0) & (self.n_identical > 0)
        return torch.where(all_identical, torch.inf, super().compute())
