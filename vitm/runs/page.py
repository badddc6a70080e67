"""The HTML of a report: everything is in the file, and nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

import cv2
import yaml

from vitm.runs.curves import svg
from vitm.runs.results import COLUMNS
from vitm.runs.style import CSS

if TYPE_CHECKING:
    from pathlib import Path

    from vitm.runs.report import Run

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # a browser refuses to load anything
JPEG_QUALITY = 90


def page(runs: Sequence[Run]) -> str:
    """The whole page, as text."""
    title = f"Run report: {', '.join(dict.fromkeys(run.entry for run in runs))}"
    body = [
        "<h1>Run report</h1>",
        f'<p class="soft">Made {datetime.now().astimezone():%Y-%m-%d %H:%M %Z} by experiments.report.</p>',
        _overview(runs),
        _results(runs),
        _charts(runs),
        _differences(runs) if len(runs) > 1 else "",
        *(_run(run, i) for i, run in enumerate(runs)),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>\n{CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(filter(None, body))
        + "\n</main>\n</body>\n</html>\n"
    )


def number(value: Any) -> str:
    """A metric's value: four digits behind the point, or three digits of a small one."""
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:.2e}" if 0 < abs(value) < 1e-3 else f"{value:.4f}"


def _overview(runs: Sequence[Run]) -> str:
    items = [
        f'<li>{_key(run, i)} <a href="#{run.key}">{escape(run.entry)}</a>, seed '
        f"{escape(str(run.config.get('seed_everything')))}, {'demo' if run.demo else 'own'} data: "
        f"{escape(run.state)}<br><small>{escape(str(run.about.get('title', '')))}; {escape(str(run.folder))}"
        "</small></li>"
        for i, run in enumerate(runs)
    ]
    demo = (
        "<p class='note'>Numbers on demo data do not compare with a paper's.</p>" if any(r.demo for r in runs) else ""
    )
    return f'<ul class="runs">{"".join(items)}</ul>{demo}'


def _key(run: Run, i: int) -> str:
    return f'<span class="key s{i % 8}">{run.key}</span>'


def _results(runs: Sequence[Run]) -> str:
    """Ours, the paper's and the difference, a run after another."""
    measured = [run for run in runs if run.results.get("values")]
    if not measured:
        return "<h2>Results</h2><p>No run has been measured yet.</p>"
    printed = {name for run in measured for name in run.about.get("results") or {}}
    names = _ordered({name for run in measured for name in run.results["values"]} | printed)
    rows, notes = [], []
    for run in measured:
        ours = run.results["values"]
        unlike = run.results.get("unlike_paper") or {}
        paper = {k: v for k, v in (run.about.get("results") or {}).items() if k not in unlike}
        of = "" if run.results["stage"] == "test" else ", validation frames"
        name = f"{run.key}, {run.about.get('row', run.entry)}, {run.results.get('steps')} steps{of}"
        rows.append(("ours", name, [ours.get(k) for k in names]))
        if paper:
            where = f"paper, Table {run.about.get('table')}, {run.about.get('row')}"
            rows.append(("", where, [paper.get(k) for k in names]))
        if paper and not run.demo:
            both = [ours[k] - paper[k] if k in ours and k in paper else None for k in names]
            rows.append(("", "ours - paper", both))
        notes += [f"{k} of the paper is left out: it was measured otherwise ({how})" for k, how in unlike.items()]
        notes += [f"{k}: {how}" for k, how in (run.results.get("protocol") or {}).items()]
    body = _table("Ours, and the paper's", ["", *(COLUMNS.get(k, k) for k in names)], rows)
    return f"<h2>Results</h2>{body}{_list(dict.fromkeys(notes))}"


def _ordered(metrics: Iterable[str]) -> list[str]:
    return sorted(metrics, key=lambda name: (list(COLUMNS).index(name) if name in COLUMNS else len(COLUMNS), name))


def _charts(runs: Sequence[Run]) -> str:
    names = list(dict.fromkeys(name for run in runs for name in run.curves if not name.startswith("test/")))
    names.sort(
        key=lambda name: (name != "train/loss", not name.startswith("val/"), not name.startswith("train/"), name)
    )
    styles = {run.key: i for i, run in enumerate(runs)}
    figures = []
    for name in names:
        curves = {run.key: run.curves[name] for run in runs if name in run.curves}
        drawn = svg(name, curves, styles, log=not name.startswith("lr"))
        if drawn:
            figures.append(f"<figure><figcaption>{escape(name)}</figcaption>{drawn}</figure>")
    if not figures:
        return "<h2>Curves</h2><p>Nothing has been logged yet.</p>"
    legend = ", ".join(f"{_key(run, i)} {escape(run.entry)}" for i, run in enumerate(runs))
    return f'<h2>Curves</h2><p>Over optimiser steps. {legend}</p><div class="charts">{"".join(figures)}</div>'


def _differences(runs: Sequence[Run]) -> str:
    """The options in which the runs differ."""
    flat = [_leaves(run.config) for run in runs]
    keys = sorted({key for options in flat for key in options})
    missing = "not an option"
    rows = [("", key, [options.get(key, missing) for options in flat]) for key in keys]
    rows = [row for row in rows if any(value != row[2][0] for value in row[2])]
    if not rows:
        return "<h2>What differs</h2><p>All runs have the same configuration.</p>"
    table = _table("Options that are not the same in all runs", ["", *(run.key for run in runs)], rows)
    return f"<h2>What differs</h2>{table}"


def _leaves(config: Mapping[str, Any], at: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in config.items():
        name = f"{at}{key}"
        found |= _leaves(value, f"{name}.") if isinstance(value, dict) and value else {name: str(value)}
    return found


def _run(run: Run, i: int) -> str:
    results = run.results
    names = _ordered(results.get("values", {}))
    baselines = [("", name, [v.get(k) for k in names]) for name, v in (results.get("baselines") or {}).items()]
    yardsticks = [("ours", "ours", [results["values"][k] for k in names]), *baselines] if baselines else []
    parts = [f'<h2 id="{run.key}">{_key(run, i)} {escape(run.entry)}</h2>', f"<p>{escape(run.state)}</p>"]
    if yardsticks:
        parts.append("<h3>Beside what needs no training</h3>")
        parts.append(_table("On the same frames", ["", *(COLUMNS.get(k, k) for k in names)], yardsticks))
    if run.previews:
        shown = "".join(_picture(path, run) for path in run.previews)
        parts.append(f'<h3>Previews</h3><div class="previews">{shown}</div>')
    parts.append(f"<h3>Environment</h3>{_environment(run)}")
    text = escape(yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True))
    parts.append(
        f'<details><summary>Configuration of {run.key}</summary><div class="scroll" tabindex="0" role="region" '
        f'aria-label="Configuration of {run.key}"><pre>{text}</pre></div></details>'
    )
    return f"<section>{''.join(parts)}</section>"


def _environment(run: Run) -> str:
    results = run.results
    if not results:
        return "<p>It is written when the run is finished.</p>"
    versions = ", ".join(f"{name} {version}" for name, version in (results.get("versions") or {}).items())
    macs = results.get("macs")
    facts = {
        "network": f"{results['parameters'] / 1e6:.4f} M parameters" if "parameters" in results else None,
        "cost": f"{macs / 1e9:.4f} GMAC a frame at 256 x 256" if macs else None,
        "device": results.get("device"),
        "time": ", ".join(
            f"{what} {results[key]:.0f} s"
            for key, what in (("fit_seconds", "training"), ("wall_seconds", "in all"))
            if key in results
        ),
        "finished": results.get("finished"),
        "weights measured": results.get("checkpoint"),
        "Python": results.get("python"),
        "packages": versions,
    }
    rows = [("", name, [value]) for name, value in facts.items() if value]
    return _table(f"Environment of {run.key}", ["", "value"], rows, wrap=True)


def _picture(path: Path, run: Run) -> str:
    picture = cv2.imread(str(path))
    if picture is None:
        return f"<p>{escape(path.name)} cannot be read.</p>"
    whole, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert whole
    height, width = picture.shape[:2]
    source = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
    what = f"{run.key}, {path.stem.replace('_', ' ')}: input, prediction, target and error map, side by side"
    return (
        f'<figure><div class="scroll" tabindex="0" role="region" aria-label="{escape(path.stem)} of {run.key}">'
        f'<img src="{source}" alt="{escape(what)}" width="{width}" '
        f'height="{height}"></div><figcaption>{escape(path.stem)}</figcaption></figure>'
    )


def _table(
    caption: str, titles: Sequence[str], rows: Iterable[tuple[str, str, Sequence[Any]]], *, wrap: bool = False
) -> str:
    """A table that scrolls by itself where it is too wide; rows are (class, name, cells)."""
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    body = "".join(
        f'<tr class="{kind}"><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{'' if cell is None else escape(number(cell))}</td>" for cell in cells)
        + "</tr>"
        for kind, name, cells in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table{" class=wrap" * wrap}>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _list(texts: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f'<ul class="soft">{items}</ul>' if items else ""
