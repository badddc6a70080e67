"""Types of options that several commands take."""

from __future__ import annotations

import argparse
from fractions import Fraction


def frame_rate(text: str) -> Fraction:
    """A positive rate from the command line, as 24, 23.976 or 24000/1001."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no frame rate; give 24, 23.976 or 24000/1001")
    return rate
