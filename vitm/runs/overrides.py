"""What a run has otherwise than its entry: written when it starts, and the one thing that tables and sweeps compare."""

from __future__ import annotations

import textwrap
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace

from vitm.files import replace_when_whole
from vitm.runs.entries import Entry
from vitm.runs.options import SEED, as_flags, flags, key_of, leaves, nested, option_values

NO_EFFECT = {  # options that do not affect results, only where and how fast a run works, or which values it measures
    "data.cache",
    "data.cache_dir",
    "data.num_workers",
    "data.verify",
    "model.compile",
    "model.test_metrics",
    "trainer.accelerator",
    "trainer.default_root_dir",
    "trainer.devices",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "trainer.num_nodes",
    "trainer.profiler",
    "trainer.strategy",
}
ROOT = "data.root"  # where the data are; a run on other data than the demo's always says so
FILE = "overrides.yaml"


def overrides(
    parser: ArgumentParser, recipe: Mapping[str, Any], config: Namespace | Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options of a configuration that differ from an entry resolved alone.

    Args:
        parser: The parser that resolved `config`.
        recipe: Sections of the entry, before defaults are added.
        config: A resolved configuration. Options that it lacks, as an older run may, count as the entry's.

    Returns:
        `"model.lr"` -> value in `config`.

    Raises:
        ValueError: The entry does not fit the parser.
    """
    ours, defaults = leaves(plain(parser, config)), leaves(plain(parser, parser.get_defaults()))
    given = leaves(recipe)
    # What has no default, as required options, cannot be resolved alone.
    open_ = {k for k, v in ours.items() if k in defaults and defaults[k] is None and v is not None and k not in given}
    try:
        resolved = parser.parse_args(as_flags(recipe, nested({k: ours[k] for k in open_})))
    except ArgumentError as error:
        raise ValueError(f"the entry cannot be resolved: {error}") from error
    alone = leaves(plain(parser, resolved))
    return {k: v for k, v in ours.items() if k in alone and (k in open_ or not same(v, alone[k]))}


def save_overrides(
    file: Path,
    parser: ArgumentParser,
    entry: Entry,
    config: Namespace,
    *,
    demo: bool,
    history: Mapping[str, Mapping[int, Any]] | None = None,
) -> dict[str, Any]:
    """Write what a run has otherwise than its entry, as sections that `--config` takes; return it.

    Args:
        file: The new file.
        parser: The parser that resolved `config`.
        entry: Entry of the run.
        config: Its configuration.
        demo: Whether it takes the demo data.
        history: Options that changed when the run was resumed, with a value for each step at which they did; they
            stand in the file so, and no entry and no other run has such a value.
    """
    different = overrides(parser, entry.config(demo=demo), config) | dict(history or {})
    if demo:
        different.pop(ROOT, None)
    remark = (
        "Tables and sweeps compare this file and nothing else. They leave out the seed, the place of the data, and "
        f"options that do not affect results: {', '.join(sorted(NO_EFFECT))}."
    )
    head = f"# What this run has otherwise than {entry.name}{', sized for the demo data' if demo else ''}.\n"
    head += textwrap.fill(remark, 120, initial_indent="# ", subsequent_indent="# ") + "\n"
    with replace_when_whole(file) as part:
        part.write_text(head + yaml.safe_dump(nested(different), sort_keys=False))
    return different


def read_overrides(folder: Path, entry: Entry, *, demo: bool) -> dict[str, Any]:
    """Return what the run in a folder has otherwise than an entry, option -> value.

    Runs of another entry, and those of before `overrides.yaml` was written, are compared by their `config.yaml`.

    Raises:
        ValueError: a file cannot be read; the message names it.
    """
    file, place = folder / FILE, folder.resolve().parent.as_posix()
    if file.is_file() and place.endswith(tuple(f"/{name}" for name in entry.folders)):
        return leaves(read_mapping(file))
    config = read_mapping(folder / "config.yaml")
    try:
        different = overrides(entry_parser(entry), entry.config(demo=demo), config)
    except ValueError as error:
        raise unreadable(folder / "config.yaml", error) from error
    if demo:
        different.pop(ROOT, None)
    return different


def asked_overrides(entry: Entry, options: Sequence[str], *, demo: bool) -> dict[str, Any]:
    """Return what a run with options, as typed, would have otherwise than its entry, option -> value.

    Options that the entry does not have are kept as they are: the run will say so.

    Raises:
        ValueError: an option's value, or a file among them, is wrong.
    """
    parser, recipe = entry_parser(entry), entry.config(demo=demo)
    known = leaves(plain(parser, parser.get_defaults())).keys()
    typed = {True: list[str](), False: list[str]()}
    for flag in flags(options):
        key = key_of(flag)
        typed[key in ("config", "model", "data", "trainer") or ".".join(key.split(".")[:2]) in known] += flag
    later = [key for key in (*entry.after, *([ROOT] if demo else [])) if key not in option_values(typed[True])]
    stand_ins = dict.fromkeys(later, ".")
    try:
        config = parser.parse_args([*as_flags(recipe, nested(stand_ins)), *typed[True]])
    except ArgumentError as error:
        raise ValueError(f"{entry.address}: {error}") from error
    different = overrides(parser, recipe, config) | option_values(typed[False])
    return {key: value for key, value in different.items() if key not in stand_ins}


def recipe_changes(different: Mapping[str, Any], entry: Entry) -> dict[str, Any]:
    """Return the overrides that make a run another one than the entry's: all but those that `overrides.yaml` names."""
    apart = {*NO_EFFECT, *entry.after, ROOT, SEED}
    return {key: value for key, value in different.items() if key not in apart}


@cache
def _parser_of(task: type, data_module: type) -> ArgumentParser:
    from lightning.pytorch import Trainer
    from lightning.pytorch.cli import LightningArgumentParser

    from vitm.training.lightning_internals import whole_numbers_first

    whole_numbers_first()
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_argument("--entry", type=dict, default={})
    parser.add_argument(f"--{SEED}", type=bool | int, default=0)
    parser.add_lightning_class_args(Trainer, "trainer")
    parser.add_lightning_class_args(task, "model")
    parser.add_lightning_class_args(data_module, "data")
    return parser


def entry_parser(entry: Entry) -> ArgumentParser:
    """Return a parser of the options that a run of an entry has, as `vitm run` builds it."""
    return _parser_of(entry.load_task(), entry.load_data_module())


def option_names(entry: Entry, section: str) -> set[str]:
    """Return the options of a section of an entry: `model.lr` and so on."""
    parser = entry_parser(entry)
    return {name for name in leaves(plain(parser, parser.get_defaults())) if name.startswith(f"{section}.")}


def plain(parser: ArgumentParser, config: Namespace | Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as YAML keeps it: lists, texts and numbers."""
    if not isinstance(config, Namespace):
        return dict(config)
    text = parser.dump(config, skip_unset=False, skip_validation=True)
    plain: dict[str, Any] = yaml.safe_load(text)
    return plain


def read_mapping(file: Path) -> dict[str, Any]:
    """Return what a YAML file of a run folder holds.

    Raises:
        ValueError: the file is missing, or damaged; the message names it.
    """
    try:
        content = yaml.safe_load(file.read_text())
        if not isinstance(content, dict):
            raise ValueError("it holds no mapping")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise unreadable(file, error) from error
    return content


def unreadable(file: Path, error: Exception) -> ValueError:
    """Return the error to raise for a file of a run folder that cannot be read."""
    why = "it is missing" if isinstance(error, FileNotFoundError) else error
    return ValueError(f"{file} cannot be read ({why}): put it right, or take its run out of the folder")


def same(a: Any, b: Any) -> bool:
    """Return whether two values mean the same to a configuration: numbers may be text."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if a == b or a is None or b is None:
        return bool(a == b)
    try:
        return float(a) == float(b)
    except (TypeError, ValueError):
        return str(a) == str(b)
