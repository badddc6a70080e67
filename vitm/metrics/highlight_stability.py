"""The stability of highlights as a metric of clips."""

from __future__ import annotations

import torch
from torch import Tensor

from vitm.metrics.base import ClipMetric
from vitm.metrics.functional.highlight_stability import highlight_nits, variation
from vitm.metrics.values import MetricValue


class HighlightStability(ClipMetric):
    """Mean over clips of the variation of highlights, of prediction and target. See `functional.highlight_stability`.

    Scenes vary by themselves, so neither value alone is a quality score: they should agree.
    """

    values = (
        MetricValue("highlight_cv_pred", "highlight variation"),
        MetricValue("highlight_cv_gt", "highlight variation (GT)"),
    )
    columns = ("highlight_nits_pred", "highlight_nits_gt")
    least = 2

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the highlights of each frame in cd/m2, of prediction and target."""
        return torch.stack((highlight_nits(pred), highlight_nits(target)), dim=1)

    def reduce(self, measured: Tensor) -> dict[str, Tensor]:
        """Return the coefficients of variation over time."""
        return dict(zip(self.names, variation(measured.T).unbind(), strict=True))
