"""`vitm table`: a paper's table with our numbers beside its own."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from vitm.cli.options import add_runs


def main(arguments: list[str], console: Console) -> int:
    """Print a table and write `table.md`, `table.csv` and `table.tex`; return the exit status (1: no finished run)."""
    parser = argparse.ArgumentParser(
        "vitm table",
        description="Print a table of the newest finished run of each row and seed, and write it as files.",
    )
    parser.add_argument(
        "table",
        metavar="TABLE",
        help="such as dslnet/table2, or a YAML file of your own; `open`: the open benchmark's leaderboard, as kept",
    )
    add_runs(parser)
    parser.add_argument("--demo", action="store_true", help="show runs on the demo data (default: on your own)")
    parser.add_argument("--output", type=Path, help="folder to write to (default: the folder of the table's runs)")
    parser.add_argument("--radar", action="store_true", help="draw the paper's numbers and ours as radar charts too")
    parser.add_argument(
        "--histograms", action="store_true", help="draw histograms of luminance of our rows beside the truth too"
    )
    options = parser.parse_args(arguments)

    from vitm.runs.leaderboard import NAME, print_leaderboard
    from vitm.runs.table import table

    if options.table == NAME:
        print_leaderboard(output=options.output)
        return 0

    shown = table(
        options.table,
        options.runs,
        demo=options.demo,
        output=options.output,
        radar=options.radar,
        histograms=options.histograms,
    )
    if shown:
        return 0
    kind = "the demo" if options.demo else "your own"
    console.print(f"No row has a finished run on {kind} data under {options.runs}.", markup=False)
    return 1
