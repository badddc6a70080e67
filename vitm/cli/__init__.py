"""The command `vitm`: its commands, and what becomes of their errors."""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import yaml
from rich.console import Console
from rich.markup import escape

from vitm import __version__
from vitm.console import console

# Large tensors on huge pages (Linux) are faster on the CPU. torch reads this once: set it before torch is imported.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

COMMANDS = {  # each is a module of this package, imported when it is asked for
    "convert": "convert SDR video to HDR",
    "export": "write a model for players and inference engines: ONNX, or a table of colours",
    "evaluate": "measure predicted HDR video against the truth",
    "prepare": "make data sets from SDR and HDR10 videos, or from HDR panoramas",
    "run": "train a network, measure it, convert with it: one experiment",
    "sweep": "run all rows of a table",
    "table": "print a paper's table with our numbers beside its own",
    "report": "write a page about runs: curves, numbers, previews",
    "slurm": "run an experiment or a table on a cluster",
    "bench": "measure how fast networks and loaders are here",
}
_KEEP_MEMORY = {  # parameters of glibc's mallopt, in malloc.h, and their values
    "M_TRIM_THRESHOLD": (-1, 2**31 - 1),  # nothing is given back
    "M_TOP_PAD": (-2, 2**28),  # 256 MiB are asked for at a time
    "M_MMAP_MAX": (-4, 0),  # large blocks are no mappings of their own
    "M_ARENA_MAX": (-8, 1),  # threads use each other's memory
}
WRONG_INPUT = (ValueError, FileNotFoundError, PermissionError, BlockingIOError, ImportError, yaml.YAMLError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line.

    Returns:
        The exit status: 0; 1 where the machine failed (a full disk) or a training (a loss that is nan); 2 where the
        input was wrong; 130 when interrupted; 128 and its number for a run that a signal stopped.
    """
    keep_memory()
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = _parser().parse_args(arguments[:1]).command
    out = console(errors="-" in arguments)  # a pipe: standard output may carry a video
    with _sigterm_interrupts():
        try:
            return _command(name)(arguments[1:], out)
        except KeyboardInterrupt as interruption:
            out.print(f"[bold]interrupted[/] {interruption}".rstrip(), highlight=False, soft_wrap=True)
            return 128 + signal.SIGINT
        except SystemExit as stop:
            if isinstance(stop.__context__, KeyboardInterrupt):  # what Lightning makes of it
                return 128 + signal.SIGINT
            raise
        except WRONG_INPUT as error:
            return _explain(error, out, status=2)
        except (OSError, FloatingPointError) as error:
            return _explain(error, out, status=1)
        except (TypeError, RuntimeError) as error:
            if name == "run":  # perhaps in somebody's own network: the traceback says where
                raise
            return _explain(error, out, status=2 if isinstance(error, TypeError) else 1)


def keep_memory() -> None:
    """Let the C library keep the memory of freed tensors for the next ones; does nothing where it is not glibc.

    Otherwise a frame's memory goes back to the kernel, which clears it page by page when the next frame asks for it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for parameter, value in _KEEP_MEMORY.values():
            mallopt(parameter, value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vitm",
        description="Learned inverse tone mapping of video.",
        epilog="`vitm COMMAND --help` lists its options. Errors are one line; VITM_TRACEBACK=1 shows their origin.",
    )
    parser.add_argument("--version", action="version", version=f"vitm {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for name, about in COMMANDS.items():
        commands.add_parser(name, help=about, add_help=False)
    return parser


def _command(name: str) -> Callable[[list[str], Console], int]:
    """Return the function that runs a command with the arguments behind its name."""
    command: Callable[[list[str], Console], int] = importlib.import_module(f"vitm.cli.{name}").main
    return command


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM interrupt as Ctrl-C does, so that what is half done is put away."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _explain(error: Exception, out: Console, status: int) -> int:
    if os.environ.get("VITM_TRACEBACK"):
        raise error
    out.print("[bold red]error:[/]", escape(str(error)), highlight=False, soft_wrap=True)
    return status
