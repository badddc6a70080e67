"""The one evaluation: predicted HDR files against true ones, files to numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import partial
from os import PathLike
from pathlib import Path

import torch
from rich.markup import escape

from vitm.console import ProgressCallback, console
from vitm.console import progress as progress_display
from vitm.evaluation.measuring import measure_clip, measure_stream
from vitm.evaluation.pairs import Pair, Pairs, list_pairs, open_pair
from vitm.evaluation.reports import write_reports
from vitm.evaluation.resume import UnfinishedEvaluation
from vitm.evaluation.summary import Summary, summarise
from vitm.metrics import DEFAULT_METRICS, TABLES, VideoMetric, build_metric
from vitm.metrics.base import StreamMetric
from vitm.video.tags import Assume


def evaluate(
    pairs: Pairs,
    metrics: Sequence[str] | None = None,
    *,
    output: str | PathLike[str] | None = None,
    device: str | torch.device | None = None,
    assume: Assume | None = None,
    fps: Fraction | int | None = None,
    unit_nits: float | None = None,
    mixed_depths: bool = False,
    progress: bool | ProgressCallback = True,
    paper: str | None = None,
) -> Summary:
    """Measure predicted HDR against the truth: videos, or folders of frames, of any length.

    With an output folder, the results are written as `frames.csv`, `summary.json` and `over_time.png`, and after an
    interruption the same call goes on where it stopped.

    Args:
        pairs: a prediction and its target, `(pred, target)`; several such pairs, as a list, or by name in a dictionary;
            or the path of a CSV file with the columns pred, target and, optionally, name. Each is an HDR10 video, a
            folder of 16-bit PNG or TIFF frames with PQ BT.2020 codes, or one of linear EXR frames.
        metrics: names of metrics, see `vitm.metrics.METRICS`, or import paths of one's own; None for `DEFAULT_METRICS`.
        output: folder of the results, made if it is missing; None to write nothing.
        device: device that measures; None for the first GPU, or the CPU if there is none.
        assume: colour tags that videos without tags have.
        fps: frame rate of folders of frames; 24 if None. Videos have their own.
        unit_nits: light of 1.0 in cd/m2, for linear frames, which are then measured as PQ codes.
        mixed_depths: whether files of different bit depth may be compared.
        progress: whether to show a progress bar; or a function that is called with the number of finished frames and
            the number of all.
        paper: name in `vitm.metrics.TABLES`: the metrics of a paper's tables, by its protocol, in place of `metrics`.

    Returns:
        The values of each frame, of each clip and of all, with the protocol of each metric.

    Raises:
        FileNotFoundError: a file or folder does not exist.
        ValueError: a metric or an argument is unknown or does not fit the files.
        MismatchError: a prediction and its target are no pair; names both.
        VideoTagError: a file is not HDR10, or colour tags are missing.
        VideoDecodeError: a file is damaged.
        ImportError: a metric needs a package that is not installed.
        WriteError: the results cannot be written.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> import numpy as np
        >>> from vitm.video import write_png16
        >>> with TemporaryDirectory() as folder:
        ...     pred, target = Path(folder, "pred"), Path(folder, "target")
        ...     for side, level in ((pred, 0.5), (target, 0.6)):
        ...         side.mkdir()
        ...         write_png16(side / "0.png", np.full((16, 16, 3), level, np.float32))
        ...     summary = evaluate((pred, target), ["psnr", "delta_e_itp"], progress=False)
        >>> round(summary.overall["psnr"], 2), summary.clips[0].name
        (20.0, 'pred')
    """
    # check: everything that can be known before any work
    names = _names(metrics, paper)
    for name in names:
        _check(build_metric(name))
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    rate = None if fps is None else Fraction(fps)
    files = list_pairs(pairs)
    if rate is not None and not any(side.is_dir() for sides in files.values() for side in sides):
        raise ValueError(f"fps={fps} is for folders of frames; videos have their own times")

    # open
    reading = {"assume": assume, "fps": rate, "unit_nits": unit_nits}
    clips = {
        name: open_pair(name, *sides, assume=assume, fps=rate, unit_nits=unit_nits, mixed_depths=mixed_depths)
        for name, sides in files.items()
    }
    built = _build(names, {pair.fps for pair in clips.values()}, device)
    unfinished = UnfinishedEvaluation(None if output is None else Path(output), names, clips, reading)

    # measure
    started = time.monotonic()
    streams = {name: metric for name, metric in built.items() if isinstance(metric, StreamMetric)}
    others = {name: metric for name, metric in built.items() if name not in streams}
    total = sum(map(len, clips.values())) * (1 + len(streams))
    with _shown(progress, unfinished, total) as advance, unfinished.saved():
        for name, pair in clips.items():
            with _named(name, pair):
                state, on_progress = unfinished.states[name], partial(advance, name)
                measure_clip(pair, others, state, device, on_progress)
                for key in streams.keys() - state.whole.keys() if len(pair) > 1 else ():
                    state.whole[key] = measure_stream(pair, streams[key], device, on_progress)

    # report
    seconds = round(time.monotonic() - started, 2)
    summary = summarise(clips, unfinished.states, built, device, unit_nits, seconds)
    if output is not None:
        written, notes = write_reports(Path(output), summary)
        summary = replace(summary, files=written, notes=notes)
    unfinished.end()
    return summary


def _names(metrics: Sequence[str] | None, paper: str | None) -> tuple[str, ...]:
    """Return the names of the metrics that were asked for."""
    if isinstance(metrics, str):
        raise TypeError(f"metrics={metrics!r} is one name: give a list of names")
    if paper is None:
        return DEFAULT_METRICS if metrics is None else tuple(dict.fromkeys(metrics))
    if metrics is not None:
        raise ValueError("give metrics or paper, not both")
    if paper not in TABLES:
        raise ValueError(f"unknown paper={paper!r}: expected one of {', '.join(TABLES)}")
    return TABLES[paper]


def _check(metric: VideoMetric) -> None:
    if metric.needs_mask:
        raise ValueError(f"{metric.names[0]} needs a mask, which files do not hold: only a task's own test measures it")


def _build(names: Sequence[str], rates: Collection[Fraction], device: torch.device) -> dict[str, VideoMetric]:
    """Return the metrics by name, for the frame rate of the clips."""
    fps = float(next(iter(rates)))
    metrics = {name: build_metric(name, fps).to(device) for name in names}
    if len(rates) > 1:  # then a value that depends on the rate is not one protocol
        unlike = [name for name in metrics if len({build_metric(name, float(r)).protocol for r in rates}) > 1]
        if unlike:
            listed = ", ".join(f"{float(rate):g}" for rate in sorted(rates))
            raise ValueError(f"{', '.join(unlike)}: the value depends on the frame rate, and the clips have {listed}")
    return metrics


@contextmanager
def _named(name: str, pair: Pair) -> Iterator[None]:
    """Name the clip in errors of its measurement."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name} ({pair.pred.info.path}): {error}") from error


@contextmanager
def _shown(
    progress: bool | ProgressCallback, unfinished: UnfinishedEvaluation, total: int
) -> Iterator[Callable[[str, int], None]]:
    """Give a function that shows new frames of a clip, and saves the measurements at times."""
    screen, done = console(), unfinished.frames
    if progress is True and done:
        screen.print(
            f"Going on after {done} frames of an interrupted run ({unfinished.path}).", soft_wrap=True, markup=False
        )
    with progress_display(screen, shown=progress is True) as display:
        task = display.add_task("", total=total, completed=done)

        def advance(name: str, frames: int) -> None:
            nonlocal done
            done += frames
            display.update(task, completed=done, description=escape(name))
            if not isinstance(progress, bool):
                progress(done, total)
            unfinished.save_at_times()

        yield advance
