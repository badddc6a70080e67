"""Entries and tables, read from YAML: what can be run, and what a paper prints beside it.

Ours are files in `experiments`: `<paper>/base.yaml` with `demo.yaml` is the entry `<paper>`, and `<paper>/table3.yaml`
has rows, each of them the entry `<paper>/table3/<row>`; `<paper>/readings.yaml` has rows too, of what the paper leaves
open. Nothing else lists them. A YAML file anywhere is an entry, or a table, as well;
docs/adding/your_own_network.md shows one.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from vitm.metrics.protocol import FRAMES, Protocol

Sections = dict[str, Any]  # of a configuration: model, data, trainer, seed_everything

TABLES = ("table*.yaml", "readings.yaml")  # of the paper, and of what it leaves open
SECTIONS = ("model", "data", "trainer", "seed_everything")
PRINTED = ("results", "parameters_m", "gmacs")  # numbers of a paper, whose digits are kept
TEXTS = ("title", "task", "data_module", "base", "after", "missing", "paper", "table", "row", "protocols", "published")
ABOUT = (*TEXTS, *PRINTED)


@dataclass(frozen=True, eq=False)
class Entry:
    """One experiment: what to run, and what a paper prints about it.

    Attributes:
        name: folder of its runs: `kpn_mfi`, `kpn_mfi/table3/no_mfi`, or the stem of a file of one's own.
        address: what to type for it: its name, or the path of a file of one's own.
        title: one line about it.
        task: import path of its LightningModule.
        data_module: import path of its LightningDataModule.
        recipe: sections of its configuration.
        demo_recipe: the same, sized for the demo data; None where it has no demo.
        change: sections in which it differs from its base.
        base: entry that it changes.
        shared: entry whose runs are this one's too, being the same experiment.
        after: option of the task -> address of the entry whose trained network it takes.
        missing: reason why it cannot be run; empty where it can.
        paper: name of the paper.
        table: number of the paper's table.
        row: the paper's name for it.
        protocols: name of a value -> how the paper measured it.
        results: name of a value -> the paper's number, with all digits that it prints.
        parameters_m: the paper's number of parameters, in millions.
        gmacs: the paper's number of multiply-adds, in billions.
        published: test data and weights that the numbers can be checked with: `data`, `split`, `samples`, `size` (width
            and height) and `weights` (the authors' name of a file -> SHA-256); empty where they are not public.
    """

    name: str
    address: str
    title: str = ""
    task: str = ""
    data_module: str = ""
    recipe: Sections = field(default_factory=dict)
    demo_recipe: Sections | None = None
    change: Sections = field(default_factory=dict)
    base: Entry | None = None
    shared: Entry | None = None
    after: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""
    paper: str = ""
    table: str = ""
    row: str = ""
    protocols: Mapping[str, Protocol] = field(default_factory=dict)
    results: Mapping[str, Decimal] = field(default_factory=dict)
    parameters_m: Decimal | None = None
    gmacs: Decimal | None = None
    published: Mapping[str, Any] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """Paper, or paper/table: the group of a run on W&B."""
        return self.name.rpartition("/")[0] or self.name

    @property
    def runs(self) -> Entry:
        """The entry to run for it: the shared one, or else itself."""
        return self.shared or self

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the folders that may hold its runs."""
        return tuple(dict.fromkeys((self.name, self.runs.name)))

    @property
    def about(self) -> dict[str, Any]:
        """What it is, without its configuration, as plain values for a file; what is empty is left out."""
        texts = {k: getattr(self, k) for k in ("title", "task", "data_module", "missing", "paper", "table", "row")}
        sizes = {k: float(v) for k in ("parameters_m", "gmacs") if (v := getattr(self, k)) is not None}
        results = {k: float(v) for k, v in self.results.items()}
        return {k: v for k, v in {**texts, "after": dict(self.after), "results": results, **sizes}.items() if v}

    def config(self, *, demo: bool) -> Sections:
        """Return the sections of its configuration, sized for the demo data or not.

        Raises:
            ValueError: it cannot be run, or has no demo.
        """
        if self.missing:
            raise ValueError(f"{self.name} cannot be run: {self.missing}")
        if not demo:
            return self.recipe
        if self.demo_recipe is None:
            raise ValueError(f"{self.address} has no demo section: give your data (--data.root DATA)")
        return self.demo_recipe

    def takes_demo_data(self, options: Collection[str]) -> bool:
        """Return whether a run with options such as `data.root` takes the demo data.

        It does if the entry has a demo, and neither its files nor the options say where other data are.
        """
        return self.demo_recipe is not None and "data.root" not in options and "root" not in self.recipe.get("data", {})

    def load_task(self) -> Any:
        """Return the class of its task."""
        return _load(self.task, self.address)

    def load_data_module(self) -> Any:
        """Return the class of its data module."""
        return _load(self.data_module, self.address)


@dataclass(frozen=True, eq=False)
class PaperTable:
    """A table of a paper, or of one's own.

    Attributes:
        name: folder of its files under `runs`: `kpn_mfi/table3`, or the stem of a file of one's own.
        address: what to type for it: its name, or the path of a file of one's own.
        title: paper and number.
        rows: its rows, in the order of the file.
    """

    name: str
    address: str
    title: str
    rows: tuple[Entry, ...]


def experiments_folder() -> Path:
    """Return the folder of our YAML files: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parents[1]
    return next(folder for folder in (package / "experiments", package.parent / "experiments") if folder.is_dir())


def table_names() -> list[str]:
    """Return the names of all our tables, sorted."""
    files = (path for name in TABLES for path in experiments_folder().rglob(name))
    return _names(path.with_suffix("") for path in files)


def entry_names() -> list[str]:
    """Return the names of all our entries, sorted."""
    plain = _names(path.parent for path in experiments_folder().rglob("base.yaml"))
    return sorted([*plain, *(f"{table}/{row}" for table in table_names() for row in _read(_ours(table))["rows"])])


def find_entry(address: str) -> Entry:
    """Return an entry by its name, by the path of its YAML file, or by `TABLE.yaml/ROW`.

    Raises:
        ValueError: there is none of that name, and the message has the nearest ones; or its file is wrong.
        FileNotFoundError: there is no such file.

    Example:
        >>> find_entry("kpn_mfi/table3/no_mfi").change
        {'model': {'use_mfi': False, 'alpha': 0.0}}
    """
    return _find(_named(address))


def find_table(address: str) -> PaperTable:
    """Return a table by its name, or by the path of its YAML file.

    Raises:
        ValueError: there is none of that name, and the message has all; or its file is wrong.
        FileNotFoundError: there is no such file.

    Example:
        >>> [row.row for row in find_table("kpn_mfi/table3").rows]
        ['#1', '#2', '#3']
    """
    address = _named(address)
    own = address.endswith(".yaml")
    if not own and address not in table_names():
        raise ValueError(f"no table {address!r}; there are {', '.join(table_names())}; your own is a .yaml file")
    file = Path(address) if own else _ours(address)
    content = _read(file)
    if "rows" not in content:
        raise ValueError(f"{file} is no table: it has no rows")
    title = ", ".join(f"{before}{content[k]}" for k, before in (("paper", ""), ("table", "Table ")) if k in content)
    name = _own_name(file) if own else address
    return PaperTable(name, address, title or name, tuple(find_entry(f"{address}/{row}") for row in content["rows"]))


def find_entries(address: str) -> tuple[Entry, ...]:
    """Return the rows of a table, or an entry alone, by its name or the path of its YAML file.

    Raises:
        ValueError: there is neither of that name; or its file is wrong.
        FileNotFoundError: there is no such file.
    """
    own = ".yaml" in address
    if address in table_names() or (address.endswith(".yaml") and "rows" in _read(Path(address))):
        return find_table(address).rows
    if not own and address not in entry_names():
        raise ValueError(
            f"no entry or table {address!r}; the tables are {', '.join(table_names())}; vitm run --list has the "
            "entries; your own is a .yaml file"
        )
    return (find_entry(address),)


def _named(address: str) -> str:
    """Return the name of an entry or table of ours whose file's path is given, and anything else as it is."""
    path, is_file, row = address.rpartition(".yaml")
    if is_file and (file := Path(path).resolve()).is_relative_to(experiments_folder().resolve()):
        return file.relative_to(experiments_folder().resolve()).as_posix().removesuffix("/base") + row
    return address


def _find(address: str, folder: Path = Path(), seen: tuple[str, ...] = ()) -> Entry:
    """Return an entry; a path is seen from a folder, and `seen` are the entries that lead to it."""
    path, is_file, row = address.rpartition(".yaml")
    if is_file:
        file, row = (folder / f"{path}.yaml").expanduser(), row.strip("/")
        name = f"{_own_name(file)}/{row}".rstrip("/")
        address = f"{file}/{row}".rstrip("/")
    else:
        file, row, name = _ours(f"{address}/base"), "", address
        if not file.is_file():
            file, row = _ours(address.rpartition("/")[0]), address.rpartition("/")[2]
        if not file.is_file() or (row and row not in _read(file).get("rows", {})):
            names = entry_names()
            near = ", ".join(difflib.get_close_matches(address, names, n=3, cutoff=0.3) or names)
            raise ValueError(
                f"no entry {address!r}; did you mean {near}? --list shows all {len(names)}; your own is a .yaml file"
            )
    if address in seen:
        raise ValueError(f"these entries refer to each other in a circle: {', '.join(seen)}")
    return _entry(file, name, address, _row_of(file, row) if row else _content_of(file), (*seen, address))


def _content_of(file: Path) -> Sections:
    """Return what a file says about its one entry: the keys of its `entry` section beside its other sections."""
    content = _read(file)
    if "rows" in content:
        raise ValueError(f"{file} is a table: name a row, such as {file}/{next(iter(content['rows']), 'ROW')}")
    _check_keys(file, content, ("entry", "demo", *SECTIONS))
    about = content.pop("entry", None) or {}
    _check_keys(file, about, ABOUT, "entry.")
    beside = {"demo": "demo.yaml"} if file.name == "base.yaml" and file.with_name("demo.yaml").is_file() else {}
    return about | beside | content


def _row_of(file: Path, row: str) -> Sections:
    """Return what a table says about one of its rows."""
    table = _read(file)
    _check_keys(file, table, ("paper", "table", "base", "shared", "rows"))
    if row not in table.get("rows", {}):
        raise ValueError(f"{file} has no row {row!r}; there are {', '.join(table.get('rows', {})) or 'none'}")
    given = table["rows"][row] or {}
    _check_keys(file, given, ("runs", "demo", *ABOUT, *SECTIONS), f"rows.{row}.")
    general = ("paper", "table") if given.keys() & {"runs", "missing"} else ("paper", "table", "base")
    return {key: table[key] for key in general if key in table} | given


def _check_keys(file: Path, content: Any, known: Sequence[str], where: str = "") -> None:
    if not isinstance(content, Mapping):
        raise ValueError(f"{file}: expected a mapping at {where.rstrip('.') or 'the top'}, got {content!r}")
    for section in ("demo", *SECTIONS[:-1]):
        if section in content and not isinstance(content[section], Mapping | str):
            raise ValueError(f"{file}: expected a mapping at {where}{section}, got {content[section]!r}")
    if unknown := [key for key in content if key not in known]:
        raise ValueError(f"{file}: {where}{unknown[0]} is unknown; expected {', '.join(known)}")


def _entry(file: Path, name: str, address: str, given: Sections, seen: tuple[str, ...]) -> Entry:
    """Return an entry: what it says itself, over its base.

    A task of its own takes no options of the base's task, and a data module none of the base's. Of a paper's numbers it
    inherits only those of an entry whose runs it shares.
    """
    nothing = Entry("", "")
    same = _find(given["runs"], file.parent, seen) if "runs" in given else None
    base = same or (_find(given["base"], file.parent, seen) if "base" in given else None)
    below, shared = base or nothing, same or nothing
    dropped = {section for key, section in (("task", "model"), ("data_module", "data")) if key in given}
    own = {key: given[key] for key in SECTIONS if key in given}

    def merged(inherited: Sections, *layers: Sections) -> Sections:
        """Return sections, of which later ones replace options of earlier ones."""
        result = {name: content for name, content in inherited.items() if name not in dropped}
        for layer in layers:
            for name, content in layer.items():
                result[name] = result.get(name, {}) | content if isinstance(content, Mapping) else content
        return result

    recipe, demo_recipe = merged(below.recipe, own), None
    if "demo" in given or (below.demo_recipe and "data_module" not in given):
        demo = given.get("demo") or {}
        demo = _read(file.parent / demo) if isinstance(demo, str) else demo
        demo_recipe = merged(below.demo_recipe or below.recipe, own, demo)
    after = given.get("after", {} if "task" in given else below.after)
    row, table = str(given.get("row", shared.row)), str(given.get("table", shared.table))
    missing = given.get("missing", shared.missing)
    label = ", ".join(text for text in (f"Table {table}" if table else "", row) if text) or name
    entry = Entry(
        name=name,
        address=address,
        title=str(given.get("title", f"{label}: the paper's numbers, no entry" if missing else label)),
        task=given.get("task", below.task),
        data_module=given.get("data_module", below.data_module),
        recipe=recipe,
        demo_recipe=demo_recipe,
        change=own if base else {},
        base=base,
        shared=same.runs if same else None,
        after={option: _seen_from_here(file, earlier) for option, earlier in after.items()},
        missing=missing,
        paper=str(given.get("paper", shared.paper)),
        table=table,
        row=row,
        protocols=_protocols(file, given["protocols"]) if "protocols" in given else below.protocols,
        results=given.get("results", shared.results),
        parameters_m=given.get("parameters_m", shared.parameters_m),
        gmacs=given.get("gmacs", shared.gmacs),
        published=given.get("published", shared.published),
    )
    if not missing and not (entry.task and entry.data_module):
        raise ValueError(f"{address} needs a task and a data_module (import paths) in its entry section, or a base")
    return entry


def _protocols(file: Path, given: Mapping[str, Any]) -> dict[str, Protocol]:
    """Return how a paper measured: what a file says differs from PSNR here (PQ codes, 16 bit, mean of frames)."""
    for value, fields in given.items():
        _check_keys(file, fields, tuple(Protocol.__dataclass_fields__), f"protocols.{value}.")
    return {value: replace(FRAMES, **fields) for value, fields in given.items()}


def _seen_from_here(file: Path, address: str) -> str:
    """Return an address in a file as seen from the working directory."""
    return str(file.parent / address) if ".yaml" in address else address


def _ours(name: str) -> Path:
    return experiments_folder() / f"{name}.yaml"


def _own_name(file: Path) -> str:
    """Return the name of a file of one's own, which no entry of ours has."""
    if (experiments_folder() / file.stem).exists():
        raise ValueError(f"{file} has the name of an entry of ours, which keeps its runs under it: rename the file")
    return file.stem


def _names(paths: Iterable[Path]) -> list[str]:
    return sorted(path.relative_to(experiments_folder()).as_posix() for path in paths)


def _read(file: Path) -> Sections:
    """Return what a YAML file says, with a paper's numbers as decimals."""
    try:
        return dict(_parsed(file, file.stat().st_mtime_ns))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {file}") from None


@cache
def _parsed(file: Path, changed: int) -> Sections:
    try:
        text = file.read_text(encoding="utf-8")
        content: Sections = _with_decimals(yaml.safe_load(text), yaml.load(text, yaml.BaseLoader))
    except (yaml.YAMLError, InvalidOperation, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} is neither an entry nor a table: expected sections such as entry and model, or rows")
    return content


def _with_decimals(content: Any, texts: Any) -> Any:
    """Return a mapping with the numbers that a paper prints as decimals, made of their text: 37.7260 keeps its zero."""
    if not isinstance(content, Mapping) or not isinstance(texts, Mapping):
        return content
    result: dict[Any, Any] = {}
    for key, value in content.items():
        text: Any = texts.get(key)
        if key == "results" and isinstance(text, Mapping):
            result[key] = {name: Decimal(number) for name, number in text.items()}
        elif key in PRINTED and value is not None:
            result[key] = Decimal(text)
        else:
            result[key] = _with_decimals(value, text)
    return result


def _load(path: str, address: str) -> Any:
    """Return the class of an import path.

    Raises:
        ValueError: there is none; the message says how to make a package importable.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{address} names {path}, which cannot be imported ({error}): install its package (pip install -e FOLDER), "
            "or set PYTHONPATH to the folder that holds it"
        ) from error
