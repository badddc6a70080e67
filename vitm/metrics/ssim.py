"""SSIM as a metric of frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from vitm.metrics.base import FrameMetric
from vitm.metrics.functional.ssim import SSIMVariant, ssim
from vitm.metrics.protocol import FRAMES
from vitm.metrics.values import MetricValue


class SSIM(FrameMetric):
    """Mean of the frames' SSIM. See `functional.ssim`.

    Args:
        variant: window, moments and range: "gauss11", "uniform7" or "kpn".
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    values = (MetricValue("ssim", "SSIM", "", "higher"),)

    def __init__(self, variant: SSIMVariant = "gauss11", round_16bit: bool = True, **kwargs: Any) -> None:
        super().__init__(round_16bit, replace(FRAMES, variant=variant), **kwargs)
        self.variant = variant

    def frame_values(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the SSIM of each frame."""
        return ssim(pred, target, self.variant)
