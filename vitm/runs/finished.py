"""Finished runs of an entry, as tables and sweeps read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitm.runs.entries import Entry
from vitm.runs.options import SEED
from vitm.runs.overrides import ROOT, read_overrides, recipe_changes, same, unreadable
from vitm.runs.results import Results


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A training that was measured on the test split, in its own run or by a later one.

    Attributes:
        folder: run folder of the training.
        measured_in: run folder of the measurement.
        results: what was measured.
        overrides: what the training had otherwise than the entry, option -> value.
        measured_otherwise: options of the measurement that are neither the entry's nor the training's.
        changed: options that make it another run than the entry's, of the training and of the measurement.
        when: time at which it was measured.
    """

    folder: Path
    measured_in: Path
    results: Results
    overrides: Mapping[str, Any]
    measured_otherwise: frozenset[str]
    changed: tuple[str, ...]
    when: float

    def seed(self, entry: Entry) -> int:
        """Return the seed of its weights and of dropout."""
        return seed_of(self.overrides, entry)


def finished_runs(entry: Entry, runs: Path, *, demo: bool) -> list[FinishedRun]:
    """Return the finished runs of an entry, also of the one whose runs it shares.

    Raises:
        ValueError: a run cannot be read; the message names the file.
    """
    measured_runs = []
    for file in (file for name in entry.folders for file in (runs / name).glob("*/metrics.json")):
        results = Results.read(file)
        if results.stage != "test" or results.steps is None or on_demo_data(file.parent) != demo:
            continue  # weights without steps are those of a released file
        folder = file.parent
        if results.checkpoint and (Path(results.checkpoint).parents[1] / "config.yaml").is_file():
            folder = Path(results.checkpoint).parents[1]  # a measurement belongs to the run that trained its weights
        trained = read_overrides(folder, entry, demo=demo)
        measured = trained if folder == file.parent else read_overrides(file.parent, entry, demo=demo)
        counted = recipe_changes(measured, entry) | {key: measured[key] for key in (ROOT,) if key in measured}
        otherwise = {key for key, value in counted.items() if not (key in trained and same(value, trained[key]))}
        changed = tuple(sorted(otherwise | recipe_changes(trained, entry).keys()))
        when = file.stat().st_mtime
        measured_runs.append(FinishedRun(folder, file.parent, results, trained, frozenset(otherwise), changed, when))
    return measured_runs


def one_of_each_seed(
    entry: Entry, runs: Path, *, demo: bool, fits: Callable[[FinishedRun], bool] = lambda run: True
) -> dict[int, FinishedRun]:
    """Return seed -> the newest finished run of an entry with its recipe, or where there is none, with another.

    Args:
        entry: entry whose runs are asked for.
        runs: folder of all runs.
        demo: whether runs on the demo data are meant.
        fits: which runs count.

    Raises:
        ValueError: a run cannot be read; the message names the file.
    """
    fitting = [run for run in finished_runs(entry, runs, demo=demo) if fits(run)]
    return {run.seed(entry): run for run in sorted(fitting, key=lambda run: (not run.changed, run.when))}


def seed_of(overrides: Mapping[str, Any], entry: Entry) -> int:
    """Return the seed of a run with these overrides."""
    return int(overrides.get(SEED, entry.recipe.get(SEED, 0)) or 0)


def on_demo_data(folder: Path) -> bool:
    """Return whether a run took the demo data.

    Raises:
        ValueError: the run does not say so; the message names the file.
    """
    file = folder / "tags"
    try:
        return "demo" in file.read_text().split()
    except OSError as error:
        raise unreadable(file, error) from error
