"""A table of a paper with our numbers beside its own: `vitm table TABLE [options]`."""

from __future__ import annotations

import csv
import io
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Literal

import rich.table

from vitm.console import console as new_console
from vitm.files import replace_when_whole
from vitm.metrics import value_info, value_order
from vitm.metrics.registry import metric_of
from vitm.runs.entries import Entry, PaperTable, find_table
from vitm.runs.finished import FinishedRun, one_of_each_seed
from vitm.runs.histograms import FILE as HISTOGRAMS
from vitm.runs.histograms import read_histograms, write_histograms
from vitm.runs.radar import write_radar
from vitm.runs.results import Results, in_digits, printed_digits

console = new_console()
MARK = " †"


@dataclass(frozen=True)
class TableRow:
    """One row: the paper's numbers and the runs that measured ours.

    Attributes:
        entry: entry of the row.
        runs: finished runs by seed; empty where none is finished.
    """

    entry: Entry
    runs: Mapping[int, FinishedRun]

    @property
    def results(self) -> list[Results]:
        """What its runs measured, a seed each."""
        return [self.runs[seed].results for seed in sorted(self.runs)]

    def paper(self, value: str) -> Decimal | None:
        """Return the paper's number; None where it prints none, or measured it otherwise."""
        unlike = any(value in results.unlike_paper for results in self.results)
        return None if unlike else self.entry.results.get(value)

    def ours(self, value: str) -> list[float]:
        """Return our numbers, a seed each."""
        return [results.values[value] for results in self.results if value in results.values]

    @property
    def name(self) -> str:
        """Its name, marked where a checkpoint was chosen on the frames that are measured."""
        return (self.entry.row or self.entry.name) + MARK * any(results.chosen_on_test for results in self.results)

    @property
    def measured(self) -> set[str]:
        """Names of the values that its runs measured."""
        return {name for results in self.results for name in results.values}

    def size(self, what: Literal["parameters", "macs"], unit: float) -> str:
        """Return the size of our network in a unit; empty where no run counted it."""
        counts = [count for results in self.results if (count := getattr(results, what))]
        return f"{counts[0] / unit:.4f}" if counts else ""


def table(
    name: str,
    runs: Path = Path("runs"),
    *,
    demo: bool = False,
    output: Path | None = None,
    radar: bool = False,
    histograms: bool = False,
) -> bool:
    """Print a table and write it as Markdown, CSV and LaTeX; return whether a row has a finished run.

    Args:
        name: name of a table, such as `dslnet/table2`, or path of a YAML file.
        runs: folder of all runs.
        demo: whether runs on the demo data are meant.
        output: folder to write to; default: the table's own among the runs.
        radar: whether to draw the paper's numbers and ours as radar charts too, `radar.svg`.
        histograms: whether to draw histograms of luminance of our rows beside the truth too, `histograms.svg`.

    Raises:
        ValueError: there is no such table, a run cannot be read, or there is nothing to draw.
    """
    if output is not None and output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file; give a folder")
    paper_table = find_table(name)
    rows = collect(paper_table, runs, demo=demo)
    folder = output or runs / paper_table.name
    for wanted, draw, file in ((radar, draw_radar, "radar.svg"), (histograms, draw_histograms, "histograms.svg")):
        if wanted:
            folder.mkdir(parents=True, exist_ok=True)
            draw(rows, folder / file)
            console.print(f"Drawn: {folder / file}", soft_wrap=True, markup=False)
    return show(paper_table, rows, folder, demo=demo)


def draw_radar(rows: Sequence[TableRow], path: Path) -> None:
    """Draw the paper's numbers and ours as radar charts.

    Raises:
        ValueError: neither has two rows with three values that have a better side.
    """
    charts = {
        "paper": {row.name: {name: float(n) for name, n in row.entry.results.items()} for row in rows},
        "ours": {row.name: {name: statistics.mean(row.ours(name)) for name in row.measured} for row in rows},
    }
    if not write_radar(charts, path):
        raise ValueError("a radar chart needs two rows with the same three values or more")


def draw_histograms(rows: Sequence[TableRow], path: Path) -> None:
    """Draw histograms of luminance of test frames, as the run of the smallest seed of each row predicted them.

    Raises:
        ValueError: the rows share no test frame, or no run kept its histograms.
    """
    first = {row.name: row.runs[min(row.runs)] for row in rows if row.runs}
    if not write_histograms({name: read_histograms(run.measured_in) for name, run in first.items()}, path):
        raise ValueError(
            f"no test frame is in the {HISTOGRAMS} of all rows: measure them on the same frames, and runs of older "
            "versions once more (vitm run ENTRY test)"
        )


def collect(
    table: PaperTable, runs: Path, *, demo: bool, fits: Callable[[Entry, FinishedRun], bool] = lambda entry, run: True
) -> list[TableRow]:
    """Return the rows of a table, each with a finished run of each seed.

    Args:
        table: the table.
        runs: folder of all runs.
        demo: whether runs on the demo data are meant.
        fits: which runs of an entry count; among them, those with the entry's own recipe come first.

    Raises:
        ValueError: a run cannot be read; the message names the file.
    """
    able = [row for row in table.rows if not row.missing]
    chosen = {row: one_of_each_seed(row, runs, demo=demo, fits=partial(fits, row)) for row in able}
    return [TableRow(row, chosen.get(row, {})) for row in table.rows]


def newest(rows: Sequence[TableRow]) -> Results | None:
    """Return what the run of a table measured that was finished last; None: there is none."""
    return max((results for row in rows for results in row.results), key=lambda r: r.finished, default=None)


@dataclass(frozen=True)
class Column:
    """A column of a printed table: its title, and the cells of the rows and of the yardsticks below them."""

    title: str
    cells: Sequence[str]


def columns(rows: Sequence[TableRow], *, demo: bool) -> list[Column]:
    """Return the columns of a table: names, every value, sizes, seeds.

    A value is there if the paper prints it or a run measured it: the paper's, ours and, but for the demo data, the
    difference. No column is empty. Below the rows there is one for each yardstick, such as an analytic operator, of the
    newest run.
    """
    last = newest(rows)
    yardsticks = last.baselines if last else {}
    below = [""] * len(yardsticks)
    table = [Column("row", [*(row.name for row in rows), *yardsticks])]
    for name in value_order({name for row in rows for name in (*row.entry.results, *row.measured)}):
        table += _columns_of_value(name, rows, yardsticks, demo=demo)
    for title, printed, ours in (
        ("M params", [row.entry.parameters_m for row in rows], [row.size("parameters", 1e6) for row in rows]),
        ("GMAC", [row.entry.gmacs for row in rows], [row.size("macs", 1e9) for row in rows]),
    ):
        table.append(Column(f"{title} paper", [*("" if n is None else str(n) for n in printed), *below]))
        table.append(Column(f"{title} ours", [*ours, *below]))
    states = [str(len(row.runs)) if row.runs else "no entry" if row.entry.missing else "not run" for row in rows]
    return [column for column in [*table, Column("seeds", states + below)] if any(column.cells)]


def _columns_of_value(
    name: str, rows: Sequence[TableRow], yardsticks: Mapping[str, Mapping[str, float]], *, demo: bool
) -> Iterator[Column]:
    heading, below = value_info(name).heading, [""] * len(yardsticks)
    printed = [row.entry.results[name] for row in rows if name in row.entry.results]
    paper, ours = [row.paper(name) for row in rows], [row.ours(name) for row in rows]
    if printed:
        yield Column(f"{heading} paper", [*("" if number is None else str(number) for number in paper), *below])

    def text(values: Sequence[float], minus: Decimal | None = None) -> str:
        if not values:
            return ""
        mean = statistics.mean(values)
        digits = max(printed_digits(printed), 4 if abs(mean) < 2 else 2)
        if minus is not None:
            return f"{mean - float(minus):+.{digits}f}"
        number = in_digits(mean, digits)
        if len(values) == 1:
            return number
        spread = statistics.stdev(values)  # in the digits of the mean, 29.34 ± 0.05, or 1.21e-04 ± 3.00e-07
        return f"{number} ± {spread:.2e}" if "e" in number else f"{number} ± {spread:.{digits}f}"

    measured = [[values[name]] if name in values else [] for values in yardsticks.values()]
    yield Column(f"{heading} ours", [*map(text, ours), *map(text, measured)])
    if printed and not demo:
        gaps = ["" if number is None else text(values, number) for number, values in zip(paper, ours, strict=True)]
        yield Column(f"{heading} diff", [*gaps, *below])


def notes(rows: Sequence[TableRow], *, demo: bool) -> list[str]:
    """Return what a reader must know before comparing."""
    measured = [results for row in rows for results in row.results]
    texts = []
    if demo and measured:
        texts.append("Ours are of the demo data: not the paper's, and too short a training for deep networks.")
    if not demo and measured:
        texts.append("The difference means something only where data and schedule are the paper's.")
    if len(steps := sorted({results.steps for results in measured if results.steps})) > 1:  # an operator makes none
        texts.append(f"The rows were trained for different numbers of steps: {steps}.")
    if any(results.chosen_on_test for results in measured):
        texts.append(
            f"{MARK.strip()} The best checkpoint was chosen on the frames that are measured, as HDRTVNet does."
        )
    alike: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if options := tuple(sorted({option for run in row.runs.values() for option in run.changed})):
            alike.setdefault(options, []).append(row.entry.row)
    for options, names in alike.items():
        whose = "its entry" if len(names) == 1 else "their entries"
        texts.append(f"{', '.join(names)}: trained or measured with another {', '.join(options)} than {whose}.")
    if (last := newest(rows)) and last.baselines:
        texts.append(f"Below the paper's rows: what needs no training, on the test frames of {last.entry}.")
    texts += [f"{row.entry.row}, no entry: {row.entry.missing}" for row in rows if row.entry.missing]
    if measured:
        values = set().union(*(row.measured for row in rows))
        for name in value_order({name for row in rows for name in row.entry.results} - values):
            how = f"a test does with {_metric(name)} in --model.test_metrics"
            texts.append(f"{value_info(name).heading}: no row measured it; {how}.")
    for name in sorted({name for results in measured for name in results.unlike_paper}):
        texts.append(f"{name}: the paper measured it otherwise; its numbers are left out.")
    protocols = {(name, how) for results in measured for name, how in results.protocol.items()}
    return texts + [f"{name}: {how}" for name, how in sorted(protocols)]


def _metric(value: str) -> str:
    """Return the name of the metric that gives a value; the value's own, if no metric of the package does."""
    try:
        return metric_of(value)
    except ValueError:
        return value


def show(table: PaperTable, rows: Sequence[TableRow], folder: Path, *, demo: bool) -> bool:
    """Print rows and write them to a folder; return whether one has a run, without which nothing is written."""
    cells, remarks = columns(rows, demo=demo), notes(rows, demo=demo)
    titles, lines = [column.title for column in cells], list(zip(*(column.cells for column in cells), strict=True))
    print_lines(table.title, titles, lines, remarks)
    if not any(row.runs for row in rows):
        return False
    write_lines(folder, titles, lines, remarks)
    return True


def print_lines(title: str, titles: Sequence[str], lines: Sequence[Sequence[str]], remarks: Sequence[str]) -> None:
    """Print the lines of a table, and remarks below it."""
    for i, block in enumerate(blocks(titles, lines, console.width)):
        printed = rich.table.Table(title=None if i else title, title_justify="left")
        for column, width in block.items():
            justify: Literal["left", "right"] = "right" if column else "left"
            printed.add_column(titles[column], justify=justify, overflow="fold", min_width=width, max_width=width)
        for line in lines:
            printed.add_row(*(line[column] for column in block))
        console.print(printed)
    for note in remarks:
        console.print(note, style="dim", highlight=False, markup=False)


def write_lines(folder: Path, titles: Sequence[str], lines: Sequence[Sequence[str]], remarks: Sequence[str]) -> None:
    """Write the lines of a table to a folder: as Markdown, with remarks below, as CSV and as LaTeX."""
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(titles, lines) + "\n" + "".join(f"- {note}\n" for note in remarks)
    for name, content in (("md", text), ("csv", as_csv(titles, lines)), ("tex", latex(titles, lines))):
        with replace_when_whole(folder / f"table.{name}") as part:
            part.write_text(content)
    console.print(f"Written to {folder}: table.md, table.csv, table.tex", soft_wrap=True, markup=False)


def blocks(titles: Sequence[str], lines: Sequence[Sequence[str]], width: int) -> list[dict[int, int]]:
    """Split a table into tables that fit a width, each beginning with the first column, so that no number is broken.

    Args:
        titles: titles of the columns, which may be broken between words.
        lines: texts of the rows; those of the first column may be broken anywhere.
        width: number of characters in a line.

    Returns:
        Column -> width, for each table.

    Example:
        >>> blocks(["row", "PSNR dB paper", "PSNR dB ours"], [["M6", "30.1234", "30.1200"]], 30)
        [{0: 3, 1: 7, 2: 7}]
        >>> blocks(["row", "PSNR dB paper", "PSNR dB ours"], [["M6", "30.1234", "30.1200"]], 20)
        [{0: 3, 1: 7}, {0: 3, 2: 7}]
    """
    texts = [[*title.split(), *(line[i] for line in lines)] for i, title in enumerate(titles)]
    first, *others = (max(map(len, column), default=1) for column in texts)
    first = min(first, max(10, width // 4))
    border, frame = 3, 1
    result, left = [{0: first}], width - frame - first - border
    for i, own in enumerate(others, start=1):
        if own + border > left and len(result[-1]) > 1:
            result.append({0: first})
            left = width - frame - first - border
        result[-1][i] = own
        left -= own + border
    return result


def markdown(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table.

    Example:
        >>> print(markdown(["row", "PSNR dB"], [["#1", "34.9014"]]))
        | row | PSNR dB |
        | --- | ---: |
        | #1 | 34.9014 |
        <BLANKLINE>
    """
    rule = ["---", *["---:"] * (len(titles) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (titles, rule, *lines)) + "\n"


def latex(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a LaTeX tabular with booktabs rules."""

    def line(texts: Sequence[str]) -> str:
        return (
            " & ".join(re.sub(r"([#%&_])", r"\\\1", t).replace("±", "$\\pm$").replace("†", "$\\dagger$") for t in texts)
            + r" \\"
        )

    start, end = rf"\begin{{tabular}}{{l{'r' * (len(titles) - 1)}}}", r"\end{tabular}"
    parts = [start, r"\toprule", line(titles), r"\midrule", *map(line, lines), r"\bottomrule", end]
    return "\n".join(parts) + "\n"


def as_csv(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return comma-separated values.

    Example:
        >>> as_csv(["row", "PSNR dB"], [["#1", "34.9014"]]).splitlines()
        ['row,PSNR dB', '#1,34.9014']
    """
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([titles, *lines])
    return file.getvalue()
