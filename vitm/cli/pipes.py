"""`-` as standard input and standard output of a conversion.

A conversion reads its source twice, for the level and for the picture, and an output is whole or absent: so what comes
in by a pipe is kept in a file first, and what goes out is written to a file and then copied.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

PIPE = Path("-")
_MATROSKA = b"\x1a\x45\xdf\xa3"  # the identifier of its header (RFC 9559)


@contextmanager
def files_for_pipes(options: argparse.Namespace) -> Iterator[None]:
    """Put files in the place of `-` as `source` and `output` while the block runs, and copy what it has written.

    Raises:
        ValueError: standard input is empty, or the options ask for files beside an output that is a pipe.
    """
    if PIPE not in (options.source, options.output):
        yield
        return
    if options.output == PIPE and (options.preview or options.on_change == "split"):
        raise ValueError("OUT is standard output (-): --preview and --on-change split need the name of a file")
    with TemporaryDirectory(prefix="vitm-") as folder:
        out = None
        if options.source == PIPE:
            options.source = _keep(Path(folder))
        if options.output == PIPE:
            options.output = out = Path(folder, "out.y4m" if options.codec == "y4m" else "out.mkv")
        try:
            with redirect_stdout(sys.stderr):
                yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt("; of a pipe, nothing is kept") from None
        if out is not None:
            with out.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()


def _keep(folder: Path) -> Path:
    """Copy standard input to a file."""
    start = sys.stdin.buffer.read(4)
    if not start:
        raise ValueError("standard input (-) is empty: expected a video")
    path = folder / ("stdin.mkv" if start == _MATROSKA else "stdin.y4m" if start == b"YUV4" else "stdin")
    with path.open("wb") as file:
        file.write(start)
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path
