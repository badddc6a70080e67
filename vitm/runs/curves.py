"""Curves of several runs as one inline SVG, without a program to draw it: what a report shows of training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

Curve = list[tuple[float, float]]

WIDTH, HEIGHT = 360, 216
LEFT, RIGHT, TOP, BOTTOM = 50, 22, 12, 26
LINE = 12  # between texts
POINTS = 240  # of a curve at most: more are averaged
DOTTED = 24  # curves with no more points than these show each of them


def svg(title: str, curves: Mapping[str, Curve], styles: Mapping[str, int], *, log: bool = True) -> str:
    """Value over step, a line for each run, each with its name at its end.

    Steps without a finite value are left out.

    Args:
        title: what is drawn.
        curves: name of a run -> (step, value) in the order of steps.
        styles: name of a run -> number of its colour and dashes, the classes `s0` to `s7`.
        log: make the axis logarithmic where all values are positive and span more than two decades.

    Returns:
        An `<svg>` element; an empty text if no curve has a finite value.
    """
    finite = {name: [(x, y) for x, y in curve if math.isfinite(y)] for name, curve in curves.items()}
    finite = {name: _thin(curve) for name, curve in finite.items() if curve}
    if not finite:
        return ""
    xs = [x for curve in finite.values() for x, _ in curve]
    ys = [y for curve in finite.values() for _, y in curve]
    log = log and min(ys) > 0 and max(ys) / min(ys) > 100
    x_ticks = [t for t in ticks(min(0.0, *xs), max(*xs, 1.0), 4) if t <= 1.02 * max(*xs, 1.0)]
    y_ticks = log_ticks(min(ys), max(ys)) if log else ticks(min(ys), max(ys), 4)
    x_low, x_high = min(x_ticks[0], *xs), max(x_ticks[-1], *xs)
    y_low, y_high = min(y_ticks[0], *ys), max(y_ticks[-1], *ys)

    def across(x: float) -> float:
        return LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        y, low, high = (math.log(v) if log else v for v in (y, y_low, y_high))
        return HEIGHT - BOTTOM - (y - low) / ((high - low) or 1) * (HEIGHT - TOP - BOTTOM)

    ends = ", ".join(f"{name} {_text(curve[0][1])} to {_text(curve[-1][1])}" for name, curve in finite.items())
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{title} over steps: {ends}")}">',
        *(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(t):.1f}" y2="{up(t):.1f}"/>'
            f'<text x="{LEFT - 6}" y="{up(t) + 4:.1f}" text-anchor="end">{_text(t)}</text>'
            for t in y_ticks
        ),
        *(f'<text x="{across(t):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{_text(t)}</text>' for t in x_ticks),
    ]
    ordered = sorted(finite.items(), key=lambda item: up(item[1][-1][1]))
    heights = _apart([up(curve[-1][1]) + 4 for _, curve in ordered], HEIGHT - BOTTOM + 4)
    for (name, curve), height in zip(ordered, heights, strict=True):
        style = f"s{styles[name] % 8}"
        points = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in curve)
        parts.append(f'<polyline class="{style}" points="{points}"><title>{escape(name)}</title></polyline>')
        for x, y in curve if len(curve) <= DOTTED else ():
            told = escape(f"{name}, step {x:g}: {y:.6g}")
            at = f'cx="{across(x):.1f}" cy="{up(y):.1f}"'
            parts.append(f'<circle class="{style}" {at} r="3"><title>{told}</title></circle>')
        parts.append(f'<text class="end" x="{across(curve[-1][0]) + 6:.1f}" y="{height:.1f}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers that enclose a range."""
    span = (high - low) or abs(high) or 1.0
    rough = span / count
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * m for m in (1, 2, 2.5, 5, 10) if unit * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten that enclose a range."""
    return [10.0**i for i in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def _apart(heights: list[float], bottom: float) -> list[float]:
    """Sorted heights of texts, moved until no two of them overlap and none is below `bottom`."""
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + LINE)
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], bottom if i == len(heights) - 1 else heights[i + 1] - LINE)
    return heights


def _thin(curve: Curve) -> Curve:
    """A curve of at most `POINTS` points, each the mean of as many steps."""
    size = -(-len(curve) // POINTS)
    groups = [curve[i : i + size] for i in range(0, len(curve), size)]
    return [(g[-1][0], sum(y for _, y in g) / len(g)) for g in groups]


def _text(value: float) -> str:
    for limit, unit in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / {'M': 1e6, 'k': 1e3}[unit]:g}{unit}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
