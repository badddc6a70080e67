"""The page of a report: everything is in the file, and nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vitm.metrics import value_info, value_order
from vitm.runs.changes import is_history, values_in_words
from vitm.runs.curves import COLOURS, curves_svg
from vitm.runs.options import leaves
from vitm.runs.record import RunRecord
from vitm.runs.results import in_digits

ARROWS = {"higher": "\N{NO-BREAK SPACE}↑", "lower": "\N{NO-BREAK SPACE}↓", "none": ""}
JPEG_QUALITY = 90
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # a browser refuses to load anything


@dataclass(frozen=True)
class Line:
    """A row of a table.

    Attributes:
        name: head of the row.
        cells: values; None for those that are missing.
        keys: letters of the runs that the row belongs to.
        kind: `ours`, `apart` for the first row of a new part, or nothing.
    """

    name: str
    cells: Sequence[Any]
    keys: Sequence[str] = ()
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        caption: text above the table, also for those who cannot see it.
        heads: heads of the columns behind the first.
        lines: rows.
        notes: remarks below the table.
        wrap: whether texts in cells may take several lines.
    """

    caption: str
    heads: Sequence[str]
    lines: Sequence[Line]
    notes: Sequence[str] = ()
    wrap: bool = False


@dataclass
class Family:
    """Runs of one paper, which are compared with each other.

    Attributes:
        title: name of the paper.
        runs: the runs.
        results: measured values beside the paper's; None: nothing is measured.
        charts: name of a logged value -> its chart.
        differences: options in which the runs differ; None for a single run, or if there are none.
    """

    title: str
    runs: Sequence[RunRecord]
    results: Table | None = None
    charts: Mapping[str, str] = field(default_factory=dict)
    differences: Table | None = None


def render(runs: Sequence[RunRecord]) -> str:
    """Return the page as text."""
    styles = {run.key: i for i, run in enumerate(runs)}
    families = []
    for name in dict.fromkeys(run.family for run in runs):
        members = [run for run in runs if run.family == name]
        title = next((str(run.about["paper"]) for run in members if run.about.get("paper")), name)
        charts = _charts(members, styles)
        families.append(Family(title, members, _results(members), charts, _differences(members)))
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "picture": _picture}
    return environment.get_template("report.html.j2").render(
        colours=COLOURS,
        environments={run.key: _environment(run) for run in runs},
        families=families,
        made=f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        policy=POLICY,
        runs=runs,
        styles={key: i % 8 for key, i in styles.items()},
        to_yaml=lambda config: yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
    )


def number(value: Any) -> str:
    """Return the text of a cell: numbers in four digits, nothing for what is missing."""
    if isinstance(value, int | float):
        return in_digits(value)
    return "" if value is None else str(value)


def _results(runs: Sequence[RunRecord]) -> Table | None:
    """Return measured values, entry by entry, with the paper's and, unless on demo data, the differences."""
    measured = [run for run in runs if run.values]
    if not measured:
        return None
    names = value_order({name for run in measured for name in (*run.values, *(run.about.get("results") or {}))})
    lines: list[Line] = []
    for entry in dict.fromkeys(run.entry for run in measured):
        members = [run for run in measured if run.entry == entry]
        unlike = {name for run in members for name in run.results.get("unlike_paper") or {}}
        about = members[0].about
        paper = {k: v for k, v in (about.get("results") or {}).items() if k not in unlike}
        for run in members:
            where = "" if run.results["stage"] == "test" else ", validation frames"
            name = f"{about.get('row', entry)}, {run.results.get('steps')} steps{where}"
            lines.append(Line(name, [run.values.get(k) for k in names], [run.key], "ours"))
        if paper:
            name = f"paper, Table {about.get('table')}, {about.get('row')}"
            lines.append(Line(name, [paper.get(k) for k in names]))
        for run in members if paper else ():
            if not run.demo:
                gaps = [run.values[k] - paper[k] if k in run.values and k in paper else None for k in names]
                lines.append(Line(f"{run.key} - paper", gaps))
    lines += _yardsticks(measured, names)
    heads = [value_info(name).heading + ARROWS[value_info(name).direction] for name in names]
    return Table("Ours, the paper's, and operators that need no training", heads, lines, _notes(measured))


def _yardsticks(runs: Sequence[RunRecord], names: Sequence[str]) -> list[Line]:
    """Return what was measured beside the networks; equal values of several runs are one row."""
    merged: list[tuple[str, dict[str, float], list[str]]] = []
    for run in runs:
        for name, values in (run.results.get("baselines") or {}).items():
            for other, known, keys in merged:
                common = known.keys() & values.keys()
                if name == other and common and all(math.isclose(known[k], values[k], rel_tol=1e-6) for k in common):
                    known |= values
                    keys.append(run.key)
                    break
            else:
                merged.append((name, dict(values), [run.key]))
    merged.sort(key=lambda row: row[2])  # those of the same frames stand together
    lines, last = [], None
    for name, values, keys in merged:
        kind = "" if keys == last else "apart"
        lines.append(Line(name, [values.get(k) for k in names], keys if len(keys) < len(runs) else (), kind))
        last = keys
    return lines


def _notes(runs: Sequence[RunRecord]) -> list[str]:
    """Return what a reader must know: numbers that were left out, and how each value was measured."""
    protocols: dict[str, list[str]] = {}
    notes = []
    for run in runs:
        for name, how in (run.results.get("unlike_paper") or {}).items():
            notes.append(f"{name} of the paper is left out: it was measured otherwise ({how})")
        for name, how in (run.results.get("protocol") or {}).items():
            protocols.setdefault(how, []).append(name)
    notes += [f"{', '.join(value_order(set(names)))}: {how}" for how, names in protocols.items()]
    return list(dict.fromkeys(notes))


def _charts(runs: Sequence[RunRecord], styles: Mapping[str, int]) -> dict[str, str]:
    """Return charts of what was logged, the loss first."""
    names = {name for run in runs for name in run.curves if not name.startswith("test/")}
    charts: dict[str, str] = {}
    for name in sorted(
        names, key=lambda n: (n != "train/loss", not n.startswith("val/"), not n.startswith("train/"), n)
    ):
        curves = {run.key: run.curves[name] for run in runs if name in run.curves}
        if chart := curves_svg(name, curves, styles, log=not name.startswith("lr")):
            charts[name] = Markup(chart)
    return charts


def _differences(runs: Sequence[RunRecord]) -> Table | None:
    """Return the options in which runs differ that have them."""
    options = [{name: str(value) for name, value in _options(run).items()} for run in runs]
    lines = []
    for name in sorted({name for one in options for name in one}):
        if len({one[name] for one in options if name in one}) > 1:
            lines.append(Line(name, [one.get(name) for one in options]))
    if not lines:
        return None
    return Table("Options that are not the same in all runs", [run.key for run in runs], lines, wrap=True)


def _options(run: RunRecord) -> dict[str, Any]:
    """Return the options of a run; of those that changed when it was resumed, all values."""
    changed = {name: value for name, value in (run.overrides or {}).items() if is_history(value)}
    return leaves(run.config) | {name: values_in_words(value) for name, value in changed.items()}


def _environment(run: RunRecord) -> Table | None:
    """Return hardware, times and versions of a finished run."""
    results = run.results
    if not results:
        return None
    macs = results.get("macs")
    times = (("training", "fit_seconds"), ("in all", "wall_seconds"))
    facts = {
        "network": f"{results['parameters'] / 1e6:.4f} M parameters" if "parameters" in results else None,
        "cost": f"{macs / 1e9:.4f} GMAC a frame at 256 x 256" if macs else None,
        "device": results.get("device"),
        "time": ", ".join(f"{what} {results[key]:.0f} s" for what, key in times if key in results),
        "finished": results.get("finished"),
        "weights measured": results.get("checkpoint"),
        "Python": results.get("python"),
        "packages": ", ".join(f"{name} {version}" for name, version in (results.get("versions") or {}).items()),
    }
    lines = [Line(name, [value]) for name, value in facts.items() if value]
    return Table(f"Environment of {run.key}", ["value"], lines, wrap=True)


def _picture(path: Path) -> dict[str, Any] | None:
    """Return a preview as a data address with its size; None if it cannot be read."""
    picture = cv2.imread(str(path))
    if picture is None:
        return None
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    address = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
    return {"address": address, "height": picture.shape[0], "width": picture.shape[1]}
