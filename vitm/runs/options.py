"""Options of runs, as typed and as sections of a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

SEED = "seed_everything"
SECTIONS = ("model", "data", "trainer")


def flags(options: Sequence[str]) -> list[list[str]]:
    """Return each option with its value.

    Raises:
        ValueError: the first is no option.

    Example:
        >>> flags(["--model.lr", "3e-4", "--data.cache=true"])
        [['--model.lr', '3e-4'], ['--data.cache=true']]
    """
    split_up: list[list[str]] = []
    for text in options:
        if text.startswith("--"):
            split_up.append([text])
        elif split_up:
            split_up[-1].append(text)
        else:
            raise ValueError(f"expected an option of vitm run behind --, such as --trainer.max_steps 100; got {text!r}")
    return split_up


def key_of(flag: Sequence[str]) -> str:
    """Return `model.lr` of `--model.lr=3e-4`."""
    return flag[0].lstrip("-").partition("=")[0]


def option_values(options: Sequence[str]) -> dict[str, Any]:
    """Return `model.lr` -> value, of options as typed and of the --config files among them.

    Raises:
        ValueError: it begins with something else than an option.

    Example:
        >>> option_values(["--data.crop_size", "48", "--trainer", "{max_steps: 5}"])
        {'data.crop_size': 48, 'trainer.max_steps': 5}
    """
    values: dict[str, Any] = {}
    for flag in flags(options):
        key, text = key_of(flag), " ".join([*flag[0].partition("=")[2:], *flag[1:]]).strip()
        content = yaml.safe_load(Path(text).read_text() if key == "config" else text)
        values |= leaves(content or {}) if key == "config" else leaves({key: content})
    return values


def leaves(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return sections of a configuration as `model.lr` -> value; other sections are left out.

    Example:
        >>> leaves({"model": {"lr": 0.1}, "seed_everything": 3, "entry": {"title": "mine"}})
        {'model.lr': 0.1, 'seed_everything': 3}
    """
    flat: dict[str, Any] = {}
    for name, content in sections.items():
        if name in SECTIONS:
            flat |= {f"{name}.{option}": value for option, value in (content or {}).items()}
        elif name == SEED or "." in name:
            flat[name] = content
    return flat


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return `model.lr` -> value as sections of a configuration.

    Example:
        >>> nested({"model.lr": 0.1, "seed_everything": 3})
        {'model': {'lr': 0.1}, 'seed_everything': 3}
    """
    sections: dict[str, Any] = {}
    for key, value in options.items():
        section, _, option = key.partition(".")
        if option:
            sections.setdefault(section, {})[option] = value
        else:
            sections[key] = value
    return sections


def as_flags(*configs: Mapping[str, Any]) -> list[str]:
    """Return configurations as flags of a command line: `--config` and YAML text."""
    return [x for config in configs if config for x in ("--config", yaml.safe_dump(dict(config), sort_keys=False))]
