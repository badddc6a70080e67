"""Inverses of the tone operators that make SDR, as colour tables: what SceneMap chooses from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.color import (
    DIFFUSE_WHITE_NITS,
    bt709_to_bt2020,
    bt1886_eotf,
    inverse_tone_map,
    luminance,
    pq_eotf,
    pq_inverse_eotf,
)
from vitm.color.curves import CURVES, DECODINGS, Curve, Encoding
from vitm.ops.color_table import color_grid

_GREY = 0.455  # SDR code whose light all operators leave at 203 cd/m2 for white: 15 % of white
_DARK = 1e-6

Signal = Literal["luminance", "channel", "maximum"]


class Operator(NamedTuple):
    """A tone operator that SDR was made by.

    Attributes:
        curve: a curve of `vitm.color.curves`.
        signal: what it was applied to: luminance or the largest channel, whose gain is that of all channels, or each.
        encoding: curve of the SDR code.
        top: largest light, relative to the exposure.
        bend: shape of the curve.
    """

    curve: Curve
    signal: Signal
    encoding: Encoding
    top: float
    bend: float = 1.0

    def inverse(self, rgb: Tensor) -> Tensor:
        """Return relative light: (3, N), BT.709 code -> (3, N), linear BT.2020."""
        display = DECODINGS[self.encoding](rgb)
        if self.signal == "channel":
            light = self._uncurved(display)
        else:
            grey = luminance(display.unsqueeze(-1), "bt709").squeeze(-1)
            signal = grey if self.signal == "luminance" else display.amax(0, keepdim=True)
            light = display * (self._uncurved(signal) / signal.clamp(min=_DARK))
        return bt709_to_bt2020(light.unsqueeze(-1)).squeeze(-1).clamp(min=0)

    def _uncurved(self, display: Tensor) -> Tensor:
        light = torch.cat((torch.zeros(1), torch.logspace(-5, math.log10(self.top), 4096)))
        top = torch.tensor(self.top, dtype=torch.float64)
        curve = CURVES[self.curve](light, top, self.bend).cummax(0).values
        curve[0] = 0
        above = torch.searchsorted(curve, display.contiguous()).clamp(1, len(curve) - 1)
        low, high = curve[above - 1], curve[above]
        part = ((display - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
        return torch.lerp(light[above - 1], light[above], part)


class Method(NamedTuple):
    """A method of Report ITU-R BT.2446, for a mastering peak in cd/m2."""

    name: Literal["bt2446a", "bt2446c"]
    peak_nits: float

    def inverse(self, rgb: Tensor) -> Tensor:
        """Return light in cd/m2: (3, N), BT.709 code -> (3, N), linear BT.2020."""
        return pq_eotf(inverse_tone_map(rgb.unsqueeze(-1), self.name, peak_nits=self.peak_nits).squeeze(-1))


def _rows(curve: Curve, bend: float, tops: Sequence[float], *ways: tuple[Signal, Encoding]) -> Iterator[Operator]:
    for signal, encoding in ways:
        for top in tops:
            yield Operator(curve, signal, encoding, top, bend)


_PLAIN: tuple[tuple[Signal, Encoding], ...] = (
    ("maximum", "bt709"),
    ("channel", "bt709"),
    ("luminance", "bt1886"),
    ("channel", "bt1886"),
)
OPERATORS: tuple[Operator | Method, ...] = (
    *_rows("clip", 1.0, (1.0,), *(("channel", encoding) for encoding in DECODINGS)),
    Method("bt2446a", 1000.0),
    Method("bt2446a", 4000.0),
    Method("bt2446c", 1000.0),
    Method("bt2446c", 4000.0),
    *_rows("mobius", 0.3, (10.0, 30.0), *_PLAIN),
    *_rows("hable", 1.0, (10.0, 30.0), *_PLAIN),
    *_rows("mobius", 0.6, (6.0,), ("channel", "srgb")),
    *_rows("hable", 1.0, (5.0,), ("channel", "srgb")),
    *_rows("bt2390", 1.0, (5.0, 20.0), ("maximum", "bt1886"), ("channel", "bt1886"), ("luminance", "bt1886")),
    *_rows("bt2390", 0.7, (8.0,), ("channel", "srgb")),
    *_rows(
        "filmic", 1.0, (30.0,), ("channel", "srgb"), ("luminance", "srgb"), ("channel", "bt1886"), ("maximum", "bt709")
    ),
    *_rows("reinhard", 1.0, (4.0, 12.0), ("luminance", "gamma22"), ("channel", "srgb"), ("channel", "bt1886")),
    *_rows("sigmoid", 1.2, (6.0, 20.0), ("channel", "srgb")),
    *_rows("sigmoid", 0.8, (6.0,), ("channel", "srgb")),
    *_rows("sigmoid", 1.6, (6.0,), ("channel", "bt1886")),
    *_rows("sigmoid", 1.2, (6.0,), ("luminance", "gamma22")),
    *_rows("log", 0.3, (6.0,), ("channel", "srgb")),
    *_rows("log", 3.0, (6.0,), ("channel", "srgb")),
    *_rows("log", 1.0, (6.0,), ("luminance", "gamma22")),
    *_rows("log", 1.0, (10.0,), ("channel", "bt1886")),
)
"""The operators, in the order of the weights of a network that was trained with them: never change it."""


# A compiler that looked inside would make the tables anew for each picture.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def operator_tables(size: int, device: torch.device) -> Tensor:
    """Return the inverses as colour tables, (operators, 3, size, size, size): PQ code at [..., b, g, r].

    All leave the same grey where SDR with its white at 203 cd/m2 has it. They are made once and kept.
    """
    return _kept_tables(size, device)


@lru_cache(maxsize=4)
def _kept_tables(size: int, device: torch.device) -> Tensor:
    rgb = torch.cat((color_grid(size).flatten(1), torch.full((3, 1), _GREY)), 1)
    grey_nits = DIFFUSE_WHITE_NITS * float(bt1886_eotf(torch.tensor(_GREY)))
    tables = []
    for operator in OPERATORS:
        light = operator.inverse(rgb)
        tables.append(pq_inverse_eotf((light * (grey_nits / light[1, -1])).clamp(max=10_000))[:, :-1])
    return torch.stack(tables).reshape(-1, 3, size, size, size).to(device)


def operator_colors(rgb: Tensor, size: int) -> Tensor:
    """Return what each operator's table makes of colours: (B, N, 3), BT.709 code -> (B, operators, N, 3), PQ code."""
    tables = operator_tables(size, rgb.device).flatten(0, 1).unsqueeze(0)
    where = (2 * rgb - 1).reshape(1, 1, 1, -1, 3)
    colors = F.grid_sample(tables, where, mode="bilinear", padding_mode="border", align_corners=True)
    return colors.view(-1, 3, *rgb.shape[:2]).permute(2, 0, 3, 1)
