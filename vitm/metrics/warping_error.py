"""The warping error as a metric of clips."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vitm.metrics.base import ClipMetric
from vitm.metrics.functional.flows import PairFlows
from vitm.metrics.functional.warping_error import mean_seen, warping_steps
from vitm.metrics.protocol import CLIPS
from vitm.metrics.values import MetricValue
from vitm.nets.flow import FlowEstimator, FlowName, flow_estimator


class FlowMetric(ClipMetric):
    """A clip metric that compares frames along the motion.

    Args:
        flow: estimator of optical flow, or its name. It sees PQ codes.
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    context = 1

    def __init__(self, flow: FlowName | FlowEstimator = "dis", round_16bit: bool = True, **kwargs: Any) -> None:
        name = flow if isinstance(flow, str) else type(flow).__name__
        self.flow = flow_estimator(flow) if isinstance(flow, str) else flow
        super().__init__(round_16bit, replace(CLIPS, variant=f"flow {name}"), **kwargs)


class WarpingError(FlowMetric):
    """Mean over clips of the warping error, and of the target's own beside it. See `functional.warping_error`.

    Blur alone lowers `warping_error`: compare it with `warping_error_gt`. Clips of which no pair of frames has a
    visible pixel make the mean nan.
    """

    values = (
        MetricValue("warping_error", "warping error", "", "lower"),
        MetricValue("warping_error_gt", "warping error (GT)"),
    )
    columns = ("warping_error", "warping_error_gt", "visible_share")

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the errors of each pair of frames, and the share of visible pixels."""
        flows = PairFlows(self.flow, target[None])
        errors, shares = warping_steps(torch.stack((pred, target)).double(), target, flows)
        return torch.cat((errors, shares[:, None]), dim=1)

    def reduce(self, measured: Tensor) -> dict[str, Tensor]:
        """Return the means over the pairs with visible pixels."""
        return dict(zip(self.names, mean_seen(measured[:, :2], measured[:, 2]).unbind(), strict=True))
