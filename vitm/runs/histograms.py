"""Histograms of luminance of a table's rows beside the truth, as HDCFM's Figure 12 shows them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from vitm.color import pq_inverse_eotf
from vitm.files import read_json
from vitm.runs.drawing import drawn
from vitm.runs.overrides import unreadable

FILE = "histograms.json"
TICKS_NITS = (0.1, 1, 10, 100, 1000, 10_000)

Shares = Mapping[str, Mapping[str, list[float]]]
"""Name of a sample -> `prediction` and `target` -> share of the pixels in each bin of PQ-coded luminance."""


def read_histograms(folder: Path) -> Shares:
    """Return the histograms in the folder of a test; none where an older run wrote no file.

    Raises:
        ValueError: the file is damaged; the message names it.
    """
    file = folder / FILE
    try:
        content: Shares = read_json(file) if file.is_file() else {}
        return {name: {side: sides[side] for side in ("prediction", "target")} for name, sides in content.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise unreadable(file, error if isinstance(error, OSError) else ValueError("it is damaged")) from error


def write_histograms(rows: Mapping[str, Shares], path: Path) -> bool:
    """Draw two samples that all rows share, the first and the last one: a line for each row, the truth as an area.

    Args:
        rows: name of a row -> its histograms; rows without any are left out.
        path: SVG file to write.

    Returns:
        Whether rows share a sample, and so a file was written.

    Raises:
        ImportError: matplotlib is missing; the message names the extra that has it.
    """
    measured = {row: shares for row, shares in rows.items() if shares}
    shared = [
        name
        for name, sides in next(iter(measured.values()), {}).items()
        if all(name in shares and _alike(shares[name]["target"], sides["target"]) for shares in measured.values())
    ]
    samples = [*dict.fromkeys((*shared[:1], *shared[-1:]))]
    if not samples:
        return False
    with drawn(path, "a histogram", 6.4 * len(samples), 4.8) as figure:
        for place, sample in enumerate(samples, 1):
            axes = figure.add_subplot(1, len(samples), place)
            truth = next(iter(measured.values()))[sample]["target"]
            edges = [i / len(truth) for i in range(len(truth) + 1)]
            axes.stairs([100 * share for share in truth], edges, fill=True, color="0.82", label="truth")
            used = [*truth]
            for row, shares in measured.items():
                counts = shares[sample]["prediction"]
                axes.stairs([100 * share for share in counts], edges, label=row, linewidth=1.2)
                used = [max(pair) for pair in zip(used, counts, strict=True)]
            last = max(i for i, share in enumerate(used) if share)
            places = pq_inverse_eotf(torch.tensor(TICKS_NITS)).tolist()
            axes.set_xticks(places, [f"{nits:g}" for nits in TICKS_NITS])
            axes.set_xlim(0, edges[min(last + 2, len(truth))])
            axes.set_ylim(bottom=0)
            axes.set_xlabel("luminance in cd/m2, in steps of PQ code")
            axes.set_ylabel("% of the pixels")
            axes.set_title(sample)
        axes.legend(frameon=False, fontsize=9)
    return True


def _alike(a: list[float], b: list[float]) -> bool:
    """Return whether two histograms are of one frame: on another machine a few pixels fall into the next bin."""
    return len(a) == len(b) and sum(abs(x - y) for x, y in zip(a, b, strict=True)) < 0.01
