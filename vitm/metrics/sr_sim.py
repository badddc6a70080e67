"""SR-SIM as a metric of frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from vitm.metrics.base import FrameMetric
from vitm.metrics.functional.sr_sim import SRSIMScale, sr_sim
from vitm.metrics.protocol import FRAMES
from vitm.metrics.values import MetricValue


class SRSIM(FrameMetric):
    """Mean of the frames' SR-SIM. See `functional.sr_sim`.

    Args:
        scale: number that stands for code 1: 255, or 1 as the code of KPN-MFI evaluates.
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    values = (MetricValue("sr_sim", "SR-SIM", "", "higher"),)

    def __init__(self, scale: SRSIMScale = 255, round_16bit: bool = True, **kwargs: Any) -> None:
        variant = "0..255" if scale == 255 else "as KPN-MFI, 0..1"
        super().__init__(round_16bit, replace(FRAMES, variant=variant), **kwargs)
        self.scale: SRSIMScale = scale

    def frame_values(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the SR-SIM of each frame."""
        return sr_sim(pred, target, self.scale)
