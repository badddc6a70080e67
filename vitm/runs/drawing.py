"""Figures drawn by matplotlib, as SVG files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vitm.files import replace_when_whole


@contextmanager
def drawn(path: Path, what: str, width: float, height: float) -> Iterator[Any]:
    """Give a figure to draw on, and write it: the same file for the same content.

    Args:
        path: SVG file; it appears when it is whole.
        what: subject of the message where matplotlib is missing, such as "a radar chart".
        width: width in inches.
        height: height in inches.

    Raises:
        ImportError: matplotlib is missing; the message names the extra that has it.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"{what} needs matplotlib: pip install 'vitm[plots]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "vitm", "text.parse_math": False}):
        yield figure
        with replace_when_whole(path) as part:
            figure.savefig(part, format="svg", metadata={"Date": None})
