"""The numbers of an evaluation: of each frame, of each clip, and of all, with their protocols."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitm.evaluation.measuring import ClipState, clip_values
from vitm.evaluation.pairs import Pair
from vitm.metrics import FrameMetric, MetricValue, Protocol, VideoMetric
from vitm.video import StreamInfo

_FILE = ("path", "kind", "width", "height", "n_frames", "bit_depth", "pixel_format", "matrix", "transfer", "primaries")


@dataclass(frozen=True)
class MetricSummary:
    """How a metric measured.

    Attributes:
        values: descriptions of its values, the keys of `ClipSummary.values`.
        columns: names of its numbers of single frames, the keys of `ClipSummary.frame_values`.
        higher_is_better: which way is better; None for statistics.
        protocol: conditions that must agree before two values may be compared.
    """

    values: tuple[MetricValue, ...]
    columns: tuple[str, ...]
    higher_is_better: bool | None
    protocol: Protocol


@dataclass(frozen=True)
class ClipSummary:
    """The numbers of one clip.

    Attributes:
        name: name of the clip.
        pred: properties of the prediction's file.
        target: properties of the target's file.
        frames: number of frames.
        fps: frames a second.
        cuts: numbers of the frames that begin a new scene.
        identical_frames: number of frames whose PSNR is infinite; 0 where PSNR was not measured.
        values: value of each metric by its name. A clip of one frame has no values of change.
        frame_values: numbers of each frame by their name; nan where a frame has none.
    """

    name: str
    pred: StreamInfo
    target: StreamInfo
    frames: int
    fps: Fraction
    cuts: tuple[int, ...]
    identical_frames: int
    values: dict[str, float]
    frame_values: dict[str, list[float]]


@dataclass(frozen=True)
class Summary:
    """The numbers of an evaluation.

    Attributes:
        overall: value of each metric over all clips, by its name: the mean over all frames for metrics of frames, the
            mean over clips for metrics of clips.
        clips: numbers of each clip.
        metrics: how each metric measured.
        unit_nits: light of 1.0 in linear frames, in cd/m2; None for PQ codes.
        device: name of the device that measured.
        seconds: wall time.
        finished: end of the measurement, in UTC.
        files: files of results that were written.
        notes: remarks about the results, such as a plot that is left out.
    """

    overall: dict[str, float]
    clips: tuple[ClipSummary, ...]
    metrics: dict[str, MetricSummary]
    unit_nits: float | None
    device: str
    seconds: float
    finished: datetime
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `summary.json`: the protocol of each metric, the files, the values of clips and of all.

        Numbers that are not finite, which JSON does not have, are the strings "inf", "-inf" and "nan".
        """
        content = {
            "vitm": version("vitm"),
            "torch": torch.__version__,
            "finished": self.finished.isoformat(timespec="seconds"),
            "seconds": self.seconds,
            "device": self.device,
            "unit_nits": self.unit_nits,
            "metrics": {
                name: {"higher_is_better": metric.higher_is_better, "protocol": asdict(metric.protocol)}
                for name, metric in self.metrics.items()
            },
            "overall": self.overall,
            "clips": [
                {
                    "name": clip.name,
                    "pred": {key: getattr(clip.pred, key) for key in _FILE},
                    "target": {key: getattr(clip.target, key) for key in _FILE},
                    "frames": clip.frames,
                    "fps": str(clip.fps),
                    "cuts": list(clip.cuts),
                    "identical_frames": clip.identical_frames,
                    "values": clip.values,
                }
                for clip in self.clips
            ],
        }
        return {key: _finite(value) for key, value in content.items()}


def summarise(
    clips: Mapping[str, Pair],
    states: Mapping[str, ClipState],
    metrics: Mapping[str, VideoMetric],
    device: torch.device,
    unit_nits: float | None,
    seconds: float,
) -> Summary:
    """Return the numbers of clips that are measured.

    Args:
        clips: pairs of files by name.
        states: measurements of each, complete.
        metrics: metrics by name.
        device: device that measured.
        unit_nits: light of 1.0 in linear frames.
        seconds: wall time.
    """
    return Summary(
        overall=_overall(states, metrics),
        clips=tuple(_clip(name, pair, states[name], metrics) for name, pair in clips.items()),
        metrics={
            name: MetricSummary(metric.values, _columns(metric), metric.higher_is_better, metric.protocol)
            for name, metric in metrics.items()
        },
        unit_nits=unit_nits,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        seconds=seconds,
        finished=datetime.now(UTC),
    )


def _overall(states: Mapping[str, ClipState], metrics: Mapping[str, VideoMetric]) -> dict[str, float]:
    """Return the mean over all frames for metrics of frames, the mean over clips for metrics of clips."""
    overall: dict[str, float] = {}
    for name, metric in metrics.items():
        if isinstance(metric, FrameMetric):
            frames = torch.cat([state.measured[name] for state in states.values()])
            overall.update({key: float(value) for key, value in metric.reduce(frames).items()})
        else:
            values = [clip_values(state, {name: metric}) for state in states.values()]
            for key in metric.names:
                if known := [value[key] for value in values if key in value]:
                    overall[key] = sum(known) / len(known)
    return overall


def _clip(name: str, pair: Pair, state: ClipState, metrics: Mapping[str, VideoMetric]) -> ClipSummary:
    psnr = state.measured.get("psnr")
    return ClipSummary(
        name=name,
        pred=pair.pred.info,
        target=pair.target.info,
        frames=state.done,
        fps=pair.fps,
        cuts=tuple(state.cuts),
        identical_frames=0 if psnr is None else int(psnr.isposinf().sum()),
        values=clip_values(state, metrics),
        frame_values={key: column.tolist() for key, column in _frame_values(state, metrics).items()},
    )


def _columns(metric: VideoMetric) -> tuple[str, ...]:
    """Return the names of the numbers that people see of each frame."""
    return tuple(column for column in metric.columns if not column.startswith("_"))


def _frame_values(state: ClipState, metrics: Mapping[str, VideoMetric]) -> dict[str, Tensor]:
    """Return the numbers of each frame, (N,), by their name; nan where a frame has none."""
    columns = {}
    for name, metric in metrics.items():
        if shown := _columns(metric):
            rows = state.measured[name].clone()
            rows[~state.kept(metric.context)] = torch.nan
            columns.update({key: rows[:, metric.columns.index(key)] for key in shown})
    return columns


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
