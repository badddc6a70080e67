"""One clip measured by many metrics, a few frames at a time, so that memory does not grow with the clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, tee
from operator import itemgetter

import torch
from torch import Tensor

from vitm.evaluation.pairs import Pair
from vitm.metrics import ClipMetric, FrameMetric, VideoMetric
from vitm.metrics.base import StreamMetric
from vitm.metrics.functional import quantize_16bit
from vitm.video.cuts import CutDetector
from vitm.video.read.ahead import read_ahead

_PIXELS_AT_ONCE = 2**20


@dataclass
class ClipState:
    """The measurements of a clip so far: all that a later run needs to go on.

    Attributes:
        done: number of frames that are measured.
        whole: value of each metric that sees the clip at once.
        cuts: numbers of the frames that begin a new scene.
        measured: numbers of each frame for each metric, (done, K), fp64. The first rows of metrics that look back, and
            those at cuts, mean nothing: see `kept`.
    """

    done: int = 0
    whole: dict[str, float] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    measured: dict[str, Tensor] = field(default_factory=dict)

    def settled(self) -> ClipState:
        """Return the same without what an interruption left half done."""
        measured = {name: rows[: self.done] for name, rows in self.measured.items()}
        return ClipState(self.done, self.whole, [cut for cut in self.cuts if cut < self.done], measured)

    def kept(self, context: int) -> Tensor:
        """Return which frames have the `context` frames before them in their own scene, (done,) bool."""
        kept = torch.ones(self.done, dtype=torch.bool)
        for start in (0, *self.cuts) if context else ():
            kept[start : start + context] = False
        return kept


@torch.no_grad()
def measure_clip(
    pair: Pair,
    metrics: Mapping[str, VideoMetric],
    state: ClipState,
    device: torch.device,
    on_progress: Callable[[int], None],
) -> None:
    """Measure the frames of a clip that `state` does not have yet, and add them to it.

    Args:
        pair: prediction and target.
        metrics: metrics of frames and of clips by name, on `device`.
        state: measurements so far, changed in place after every few frames; interrupted, its `settled` can go on.
        device: device that measures.
        on_progress: function that is called with the number of frames that were added.
    """
    size = pair.target.info.width * pair.target.info.height
    kinds = {metric.round_16bit for metric in metrics.values()}
    before: dict[bool, tuple[Tensor, Tensor]] = {}
    for pred, target, cuts in read_ahead(_chunks(pair, state.done, max(1, min(16, _PIXELS_AT_ONCE // size)))):
        new, extra = len(cuts), 0
        rows = {}
        for rounded in kinds:
            sides = [side.to(device, non_blocking=True) for side in (pred, target)]
            if rounded:
                sides = [quantize_16bit(side) for side in sides]
            if len(pred) == new and rounded in before:  # a chunk in the middle: the last frame of the one before it
                sides = [torch.cat(both) for both in zip(before[rounded], sides, strict=True)]
            before[rounded] = sides[0][-1:], sides[1][-1:]
            extra = len(sides[0]) - new  # 1: a frame of context
            for name, metric in metrics.items():
                if metric.round_16bit == rounded:
                    start = max(0, extra - metric.context)
                    rows[name] = _padded(metric, sides[0][start:], sides[1][start:], new).cpu()
        for name, row in rows.items():
            old = state.measured.get(name)
            state.measured[name] = row if old is None else torch.cat((old, row))
        state.cuts += [state.done + i for i, cut in enumerate(cuts) if cut]
        state.done += new
        on_progress(new)


@torch.no_grad()
def measure_stream(pair: Pair, metric: StreamMetric, device: torch.device, on_progress: Callable[[int], None]) -> float:
    """Return the value of a clip of two frames or more, by a metric that goes through the clip by itself."""

    def frames() -> Iterator[tuple[Tensor, Tensor]]:
        for sides in read_ahead(pair.frames(0)):
            pred, target = (side[0].float().to(device) for side in metric.stored(sides[0][None], sides[1][None]))
            yield pred, target
            on_progress(1)

    both = tee(frames())
    pred, target = (map(itemgetter(i), side) for i, side in enumerate(both))
    return float(metric.clip_value(pred, target, len(pair)))


def clip_values(state: ClipState, metrics: Mapping[str, VideoMetric]) -> dict[str, float]:
    """Return the clip's values, by name, from the numbers of its frames.

    A clip of one frame has no values of change.
    """
    values: dict[str, float] = {}
    for name, metric in metrics.items():
        if isinstance(metric, FrameMetric | ClipMetric):
            measured = state.measured[name][state.kept(metric.context)]
            if len(measured) >= metric.least:
                values.update({key: float(value) for key, value in metric.reduce(measured).items()})
        elif name in state.whole:
            values[metric.names[0]] = state.whole[name]
    return values


def _padded(metric: VideoMetric, pred: Tensor, target: Tensor, new: int) -> Tensor:
    """Return the numbers of frames, (new, K): rows of nan where the first frames of a clip have none before them."""
    assert isinstance(metric, FrameMetric | ClipMetric)
    if len(pred) > metric.context:
        rows = metric.measure(pred, target).double()
    else:
        rows = torch.empty(0, len(metric.columns), dtype=torch.float64, device=pred.device)
    missing = rows.new_full((new - len(rows), rows.shape[1]), torch.nan)
    return torch.cat((missing, rows))


def _chunks(pair: Pair, done: int, count: int) -> Iterator[tuple[Tensor, Tensor, list[bool]]]:
    """Yield frames from number `done` on, `count` at a time, and whether each begins a scene.

    In a run that goes on, the first chunk has one frame more in front: the context of its first new one.
    """
    first = max(0, done - 1)
    frames = pair.frames(first)
    detector = CutDetector()
    extra = done - first
    while chunk := list(islice(frames, count + extra)):
        cuts = [detector(target.permute(1, 2, 0).numpy()) for _, target in chunk]
        pred, target = (torch.stack(side) for side in zip(*chunk, strict=True))
        yield pred, target, cuts[extra:]
        extra = 0
