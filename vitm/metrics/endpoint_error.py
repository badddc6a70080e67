"""The endpoint error of optical flow inside a mask, as a metric of pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vitm.metrics.functional.endpoint_error import LARGEST, endpoint_sums
from vitm.metrics.masked_l1 import MaskedL1
from vitm.metrics.values import MetricValue


class EndpointError(MaskedL1):
    """Mean distance between the ends of a flow and of the true one, over all pixels of all flows inside a mask.

    Where no pixel is inside, the value is nan: nothing was measured. See `functional.endpoint_error`.

    Args:
        inside: region that masks show, for the protocol.
        largest: largest distance of a pixel, in pixels.
        kwargs: options of `torchmetrics.Metric`.
    """

    values = (MetricValue("endpoint_error", "flow error", "px", "lower"),)

    def __init__(self, inside: str, largest: float = LARGEST, **kwargs: Any) -> None:
        super().__init__("optical flow", inside, **kwargs)
        self.largest = largest
        self.protocol = replace(self.protocol, variant=f"at most {largest:g} px")

    def sums(self, pred: Tensor, target: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of distances and of weights, for flows (..., 2, H, W) in pixels and a mask (..., 1, H, W)."""
        return endpoint_sums(pred, target, mask, self.largest)

    def compute(self) -> Tensor:
        """Return the mean over pixels inside the mask; nan where there are none."""
        return torch.where(self.weight > 0, super().compute(), torch.nan)
