"""PU21-SSIM as a metric of frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from vitm.metrics.base import FrameMetric
from vitm.metrics.functional.pu21 import PU21Channels
from vitm.metrics.functional.pu21_ssim import pu21_ssim
from vitm.metrics.protocol import FRAMES
from vitm.metrics.values import MetricValue


class PU21SSIM(FrameMetric):
    """Mean of the frames' SSIM on PU21 values. See `functional.pu21_ssim`.

    Args:
        channels: signal that is encoded: "rgb" or "y".
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    values = (MetricValue("pu21_ssim", "PU21-SSIM", "", "higher"),)

    def __init__(self, channels: PU21Channels = "rgb", round_16bit: bool = True, **kwargs: Any) -> None:
        protocol = replace(FRAMES, domain="PU21 BT.2020", variant=f"gauss11, {channels}")
        super().__init__(round_16bit, protocol, **kwargs)
        self.channels: PU21Channels = channels

    def frame_values(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the PU21-SSIM of each frame."""
        return pu21_ssim(pred, target, self.channels)
