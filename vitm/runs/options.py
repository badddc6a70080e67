"""Options of runs: what entries and command lines ask for, and where a configuration has something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from vitm.runs.entries import Entry

ANY = {  # options that change no number, or only how many of them there are
    "data.cache",
    "data.num_workers",
    "model.compile",
    "model.test_metrics",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "trainer.num_nodes",
    "trainer.strategy",
}
TRAINER = {  # what the entries' files need not say, and what changes numbers
    "trainer.accumulate_grad_batches": 1,
    "trainer.limit_test_batches": None,
    "trainer.limit_train_batches": None,
    "trainer.max_steps": -1,
    "trainer.precision": None,
}


def recipe(entry: Entry, tag: str) -> dict[str, Any]:
    """`model.lr` -> 5e-4 and so on: what the entry's files say, for `demo` with the overlay."""
    asked: dict[str, Any] = {}
    for file in (entry.configs[0], *([entry.demo] if tag == "demo" else []), *entry.configs[1:]):
        content = yaml.safe_load(file.read_text())
        for section in ("model", "data", "trainer"):
            asked |= leaves(content.get(section) or {}, section)
    return asked


def defaults_of(entry: Entry) -> dict[str, Any]:
    """`model.lr` -> 5e-4 and so on: of the trainer, and of the entry's task less the networks that it goes on from."""
    defaults = _defaults(entry.load("task")) | TRAINER
    return {k: v for k, v in defaults.items() if k not in entry.about.get("after", {})}


@cache
def _defaults(task: type) -> dict[str, Any]:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(task, "model", fail_untyped=False)
    return dict(vars(parser.get_defaults().as_flat()))


def changed(config: Mapping[str, Any], asked: Mapping[str, Any], defaults: Mapping[str, Any]) -> set[str]:
    """Options, less those that change no number, that a configuration has otherwise than asked for.

    Those that nobody asked for should be as by default, where the configuration has them.
    """
    there = leaves(config)
    expected = {k: v for k, v in defaults.items() if k in there} | dict(asked)
    return {k for k, v in expected.items() if k not in ANY and not (k in there and same(v, there[k]))}


def option_values(options: Sequence[str]) -> dict[str, Any]:
    """`data.crop_size` -> 48 and so on, of options as typed and of the --config files among them.

    Raises:
        ValueError: it begins with something else than an option.
    """
    values: dict[str, Any] = {}
    for flag in flags(options):
        key, text = key_of(flag), " ".join([*flag[0].partition("=")[2:], *flag[1:]]).strip()
        if key == "config":
            values |= leaves(yaml.safe_load(Path(text).read_text()) or {})
        else:
            values |= leaves(yaml.safe_load(text), key)
    return {k: v for k, v in values.items() if not k.startswith("entry.")}


def key_of(flag: Sequence[str]) -> str:
    """`model.lr` of `--model.lr=3e-4`."""
    return flag[0].lstrip("-").partition("=")[0]


def flags(options: Sequence[str]) -> list[list[str]]:
    """Each option with its value.

    Raises:
        ValueError: the first is none.
    """
    found: list[list[str]] = []
    for text in options:
        if text.startswith("--"):
            found.append([text])
        elif found:
            found[-1].append(text)
        else:
            raise ValueError(f"expected an option of vitm run behind --, such as --trainer.max_steps 100; got {text!r}")
    return found


def leaves(content: Any, at: str = "") -> dict[str, Any]:
    """A nested mapping, flat: `a.b` -> value."""
    if not isinstance(content, Mapping):
        return {at: content}
    return {k: v for key, part in content.items() for k, v in leaves(part, f"{at}.{key}".lstrip(".")).items()}


def same(a: Any, b: Any) -> bool:
    """Whether two values mean the same to a configuration: numbers may be text, and so may paths."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if a == b or a is None or b is None:
        return bool(a == b)
    try:
        return float(a) == float(b)
    except (TypeError, ValueError):
        return Path(str(a)) == Path(str(b))
