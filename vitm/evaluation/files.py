"""What an evaluation leaves behind: numbers of each frame (CSV), of the clips (JSON), and a plot over time (PNG)."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitm.evaluation.measure import ClipState, Metrics, clip_values
from vitm.evaluation.pairs import Pair
from vitm.files import replace_when_whole
from vitm.metrics import ClipMetric, FrameMetric
from vitm.metrics.registry import AnyMetric

Clips = Mapping[str, tuple[Pair, ClipState]]


def frame_columns(state: ClipState, metrics: Metrics) -> dict[str, Tensor]:
    """Column -> (N,): what people see of each frame; nan where a frame has no value."""
    columns = {}
    for name, metric in metrics.items():
        names = (name,) if isinstance(metric, FrameMetric) else metric.columns
        rows = state.measured[name].clone()
        rows[~state.kept(metric.context)] = torch.nan
        columns.update({key: rows[:, i] for i, key in enumerate(names) if not key.startswith("_")})
    return columns


def overall_values(clips: Clips, metrics: Mapping[str, AnyMetric]) -> dict[str, float]:
    """Over all clips: the mean of all frames for metrics of frames, the mean of clips for metrics of clips."""
    overall: dict[str, float] = {}
    for name, metric in metrics.items():
        if isinstance(metric, FrameMetric):
            everything = ClipState(
                done=sum(state.done for _, state in clips.values()),
                measured={name: torch.cat([state.measured[name] for _, state in clips.values()])},
            )
            overall.update(clip_values(everything, {name: metric}))
        else:
            values = [clip_values(state, {name: metric}) for _, state in clips.values()]
            for key in metric.values if isinstance(metric, ClipMetric) else (name,):
                if known := [value[key] for value in values if key in value]:
                    overall[key] = sum(known) / len(known)
    return overall


def write_frames(path: Path, clips: Clips, metrics: Metrics) -> None:
    """A row a frame: clip, frame, seconds (frame / fps), cut (1 where a scene begins), and each metric's numbers."""
    with replace_when_whole(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        header = True
        for name, (pair, state) in clips.items():
            columns = frame_columns(state, metrics)
            if header:
                writer.writerow(["clip", "frame", "seconds", "cut", *columns])
                header = False
            cuts = set(state.cuts)
            for i in range(state.done):
                cells = ["" if math.isnan(float(v[i])) else f"{float(v[i]):.8g}" for v in columns.values()]
                writer.writerow([name, i, f"{float(i / pair.fps):.4f}", int(i in cuts), *cells])


def write_summary(path: Path, clips: Clips, metrics: Mapping[str, AnyMetric], about: Mapping[str, Any]) -> None:
    """`summary.json`: `about`, the protocol of each metric, the files, and the values of each clip and of all.

    Numbers that are not finite, which JSON does not have, are the strings "inf", "-inf" and "nan".
    """
    content = {
        **about,
        "metrics": {
            name: {"higher_is_better": metric.higher_is_better, "protocol": asdict(metric.protocol)}
            for name, metric in metrics.items()
        },
        "overall": overall_values(clips, metrics),
        "clips": [
            {
                "name": name,
                "pred": _file(pair.pred.info),
                "target": _file(pair.target.info),
                "frames": state.done,
                "fps": str(pair.fps),
                "cuts": state.cuts,
                "identical_frames": _identical(state),
                "values": clip_values(state, metrics),
            }
            for name, (pair, state) in clips.items()
        ],
    }
    with replace_when_whole(path) as part:
        part.write_text(json.dumps(_finite(content), indent=2, default=str))


def write_plot(path: Path, clips: Clips, metrics: Metrics) -> None:
    """A panel a metric: its numbers over time, one clip after another, with cuts as dotted lines."""
    from matplotlib.figure import Figure

    panels: dict[str, list[str]] = {}
    for name, metric in metrics.items():
        names = [name] if isinstance(metric, FrameMetric) else [c for c in metric.columns if not c.startswith("_")]
        if names:
            panels[name] = names
    figure = Figure(figsize=(10, 0.6 + 1.7 * len(panels)), layout="constrained")
    axes = figure.subplots(max(1, len(panels)), squeeze=False, sharex=True)[:, 0]
    for axis, (title, names) in zip(axes, panels.items(), strict=False):
        start = 0.0
        for number, (clip, (pair, state)) in enumerate(clips.items()):
            columns = frame_columns(state, metrics)
            seconds = start + torch.arange(state.done) / float(pair.fps)
            for color, name in enumerate(names):
                # infinite values (PSNR of identical frames) leave a gap
                values = columns[name].masked_fill(columns[name].isinf(), torch.nan)
                axis.plot(
                    seconds,
                    values,
                    f"C{color}",
                    marker="." if state.done < 60 else "",
                    lw=1,
                    label=None if number else name,
                )
            for cut in state.cuts:
                axis.axvline(float(seconds[cut]), color="0.7", ls=":", lw=1)
            if number:
                axis.axvline(start, color="0.3", lw=1)
            if len(clips) > 1 and axis is axes[0]:
                axis.annotate(clip, (start, 1.02), xycoords=("data", "axes fraction"), fontsize=7)
            start += state.done / float(pair.fps)
        axis.set_ylabel(title, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        if len(names) > 1:
            axis.legend(fontsize=7, loc="upper right")
    axes[-1].set_xlabel("seconds", fontsize=8)
    with replace_when_whole(path) as part:
        figure.savefig(part, dpi=110, format="png")


def _identical(state: ClipState) -> int:
    """Frames whose PSNR is infinite."""
    return int(state.measured["psnr"].isposinf().sum()) if "psnr" in state.measured else 0


def _file(info: Any) -> dict[str, Any]:
    keys = (
        "path",
        "kind",
        "width",
        "height",
        "n_frames",
        "bit_depth",
        "pixel_format",
        "matrix",
        "transfer",
        "primaries",
    )
    return {key: getattr(info, key) for key in keys}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
