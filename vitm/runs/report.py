"""A page about runs that needs nothing else: `python -m experiments.report RUN... [--output report.html]`."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from vitm.files import WriteError, replace_when_whole
from vitm.runs.entries import entry_names, find_entry
from vitm.runs.page import page

USAGE = "One HTML file with curves, numbers beside the paper's, previews, configuration and environment of runs."
STATES = {"test": "finished", "val": "validated", "fit": "trained, not measured"}
console = Console(width=None if sys.stdout.isatty() else 160)


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Attributes:
        folder: where it is.
        key: a letter that stands for it in the page.
        entry: name of its entry.
        about: the entry's own section.
        demo: whether it is of demo data.
        config: the resolved configuration.
        results: `metrics.json`; empty: there is none yet.
        curves: name in the CSV log -> (step, value).
        previews: picture files, of the test if there are any.
    """

    folder: Path
    key: str
    entry: str
    about: dict[str, Any]
    demo: bool
    config: dict[str, Any]
    results: dict[str, Any]
    curves: dict[str, list[tuple[float, float]]]
    previews: tuple[Path, ...]

    @property
    def state(self) -> str:
        """How far it came."""
        steps = max((step for curve in self.curves.values() for step, _ in curve), default=0)
        return STATES[self.results["stage"]] if self.results else f"not finished; the log ends at step {steps:.0f}"


def read_run(folder: Path, key: str) -> Run:
    """Read a run folder.

    Raises:
        ValueError: it is none, or a file in it is damaged; the message names it.
    """
    if not (folder / "config.yaml").is_file():
        inside = sorted(path.parent for path in folder.glob("**/config.yaml"))[:3] if folder.is_dir() else []
        hint = f"; there are {', '.join(map(str, inside))}" if inside else "; expected runs/<entry>/<run>"
        raise ValueError(f"{folder} is no run folder: it has no config.yaml{hint}")
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text())
        results = json.loads((folder / "metrics.json").read_text()) if (folder / "metrics.json").is_file() else {}
        if not isinstance(config, dict) or (results and (results["stage"] not in STATES or "values" not in results)):
            raise ValueError("it is not what experiments.run writes")
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{folder} has a damaged config.yaml or metrics.json: {error}") from error
    entry = results.get("entry") or _entry_of(folder)
    tags = folder / "tags"
    return Run(
        folder=folder,
        key=key,
        entry=entry,
        about=results.get("about")
        or (find_entry(entry).about if entry in entry_names() else config.get("entry") or {}),
        demo="demo" in tags.read_text().split() if tags.is_file() else bool(results.get("demo")),
        config={k: v for k, v in config.items() if k != "entry"},
        results=results,
        curves=_curves(folder / "csv" / "metrics.csv"),
        previews=tuple(sorted(folder.glob("previews/test_*.png")) or sorted(folder.glob("previews/val_*.png"))),
    )


def _entry_of(folder: Path) -> str:
    """The entry whose name the path ends in."""
    parts = folder.resolve().parent.parts
    names = ["/".join(parts[i:]) for i in range(len(parts))]
    return next((name for name in names if name in entry_names()), parts[-1])


def _curves(file: Path) -> dict[str, list[tuple[float, float]]]:
    """Columns of the CSV log; a line that is not whole yet is left out."""
    curves: dict[str, list[tuple[float, float]]] = {}
    if not file.is_file():
        return curves
    with file.open(newline="") as opened:
        for row in csv.DictReader(opened):
            for name, text in row.items():
                if name and name not in ("step", "epoch") and text:
                    try:
                        curves.setdefault(name, []).append((float(row["step"]), float(text)))
                    except (KeyError, TypeError, ValueError):
                        continue
    return {name: sorted(curve) for name, curve in curves.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Write a report; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=USAGE)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders: runs/<entry>/<run>")
    parser.add_argument("--output", type=Path, default=Path("report.html"), help="(report.html)")
    options = parser.parse_args(argv)
    try:
        folders = list(dict.fromkeys(folder.resolve() for folder in options.runs))
        if any((folder / "config.yaml").is_file() for folder in folders):  # runs/<entry>/*/ has the tables' folders too
            others = [folder for folder in folders if not (folder / "config.yaml").is_file()]
            folders = [folder for folder in folders if folder not in others]
            for folder in others:
                console.print(f"{folder} is left out: it has no config.yaml", markup=False, soft_wrap=True)
        runs = [read_run(folder, _letter(i)) for i, folder in enumerate(folders)]
        with replace_when_whole(options.output) as part:
            part.write_text(page(runs), encoding="utf-8")
    except (ValueError, OSError, WriteError) as error:
        console.print(f"error: {error}", style="bold red", markup=False, soft_wrap=True)
        return 2
    size = options.output.stat().st_size / 2**20
    console.print(f"Written: {options.output} ({size:.1f} MB)", markup=False, highlight=False, soft_wrap=True)
    return 0


def _letter(i: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    return (_letter(i // 26 - 1) if i >= 26 else "") + chr(ord("A") + i % 26)


if __name__ == "__main__":
    sys.exit(main())
