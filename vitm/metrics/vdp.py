"""HDR-VDP-3 as a frame metric."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from vitm.metrics.frame import FrameMetric
from vitm.metrics.functional.hdr_vdp3 import HDR_VDP3_CONFIGS, HDRVDP3Config, HDRVDP3Quantity, hdr_vdp3
from vitm.metrics.protocol import FRAMES


class HDRVDP3(FrameMetric):
    """Mean of the frames' HDR-VDP-3, computed in fp32. See `functional.hdr_vdp3`.

    Args:
        config: a named configuration, or one of your own.
        quantity: "q_jod" or "q".
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    higher_is_better = True

    def __init__(
        self,
        config: str | HDRVDP3Config = "default",
        quantity: HDRVDP3Quantity = "q_jod",
        round_16bit: bool = True,
        **kwargs: Any,
    ) -> None:
        self.config = HDR_VDP3_CONFIGS[config] if isinstance(config, str) else config
        self.quantity: HDRVDP3Quantity = quantity
        variant = "Q_JOD" if quantity == "q_jod" else "Q"
        protocol = replace(FRAMES, variant=variant, ppd=self.config.ppd, display=self.config.display)
        super().__init__(round_16bit, protocol, **kwargs)

    def values(self, pred: Tensor, target: Tensor) -> Tensor:
        """HDR-VDP-3 of each frame."""
        return hdr_vdp3(pred.float(), target.float(), self.config, self.quantity)
