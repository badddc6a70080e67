"""`vitm report`: a page about runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console


def main(arguments: list[str], console: Console) -> int:
    """Write a report; return the exit status."""
    parser = argparse.ArgumentParser(
        "vitm report",
        description="Write one HTML file with curves, numbers beside the paper's, previews, configuration and "
        "environment of runs.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders: runs/<entry>/<run>")
    parser.add_argument("--output", type=Path, default=Path("report.html"), help="(report.html)")
    options = parser.parse_args(arguments)

    from vitm.files import WriteError, check_writable
    from vitm.runs.report import write_report

    try:
        check_writable(options.output)
    except WriteError as error:
        raise ValueError(str(error)) from error
    for folder in write_report(options.runs, options.output):
        console.print(f"{folder} is left out: it has no config.yaml", markup=False, soft_wrap=True)
    size = options.output.stat().st_size / 2**20
    console.print(f"Written: {options.output} ({size:.1f} MB)", markup=False, highlight=False, soft_wrap=True)
    return 0
