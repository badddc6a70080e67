"""Options that several commands take, and errors in the words of a command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitm.runs.slurm import Cluster


def frame_rate(text: str) -> Fraction:
    """Return a positive rate from the command line: 24, 23.976 or 24000/1001."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no frame rate; give 24, 23.976 or 24000/1001")
    return rate


def device(text: str) -> str:
    """Return the name of a device from the command line that can be used here: cpu, cuda, cuda:1."""
    import torch

    try:
        torch.empty(0, device=text)
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return text


def luminance_or_word(text: str) -> float | str:
    """Return a number of cd/m2 from the command line, or a word such as auto."""
    try:
        return float(text)
    except ValueError:
        return text


def natural(text: str, least: int = 0) -> int:
    """Return a whole number from the command line that is not below `least`."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """Return a whole number from the command line that is 1 or more."""
    return natural(text, least=1)


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add `--runs`."""
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder where runs are kept (runs)")


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split a command line into the part before `--`, and the part behind it, which is for `vitm run`."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:cut], arguments[cut + 1 :]


def parser_before_dashes(command: str, what: str, description: str, examples: str) -> argparse.ArgumentParser:
    """Return a parser for the part before `--`.

    Args:
        command: `sweep` or `slurm`.
        what: the name of the first argument in the usage line.
        description: the help text above the options.
        examples: the help text below them.
    """
    return argparse.ArgumentParser(
        f"vitm {command}",
        usage=f"vitm {command} {what} [options] [-- options of vitm run]",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """Add the options that `cluster` reads."""
    group = parser.add_argument_group("cluster")
    kind = group.add_mutually_exclusive_group()
    kind.add_argument("--gpus", type=int, default=1, help="GPUs of a node, one process each (1)")
    kind.add_argument("--tasks", type=int, default=0, help="instead: processes of a node, on CPUs")
    group.add_argument("--nodes", type=int, default=1, help="machines (1)")
    group.add_argument("--cpus", type=int, default=4, help="cores of a process (4)")
    group.add_argument("--time", default="24:00:00", help="time limit of a job (24:00:00); longer runs resume after it")
    group.add_argument("--margin", type=int, default=5, help="minutes before the limit at which a run is saved (5)")
    group.add_argument("--at-once", type=int, metavar="N", help="elements of an array that run at a time (any number)")
    group.add_argument("--partition", help="(the cluster's default)")
    group.add_argument(
        "--sbatch", action="append", default=[], metavar="KEY=VALUE", help="one more option of sbatch; repeatable"
    )


def cluster(options: argparse.Namespace) -> Cluster:
    """Return the cluster that the options of `add_cluster` describe.

    Raises:
        ValueError: an option has a value that Slurm would refuse.
    """
    from vitm.runs.slurm import Cluster

    return Cluster(
        nodes=options.nodes,
        gpus=0 if options.tasks else options.gpus,
        tasks=options.tasks,
        cpus=options.cpus,
        time=options.time,
        margin=options.margin,
        at_once=options.at_once,
        partition=options.partition,
        sbatch=tuple(options.sbatch),
    )


@contextmanager
def in_words_of_the_command(options: argparse.Namespace, flags: Mapping[str, str]) -> Iterator[None]:
    """Raise the errors of a library function in the words of its command: `assume='bt709'` becomes `--assume bt709`.

    `overwrite=True` becomes `--overwrite`.

    Args:
        options: the parsed options, which are called like the function's parameters.
        flags: flags that are not called like their parameter.
    """
    names = "|".join(name for name in vars(options) if name != "run")

    def flag(match: re.Match[str]) -> str:
        value = "" if match[2] == "True" else " " + match[2].strip("'")
        return flags.get(match[1], "--" + match[1].replace("_", "-")) + value

    try:
        yield
    except ValueError as error:
        words = re.sub(rf"\b({names})=('[^']*'|-?[\w./]+)", flag, str(error))
        if words == str(error):
            raise
        raise ValueError(words) from error
