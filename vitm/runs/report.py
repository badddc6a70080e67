"""A page about runs that needs nothing else: `vitm report RUN... [--output report.html]`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vitm.files import replace_when_whole
from vitm.runs.page import render
from vitm.runs.record import read_record


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
