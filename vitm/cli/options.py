"""Types of options that several commands take, and errors in the words of a command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction


def frame_rate(text: str) -> Fraction:
    """Return a positive rate from the command line, as 24, 23.976 or 24000/1001."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no frame rate; give 24, 23.976 or 24000/1001")
    return rate


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
        words = re.sub(rf"\b({names})=('[^']*'|[\w./]+)", flag, str(error))
        if words == str(error):
            raise
        raise ValueError(words) from error
