"""Metrics with one value a clip, averaged over clips."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from vitm.metrics import functional
from vitm.metrics.protocol import CLIPS


class MABD(Metric):
    """Mean over clips of `mabd_pred`, `mabd_gt` and `mse_mabd`. See `functional.mabd`.

    `higher_is_better` speaks of `mse_mabd`. `mabd_pred` is no quality by itself: a frozen output scores 0.

    Args:
        round_16bit: whether to clip and round predictions and targets to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False
    totals: Tensor
    count: Tensor

    def __init__(self, round_16bit: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.round_16bit = round_16bit
        self.protocol = CLIPS if round_16bit else replace(CLIPS, rounding="unrounded")
        self.add_state("totals", torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Adds clips.

        Args:
            pred: (B, T, 3, H, W), BT.2020 PQ codes, fp32 or fp64, T >= 2.
            target: the same shape.
        """
        if self.round_16bit:
            pred, target = functional.quantize_16bit(pred), functional.quantize_16bit(target)
        values = functional.mabd(pred, target)
        self.totals += torch.stack([value.sum() for value in values if value is not None])
        self.count += pred.shape[0]

    def compute(self) -> dict[str, Tensor]:
        """The means over clips; nan before the first."""
        pred, gt, mse = (self.totals / self.count).unbind()
        return {"mabd_pred": pred, "mabd_gt": gt, "mse_mabd": mse}
