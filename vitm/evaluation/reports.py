"""The files of an evaluation: numbers of each frame (CSV), of clips and of all (JSON), and a plot over time (PNG)."""

from __future__ import annotations

import csv
import math
from itertools import accumulate
from pathlib import Path
from typing import Any

from vitm.evaluation.summary import ClipSummary, Summary
from vitm.files import replace_when_whole, write_json


def write_reports(folder: Path, summary: Summary) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Write `frames.csv`, `summary.json` and `over_time.png`; return these files, and notes on what is left out.

    The plot needs matplotlib; without it the numbers are written all the same.

    Raises:
        WriteError: a file cannot be written.
    """
    frames, numbers, plot = (folder / name for name in ("frames.csv", "summary.json", "over_time.png"))
    write_frames(frames, summary)
    write_summary(numbers, summary)
    try:
        write_plot(plot, summary)
    except ImportError as error:
        return (frames, numbers), (f"{plot.name} is left out: {error}",)
    return (frames, numbers, plot), ()


def write_frames(path: Path, summary: Summary) -> None:
    """Write a row for each frame: clip, frame, seconds (frame / fps), cut (1 where a scene begins), and its numbers."""
    with replace_when_whole(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["clip", "frame", "seconds", "cut", *_columns(summary)])
        for clip in summary.clips:
            cuts = set(clip.cuts)
            columns = [clip.frame_values[name] for name in _columns(summary)]
            for i in range(clip.frames):
                cells = ["" if math.isnan(column[i]) else f"{column[i]:.8g}" for column in columns]
                writer.writerow([clip.name, i, f"{float(i / clip.fps):.4f}", int(i in cuts), *cells])


def write_summary(path: Path, summary: Summary) -> None:
    """Write `Summary.to_dict` as JSON."""
    write_json(path, summary.to_dict())


def write_plot(path: Path, summary: Summary) -> None:
    """Plot the numbers of frames over time, a panel for each metric, clip after clip, with cuts as dotted lines.

    Raises:
        ImportError: matplotlib is not installed; says how to install it.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: run `pip install 'vitm[plots]'`") from error
    panels = {name: metric.columns for name, metric in summary.metrics.items() if metric.columns}
    figure = Figure(figsize=(10, 0.6 + 1.7 * len(panels)), layout="constrained")
    axes = figure.subplots(max(1, len(panels)), squeeze=False, sharex=True)[:, 0]
    starts = list(accumulate((clip.frames / float(clip.fps) for clip in summary.clips), initial=0.0))
    for axis, (title, columns) in zip(axes, panels.items(), strict=False):
        for number, (clip, start) in enumerate(zip(summary.clips, starts, strict=False)):
            _plot_clip(axis, clip, columns, start, labelled=number == 0)
            if number:
                axis.axvline(start, color="0.3", lw=1)
            if len(summary.clips) > 1 and axis is axes[0]:
                axis.annotate(clip.name, (start, 1.02), xycoords=("data", "axes fraction"), fontsize=7)
        axis.set_ylabel(title, fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        if len(columns) > 1:
            axis.legend(fontsize=7, loc="upper right")
    axes[-1].set_xlabel("seconds", fontsize=8)
    with replace_when_whole(path) as part:
        figure.savefig(part, dpi=110, format="png")


def _plot_clip(axis: Any, clip: ClipSummary, columns: tuple[str, ...], start: float, labelled: bool) -> None:
    seconds = [start + i / float(clip.fps) for i in range(clip.frames)]
    marker = "." if clip.frames < 60 else ""
    for color, name in enumerate(columns):
        # infinite values (PSNR of identical frames) leave a gap
        values = [value if math.isfinite(value) else math.nan for value in clip.frame_values[name]]
        axis.plot(seconds, values, f"C{color}", marker=marker, lw=1, label=name if labelled else None)
    for cut in clip.cuts:
        axis.axvline(seconds[cut], color="0.7", ls=":", lw=1)


def _columns(summary: Summary) -> list[str]:
    return [column for metric in summary.metrics.values() for column in metric.columns]
