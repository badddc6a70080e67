"""The open benchmark's leaderboard, from the results that are kept: `vitm table open`."""

from __future__ import annotations

import json
from pathlib import Path

from vitm.evaluation.open_benchmark import leaderboard
from vitm.runs.entries import experiments_folder
from vitm.runs.table import print_lines, write_lines

NAME = "open"
LEADERBOARD = experiments_folder() / NAME / "leaderboard.json"
"""What was measured with the released weights: system -> production -> values."""

NOTES = (
    "22 views of 160 x 90 pixels of 11 places that no training saw, two of each; means of views.",
    "PSNR of PQ codes in dB, and delta E_ITP. Productions hold the picture at its best single gain.",
    "CPU ms: CPU time of one view on one core.",
)


def print_leaderboard(file: Path = LEADERBOARD, output: Path | None = None) -> None:
    """Print every network and curve, by production, and write them as Markdown, CSV and LaTeX.

    Args:
        file: results that `benchmarks/open.py` measured.
        output: folder to write `table.md`, `table.csv` and `table.tex` to; None: print alone.
    """
    titles, *lines = leaderboard(json.loads(file.read_text()))
    print_lines("The open benchmark", titles, lines, NOTES)
    if output is not None:
        write_lines(output, titles, lines, NOTES)
