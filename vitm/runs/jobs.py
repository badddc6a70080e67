"""The runs that make a table: which there are, in which order, and what has been done of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from vitm.files import is_locked
from vitm.metrics import frame_metrics, value_protocols
from vitm.runs.entries import Entry, find_entry
from vitm.runs.options import changed, defaults_of, flags, key_of, option_values, recipe
from vitm.runs.table import Row, finished, read

OURS = ("--runs", "--resume", "--name", "--checkpoint", "--seed_everything")  # chosen here


@dataclass(frozen=True)
class Job:
    """One run: an entry with a seed.

    Attributes:
        entry: what to run.
        seed: of the weights and of dropout.
        options: for `experiments.run`, as typed.
        runs: folder of all runs.
        tag: `demo` or `data`.
        after: option of the task -> the job whose trained network it takes.
    """

    entry: Entry = field(compare=False)
    name: str
    seed: int
    options: tuple[str, ...]
    runs: Path
    tag: str
    after: tuple[tuple[str, Job], ...] = ()

    def __str__(self) -> str:
        return f"{self.name}, seed {self.seed}"

    def finished(self) -> dict[str, Any] | None:
        """Its newest finished run, as `experiments.table.finished` gives it; None: there is none."""
        return finished(self.entry, self.runs, self.tag, self.fits).get(self.seed)

    def done(self) -> Path | None:
        """The folder of its newest finished run."""
        run = self.finished()
        return run["folder"] if run else None

    def interrupted(self) -> Path | None:
        """The folder of its newest run that was saved before it was done, and that no process goes on with."""
        return next((f for f in self._begun() if (f / "checkpoints/last.ckpt").is_file() and not _held(f)), None)

    def running(self) -> Path | None:
        """The folder of its run that a process, here or on another machine, is at work in."""
        return next(filter(_held, self._begun()), None)

    def fits(self, run: Mapping[str, Any]) -> bool:
        """Whether a finished run of the entry, of whatever seed, is one with the options and metrics asked for now."""
        asked = recipe(self.entry, self.tag) | option_values(self.options)
        metrics = _values(tuple(asked.get("model.test_metrics") or ()))
        return not run["otherwise"] and metrics <= run["values"].keys() and self._trained_so(run["config"])

    def _begun(self) -> Iterator[Path]:
        """Folders of its runs that are not done, the newest first."""

        def saved(config: Path) -> float:
            last = config.parent / "checkpoints/last.ckpt"
            return (last if last.is_file() else config).stat().st_mtime

        for file in sorted((self.runs / self.name).glob("*/config.yaml"), key=saved, reverse=True):
            folder, results = file.parent, file.parent / "metrics.json"
            if not (folder / "tags").is_file() or self.tag not in read(folder / "tags").split():
                continue
            if not results.is_file() or read(results)["stage"] != "test":
                config = read(file)
                if config.get("seed_everything") == self.seed and self._trained_so(config):
                    yield folder

    def arguments(self, trained: Mapping[Job, Path] | None = None) -> list[str]:
        """Of `experiments.run`, but for `--runs`: they start this run, or go on with it.

        Args:
            trained: checkpoints, or where they will be, of jobs that it goes on from; of others, see `trained`.

        Raises:
            FileNotFoundError: a run that it goes on from has no checkpoint.
        """
        if folder := self.interrupted():
            return [self.name, "--resume", str(folder), *self.options]
        known = trained or {}
        before = [(option, known[job] if job in known else job.trained()) for option, job in self.after]
        networks = [x for option, checkpoint in before for x in (f"--{option}", str(checkpoint))]
        return [self.name, *self.options, *networks, "--seed_everything", str(self.seed)]

    def trained(self) -> Path:
        """Its best checkpoint.

        Raises:
            FileNotFoundError: there is none.
        """
        folder = self.done()
        files = [folder / "checkpoints" / name for name in ("best.ckpt", "last.ckpt")] if folder else []
        found = next((file for file in files if file.is_file()), None)
        if found is None:
            raise FileNotFoundError(f"no checkpoint of a finished run of {self} under {self.runs}")
        return found

    def _trained_so(self, config: Mapping[str, Any]) -> bool:
        """Whether a training has what the files and the options say, behind what the earlier jobs trained."""
        asked = recipe(self.entry, self.tag) | option_values(self.options)
        if changed(config, asked, defaults_of(self.entry)):
            return False
        for option, earlier in self.after:
            section, _, key = option.partition(".")
            checkpoint, folder = config.get(section, {}).get(key), earlier.done()
            if not checkpoint or not folder or Path(checkpoint).resolve().parent != (folder / "checkpoints").resolve():
                return False
        return True


def _held(folder: Path) -> bool:
    """Whether a run holds the lock of its folder, as it does while it works."""
    return is_locked(folder / "lock")


@cache
def _values(metrics: tuple[str, ...]) -> frozenset[str]:
    """Names of the values that metrics have: of `mabd`, `mabd_pred` and others."""
    asked: Any = frame_metrics(metrics)
    return frozenset(value_protocols(asked))


def plan(rows: Sequence[Row], seeds: Sequence[int], options: Sequence[str], runs: Path) -> list[Job]:
    """The jobs of rows, each behind those it goes on from; rows that say why they cannot be run give none.

    Where a row goes on from another stage, each of the two gets the options of the model that it knows.

    Raises:
        ValueError: an option is not for the rows to choose.
    """
    for option in options:
        if option.partition("=")[0] in OURS:
            raise ValueError(f"{option} does not go behind --; see --help for what goes before it")
    given = option_values(options)
    tag = "data" if {"data.root", "data.pairs"} & given.keys() else "demo"

    def stages(entry: Entry) -> list[tuple[str, Entry]]:
        return [(k, find_entry(v)) for k, v in entry.about.get("after", {}).items() if k not in given]

    def make(entry: Entry, seed: int, others: frozenset[str]) -> Job:
        entry = find_entry(entry.same_as)
        earlier = stages(entry)
        known = frozenset(_model_options(entry) if earlier or others else ())
        before = frozenset().union(others, known)
        after = tuple((option, make(stage, seed, before)) for option, stage in earlier)
        foreign = others.union(*(_model_options(stage) for _, stage in earlier)) - known
        chosen = [x for flag in flags(options) if key_of(flag) not in foreign for x in flag]
        return Job(entry, entry.name, seed, tuple(chosen), runs, tag, after)

    def ordered(job: Job) -> Iterator[Job]:
        for _, earlier in job.after:
            yield from ordered(earlier)
        yield job

    able = [row for row in rows if "missing" not in row.entry.about]
    jobs = [job for row in able for seed in seeds for job in ordered(make(row.entry, seed, frozenset()))]
    return list(dict.fromkeys(jobs))


def _model_options(entry: Entry) -> set[str]:
    """`model.lr` and so on: what the entry's task takes."""
    return {k for k in (*defaults_of(entry), *entry.about.get("after", {})) if k.startswith("model.")}
