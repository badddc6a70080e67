"""The runs that make a table: which there are, in which order, and what has been done of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from experiments.entries import Entry, find_entry
from experiments.table import Row, finished

OURS = ("--runs", "--resume", "--name", "--checkpoint", "--seed_everything")  # chosen here
ANY = {  # options that change no number, or only how many of them there are
    "data.cache",
    "data.num_workers",
    "model.compile",
    "model.test_metrics",
    "trainer.accelerator",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.strategy",
}


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

    def done(self) -> Path | None:
        """The folder of its newest finished run, where that was trained with the options asked for now."""
        run = finished(self.entry, self.runs, self.tag).get(self.seed)
        return run["folder"] if run and self._fits(run["config"]) else None

    def interrupted(self) -> Path | None:
        """The folder of its newest run that was saved before it was done."""
        saved = list((self.runs / self.name).glob("*/checkpoints/last.ckpt"))
        for last in sorted(saved, key=lambda path: path.stat().st_mtime, reverse=True):
            folder, results = last.parents[1], last.parents[1] / "metrics.json"
            if not (folder / "config.yaml").is_file() or not (folder / "tags").is_file():
                continue
            measured = results.is_file() and json.loads(results.read_text())["stage"] == "test"
            if not measured and self.tag in (folder / "tags").read_text().split():
                config = yaml.safe_load((folder / "config.yaml").read_text())
                if config.get("seed_everything") == self.seed and self._fits(config):
                    return folder
        return None

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
        flags = [x for option, checkpoint in before for x in (f"--{option}", str(checkpoint))]
        return [self.name, *self.options, *flags, "--seed_everything", str(self.seed)]

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

    def _fits(self, config: dict[str, Any]) -> bool:
        """Whether a configuration has what the entry's files and the options say."""
        entry = self.entry
        files = [entry.configs[0], *([entry.demo] if self.tag == "demo" else []), *entry.configs[1:]]
        asked: dict[str, Any] = {}
        for file in files:
            content = yaml.safe_load(file.read_text())
            for section in ("model", "data", "trainer"):
                asked |= _leaves(content.get(section) or {}, section)
        asked |= option_values(self.options)
        there = _leaves(config, "")
        return all(k in ANY or (k in there and _same(v, there[k])) for k, v in asked.items())


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
        known = _model_options(entry) if earlier or others else frozenset()
        before = frozenset().union(others, known)
        after = tuple((option, make(stage, seed, before)) for option, stage in earlier)
        foreign = others.union(*(_model_options(stage) for _, stage in earlier)) - known
        chosen = [x for flag in _flags(options) if _key(flag) not in foreign for x in flag]
        return Job(entry, entry.name, seed, tuple(chosen), runs, tag, after)

    def ordered(job: Job) -> Iterator[Job]:
        for _, earlier in job.after:
            yield from ordered(earlier)
        yield job

    able = [row for row in rows if "missing" not in row.entry.about]
    jobs = [job for row in able for seed in seeds for job in ordered(make(row.entry, seed, frozenset()))]
    return list(dict.fromkeys(jobs))


@cache
def _options_of(task: type) -> frozenset[str]:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(task, "model", fail_untyped=False)
    return frozenset(vars(parser.get_defaults().as_flat()))


def _model_options(entry: Entry) -> frozenset[str]:
    """`model.lr` and so on: what the entry's task takes."""
    return _options_of(entry.load("task"))


def option_values(options: Sequence[str]) -> dict[str, Any]:
    """`data.crop_size` -> 48 and so on, of options as typed and of the --config files among them."""
    values: dict[str, Any] = {}
    for flag in _flags(options):
        key, text = _key(flag), " ".join([*flag[0].partition("=")[2:], *flag[1:]]).strip()
        if key == "config":
            values |= _leaves(yaml.safe_load(Path(text).read_text()) or {}, "")
        else:
            values |= _leaves(yaml.safe_load(text), key)
    return {k: v for k, v in values.items() if not k.startswith("entry.")}


def _key(flag: Sequence[str]) -> str:
    """`model.lr` of `--model.lr=3e-4`."""
    return flag[0].lstrip("-").partition("=")[0]


def _flags(options: Sequence[str]) -> list[list[str]]:
    """Each option with its value."""
    flags: list[list[str]] = []
    for text in options:
        if text.startswith("--"):
            flags.append([text])
        elif flags:
            flags[-1].append(text)
        else:
            raise ValueError(
                f"expected an option of experiments.run behind --, such as --trainer.max_steps 100; got {text!r}"
            )
    return flags


def _leaves(content: Any, at: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        return {at: content}
    return {k: v for key, part in content.items() for k, v in _leaves(part, f"{at}.{key}".lstrip(".")).items()}


def _same(a: Any, b: Any) -> bool:
    """Whether two values mean the same to a configuration: numbers may be text, and so may paths."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if a == b or a is None or b is None:
        return bool(a == b)
    try:
        return float(a) == float(b)
    except (TypeError, ValueError):
        return Path(str(a)) == Path(str(b))
