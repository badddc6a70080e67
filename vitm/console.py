"""The console: one way to print, one set of progress columns."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_PIPE_WIDTH = 160  # columns where the output is no terminal

ProgressCallback = Callable[[int, int], None]
"""Called as work goes on, with the number of finished steps and the number of all."""


def console(*, errors: bool = False) -> Console:
    """Return a console as wide as the terminal, or 160 columns where there is none.

    Args:
        errors: whether it is on standard error, because standard output carries data.
    """
    stream = sys.stderr if errors else sys.stdout
    return Console(stderr=errors, width=None if stream.isatty() else _PIPE_WIDTH)


def progress(on: Console, *, shown: bool = True) -> Progress:
    """Return a progress display: what is done, a bar, the count and the time that remains."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=on, disable=not shown)
