"""Flicker as a metric of clips."""

from __future__ import annotations

import torch
from torch import Tensor

from vitm.metrics.base import ClipMetric
from vitm.metrics.functional.flicker import deviation, mean_luma
from vitm.metrics.values import MetricValue


class Flicker(ClipMetric):
    """Mean over clips of flicker. See `functional.flicker`."""

    values = (MetricValue("flicker", "flicker", "", "lower"),)
    columns = ("luma_pred", "luma_gt")
    least = 2

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the mean PQ luma of each frame, of prediction and target."""
        return torch.stack((mean_luma(pred), mean_luma(target)), dim=1).double()

    def reduce(self, measured: Tensor) -> dict[str, Tensor]:
        """Return the deviation of the difference over time."""
        return {self.names[0]: deviation(measured[:, 0] - measured[:, 1])}
