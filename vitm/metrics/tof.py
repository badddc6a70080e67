"""The tOF as a metric of clips."""

from __future__ import annotations

from torch import Tensor

from vitm.metrics.functional.flows import PairFlows
from vitm.metrics.functional.tof import tof_steps
from vitm.metrics.values import MetricValue
from vitm.metrics.warping_error import FlowMetric


class TOF(FlowMetric):
    """Mean over clips of tOF. See `functional.tof`."""

    values = (MetricValue("tof", "tOF", "px", "lower"),)

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the tOF of each pair of frames."""
        return tof_steps(pred, target, PairFlows(self.flow, target[None]))[:, None]

    def reduce(self, measured: Tensor) -> dict[str, Tensor]:
        """Return the mean over pairs of frames."""
        return {self.names[0]: measured.mean()}
