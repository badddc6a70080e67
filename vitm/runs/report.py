"""A page about runs that needs nothing else: `vitm report RUN... [--output report.html]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vitm.console import console as new_console
from vitm.files import WriteError, replace_when_whole
from vitm.runs.page import render
from vitm.runs.record import read_record

USAGE = "Write one HTML file with curves, numbers beside the paper's, previews, configuration and environment of runs."


def write_report(folders: Sequence[Path], output: Path) -> list[Path]:
    """Write a report of runs.

    Folders without a run are left out beside others, since `runs/<entry>/*/` has the folders of the entry's tables too.

    Args:
        folders: run folders, `runs/<entry>/<run>`.
        output: the HTML file to write.

    Returns:
        The folders that were left out.

    Raises:
        ValueError: no folder is a run folder, or a file in one is damaged; the message names it.
        WriteError: the file cannot be written.
        ImportError: matplotlib is missing; the message names the extra that has it.
    """
    given = list(dict.fromkeys(folder.resolve() for folder in folders))
    chosen = [folder for folder in given if (folder / "config.yaml").is_file()] or given
    records = [read_record(folder, _letter(i)) for i, folder in enumerate(chosen)]
    with replace_when_whole(output) as part:
        part.write_text(render(records), encoding="utf-8")
    return [folder for folder in given if folder not in chosen]


def _letter(i: int) -> str:
    """Return A, B, ..., Z, AA, AB, ... for 0, 1, ..."""
    return (_letter(i // 26 - 1) if i >= 26 else "") + chr(ord("A") + i % 26)


def main(argv: Sequence[str] | None = None) -> int:
    """Write a report as a command line asks; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=USAGE)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders: runs/<entry>/<run>")
    parser.add_argument("--output", type=Path, default=Path("report.html"), help="file to write (report.html)")
    options = parser.parse_args(argv)
    console = new_console()
    try:
        for folder in write_report(options.runs, options.output):
            console.print(f"{folder} is left out: it has no config.yaml", markup=False, soft_wrap=True)
    except (ValueError, OSError, WriteError, ImportError) as error:
        console.print(f"error: {error}", style="bold red", markup=False, soft_wrap=True)
        return 2
    size = options.output.stat().st_size / 2**20
    console.print(f"Written: {options.output} ({size:.1f} MB)", markup=False, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
