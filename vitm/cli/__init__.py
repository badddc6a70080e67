"""The command `vitm`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from rich.console import Console
from rich.markup import escape

# Large tensors on huge pages (Linux) are faster on the CPU. torch reads this once: set it before torch is imported.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Returns:
        The exit status: 0; 1 where the machine failed (a full disk); 2 where the input was wrong; 130 when interrupted.
    """
    from vitm.cli import convert, evaluate, prepare

    parser = argparse.ArgumentParser(
        prog="vitm",
        description="Learned inverse tone mapping of video.",
        epilog="Errors are one line; VITM_TRACEBACK=1 shows where they come from.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (convert, evaluate, prepare):
        command.add_parser(commands)
    options = parser.parse_args(argv)
    console = Console(width=None if sys.stdout.isatty() else 120)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        status: int = options.run(options, console)
        return status
    except KeyboardInterrupt as interruption:
        console.print(f"[bold]interrupted[/] {interruption}".rstrip(), highlight=False, soft_wrap=True)
        return 130
    except (ValueError, TypeError, FileNotFoundError, PermissionError, ImportError) as error:
        return _explain(error, console, status=2)
    except (OSError, RuntimeError) as error:
        return _explain(error, console, status=1)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _explain(error: Exception, console: Console, status: int) -> int:
    if os.environ.get("VITM_TRACEBACK"):
        raise error
    console.print("[bold red]error:[/]", escape(str(error)), highlight=False, soft_wrap=True)
    return status
