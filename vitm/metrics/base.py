"""What a metric is: it describes itself, measures predictions against targets, and averages over frames or clips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from vitm.metrics.functional.code import check_clips, quantize_16bit
from vitm.metrics.protocol import CLIPS, FRAMES, Protocol
from vitm.metrics.values import MetricValue


class VideoMetric(Metric, ABC):
    """A metric that describes itself: the base of `FrameMetric`, `ClipMetric`, `StreamMetric` and `MaskedL1`.

    It averages what `add` is given. Processes are joined by sum and count, so they may hold unequal shares.

    Predictions and targets are clipped and rounded to 16 bit first, as the papers' files were; the target too, for
    fp32 does not hold k / 65535 exactly and equal files must read as equal.

    Args:
        protocol: how the metric measures, but for the rounding.
        round_16bit: whether to clip and round.
        kwargs: options of `torchmetrics.Metric`.
    """

    full_state_update = False
    is_differentiable = False
    values: tuple[MetricValue, ...] = ()
    """The values that `compute` gives, described. A variant with a name of its own has its own on the instance."""
    context: ClassVar[int] = 0
    """Number of frames before the measured one that a measurement needs: 1 for differences in time."""
    least: ClassVar[int] = 1
    """Number of measurements that a value needs."""
    needs_fps: ClassVar[bool] = False
    """Whether the constructor takes `fps`, because values depend on the frame rate."""
    needs_mask: ClassVar[bool] = False
    """Whether `update` takes a mask, which files do not hold."""
    package: ClassVar[str | None] = None
    """Extra of this package that the metric needs installed, as in `pip install 'vitm[cvvdp]'`."""
    additive: bool = True
    """Whether all states are sums, so that what a batch adds to them can be kept and added again."""
    totals: Tensor
    count: Tensor

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        directions = [value.direction for value in cls.values if value.direction != "none"]
        cls.higher_is_better = directions[0] == "higher" if directions else None

    def __init__(self, protocol: Protocol, round_16bit: bool = True, **kwargs: Any) -> None:
        if not self.values:
            raise TypeError(f"{type(self).__name__} must set `values`, a tuple of `MetricValue`")
        super().__init__(**kwargs)
        self.round_16bit = round_16bit
        self.protocol = protocol if round_16bit else replace(protocol, rounding="unrounded")
        self.add_state("totals", torch.zeros(len(self.values), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def add_state(self, name: str, default: Any, dist_reduce_fx: Any = None, persistent: bool = False) -> None:
        """Add a state of `torchmetrics.Metric`, and note whether it is a sum."""
        super().add_state(name, default, dist_reduce_fx, persistent)
        self.additive = self.additive and dist_reduce_fx == "sum"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the values."""
        return tuple(value.name for value in self.values)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the numbers that are kept of each frame; those that begin with "_" are for `reduce` alone."""
        return ()

    def stored(self, pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return both as 16-bit files would hold them, unless the metric measures unrounded codes."""
        return (quantize_16bit(pred), quantize_16bit(target)) if self.round_16bit else (pred, target)

    def add(self, values: Tensor) -> None:
        """Add values, (N, K): N frames or clips, K values each."""
        # not in place: a state that was reset in inference mode could not be changed outside it
        self.totals = self.totals + values.sum(dim=0)
        self.count = self.count + len(values)

    def means(self) -> Tensor:
        """Return the mean of each value, (K,); nan before the first."""
        return self.totals / self.count


class FrameMetric(VideoMetric):
    """The mean over all frames of one value each.

    A subclass sets `values`, one `MetricValue`, and defines `frame_values`.

    Args:
        round_16bit: whether to clip and round to 16 bit first.
        protocol: how the metric differs from `FRAMES`, but for the rounding.
        kwargs: options of `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> class MaxError(FrameMetric):
        ...     values = (MetricValue("max_error", "largest error", "", "lower"),)
        ...     def frame_values(self, pred, target):
        ...         return (pred - target).abs().amax(dim=(-3, -2, -1))
        >>> metric = MaxError()
        >>> metric.update(torch.zeros(2, 3, 8, 8), torch.stack((torch.zeros(3, 8, 8), torch.ones(3, 8, 8))))
        >>> metric.compute().item()
        0.5
    """

    def __init__(self, round_16bit: bool = True, protocol: Protocol = FRAMES, **kwargs: Any) -> None:
        super().__init__(protocol, round_16bit, **kwargs)

    @abstractmethod
    def frame_values(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return one value for each frame, rounded already: (B, 3, H, W) -> (B,), (B, T, 3, H, W) -> (B, T)."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what `measure` gives: those of the values."""
        return self.names

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the value of each frame, rounded already: 2 x (T, 3, H, W) -> (T, 1), fp64."""
        return self.frame_values(pred, target).double()[:, None]

    def reduce(self, measured: Tensor) -> dict[str, Tensor]:
        """Return the mean over frames from their values, (N, 1)."""
        return {self.names[0]: measured.mean()}

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Add frames.

        Args:
            pred: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes, fp32 or fp64.
            target: the same shape.
        """
        self.add(self.frame_values(*self.stored(pred, target)).reshape(-1, 1))

    def compute(self) -> Tensor:
        """Return the mean over frames; nan before the first."""
        return self.means()[0]


class ClipMetric(VideoMetric):
    """The mean over clips of values that come from a whole clip.

    A clip is measured frame by frame (`measure`) and only the few numbers of each frame are kept for its end
    (`reduce`): so a clip of any length needs the memory of a few frames, and `vitm evaluate` streams.

    A subclass sets `values` and defines `measure` and `reduce`; where `measure` gives other numbers than the values, it
    sets `columns`; where it compares frames with the one before, `context = 1`.

    Args:
        round_16bit: whether to clip and round predictions and targets to 16 bit first.
        protocol: how the metric differs from `CLIPS`, but for the rounding.
        kwargs: options of `torchmetrics.Metric`.
    """

    def __init__(self, round_16bit: bool = True, protocol: Protocol = CLIPS, **kwargs: Any) -> None:
        super().__init__(protocol, round_16bit, **kwargs)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what `measure` gives for each frame: those of the values, unless a subclass sets its own."""
        return self.names

    @abstractmethod
    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the numbers of consecutive frames of one clip: 2 x (T, 3, H, W) -> (T - context, K), fp64.

        The frames are rounded already; K is `len(self.columns)`.
        """

    @abstractmethod
    def reduce(self, measured: Tensor) -> Mapping[str, Tensor]:
        """Return the clip's values, scalars by name, from the numbers of all its frames, (N, K).

        Where `context` is 1, the caller leaves out pairs of frames that cross a scene cut.
        """

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Add clips.

        Args:
            pred: (B, T, 3, H, W), BT.2020 PQ codes, fp32 or fp64, T >= `context + least`.
            target: the same shape.

        Raises:
            ValueError: for other shapes.
        """
        check_clips(pred, type(self).__name__, self.context + self.least)
        for clip, truth in zip(*self.stored(pred, target), strict=True):
            values = self.reduce(self.measure(clip, truth))
            self.add(torch.stack([values[name] for name in self.names]).to(self.totals)[None])

    def compute(self) -> dict[str, Tensor]:
        """Return the means over clips by name; nan before the first."""
        return dict(zip(self.names, self.means().unbind(), strict=True))


class StreamMetric(VideoMetric):
    """The mean over clips of one value, for which the frames of a clip must be seen one after the other.

    A subclass sets `values`, one `MetricValue`, and defines `clip_value`.
    """

    @abstractmethod
    def clip_value(self, pred: Iterable[Tensor], target: Iterable[Tensor], frames: int) -> Tensor:
        """Return the value of one clip, a scalar.

        Args:
            pred: frames (3, H, W), rounded already; they are taken once, in step with those of `target`.
            target: as many frames.
            frames: number of frames, at least 2.
        """

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Add clips.

        Args:
            pred: (B, T, 3, H, W), BT.2020 PQ codes, fp32 or fp64, T >= 2.
            target: the same shape.
        """
        check_clips(pred, type(self).__name__)
        for clip, truth in zip(*self.stored(pred, target), strict=True):
            self.add(self.clip_value(clip, truth, len(clip)).to(self.totals).view(1, 1))

    def compute(self) -> Tensor:
        """Return the mean over clips; nan before the first."""
        return self.means()[0]
