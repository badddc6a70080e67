"""Delta E ITP as a metric of frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from torch import Tensor

from vitm.metrics.base import FrameMetric
from vitm.metrics.functional.delta_e_itp import delta_e_itp
from vitm.metrics.protocol import FRAMES
from vitm.metrics.values import MetricValue


class DeltaEITP(FrameMetric):
    """Mean of the frames' Delta E ITP. See `functional.delta_e_itp`.

    Args:
        reduction: number for a frame: "mean" or "p95" (95th percentile) of its pixels.
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    values = (MetricValue("delta_e_itp", "dE_ITP", "", "lower"),)

    def __init__(self, reduction: Literal["mean", "p95"] = "mean", round_16bit: bool = True, **kwargs: Any) -> None:
        super().__init__(round_16bit, replace(FRAMES, variant="" if reduction == "mean" else reduction), **kwargs)
        self.reduction = reduction

    def frame_values(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the Delta E ITP of each frame."""
        return delta_e_itp(pred, target, self.reduction)
