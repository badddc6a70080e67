"""One clip measured by many metrics, a few frames at a time, so that memory does not grow with the clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, tee
from operator import itemgetter

import torch
from torch import Tensor

from vitm.evaluation.pairs import Pair
from vitm.metrics import ClipMetric, FrameMetric
from vitm.metrics.functional import color_video_vdp_stream, quantize_16bit
from vitm.metrics.registry import AnyMetric
from vitm.metrics.temporal import ColorVideoVDP
from vitm.video.cuts import CutDetector
from vitm.video.read.ahead import read_ahead

Metrics = Mapping[str, FrameMetric | ClipMetric]

_PIXELS_AT_ONCE = 2**20


@dataclass
class ClipState:
    """What is known of a clip so far; all that a later run needs to go on.

    Attributes:
        done: frames measured.
        whole: metric -> value, of those that see the clip at once.
        cuts: numbers of the frames that begin a new scene.
        measured: metric -> (done, K), fp64: the numbers of each frame. The first rows of metrics that look back, and
            those at cuts, mean nothing: see `kept`.
    """

    done: int = 0
    whole: dict[str, float] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    measured: dict[str, Tensor] = field(default_factory=dict)

    def settled(self) -> ClipState:
        """The same without what an interruption left half done."""
        measured = {name: rows[: self.done] for name, rows in self.measured.items()}
        return ClipState(self.done, self.whole, [cut for cut in self.cuts if cut < self.done], measured)

    def kept(self, context: int) -> Tensor:
        """(done,) bool: frames that have the `context` frames before them in their own scene."""
        kept = torch.ones(self.done, dtype=torch.bool)
        for start in (0, *self.cuts) if context else ():
            kept[start : start + context] = False
        return kept


@torch.no_grad()
def measure_clip(
    pair: Pair, metrics: Metrics, state: ClipState, device: torch.device, on_progress: Callable[[int], None]
) -> None:
    """Measure the frames of a clip that `state` does not have yet, and add them to it.

    Args:
        pair: what to measure.
        metrics: by name, on `device`.
        state: changed in place after every few frames; interrupted, its `settled` can go on.
        device: where to compute.
        on_progress: called with the number of frames that were added.
    """
    size = pair.target.info.width * pair.target.info.height
    before: tuple[Tensor, Tensor] | None = None
    for pred, target, cuts in read_ahead(_chunks(pair, state.done, max(1, min(16, _PIXELS_AT_ONCE // size)))):
        new = len(cuts)
        pred, target = (quantize_16bit(side.to(device, non_blocking=True)) for side in (pred, target))
        if len(pred) == new and before is not None:  # a chunk in the middle: the last frame of the one before it
            pred, target = torch.cat((before[0], pred)), torch.cat((before[1], target))
        before = pred[-1:], target[-1:]
        extra = len(pred) - new  # 1: a frame of context
        rows = {}
        for name, metric in metrics.items():
            start = max(0, extra - metric.context)
            rows[name] = _padded(metric, pred[start:], target[start:], new).cpu()
        for name, row in rows.items():
            old = state.measured.get(name)
            state.measured[name] = row if old is None else torch.cat((old, row))
        state.cuts += [state.done + i for i, cut in enumerate(cuts) if cut]
        state.done += new
        on_progress(new)


@torch.no_grad()
def measure_whole(pair: Pair, metric: ColorVideoVDP, device: torch.device, on_progress: Callable[[int], None]) -> float:
    """The value of ColorVideoVDP for a clip of two frames or more. It goes through the clip by itself."""

    def frames() -> Iterator[tuple[Tensor, Tensor]]:
        for sides in read_ahead(pair.frames(0)):
            pred, target = (quantize_16bit(side[None])[0].float().to(device) for side in sides)
            yield pred, target
            on_progress(1)

    both = tee(frames())
    pred, target = (map(itemgetter(i), side) for i, side in enumerate(both))
    return float(color_video_vdp_stream(pred, target, len(pair), float(pair.fps), metric.display))


def clip_values(state: ClipState, metrics: Mapping[str, AnyMetric]) -> dict[str, float]:
    """The clip's values from the numbers of its frames: the mean of frames, or what a metric of clips makes of them.

    A clip of one frame has no values of change.
    """
    values: dict[str, float] = {}
    for name, metric in metrics.items():
        if isinstance(metric, ColorVideoVDP):
            if name in state.whole:
                values[name] = state.whole[name]
            continue
        measured = state.measured[name][state.kept(metric.context)]
        if isinstance(metric, FrameMetric):
            values[name] = float(metric.pool(measured[:, 0]))
        elif len(measured) >= metric.least:
            values.update({key: float(value) for key, value in metric.reduce(measured).items()})
    return values


def _padded(metric: FrameMetric | ClipMetric, pred: Tensor, target: Tensor, new: int) -> Tensor:
    """(new, K): rows of nan where the first frames of a clip have none before them."""
    if len(pred) > metric.context:
        rows = metric.measure(pred, target).double()
    else:
        columns = 1 if isinstance(metric, FrameMetric) else len(metric.columns)
        rows = torch.empty(0, columns, dtype=torch.float64, device=pred.device)
    missing = rows.new_full((new - len(rows), rows.shape[1]), torch.nan)
    return torch.cat((missing, rows))


def _chunks(pair: Pair, done: int, count: int) -> Iterator[tuple[Tensor, Tensor, list[bool]]]:
    """Frames from number `done` on, `count` at a time, and whether each begins a scene.

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
