"""A map of colours as a `.cube` file: a three-dimensional table for players, editors and monitors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vitm.ops.color_table import apply_color_table, color_grid, look_up_in_tetrahedra

CODES = 1023  # of 10 bits
_COLORS = 2**18  # random ones, on which a table is measured
_FEW = 0.999  # share of colours within the error that is printed beside the largest

ColorMap = Callable[[Tensor], Tensor]
"""A function of sdr (B, 3, H, W) that returns hdr_pq of the same shape, each pixel by itself."""


@dataclass(frozen=True)
class TableErrors:
    """How far a table is from its map, in codes of 10 bits.

    Attributes:
        trilinear: largest error on random colours and greys, with trilinear interpolation (mpv).
        tetrahedral: the same with tetrahedral interpolation (FFmpeg, DaVinci Resolve).
        most: error within which 99.9 % of these colours lie, with tetrahedral interpolation.
        frames: largest error on the frames of the clip; None without a clip.
        adaptive: largest difference between one map for the clip and the model's own for each frame; None without.
    """

    trilinear: float
    tetrahedral: float
    most: float
    frames: float | None = None
    adaptive: float | None = None

    def __str__(self) -> str:
        words = [f"largest error {self.tetrahedral:.1f} codes of 10 bits, of 99.9 % of colours {self.most:.1f}"]
        words.append(f"with trilinear interpolation {self.trilinear:.1f}")
        if self.frames is not None and self.adaptive is not None:
            words.append(f"on the clip {self.frames:.1f}")
            words.append(f"one map for the whole clip is {self.adaptive:.1f} from a map for each frame")
        return "; ".join(words)


def make_table(color_map: ColorMap, size: int) -> Tensor:
    """Return the values of a map at the vertices of a table: (3, size, size, size), PQ codes at [:, b, g, r]."""
    colors = color_grid(size).reshape(1, 3, size * size, size)
    return color_map(colors).reshape(3, size, size, size)


def table_errors(table: Tensor, color_map: ColorMap, frames: Sequence[tuple[Tensor, Tensor]] = ()) -> TableErrors:
    """Measure a table against its map.

    Args:
        table: (3, N, N, N).
        color_map: the map.
        frames: sdr and the model's own hdr_pq (1, 3, H, W) of some frames.
    """
    generator = torch.Generator().manual_seed(0)
    greys = torch.linspace(0, 1, CODES + 1).expand(1, 3, 1, -1)
    colors = torch.cat((torch.rand(1, 3, 1, _COLORS, generator=generator), greys), -1)
    expected = color_map(colors)
    trilinear = CODES * (apply_color_table(colors, table[None]) - expected).abs()
    tetrahedral = CODES * (look_up_in_tetrahedra(colors, table) - expected).abs()
    on_frames = [CODES * float((look_up_in_tetrahedra(sdr, table) - color_map(sdr)).abs().max()) for sdr, _ in frames]
    adaptive = [CODES * float((color_map(sdr) - own).abs().max()) for sdr, own in frames]
    return TableErrors(
        trilinear=float(trilinear.max()),
        tetrahedral=float(tetrahedral.max()),
        most=float(np.quantile(tetrahedral.amax(1).numpy(), _FEW)),
        frames=max(on_frames, default=None),
        adaptive=max(adaptive, default=None),
    )


def write_cube(path: Path, table: Tensor, title: str, comments: Iterable[str] = ()) -> None:
    """Write a table as Adobe's "Cube LUT Specification 1.0" has it: red changes fastest, numbers from 0 to 1.

    Args:
        path: the file.
        table: (3, N, N, N), values at [:, b, g, r].
        title: name of the table.
        comments: lines that say what goes in and what comes out.
    """
    size = table.shape[-1]
    head = [f'TITLE "{title}"', *(f"# {line}" for line in comments)]
    head += [f"LUT_3D_SIZE {size}", "DOMAIN_MIN 0 0 0", "DOMAIN_MAX 1 1 1"]
    with path.open("w", encoding="ascii", errors="replace") as file:
        file.write("\n".join(head) + "\n")
        np.savetxt(file, table.reshape(3, -1).T.numpy(), fmt="%.7f")
