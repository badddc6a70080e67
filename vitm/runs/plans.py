"""The runs of a table, in order, with their state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from vitm.files import is_locked
from vitm.metrics import frame_metrics, value_protocols
from vitm.runs.entries import Entry, find_entry
from vitm.runs.finished import FinishedRun, on_demo_data, one_of_each_seed, seed_of
from vitm.runs.options import flags, key_of, option_values
from vitm.runs.overrides import ROOT, asked_overrides, option_names, read_overrides, recipe_changes, same
from vitm.runs.results import Results

CHOSEN_HERE = ("--runs", "--resume", "--name", "--checkpoint", "--seed_everything")


@dataclass(frozen=True)
class PlannedRun:
    """One run: an entry with a seed.

    Attributes:
        entry: what to run.
        name: name of the entry.
        seed: seed of the weights and of dropout.
        options: options of the run, as typed.
        runs: folder of all runs.
        demo: whether it takes the demo data.
        after: option of the task -> the run whose trained network it takes.
        asked: what the options make it have otherwise than the entry.
    """

    entry: Entry = field(compare=False)
    name: str
    seed: int
    options: tuple[str, ...]
    runs: Path
    demo: bool
    after: tuple[tuple[str, PlannedRun], ...] = ()
    asked: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return f"{self.name}, seed {self.seed}"

    def finished(self) -> FinishedRun | None:
        """Return its newest finished run; None: there is none."""
        return one_of_each_seed(self.entry, self.runs, demo=self.demo, fits=self.fits).get(self.seed)

    def done(self) -> Path | None:
        """Return the folder of its newest finished run."""
        run = self.finished()
        return run.folder if run else None

    def interrupted(self) -> Path | None:
        """Return the folder of its newest run that was saved before it was done, and that no process goes on with."""
        return next((f for f in self._begun() if (f / "checkpoints/last.ckpt").is_file() and not _held(f)), None)

    def running(self) -> Path | None:
        """Return the folder of its run that a process, here or on another machine, is at work in."""
        return next(filter(_held, self._begun()), None)

    def fits(self, run: FinishedRun) -> bool:
        """Return whether a finished run of the entry, of whatever seed, has the options and metrics asked for now."""
        own = self.entry.config(demo=self.demo).get("model", {}).get("test_metrics")
        wanted = _values(tuple(self.asked.get("model.test_metrics", own) or ()))
        return not run.measured_otherwise and wanted <= run.results.values.keys() and self._trained_so(run.overrides)

    def _begun(self) -> Iterator[Path]:
        """Yield the folders of its runs that are not done, the newest first."""

        def saved(config: Path) -> float:
            last = config.parent / "checkpoints/last.ckpt"
            return (last if last.is_file() else config).stat().st_mtime

        for file in sorted((self.runs / self.name).glob("*/config.yaml"), key=saved, reverse=True):
            folder, results = file.parent, file.parent / "metrics.json"
            if not (folder / "tags").is_file() or on_demo_data(folder) != self.demo:
                continue
            if not results.is_file() or Results.read(results).stage != "test":
                overrides = read_overrides(folder, self.entry, demo=self.demo)
                if seed_of(overrides, self.entry) == self.seed and self._trained_so(overrides):
                    yield folder

    def arguments(self, trained: Mapping[PlannedRun, Path] | None = None) -> list[str]:
        """Return arguments of `vitm run`, but for `--runs`, that start this run or go on with it.

        Args:
            trained: checkpoints, or where they will be, of runs that it goes on from; of others, see `trained`.

        Raises:
            FileNotFoundError: a run that it goes on from has no checkpoint.
        """
        if folder := self.interrupted():
            return [self.entry.address, "--resume", str(folder), *self.options]
        known = trained or {}
        before = [(option, known[run] if run in known else run.trained()) for option, run in self.after]
        networks = [x for option, checkpoint in before for x in (f"--{option}", str(checkpoint))]
        return [self.entry.address, *self.options, *networks, "--seed_everything", str(self.seed)]

    def trained(self) -> Path:
        """Return its best checkpoint.

        Raises:
            FileNotFoundError: there is none.
        """
        folder = self.done()
        files = [folder / "checkpoints" / name for name in ("best.ckpt", "last.ckpt")] if folder else []
        checkpoint = next((file for file in files if file.is_file()), None)
        if checkpoint is None:
            raise FileNotFoundError(f"no checkpoint of a finished run of {self} under {self.runs}")
        return checkpoint

    def _trained_so(self, overrides: Mapping[str, Any]) -> bool:
        """Return whether a training had just what is asked for, and went on from what the earlier runs trained."""
        if not same(recipe_changes(overrides, self.entry), recipe_changes(self.asked, self.entry)):
            return False
        if not self.demo and _places(overrides.get(ROOT)) != _places(self.asked.get(ROOT)):
            return False
        for option, earlier in self.after:
            checkpoint, folder = overrides.get(option), earlier.done()
            if not checkpoint or not folder or Path(checkpoint).resolve().parent != (folder / "checkpoints").resolve():
                return False
        return True


def plan(entries: Sequence[Entry], seeds: Sequence[int], options: Sequence[str], runs: Path) -> list[PlannedRun]:
    """Return the runs of entries, each behind those it goes on from; entries that cannot be run give none.

    Where an entry goes on from another stage, each of the two gets the options of the model that it knows.

    Raises:
        ValueError: an option is not for the rows to choose, or has a wrong value.
    """
    for option in options:
        if option.partition("=")[0] in CHOSEN_HERE:
            raise ValueError(f"{option} does not go behind --; see --help for what goes before it")
    given, asked = option_values(options), dict[tuple[str, tuple[str, ...]], Mapping[str, Any]]()

    def stages(entry: Entry) -> list[tuple[str, Entry]]:
        return [(option, find_entry(stage)) for option, stage in entry.after.items() if option not in given]

    def make(entry: Entry, seed: int, others: frozenset[str]) -> PlannedRun:
        entry = entry.runs
        demo = entry.takes_demo_data(given)
        earlier = stages(entry)
        known = frozenset(option_names(entry, "model") if earlier or others else ())
        before = frozenset().union(others, known)
        after = tuple((option, make(stage, seed, before)) for option, stage in earlier)
        foreign = others.union(*(option_names(stage, "model") for _, stage in earlier)) - known
        chosen = tuple(x for flag in flags(options) if key_of(flag) not in foreign for x in flag)
        if (entry.address, chosen) not in asked:
            asked[entry.address, chosen] = asked_overrides(entry, chosen, demo=demo)
        return PlannedRun(entry, entry.name, seed, chosen, runs, demo, after, asked[entry.address, chosen])

    def ordered(run: PlannedRun) -> Iterator[PlannedRun]:
        for _, earlier in run.after:
            yield from ordered(earlier)
        yield run

    able = [entry for entry in entries if not entry.missing]
    planned = [run for entry in able for seed in seeds for run in ordered(make(entry, seed, frozenset()))]
    return list(dict.fromkeys(planned))


def _held(folder: Path) -> bool:
    """Return whether a run holds the lock of its folder, as it does while it works."""
    return is_locked(folder / "lock")


def _places(root: Any) -> set[Path]:
    """Return the folders of the data; of a run that was resumed with others, all of them."""
    if isinstance(root, Mapping):
        return set[Path]().union(*(_places(one) for one in root.values()))
    return {Path(place) for place in ([root] if isinstance(root, str) else root or ())}


@cache
def _values(metrics: tuple[str, ...]) -> frozenset[str]:
    """Return the names of the values that metrics give: of `mabd`, `mabd_pred` and others."""
    asked: Any = frame_metrics(metrics)
    return frozenset(value_protocols(asked))
