"""A table as radar charts, as KPN-MFI's Figure 2 shows its Table 1: a polygon for each row, an axis for each value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from vitm.metrics import value_info, value_order
from vitm.runs.drawing import drawn

Numbers = Mapping[str, Mapping[str, float]]
"""Name of a row -> name of a value -> number."""


def unit_values(rows: Numbers) -> dict[str, dict[str, float]]:
    """Return values from 0, the worst of the rows, to 1, the best, whichever way is better.

    Only values that have a better side count, and only rows that have all of those that any row has.

    Example:
        >>> unit_values({"a": {"psnr": 30.0, "delta_e_itp": 10.0}, "b": {"psnr": 40.0, "delta_e_itp": 20.0}})
        {'a': {'psnr': 0.0, 'delta_e_itp': 1.0}, 'b': {'psnr': 1.0, 'delta_e_itp': 0.0}}
    """
    names = value_order({name for values in rows.values() for name in values if value_info(name).direction != "none"})
    complete = {row: values for row, values in rows.items() if values and {*names} <= values.keys()}
    scaled: dict[str, dict[str, float]] = {row: {} for row in complete}
    for name in names if complete else ():
        numbers = {row: values[name] for row, values in complete.items()}
        low, high = min(numbers.values()), max(numbers.values())
        worst = low if value_info(name).direction == "higher" else high
        for row, number in numbers.items():
            scaled[row][name] = abs(number - worst) / (high - low) if high > low else 1.0
    return scaled


def write_radar(charts: Mapping[str, Numbers], path: Path) -> bool:
    """Draw a chart beside each other for the paper's numbers and for ours, as SVG.

    Args:
        charts: title -> numbers of its rows. A chart with less than two rows or three values is left out.
        path: file to write.

    Returns:
        Whether a chart was left, and so a file written.

    Raises:
        ImportError: matplotlib is missing; the message names the extra that has it.
    """
    scaled = {title: unit_values(rows) for title, rows in charts.items()}
    kept = {t: rows for t, rows in scaled.items() if len(rows) > 1 and len(next(iter(rows.values()))) > 2}
    if not kept:
        return False
    with drawn(path, "a radar chart", 6 * len(kept), 6) as figure:
        for place, (title, rows) in enumerate(kept.items(), 1):
            names = [*next(iter(rows.values()))]
            angles = [2 * math.pi * i / len(names) for i in range(len(names) + 1)]
            axes = figure.add_subplot(1, len(kept), place, projection="polar")
            for row, values in rows.items():
                points = [values[name] for name in (*names, names[0])]
                (line,) = axes.plot(angles, points, label=row)
                axes.fill(angles, points, color=line.get_color(), alpha=0.06)
            axes.set_xticks(angles[:-1], [value_info(name).title for name in names])
            axes.set_ylim(0, 1.02)
            axes.set_yticks([0, 0.5, 1], ["worst", "", "best"])
            axes.set_title(title, pad=24)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=3, frameon=False, fontsize=9)
    return True
