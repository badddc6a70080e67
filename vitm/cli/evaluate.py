"""`vitm evaluate`: predicted HDR against true HDR, by the field's metrics."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vitm.cli.options import frame_rate, in_words_of_the_command
from vitm.metrics import DEFAULT_METRICS, METRICS, TABLES

if TYPE_CHECKING:
    from vitm.evaluation import ClipSummary, Summary


def main(arguments: list[str], console: Console) -> int:
    """Evaluate and print; return the exit status."""
    return run(_parser().parse_args(arguments), console)


def _parser() -> argparse.ArgumentParser:
    """Return the parser; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        "vitm evaluate",
        description="Measure predicted HDR against the truth: HDR10 videos; 16-bit PNG or TIFF frames with PQ BT.2020 "
        "codes, or linear EXR frames, in folders or one by one; AVIF and Ultra HDR pictures. Interrupted, the same "
        "command goes on where it stopped.",
        epilog=f"metrics: {', '.join(METRICS)}; or the import path of a metric of your own (package.module.Class). "
        "HDR-VDP-3 and ColorVideoVDP do not see a wrong overall level, and HDR-VDP-3 sees no colour: never report them "
        "alone.",
    )
    parser.add_argument("pred", type=Path, help="predicted video or folder; or a CSV list with the columns pred,target")
    parser.add_argument("target", type=Path, nargs="?", help="the truth (not with a list)")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--metrics", nargs="+", metavar="NAME", help=f"default: {' '.join(DEFAULT_METRICS)}")
    chosen.add_argument("--paper", choices=TABLES, help="the metrics of a paper's tables, by its protocol")
    parser.add_argument("--output", type=Path, help="folder of the results (default: PRED_metrics, beside PRED)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: the first GPU, or the CPU)")
    parser.add_argument(
        "--assume",
        choices=("bt709", "bt2020-pq", "bt2020-hlg"),
        help="colour tags that videos without tags have",
    )
    parser.add_argument("--fps", type=frame_rate, help="frame rate of folders (24)")
    parser.add_argument("--unit-nits", type=float, help="light of 1.0 in cd/m2, for linear frames")
    parser.add_argument("--mixed-depths", action="store_true", help="compare files of different bit depth")
    return parser


def run(options: argparse.Namespace, console: Console) -> int:
    """Evaluate and print; returns the exit status."""
    from vitm.evaluation import evaluate

    if options.target is not None and options.pred.suffix.lower() == ".csv":
        raise ValueError(f"{options.pred} is a list of pairs: give it alone, without {options.target}")
    pairs = options.pred if options.target is None else (options.pred, options.target)
    output = options.output or _beside(options.pred)
    names = ("metrics", "device", "assume", "fps", "unit_nits", "mixed_depths", "paper")
    with in_words_of_the_command(options, {}):
        summary = evaluate(pairs, output=output, **{name: getattr(options, name) for name in names})
    _print(console, summary)
    for note in summary.notes:
        console.print(note, soft_wrap=True, markup=False)
    console.print(f"{output}: {', '.join(path.name for path in summary.files)}", soft_wrap=True, markup=False)
    return 0


def _beside(pred: Path) -> Path:
    from vitm.evaluation.pairs import clip_name

    return pred.resolve().with_name(f"{clip_name(pred)}_metrics")


def _print(console: Console, summary: Summary) -> None:
    if len(summary.clips) == 1:
        _print_clip(console, summary.clips[0])
    else:
        table = Table(title=f"{len(summary.clips)} clips", title_justify="left")
        for title in ("", *summary.overall):
            table.add_column(title, justify="right" if title else "left", overflow="fold")
        for clip in summary.clips:
            cells = (f"{clip.values[key]:.5g}" if key in clip.values else "" for key in summary.overall)
            table.add_row(escape(clip.name), *cells)
        table.add_section()
        table.add_row("all", *(f"{value:.5g}" for value in summary.overall.values()), style="bold")
        console.print(table)
    for name, metric in summary.metrics.items():
        console.print(f"{name}: {metric.protocol}", style="dim", highlight=False)


def _print_clip(console: Console, clip: ClipSummary) -> None:
    """Print a row for each value: of the clip, and of its worst frame."""
    cuts = f", {len(clip.cuts)} cuts" if clip.cuts else ""
    title = f"{escape(clip.name)}: {clip.frames} frames at {float(clip.fps):.6g} fps{cuts}"
    table = Table(title=title, title_justify="left")
    for heading in ("", "value", "worst frame", "its value"):
        table.add_column(heading, justify="left" if not heading else "right")
    for key, value in clip.values.items():
        worst = _worst_frame(clip, key)
        where = "" if worst is None else f"{worst} ({float(worst / clip.fps):.2f} s)"
        table.add_row(key, f"{value:.6g}", where, "" if worst is None else f"{clip.frame_values[key][worst]:.6g}")
    console.print(table)


def _worst_frame(clip: ClipSummary, key: str) -> int | None:
    """Return the number of the frame with the worst value; None where frames have none, or no value is worse."""
    from vitm.metrics import value_info

    direction = value_info(key).direction
    known = [(x, i) for i, x in enumerate(clip.frame_values.get(key, ())) if not math.isnan(x)]
    if direction == "none" or not known:
        return None
    return min(known)[1] if direction == "higher" else max(known, key=lambda pair: (pair[0], -pair[1]))[1]
