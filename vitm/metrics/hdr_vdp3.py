"""HDR-VDP-3 as a metric of frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from vitm.metrics.base import FrameMetric
from vitm.metrics.functional.hdr_vdp3 import HDRVDP3Config, HDRVDP3Quantity, hdr_vdp3, hdr_vdp3_config
from vitm.metrics.protocol import FRAMES
from vitm.metrics.values import MetricValue


class HDRVDP3(FrameMetric):
    """Mean of the frames' HDR-VDP-3, computed in fp32. See `functional.hdr_vdp3`.

    Args:
        config: a named configuration ("default", "hdrtvnet", "kpn_mfi", "hdrtvdm"), or one of your own.
        quantity: "q_jod" or "q".
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.

    Raises:
        ValueError: for an unknown configuration or quantity.
    """

    values = (MetricValue("hdr_vdp3", "VDP3", "JOD", "higher"),)

    def __init__(
        self,
        config: str | HDRVDP3Config = "default",
        quantity: HDRVDP3Quantity = "q_jod",
        round_16bit: bool = True,
        **kwargs: Any,
    ) -> None:
        config = hdr_vdp3_config(config)
        if quantity not in ("q_jod", "q"):
            raise ValueError(f"unknown quantity {quantity!r}: expected q_jod or q")
        variant = quantity.upper() if config.mtf else f"{quantity.upper()} without glare"
        protocol = replace(FRAMES, variant=variant, ppd=config.ppd, display=config.display)
        super().__init__(round_16bit, protocol, **kwargs)
        self.config = config
        self.quantity: HDRVDP3Quantity = quantity

    def frame_values(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the HDR-VDP-3 of each frame."""
        return hdr_vdp3(pred.float(), target.float(), self.config, self.quantity)
