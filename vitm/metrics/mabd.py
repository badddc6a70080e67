"""MABD as a metric of clips."""

from __future__ import annotations

import torch
from torch import Tensor

from vitm.metrics.base import ClipMetric
from vitm.metrics.functional.mabd import mabd
from vitm.metrics.values import MetricValue


class MABD(ClipMetric):
    """Mean over clips of `mabd_pred`, `mabd_gt` and `mse_mabd`. See `functional.mabd`.

    `mabd_pred` alone is not a quality score: a frozen output scores 0. Compare it with `mabd_gt`.
    """

    values = (
        MetricValue("mabd_pred", "MABD"),
        MetricValue("mabd_gt", "MABD (GT)"),
        MetricValue("mse_mabd", "MSE of MABD", "", "lower"),
    )
    context = 1

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the differences of each pair of frames."""
        steps = [torch.stack((pred[i : i + 2], target[i : i + 2])) for i in range(len(pred) - 1)]
        values = [mabd(step[:1], step[1:]) for step in steps]
        return torch.stack([torch.cat([v for v in value if v is not None]) for value in values])

    def reduce(self, measured: Tensor) -> dict[str, Tensor]:
        """Return the means over pairs of frames."""
        return dict(zip(self.names, measured.mean(dim=0).unbind(), strict=True))
