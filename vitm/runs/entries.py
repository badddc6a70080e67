"""Entries: what can be run, and which YAML files make it up."""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

ROOT = Path(__file__).parents[2] / "experiments"


@dataclass(frozen=True)
class Entry:
    """One experiment.

    Attributes:
        name: `kpn_mfi` or `kpn_mfi/table3/no_mfi`.
        configs: YAML files, later ones win: the recipe of the paper, and for a row of a table what it changes.
        demo: the overlay that sizes the recipe for the demo data, between the two.
        about: the merged `entry` sections of the files: title, task, data module, the paper's numbers, for a later
            stage `after`: an option of the task -> the entry whose trained network it takes, `base`: the entry that a
            row changes where it is not that of the folders above it, `order`: the place of a row in its table where
            its name does not tell, and `missing`: why there is nothing to run, only the paper's numbers.
    """

    name: str
    configs: tuple[Path, ...]
    demo: Path
    about: dict[str, Any]

    @property
    def group(self) -> str:
        """Paper, or paper/table: the group of a run on W&B."""
        return self.name.rpartition("/")[0] or self.name

    @property
    def same_as(self) -> str:
        """The entry whose runs this one shares: its base, where a row changes nothing, or else itself."""
        base = find_entry(self.configs[0].parent.relative_to(ROOT).as_posix())
        changes = yaml.safe_load(self.configs[-1].read_text()).keys() - {"entry"} if self.name != base.name else set()

        def runs(entry: Entry) -> list[Any]:
            after = {option: find_entry(name).same_as for option, name in entry.about.get("after", {}).items()}
            return [*(entry.about.get(key) for key in ("task", "data_module", "missing")), after]

        return self.name if changes or runs(self) != runs(base) else base.name

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
    if other := yaml.safe_load(configs[-1].read_text()).get("entry", {}).get("base"):
        base = ROOT / other / "base.yaml"
        configs = (base, configs[-1])
    about: dict[str, Any] = {}
    for config in configs:
        about |= yaml.safe_load(config.read_text()).get("entry", {})
    return Entry(name, configs, base.parent / "demo.yaml", about)
