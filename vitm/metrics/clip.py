"""Metrics with values a clip, averaged over clips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from vitm.metrics import functional
from vitm.metrics.protocol import CLIPS, Protocol


class ClipMetric(Metric, ABC):
    """The mean over clips of values that come from a whole clip.

    A clip is measured frame by frame (`measure`) and only the few numbers of each frame are kept for the end
    (`reduce`): so a clip of any length needs the memory of its frames at hand, and `vitm evaluate` streams.

    Args:
        round_16bit: whether to clip predictions and targets to [0, 1] and round them to 16 bit first.
        protocol: how the metric differs from `CLIPS` in all but rounding.
        kwargs: options of `torchmetrics.Metric`.
    """

    full_state_update = False
    is_differentiable = False
    columns: ClassVar[tuple[str, ...]]
    """What `measure` gives for each frame; names that begin with "_" are for `reduce` alone, not for people."""
    values: ClassVar[tuple[str, ...]]
    """The keys of `reduce` and `compute`."""
    least: ClassVar[int] = 1
    """How many rows `reduce` needs."""
    context: ClassVar[int] = 0
    """How many frames before the measured ones `measure` looks at: 0, or 1 for differences in time."""
    totals: Tensor
    count: Tensor

    def __init__(self, round_16bit: bool = True, protocol: Protocol = CLIPS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.round_16bit = round_16bit
        self.protocol = protocol if round_16bit else replace(protocol, rounding="unrounded")
        self.add_state("totals", torch.zeros(len(self.values), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @abstractmethod
    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """The numbers of consecutive frames of one clip, rounded already: 2 x (T, 3, H, W) -> (T - context, K), fp64.

        K is `len(self.columns)`.
        """

    @abstractmethod
    def reduce(self, measured: Tensor) -> Mapping[str, Tensor]:
        """The clip's values from the numbers of all its frames, (N, K), as scalars under `self.values`.

        Where `context` is 1, pairs that cross a scene cut are left out by whoever calls this.
        """

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Adds clips.

        Args:
            pred: (B, T, 3, H, W), BT.2020 PQ codes, fp32 or fp64, T > `context`.
            target: the same shape.

        Raises:
            ValueError: for other shapes.
        """
        if pred.ndim != 5 or pred.shape[1] < self.context + self.least:
            raise ValueError(
                f"{type(self).__name__} needs clips (B, T, 3, H, W) of at least {self.context + self.least} frames, "
                f"got {tuple(pred.shape)}"
            )
        if self.round_16bit:
            pred, target = functional.quantize_16bit(pred), functional.quantize_16bit(target)
        for clip, truth in zip(pred, target, strict=True):
            self.add(self.reduce(self.measure(clip, truth)))

    def add(self, clip: Mapping[str, Tensor]) -> None:
        """Adds the values of a clip to the state."""
        self.totals += torch.stack([clip[name] for name in self.values]).to(self.totals)
        self.count += 1

    def compute(self) -> dict[str, Tensor]:
        """The means over clips; nan before the first."""
        return dict(zip(self.values, (self.totals / self.count).unbind(), strict=True))


class MABD(ClipMetric):
    """Mean over clips of `mabd_pred`, `mabd_gt` and `mse_mabd`. See `functional.mabd`.

    `higher_is_better` speaks of `mse_mabd`. `mabd_pred` is no quality by itself: a frozen output scores 0.
    """

    higher_is_better = False
    columns = values = ("mabd_pred", "mabd_gt", "mse_mabd")
    context = 1

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """The differences of each pair of frames."""
        steps = [torch.stack((pred[i : i + 2], target[i : i + 2])) for i in range(len(pred) - 1)]
        values = [functional.mabd(step[:1], step[1:]) for step in steps]
        return torch.stack([torch.cat([v for v in value if v is not None]) for value in values])

    def reduce(self, measured: Tensor) -> dict[str, Tensor]:
        """Their means."""
        return dict(zip(self.values, measured.mean(dim=0).unbind(), strict=True))
