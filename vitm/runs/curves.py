"""Curves of several runs as one inline SVG, drawn by matplotlib: what a report shows of a training."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = list[tuple[float, float]]

WIDTH, HEIGHT = 360, 216  # points, as are all lengths here
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 10, 22  # margins
LINE, LETTER = 12.0, 8.5  # height of a label, and the width of one of its letters
LABELS = 5  # names in a label at most; the others are counted
POINTS = 240  # points of a curve at most: more are averaged
DOTTED = 24  # a curve with no more points than these shows each of them

# Name of a colour in the page's style sheet -> its value on a light and on a dark ground. matplotlib draws with the
# light one, which then becomes the name, so that the page chooses.
COLOURS = {
    "s0": ("#2a78d6", "#5a9ff0"),
    "s1": ("#d1521f", "#ee7a4c"),
    "s2": ("#138a5f", "#35b98a"),
    "s3": ("#9a6a00", "#d9a02a"),
    "s4": ("#c2407a", "#e87ba4"),
    "s5": ("#007300", "#4cb84c"),
    "s6": ("#4a3aa7", "#a79df2"),
    "s7": ("#d03533", "#f07c7b"),
    "soft": ("#5a5955", "#b4b2ab"),
    "grid": ("#e8e6e1", "#32312f"),
}
_NUMBER = re.compile(r"-?\d+\.\d+")
DASHES = ((), (7, 3), (2, 3), (9, 3, 2, 3), (4, 2), (12, 4), (1, 2), (6, 2, 1, 2))


def curves_svg(title: str, curves: Mapping[str, Curve], styles: Mapping[str, int], *, log: bool = True) -> str:
    """Return a chart of values over steps, with a line for each run and its name at the end of the line.

    Steps without a finite value are left out. Lines that end close to each other share a label with all their names.

    Args:
        title: name of the value.
        curves: name of a run -> (step, value) in the order of steps.
        styles: name of a run -> number of its colour and dashes.
        log: whether the axis becomes logarithmic where all values are positive and span more than two decades.

    Returns:
        An `<svg>` element, the same text for the same arguments; an empty text if no curve has a finite value.

    Raises:
        ImportError: matplotlib is missing; the message names the extra that has it.
    """
    finite = {name: [(x, y) for x, y in curve if math.isfinite(y)] for name, curve in curves.items()}
    finite = {name: _thin(curve) for name, curve in finite.items() if curve}
    if not finite:
        return ""
    new_figure, settings = _matplotlib()
    with settings:
        figure = new_figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72)
        figure.patch.set_visible(False)
        right = RIGHT + LETTER * sum(map(len, _shown(list(finite))))  # if all names share a label
        width, height = WIDTH - LEFT - right, HEIGHT - TOP - BOTTOM
        axes = figure.add_axes((LEFT / WIDTH, BOTTOM / HEIGHT, width / WIDTH, height / HEIGHT))
        _set_scales(axes, finite, log)
        titles = _draw(axes, finite, styles)
        for names in _group_ends(axes, finite):
            _write_label(axes, names, *_centre(axes, finite, names), styles)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    ends = ", ".join(f"{name} {_text(curve[0][1])} to {_text(curve[-1][1])}" for name, curve in finite.items())
    return _inline(file.getvalue(), f"{title} over steps: {ends}", titles)


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round numbers that enclose a range."""
    from matplotlib.ticker import MaxNLocator

    if low == high:
        low, high = (low - 0.05 * abs(low), high + 0.05 * abs(high)) if low else (-0.05, 0.05)
    return [round(float(tick), 12) for tick in MaxNLocator(count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]


def _matplotlib() -> tuple[Any, Any]:
    """Return the class of figures, and the settings under which the same figure is always the same text."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("a report needs matplotlib for its curves: pip install 'vitm[plots]'") from error
    settings: Any = {
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 11,
        "lines.scale_dashes": False,
        "path.simplify": False,
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "vitm",
        "text.parse_math": False,
    }
    return Figure, matplotlib.rc_context(settings)


def _set_scales(axes: Axes, curves: Mapping[str, Curve], log: bool) -> None:
    """Set ranges, ticks and the grid, for round numbers around all values."""
    xs = [x for curve in curves.values() for x, _ in curve]
    ys = [y for curve in curves.values() for _, y in curve]
    if log and min(ys) > 0 and max(ys) / min(ys) > 100:
        axes.set_yscale("log")
        powers = range(math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys))) + 1)
        y_ticks = [10.0**power for power in powers]
    else:
        y_ticks = ticks(min(ys), max(ys), 4)
    last = max(*xs, 1.0)
    x_ticks = [tick for tick in ticks(min(0.0, *xs), last, 4) if tick <= 1.02 * last]
    axes.set_xlim(min(x_ticks[0], *xs), max(x_ticks[-1], last))
    axes.set_ylim(y_ticks[0], y_ticks[-1])
    axes.set_xticks(x_ticks, [_text(tick) for tick in x_ticks])
    axes.set_yticks(y_ticks, [_text(tick) for tick in y_ticks])
    axes.minorticks_off()
    axes.tick_params(length=0, pad=6, labelcolor=COLOURS["soft"][0])
    axes.grid(axis="y", color=COLOURS["grid"][0], linewidth=1, clip_on=False)
    axes.spines[:].set_visible(False)
    axes.patch.set_visible(False)


def _group_ends(axes: Axes, curves: Mapping[str, Curve]) -> list[list[str]]:
    """Return names of curves in groups that need one label, since labels of their own would overlap."""
    groups = [[name] for name in sorted(curves, key=lambda name: curves[name][-1][1], reverse=True)]
    while True:
        centres = [_centre(axes, curves, group) for group in groups]
        near = [
            (abs(a[1] - b[1]), i, j)
            for i, a in enumerate(centres)
            for j, b in enumerate(centres[:i])
            if abs(a[1] - b[1]) < LINE and abs(a[0] - b[0]) < 3 * LETTER
        ]
        if not near:
            return groups
        _, i, j = min(near)
        groups[j] += groups.pop(i)


def _centre(axes: Axes, curves: Mapping[str, Curve], names: list[str]) -> tuple[float, float]:
    """Return the place of a label: right of the ends of its curves, at their mean height."""
    ends = axes.transData.transform([curves[name][-1] for name in names])
    return float(ends[:, 0].max()), float(ends[:, 1].mean())


def _shown(names: list[str]) -> list[str]:
    """Return the texts of a label: names, and how many more there are."""
    return names if len(names) <= LABELS else [*names[:LABELS], f"+{len(names) - LABELS}"]


def _draw(axes: Axes, curves: Mapping[str, Curve], styles: Mapping[str, int]) -> dict[str, str]:
    """Draw the lines, and the points of short ones; return the title of each by its group's identifier."""
    titles: dict[str, str] = {}

    def add(points: Curve, title: str, **style: Any) -> None:
        titles[f"titled-{len(titles)}"] = title
        axes.plot(*zip(*points, strict=True), gid=f"titled-{len(titles) - 1}", clip_on=False, **style)

    for name, curve in curves.items():
        colour, dashes = COLOURS[f"s{styles[name] % 8}"][0], DASHES[styles[name] % 8]
        add(curve, name, color=colour, linewidth=1.8, linestyle=(0, dashes) if dashes else "-")
        for x, y in curve if len(curve) <= DOTTED else ():  # a line without length, with round ends
            add([(x, y)] * 2, f"{name}, step {x:g}: {y:.6g}", color=colour, linewidth=6, solid_capstyle="round")
    return titles


def _write_label(axes: Axes, names: list[str], x: float, y: float, styles: Mapping[str, int]) -> None:
    """Write names side by side, each in the colour of its line."""
    x += 7
    for text in _shown(names):
        colour = COLOURS[f"s{styles[text] % 8}" if text in styles else "soft"][0]
        axes.text(x, y, text, transform=None, color=colour, weight="bold", va="center_baseline")
        x += LETTER * len(text) + 1


def _inline(document: str, label: str, titles: Mapping[str, str]) -> str:
    """Return what matplotlib wrote as an element of a page: labelled, in the page's colours, without identifiers."""
    root = ElementTree.fromstring(document)
    root.attrib = {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "role": "img", "aria-label": label}
    for element in list(root.iter()):
        element.tag = element.tag.rpartition("}")[2]  # HTML knows SVG without its namespace
        for child in list(element):
            if child.tag.endswith(("}metadata", "}defs")):
                element.remove(child)
        element.tail = None
        if element.tag != "text":
            element.text = None
        for name in ("d", "x", "y"):
            if name in element.attrib:
                element.set(
                    name, " ".join(_NUMBER.sub(lambda match: f"{float(match[0]):.1f}", element.attrib[name]).split())
                )
        element.attrib.pop("transform", None)  # nothing is turned
        if title := titles.get(element.attrib.pop("id", "")):
            ElementTree.SubElement(element, "title").text = title
    text = ElementTree.tostring(root, encoding="unicode").replace("<g />", "")
    for name, (light, _) in COLOURS.items():
        text = text.replace(light, f"var(--{name})")
    return text


def _thin(curve: Curve) -> Curve:
    """Return a curve of at most `POINTS` points, each the mean of as many steps."""
    size = -(-len(curve) // POINTS)
    groups = [curve[i : i + size] for i in range(0, len(curve), size)]
    return [(g[-1][0], sum(y for _, y in g) / len(g)) for g in groups]


def _text(value: float) -> str:
    """Return a number in few letters."""
    for limit, unit in ((1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / {'M': 1e6, 'k': 1e3}[unit]:g}{unit}"
    if 0 < abs(value) < 1e-3:
        digits, _, power = f"{value:.3e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
