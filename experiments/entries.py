"""Entries: what can be run, and which YAML files make it up."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

ROOT = Path(__file__).parent


@dataclass(frozen=True)
class Entry:
    """One experiment.

    Attributes:
        name: `kpn_mfi` or `kpn_mfi/table3/no_mfi`.
        configs: YAML files, later ones win: the recipe of the paper, and for a row of a table what it changes.
        demo: the overlay that sizes the recipe for the demo data, between the two.
        about: the merged `entry` sections of the files: title, task, data module, the paper's numbers, `demo`: the kind
            of its demo data, and for a later stage `after`: an option of the task -> the entry whose trained network
            it takes.
    """

    name: str
    configs: tuple[Path, ...]
    demo: Path
    about: dict[str, Any]

    @property
    def group(self) -> str:
        """Paper, or paper/table: the group of a run on W&B."""
        return self.name.rpartition("/")[0] or self.name

    def load(self, what: Literal["task", "data_module"]) -> Any:
        """The class of the entry's task or data module."""
        module, _, name = self.about[what].rpartition(".")
        return getattr(importlib.import_module(module), name)


def entry_names() -> list[str]:
    """All entries, sorted."""
    bases = [p.parent for p in ROOT.rglob("base.yaml")]
    rows = [p.with_suffix("") for p in ROOT.glob("*/**/table*/*.yaml")]
    return sorted(p.relative_to(ROOT).as_posix() for p in {*bases, *rows})


def find_entry(name: str) -> Entry:
    """The entry called `name`.

    Raises:
        ValueError: there is none; the message names the nearest ones.
    """
    names = entry_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or names
        raise ValueError(f"no entry {name!r}; did you mean {', '.join(near)}? --list shows all {len(names)}")
    path = ROOT / name
    base = next(folder / "base.yaml" for folder in (path, *path.parents) if (folder / "base.yaml").is_file())
    configs = (base,) if base.parent == path else (base, path.with_suffix(".yaml"))
    about: dict[str, Any] = {}
    for config in configs:
        about |= yaml.safe_load(config.read_text()).get("entry", {})
    return Entry(name, configs, base.parent / "demo.yaml", about)
