"""The use of the HDR volume as a metric of clips."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vitm.color import DIFFUSE_WHITE_NITS
from vitm.color.transfer import PQ_PEAK_NITS
from vitm.metrics.base import ClipMetric
from vitm.metrics.functional.hdr_volume import ehl, fhlp
from vitm.metrics.protocol import CLIPS
from vitm.metrics.values import MetricValue


class HDRVolume(ClipMetric):
    """Mean over clips of the highlights' share (`fhlp_pred`, `fhlp_gt`) and extent (`ehl_pred`, `ehl_gt`).

    These are statistics, not quality: a prediction is good where its values are near the target's. See
    `functional.fhlp` and `functional.ehl`.

    Args:
        white_nits: diffuse white in cd/m2.
        peak_nits: light of code 1 in cd/m2; 100 and 1000 are the published script's.
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    values = (
        MetricValue("fhlp_pred", "FHLP"),
        MetricValue("fhlp_gt", "FHLP (GT)"),
        MetricValue("ehl_pred", "EHL"),
        MetricValue("ehl_gt", "EHL (GT)"),
    )

    def __init__(
        self,
        white_nits: float = DIFFUSE_WHITE_NITS,
        peak_nits: float = PQ_PEAK_NITS,
        round_16bit: bool = True,
        **kwargs: Any,
    ) -> None:
        protocol = replace(CLIPS, variant=f"white {white_nits:g} of {peak_nits:g}")
        super().__init__(round_16bit, protocol, **kwargs)
        self.white_nits, self.peak_nits = white_nits, peak_nits

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the four statistics of each frame."""
        columns = [statistic(x, self.white_nits, self.peak_nits) for statistic in (fhlp, ehl) for x in (pred, target)]
        return torch.stack(columns, dim=-1)

    def reduce(self, measured: Tensor) -> dict[str, Tensor]:
        """Return the means over frames."""
        return dict(zip(self.names, measured.mean(dim=0).unbind(), strict=True))
