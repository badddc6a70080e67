"""`vitm evaluate`: predicted HDR against true HDR, by the field's metrics."""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from vitm.cli.options import frame_rate
from vitm.evaluation import (
    ClipState,
    Pair,
    clip_values,
    measure_clip,
    open_pair,
    overall_values,
    read_pairs,
    write_frames,
    write_plot,
    write_summary,
)
from vitm.evaluation.files import Clips
from vitm.evaluation.measure import Metrics, measure_whole
from vitm.files import replace_when_whole
from vitm.metrics import METRICS, TABLES, ColorVideoVDP, FrameMetric, build_metric
from vitm.metrics.registry import AnyMetric
from vitm.video.read.frames import list_frames
from vitm.video.tags import Assume

DEFAULT = ("psnr", "ssim", "delta_e_itp", "sr_sim", "hdr_vdp3", "mabd", "flicker")
_SAVE_SECONDS = 10.0


def add_parser(commands: Any) -> None:
    """Add the command to the parsers of `vitm`."""
    parser = commands.add_parser(
        "evaluate",
        help="measure predicted HDR video against the truth",
        description="Measure predicted HDR against the truth: HDR10 videos, folders of 16-bit PNG or TIFF frames with "
        "PQ BT.2020 codes, or of linear EXR frames. Interrupted, the same command goes on where it stopped.",
        epilog=f"metrics: {', '.join(METRICS)}. HDR-VDP-3 and ColorVideoVDP do not see a wrong overall level, and "
        "HDR-VDP-3 sees no colour: never report them alone.",
    )
    parser.add_argument("pred", type=Path, help="predicted video or folder; or a CSV list with the columns pred,target")
    parser.add_argument("target", type=Path, nargs="?", help="the truth (not with a list)")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--metrics", nargs="+", metavar="NAME", help=f"default: {' '.join(DEFAULT)}")
    chosen.add_argument("--paper", choices=TABLES, help="the metrics of a paper's tables, by its protocol")
    parser.add_argument(
        "--output",
        type=Path,
        help="folder of the results (default: PRED_metrics, beside PRED)",
    )
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1, ..."
    )
    parser.add_argument("--assume", choices=get_args(Assume), help="what a video's missing colour tags are")
    parser.add_argument("--fps", type=frame_rate, help="frame rate of folders (24)")
    parser.add_argument("--unit-nits", type=float, help="what 1.0 is in cd/m2, for linear frames")
    parser.add_argument("--mixed-depths", action="store_true", help="compare files of different bit depth")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Measure, write and print; returns the exit status."""
    names = options.metrics or (TABLES[options.paper] if options.paper else DEFAULT)
    for name in names:
        build_metric(name)  # unknown names and missing packages first
    pairs = _open(options)
    everything = _metrics(names, {pair.fps for pair in pairs.values()}, options.device)
    metrics: Metrics = {k: v for k, v in everything.items() if not isinstance(v, ColorVideoVDP)}
    whole = {k: v for k, v in everything.items() if isinstance(v, ColorVideoVDP)}
    output = options.output or _beside(options.pred)
    output.mkdir(parents=True, exist_ok=True)
    job = _fingerprint(options, pairs, names)
    partial = output / ".partial.pt"
    states = _resume(partial, job, pairs)
    if done := sum(state.done for state in states.values()):
        console.print(f"Going on after {done} frames of an interrupted run ({partial}).", soft_wrap=True, markup=False)

    started = saved = time.monotonic()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=sum(map(len, pairs.values())) * (1 + len(whole)), completed=done)

        def on_progress(frames: int) -> None:
            nonlocal saved
            progress.advance(task, frames)
            if time.monotonic() - saved > _SAVE_SECONDS:
                _save(partial, job, states)
                saved = time.monotonic()

        try:
            for name, pair in pairs.items():
                progress.update(task, description=escape(name))
                measure_clip(pair, metrics, states[name], torch.device(options.device), on_progress)
                for key in whole.keys() - states[name].whole.keys() if len(pair) > 1 else ():
                    value = measure_whole(pair, whole[key], torch.device(options.device), on_progress)
                    states[name].whole[key] = value
        except BaseException as error:
            _save(partial, job, states)
            done = sum(state.done for state in states.values())
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(f"after {done} frames; the same command goes on from there") from None
            if isinstance(error, ValueError):
                raise ValueError(f"{name} ({pairs[name].pred.info.path}): {error}") from error
            raise
    about = {
        "vitm": version("vitm"),
        "torch": torch.__version__,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - started, 2),
        "device": torch.cuda.get_device_name(options.device) if "cuda" in options.device else platform.machine(),
        "unit_nits": options.unit_nits,
    }
    clips: Clips = {name: (pair, states[name]) for name, pair in pairs.items()}
    write_frames(output / "frames.csv", clips, metrics)
    write_plot(output / "over_time.png", clips, metrics)
    write_summary(output / "summary.json", clips, everything, about)
    partial.unlink(missing_ok=True)
    _print(console, clips, everything)
    console.print(f"{output}: frames.csv, summary.json, over_time.png", soft_wrap=True, markup=False)
    return 0


def _name(path: Path) -> str:
    """Of a file without its suffix, of a folder all of it."""
    path = path.resolve()
    return path.name if path.is_dir() else path.stem


def _beside(pred: Path) -> Path:
    return pred.resolve().with_name(f"{_name(pred)}_metrics")


def _metrics(names: Sequence[str], rates: Collection[Fraction], device: str) -> dict[str, AnyMetric]:
    fps = float(next(iter(rates)))
    metrics = {name: build_metric(name, fps).to(device) for name in names}
    if len(rates) > 1:  # then a value that depends on the rate is not one protocol
        unlike = [name for name in metrics if len({build_metric(name, float(r)).protocol for r in rates}) > 1]
        if unlike:
            listed = ", ".join(f"{float(rate):g}" for rate in sorted(rates))
            raise ValueError(f"{', '.join(unlike)}: the value depends on the frame rate, and the clips have {listed}")
    return metrics


def _open(options: argparse.Namespace) -> dict[str, Pair]:
    """All pairs, checked before any is measured."""
    if options.pred.suffix.lower() == ".csv":
        if options.target is not None:
            raise ValueError(f"{options.pred} is a list of pairs: give it alone, without {options.target}")
        rows = read_pairs(options.pred)
    elif options.target is None:
        raise ValueError(f"what is {options.pred} to be compared with? Give PRED and TARGET, or a CSV list of pairs")
    else:
        rows = [(_name(options.pred), options.pred, options.target)]
    if options.fps is not None and not any(side.is_dir() for _, *sides in rows for side in sides):
        raise ValueError("--fps is for folders of frames; videos have their own times")
    shared = {key: getattr(options, key) for key in ("assume", "fps", "unit_nits", "mixed_depths")}
    return {name: open_pair(name, pred, target, **shared) for name, pred, target in rows}


def _fingerprint(options: argparse.Namespace, pairs: dict[str, Pair], names: Sequence[str]) -> str:
    """What must be the same for a run to go on: files, metrics, version."""

    def stamp(path: Path) -> str:
        stats = [file.stat() for file in (list_frames(path) if path.is_dir() else [path])]
        return f"{path.resolve()} {sum(s.st_size for s in stats)} {max(s.st_mtime_ns for s in stats)}"

    files = [f"{name} {stamp(p.pred.info.path)} {stamp(p.target.info.path)}" for name, p in pairs.items()]
    return "\n".join([version("vitm"), *names, *files, str((options.assume, options.fps, options.unit_nits))])


def _save(path: Path, job: str, states: dict[str, ClipState]) -> None:
    with replace_when_whole(path) as part:
        torch.save({"job": job, "states": {name: vars(state.settled()) for name, state in states.items()}}, part)


def _resume(path: Path, job: str, pairs: dict[str, Pair]) -> dict[str, ClipState]:
    """The states of an interrupted run of the same job, or new ones."""
    if path.is_file():
        saved = torch.load(path, weights_only=True)
        if saved["job"] == job:
            return {name: ClipState(**state) for name, state in saved["states"].items()}
    return {name: ClipState() for name in pairs}


def _print(console: Console, clips: Clips, metrics: dict[str, AnyMetric]) -> None:
    overall = overall_values(clips, metrics)
    if len(clips) == 1:
        _print_clip(console, *next(iter(clips.items())), metrics)
    else:
        table = Table(title=f"{len(clips)} clips", title_justify="left")
        for title in ("", *overall):
            table.add_column(title, justify="right" if title else "left", overflow="fold")
        for name, (_, state) in clips.items():
            values = clip_values(state, metrics)
            table.add_row(escape(name), *(f"{values[key]:.5g}" if key in values else "" for key in overall))
        table.add_section()
        table.add_row("all", *(f"{value:.5g}" for value in overall.values()), style="bold")
        console.print(table)
    for name, metric in metrics.items():
        console.print(f"{name}: {metric.protocol}", style="dim", highlight=False)


def _print_clip(console: Console, name: str, clip: tuple[Pair, ClipState], metrics: dict[str, AnyMetric]) -> None:
    """A row a value: of the clip, and where it is worst."""
    pair, state = clip
    cuts = f", {len(state.cuts)} cuts" if state.cuts else ""
    table = Table(title=f"{escape(name)}: {state.done} frames at {float(pair.fps):.6g} fps{cuts}", title_justify="left")
    for title in ("", "value", "worst frame", "there"):
        table.add_column(title, justify="left" if not title else "right")
    for key, value in clip_values(state, metrics).items():
        metric = metrics.get(key)
        worst = there = ""
        if isinstance(metric, FrameMetric):
            rows = state.measured[key][:, 0]
            index = int(rows.argmin() if metric.higher_is_better else rows.argmax())
            worst, there = f"{index} ({float(index / pair.fps):.2f} s)", f"{float(rows[index]):.6g}"
        table.add_row(key, f"{value:.6g}", worst, there)
    console.print(table)
