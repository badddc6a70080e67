"""PU21-PSNR as a metric of frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from vitm.metrics.functional.pu21 import PU21Channels
from vitm.metrics.functional.pu21_psnr import pu21_psnr
from vitm.metrics.protocol import FRAMES
from vitm.metrics.psnr import PSNR
from vitm.metrics.values import MetricValue


class PU21PSNR(PSNR):
    """Mean of the frames' PSNR on PU21 values in dB; identical frames count as in `PSNR`. See `functional.pu21_psnr`.

    Args:
        channels: signal that is encoded: "rgb" or "y".
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    values = (MetricValue("pu21_psnr", "PU21-PSNR", "dB", "higher"),)

    def __init__(self, channels: PU21Channels = "rgb", round_16bit: bool = True, **kwargs: Any) -> None:
        super().__init__(round_16bit, replace(FRAMES, domain="PU21 BT.2020", variant=channels), **kwargs)
        self.channels: PU21Channels = channels

    def frame_values(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the PU21-PSNR of each frame."""
        return pu21_psnr(pred, target, self.channels)
