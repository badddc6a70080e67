"""Options that a resumed run has otherwise than before: refused, or kept with the step at which they changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from jsonargparse import ArgumentParser, Namespace

from vitm.checkpoints import read_checkpoint
from vitm.runs.entries import Entry
from vitm.runs.old_options import read_config
from vitm.runs.options import SEED, leaves
from vitm.runs.overrides import FILE, NO_EFFECT, plain, read_mapping, same
from vitm.training.optimizers import ENDING, Named

History = dict[str, dict[int, Any]]
"""`"data.batch_size"` -> number of a step -> the value that the option has from that step on."""

LENGTH = {f"trainer.{name}" for name in ("max_epochs", "max_steps", "max_time", "min_epochs", "min_steps")}
ENDLESS = [name for name in get_args(Named) if name not in ENDING]  # schedules that are alike however long a run is


def check_changes(folder: Path, parser: ArgumentParser, entry: Entry, config: Namespace) -> History:
    """Return the options that change or have changed during a run, with the values that they had and have.

    A resume keeps what the checkpoint brings (the network, optimisers with their rates, schedules) and what the run is
    an experiment about (losses): these options cannot change. Those of data and trainer can.

    Args:
        folder: Folder of the run that is resumed.
        parser: The parser that resolved `config`.
        entry: Entry of the run.
        config: Its configuration from now on.

    Raises:
        ValueError: An option cannot change in a run.
    """
    before = leaves(plain(parser, parser.get_defaults())) | leaves(read_config(folder))
    after = leaves(plain(parser, config))
    changed = {key: value for key, value in after.items() if key in before and not same(before[key], value)}
    places = {*entry.after, *NO_EFFECT}
    fixed = [key for key in changed if (key.startswith("model.") or key == SEED) and key not in places]
    if fixed:
        values = ", ".join(f"--{key} {after[key]} (was {before[key]})" for key in fixed)
        last = folder / "checkpoints" / "last.ckpt"
        raise ValueError(
            f"{values}: a run keeps its seed and its options of the model; for a new run that starts from these "
            f"weights, without --resume and under another --name, give --model.init_from {last}"
        )
    if config["model"].get("schedule") in ENDLESS:
        places |= LENGTH
    step = read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"]
    history = read_history(folder)
    for key in changed.keys() - places:
        values_of = history.setdefault(key, {0: before[key]}) | {step: after[key]}
        history[key] = {s: value for s, value in values_of.items() if s <= step}
    return {key: values_of for key, values_of in history.items() if len(values_of) > 1}


def read_history(folder: Path) -> History:
    """Return the options that have changed during a run."""
    file = folder / FILE
    overrides = leaves(read_mapping(file)) if file.is_file() else {}
    return {key: dict(value) for key, value in overrides.items() if is_history(value)}


def is_history(value: Any) -> bool:
    """Return whether a value in `overrides.yaml` is one for each step at which the option changed."""
    return isinstance(value, Mapping) and 0 in value


def in_words(history: History) -> list[str]:
    """Return a line for each option that has changed.

    Example:
        >>> in_words({"data.batch_size": {0: 4, 120: 2}})
        ['--data.batch_size is 4, from step 120 on 2']
    """
    return [f"--{key} is {values_in_words(values)}" for key, values in history.items()]


def values_in_words(values: Mapping[int, Any]) -> str:
    """Return the values of an option that has changed.

    Example:
        >>> values_in_words({0: 4, 120: 2})
        '4, from step 120 on 2'
    """
    return f"{values[0]}" + "".join(f", from step {step} on {values[step]}" for step in sorted(values) if step)
