"""How a number is measured. It is printed with each number, because the papers' numbers differ in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Protocol:
    """The conditions that must agree before two values of a metric may be compared.

    Args:
        domain: signal and primaries, such as "PQ BT.2020".
        peak_nits: light of code 1 in cd/m2; None where light is relative.
        rounding: rounding of prediction and target before they are measured: "16-bit" or "unrounded".
        crop: part of the frame that counts, such as "full frame".
        reduction: way from frames or clips to one number, such as "mean of frames".
        variant: the metric's own definition where there are several, such as "gauss11".
        ppd: pixels a degree of visual angle, for metrics that depend on it.
        display: assumed display, for metrics that depend on it.

    Example:
        >>> str(replace(FRAMES, variant="gauss11"))
        'gauss11, PQ BT.2020, 16-bit, full frame, mean of frames'
    """

    domain: str
    peak_nits: float | None
    rounding: str
    crop: str
    reduction: str
    variant: str = ""
    ppd: float | None = None
    display: str | None = None

    def __str__(self) -> str:
        ppd = "" if self.ppd is None else f"{self.ppd:g} ppd"
        parts = (self.variant, self.domain, self.rounding, self.crop, self.reduction, ppd, self.display)
        return ", ".join(part for part in parts if part)


def compatible(a: Protocol, b: Protocol) -> bool:
    """Return whether two values with these protocols may stand side by side: all fields agree, `ppd` to 0.1 %.

    Example:
        >>> compatible(FRAMES, CLIPS)
        False
    """
    same_ppd = a.ppd == b.ppd or (a.ppd is not None and b.ppd is not None and math.isclose(a.ppd, b.ppd, rel_tol=1e-3))
    return same_ppd and replace(a, ppd=None) == replace(b, ppd=None)


FRAMES = Protocol("PQ BT.2020", 10_000.0, "16-bit", "full frame", "mean of frames")
CLIPS = replace(FRAMES, reduction="mean of clips")
