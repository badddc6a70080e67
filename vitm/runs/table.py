"""A table of a paper with our numbers beside its own: `vitm table`."""

from __future__ import annotations

import csv
import io
import json
import re
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from vitm.files import replace_when_whole
from vitm.runs.entries import Entry, entry_names, find_entry
from vitm.runs.options import changed, defaults_of, leaves, recipe, same
from vitm.runs.results import COLUMNS

console = Console(width=None if sys.stdout.isatty() else 160)


@dataclass(frozen=True)
class Row:
    """One row: the paper's numbers and the runs that measured ours.

    Attributes:
        entry: the row's entry.
        runs: contents of `metrics.json`, one for each seed; none if nothing is finished.
        seeds: their seeds.
    """

    entry: Entry
    runs: tuple[dict[str, Any], ...]
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """As the paper calls it."""
        return str(self.entry.about["row"])

    def paper(self, metric: str) -> float | None:
        """The paper's number; None where it prints none, or measured it otherwise."""
        if any(metric in run["unlike_paper"] for run in self.runs):
            return None
        number: float | None = self.entry.about["results"].get(metric)
        return number

    def ours(self, metric: str) -> tuple[float, float] | None:
        """Mean and standard deviation over the seeds; the latter is NaN for a single one."""
        values = [run["values"][metric] for run in self.runs if metric in run["values"]]
        if not values:
            return None
        return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else float("nan")


def collect(
    table: str, runs: Path, tag: str, fits: Callable[[Entry, Mapping[str, Any]], bool] | None = None
) -> list[Row]:
    """The rows of a table, in the paper's order, with a finished run of each seed.

    A row that changes nothing is a run of its base, and takes those too.

    Args:
        table: such as `dslnet/table2`.
        runs: where runs are kept.
        tag: `demo` or `data`.
        fits: which runs of an entry count; default: any, before others those with no other options than the entry's.

    Raises:
        ValueError: no entry is a row of `table`, or a run cannot be read.
    """
    names = [name for name in entry_names() if name.rpartition("/")[0] == table]
    if not names or "/table" not in table:
        known = sorted({name.rpartition("/")[0] for name in entry_names() if "/table" in name})
        raise ValueError(f"no table {table!r}; there are {', '.join(known)}")
    rows = []
    for entry in sorted(map(find_entry, names), key=lambda e: (e.about.get("order", 0), _natural(str(e.about["row"])))):
        chosen = finished(entry, runs, tag, None if fits is None else partial(fits, entry))
        rows.append(Row(entry, tuple(chosen[seed] for seed in sorted(chosen)), tuple(sorted(chosen))))
    return rows


def finished(
    entry: Entry, runs: Path, tag: str, fits: Callable[[Mapping[str, Any]], bool] | None = None
) -> dict[int, dict[str, Any]]:
    """Seed -> the newest finished run of an entry with the options of its files, or if there is none, with others.

    A row that changes nothing is a run of its base, and takes those too.

    Args:
        entry: of which.
        runs: where runs are kept.
        tag: `demo` or `data`.
        fits: which runs count; default: any.

    Returns:
        Contents of `metrics.json`, `config` and `folder` of the training, `otherwise`: options of the measurement that
        are neither the entry's nor the training's, and `changed`: these, and those of the training that are not the
        entry's.

    Raises:
        ValueError: a run cannot be read; the message names the file.
    """
    found: list[tuple[bool, float, int, dict[str, Any]]] = []
    files = [file for name in {entry.name, entry.same_as} for file in (runs / name).glob("*/metrics.json")]
    for file in files:
        run = read(file)
        if run["stage"] != "test" or tag not in read(file.parent / "tags").split():
            continue
        folder = _trained_in(run.get("checkpoint"), file.parent)
        config = read(folder / "config.yaml")
        measured = config if folder == file.parent else read(file.parent / "config.yaml")
        expected, defaults = recipe(entry, tag), defaults_of(entry)
        trained, there = leaves(config), leaves(measured)
        own = changed(measured, expected, defaults) | ({"data.root", "data.pairs"} if tag == "data" else set())
        run |= {"config": config, "folder": folder}
        run["otherwise"] = {k for k in own if not same(trained.get(k), there.get(k))}
        run["changed"] = sorted(run["otherwise"] | changed(config, expected, defaults))
        if fits is None or fits(run):
            found.append((not run["changed"], file.stat().st_mtime, int(config.get("seed_everything") or 0), run))
    return {seed: run for _, _, seed, run in sorted(found, key=lambda one: one[:2])}


def read(file: Path) -> Any:
    """What a file of a run folder holds: JSON, YAML or text.

    Raises:
        ValueError: it is not there, or not whole; the message names it.
    """
    try:
        text = file.read_text()
        content = {".json": json.loads, ".yaml": yaml.safe_load}.get(file.suffix, str)(text)
        if file.suffix in (".json", ".yaml") and not isinstance(content, dict):
            raise ValueError("it holds no mapping")
        if file.suffix == ".json" and not {"stage", "values"} <= content.keys():
            raise ValueError("it is not what experiments.run writes")
    except (OSError, ValueError, yaml.YAMLError) as error:
        why = "it is missing" if isinstance(error, FileNotFoundError) else error
        raise ValueError(f"{file} cannot be read ({why}): put it right, or take its run out of the folder") from error
    return content


def _trained_in(checkpoint: str | None, run: Path) -> Path:
    """The folder of the run that trained what was measured, or else of the one that measured it."""
    trained = Path(checkpoint).parent.parent if checkpoint else run
    return trained if (trained / "config.yaml").is_file() else run


def _natural(text: str) -> list[tuple[int, str]]:
    """Sorts M2 before M10, and M0 before M0+M1."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text)]


def newest(rows: Sequence[Row]) -> dict[str, Any]:
    """The run of a table that was finished last, which measured the yardsticks; empty if there is none."""
    return max((run for row in rows for run in row.runs), key=lambda run: str(run.get("finished")), default={})


def cells(rows: Sequence[Row], tag: str) -> tuple[list[str], list[list[str]]]:
    """Titles, and the cells of each row: paper, ours and, but for demo data, the difference; parameters, seeds.

    Below the rows there is one for each yardstick, such as an analytic operator, of the newest run.
    """
    kinds = ("paper", "ours") if tag == "demo" else ("paper", "ours", "diff")
    measured = {metric for row in rows for run in row.runs for metric in run["values"]}
    printed = {metric for row in rows for metric in row.entry.about["results"]}
    metrics = [m for m in COLUMNS if m in printed or (m in measured and not printed)]
    titles = [
        "row",
        *(f"{COLUMNS[m]} {what}" for m in metrics for what in kinds),
        "M params",
        "seeds",
    ]
    lines = []
    for row in rows:
        line = [row.name]
        for metric in metrics:
            paper, ours = row.paper(metric), row.ours(metric)
            digits = _digits(paper or (ours or (0.0,))[0])
            line.append("" if paper is None else f"{paper:.{digits}f}")
            spread = "" if ours is None or ours[1] != ours[1] else f" ± {ours[1]:.{digits}f}"
            line.append("" if ours is None else f"{ours[0]:.{digits}f}{spread}")
            if "diff" in kinds:
                line.append("" if paper is None or ours is None else f"{ours[0] - paper:+.{digits}f}")
        line.append(f"{row.runs[0]['parameters'] / 1e6:.4f}" if row.runs else "")
        line.append(str(len(row.runs)) if row.runs else "no entry" if "missing" in row.entry.about else "not run")
        lines.append(line)
    for name, values in newest(rows).get("baselines", {}).items():
        texts = {m: f"{values[m]:.{_digits(values[m])}f}" for m in metrics if m in values}
        lines.append([name, *(texts.get(m, "") if what == "ours" else "" for m in metrics for what in kinds), "", ""])
    return titles, lines


def _digits(value: float) -> int:
    return 4 if value < 2 else 2


def notes(rows: Sequence[Row], tag: str) -> list[str]:
    """What a reader must know before comparing."""
    runs = [run for row in rows for run in row.runs]
    found = []
    if tag == "demo" and runs:
        found.append("Ours are of the demo data: not the paper's, and too short a training for deep networks.")
    if tag != "demo" and runs:
        found.append("The difference means something only where data and schedule are the paper's.")
    if len({run["steps"] for run in runs}) > 1:
        found.append(f"The rows were trained for different numbers of steps: {sorted({r['steps'] for r in runs})}.")
    otherwise: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if options := tuple(sorted({k for run in row.runs for k in run["changed"]})):
            otherwise.setdefault(options, []).append(row.name)
    for options, names in otherwise.items():
        whose = "its entry" if len(names) == 1 else "their entries"
        found.append(f"{', '.join(names)}: trained or measured with another {', '.join(options)} than {whose}.")
    if newest(rows).get("baselines"):
        found.append(f"Below the paper's rows: what needs no training, on the test frames of {newest(rows)['entry']}.")
    for row in rows:
        if "missing" in row.entry.about:
            found.append(f"{row.name}, no entry: {row.entry.about['missing']}")
    for name in sorted({name for run in runs for name in run["unlike_paper"]}):
        found.append(f"{name}: the paper measured it otherwise; its numbers are left out.")
    for name, how in sorted({(n, p) for run in runs for n, p in run["protocol"].items() if n in COLUMNS}):
        found.append(f"{name}: {how}")
    return found


def markdown(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rule = ["---", *["---:"] * (len(titles) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (titles, rule, *lines)) + "\n"


def latex(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A LaTeX tabular with booktabs rules."""

    def line(texts: Sequence[str]) -> str:
        return " & ".join(re.sub(r"([#%&_])", r"\\\1", t).replace("±", "$\\pm$") for t in texts) + r" \\"

    start, end = rf"\begin{{tabular}}{{l{'r' * (len(titles) - 1)}}}", r"\end{tabular}"
    parts = [start, r"\toprule", line(titles), r"\midrule", *map(line, lines), r"\bottomrule", end]
    return "\n".join(parts) + "\n"


def _csv(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([titles, *lines])
    return file.getvalue()


def show(rows: Sequence[Row], tag: str, folder: Path) -> bool:
    """Print a table and write it to a folder; whether a row has a run, without which nothing is written."""
    titles, lines = cells(rows, tag)
    table = Table(title=f"{rows[0].entry.about['paper']}, Table {rows[0].entry.about['table']}", title_justify="left")
    for title in titles:
        table.add_column(title, justify="left" if title == "row" else "right", overflow="fold")
    for line in lines:
        table.add_row(*line)
    console.print(table)
    said = notes(rows, tag)
    for note in said:
        console.print(note, style="dim", highlight=False, markup=False)
    if not any(row.runs for row in rows):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(titles, lines) + "\n" + "".join(f"- {note}\n" for note in said)
    for name, content in (("md", text), ("csv", _csv(titles, lines)), ("tex", latex(titles, lines))):
        with replace_when_whole(folder / f"table.{name}") as part:
            part.write_text(content)
    console.print(f"Written to {folder}: table.md, table.csv, table.tex", soft_wrap=True, markup=False)
    return True
