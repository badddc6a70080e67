"""The mean absolute difference, and the PSNR, inside a mask, as metrics of pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vitm.metrics.base import VideoMetric
from vitm.metrics.functional.masked_l1 import masked_sums
from vitm.metrics.protocol import Protocol
from vitm.metrics.values import MetricValue


class MaskedL1(VideoMetric):
    """Mean absolute difference over all pixels of all frames inside a mask, which comes with each update.

    Where no pixel is inside, the value is 0. See `functional.masked_l1`.

    Args:
        domain: domain of the codes, for the protocol.
        inside: region that masks show, for the protocol.
        peak_nits: light of code 1 in cd/m2, for the protocol; None where light is relative.
        kwargs: options of `torchmetrics.Metric`.
    """

    values = (MetricValue("masked_l1", "L1 in the mask", "", "lower"),)
    needs_mask = True
    power = 1
    weight: Tensor

    def __init__(self, domain: str, inside: str, peak_nits: float | None = None, **kwargs: Any) -> None:
        protocol = Protocol(domain, peak_nits, "unrounded", inside, "mean of pixels")
        super().__init__(protocol, round_16bit=False, **kwargs)
        self.add_state("weight", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, pred: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Add frames.

        Args:
            pred: (..., C, H, W), codes in the metric's domain.
            target: the same shape.
            mask: (..., 1, H, W) or the same shape, weights >= 0; True counts as 1.

        Raises:
            ValueError: there is no mask, or shapes differ.
        """
        if mask is None:
            raise ValueError(f"{self.names[0]} needs a mask, which only tasks that know it give; leave the metric out")
        total, weight = self.sums(pred, target, mask)
        self.totals = self.totals + total.sum().to(self.totals)
        self.weight = self.weight + weight.sum().to(self.weight)

    def sums(self, pred: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weighted sums of differences, to the metric's power, and of weights."""
        return masked_sums(pred, target, mask, self.power)

    def compute(self) -> Tensor:
        """Return the mean over pixels inside the mask; 0 where there are none."""
        return torch.where(self.weight > 0, self.totals[0] / self.weight.clamp(min=1e-30), 0.0)


class MaskedPSNR(MaskedL1):
    """PSNR, in dB with peak 1, of all pixels of all frames inside a mask, which comes with each update.

    It is the PSNR of the mean error: frames with large masks count more. Where no pixel is inside, the value is inf.
    See `functional.masked_psnr`.

    Args:
        domain: see `MaskedL1`.
        inside: see `MaskedL1`.
        peak_nits: see `MaskedL1`.
        kwargs: options of `torchmetrics.Metric`.
    """

    values = (MetricValue("masked_psnr", "PSNR in the mask", "dB", "higher"),)
    power = 2

    def compute(self) -> Tensor:
        """Return the PSNR of all pixels inside the mask; inf where there are none."""
        return -10 * super().compute().log10()
