"""The description of a number that a metric gives: its title, its unit, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower", "none"]


@dataclass(frozen=True)
class MetricValue:
    """One number that a metric gives, described for tables, plots and charts.

    Args:
        name: key of the number in files and in `compute`, such as "delta_e_itp".
        title: short name for people.
        unit: unit of the number; empty where it has none.
        direction: what is better, "higher" or "lower"; "none" for statistics, which should be near the target's.

    Example:
        >>> MetricValue("psnr", "PSNR", "dB", "higher").heading
        'PSNR dB'
    """

    name: str
    title: str
    unit: str = ""
    direction: Direction = "none"

    @property
    def heading(self) -> str:
        """The title with the unit, for the head of a column."""
        return f"{self.title} {self.unit}".rstrip()
