"""Run folders, read for a report."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vitm.files import read_json
from vitm.runs.curves import Curve
from vitm.runs.entries import entry_names, find_entry
from vitm.runs.options import leaves
from vitm.runs.overrides import FILE, read_mapping

STATES = {"test": "finished", "val": "validated", "fit": "trained, not measured"}


@dataclass(frozen=True)
class RunRecord:
    """The content of a run folder.

    Attributes:
        folder: the run folder.
        key: letter that stands for the run in the report.
        entry: name of the entry.
        about: `entry` section of the entry's files: title, paper, table, row, the paper's numbers.
        demo: whether the run took the demo data.
        config: resolved configuration.
        overrides: options that differ from the entry's, by name; None for older runs, which did not write them.
        results: `metrics.json`; empty before the run is finished.
        curves: name in the CSV log -> (step, value).
        previews: picture files, those of the test if there are any.
    """

    folder: Path
    key: str
    entry: str
    about: dict[str, Any]
    demo: bool
    config: dict[str, Any]
    overrides: dict[str, Any] | None
    results: dict[str, Any]
    curves: dict[str, Curve]
    previews: tuple[Path, ...]

    @property
    def state(self) -> str:
        """How far the run has come, in words."""
        steps = max((step for curve in self.curves.values() for step, _ in curve), default=0)
        return STATES[self.results["stage"]] if self.results else f"not finished; the log ends at step {steps:.0f}"

    @property
    def values(self) -> dict[str, float]:
        """Measured values by name; empty before the run is measured."""
        return self.results.get("values") or {}

    @property
    def family(self) -> str:
        """First part of the entry's name, which names the paper."""
        return self.entry.partition("/")[0]


def read_record(folder: Path, key: str) -> RunRecord:
    """Read a run folder.

    Raises:
        ValueError: the folder is no run folder, or a file in it is damaged; the message names it.
    """
    if not (folder / "config.yaml").is_file():
        inside = sorted(path.parent for path in folder.glob("**/config.yaml"))[:3] if folder.is_dir() else []
        hint = f"; there are {', '.join(map(str, inside))}" if inside else "; expected runs/<entry>/<run>"
        raise ValueError(f"{folder} is no run folder: it has no config.yaml{hint}")
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text())
        results = read_json(folder / "metrics.json") if (folder / "metrics.json").is_file() else {}
        if not isinstance(config, dict) or (results and (results["stage"] not in STATES or "values" not in results)):
            raise ValueError("it is not what a run writes")
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ValueError(f"{folder} has a damaged config.yaml or metrics.json: {error}") from error
    entry = results.get("entry") or _entry_of(folder)
    tags = folder / "tags"
    return RunRecord(
        folder=folder,
        key=key,
        entry=entry,
        about=results.get("about")
        or (find_entry(entry).about if entry in entry_names() else config.get("entry") or {}),
        demo="demo" in tags.read_text().split() if tags.is_file() else bool(results.get("demo")),
        config={k: v for k, v in config.items() if k != "entry"},
        overrides=leaves(read_mapping(folder / FILE)) if (folder / FILE).is_file() else None,
        results=results,
        curves=_read_curves(folder / "csv" / "metrics.csv"),
        previews=tuple(sorted(folder.glob("previews/test_*.png")) or sorted(folder.glob("previews/val_*.png"))),
    )


def _entry_of(folder: Path) -> str:
    """Return the entry in whose name the path of a run folder ends."""
    parts = folder.resolve().parent.parts
    names = ["/".join(parts[i:]) for i in range(len(parts))]
    return next((name for name in names if name in entry_names()), parts[-1])


def _read_curves(file: Path) -> dict[str, Curve]:
    """Return the columns of the CSV log, less lines that are not whole yet."""
    curves: dict[str, Curve] = {}
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
