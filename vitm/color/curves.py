"""Tone curves of relative light, and the codes of SDR that follow them: the parts of an SDR production."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from vitm.color.eetf import bt2390_eetf
from vitm.color.transfer import (
    bt709_inverse_oetf,
    bt709_oetf,
    bt1886_eotf,
    bt1886_inverse_eotf,
    gamma22_eotf,
    gamma22_inverse_eotf,
    pq_eotf,
    pq_inverse_eotf,
    srgb_eotf,
    srgb_inverse_eotf,
)

Curve = Literal["clip", "reinhard", "mobius", "hable", "filmic", "sigmoid", "log", "bt2390"]
Encoding = Literal["bt1886", "gamma22", "srgb", "bt709"]

_MIDDLE = 0.4  # light at which the sigmoid is half of what it tends to

ENCODINGS: Mapping[Encoding, Callable[[Tensor], Tensor]] = {
    "bt1886": bt1886_inverse_eotf,
    "gamma22": gamma22_inverse_eotf,
    "srgb": srgb_inverse_eotf,
    "bt709": bt709_oetf,
}
"""From light of the display, 1 for white, to SDR code."""

DECODINGS: Mapping[Encoding, Callable[[Tensor], Tensor]] = {
    "bt1886": bt1886_eotf,
    "gamma22": gamma22_eotf,
    "srgb": srgb_eotf,
    "bt709": bt709_inverse_oetf,
}
"""From SDR code to light of the display."""


def _reinhard(x: Tensor, top: Tensor, bend: float) -> Tensor:
    """Reinhard et al. 2002, equation 4, with white at `top`."""
    return x * (1 + x / top**2) / (1 + x)


def _mobius(x: Tensor, top: Tensor, bend: float) -> Tensor:
    """Map light by a straight line up to `bend`, then by a Mobius transformation with its slope; `top` becomes 1."""
    a = -bend * bend * (top - 1) / (bend * bend - 2 * bend + top)
    b = (bend * bend - 2 * bend * top + top) / (top - 1).clamp(min=1e-3)
    bent = (b * b + 2 * b * bend + bend * bend) / (b - a) * (x + a) / (x + b)
    return torch.where(x <= bend, x, bent)


def _hable(x: Tensor, top: Tensor, bend: float) -> Tensor:
    """Map light by the curve of Hable (2010), normalised at `top`."""

    def raw(v: Tensor) -> Tensor:
        return (v * (0.15 * v + 0.05) + 0.004) / (v * (0.15 * v + 0.5) + 0.06) - 0.02 / 0.3

    return raw(x) / raw(top.to(x.dtype))


def _filmic(x: Tensor, top: Tensor, bend: float) -> Tensor:
    """Map light by the rational fit of the ACES output transform of Narkowicz (2015); `bend` is a gain before it."""
    x = bend * x
    return x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)


def _sigmoid(x: Tensor, top: Tensor, bend: float) -> Tensor:
    """Map the logarithm of light by a logistic curve, normalised at `top`."""
    half = _MIDDLE**bend
    result: Tensor = x**bend / (x**bend + half) * (top**bend + half) / top**bend
    return result


def _log(x: Tensor, top: Tensor, bend: float) -> Tensor:
    """Map light by a logarithm, as Drago does, normalised at `top`."""
    scale = 8 * bend
    result: Tensor = torch.log1p(scale * x) / torch.log1p(scale * top)
    return result


def _bt2390(x: Tensor, top: Tensor, bend: float) -> Tensor:
    """Map light by the EETF of Report ITU-R BT.2390, 5.4.1, with black at 0 and SDR white at `bend` times 203 cd/m2."""
    white = 203 * bend
    return pq_eotf(bt2390_eetf(pq_inverse_eotf(x * white), top * white, white)) / white


CURVES: Mapping[Curve, Callable[[Tensor, Tensor, float], Tensor]] = {
    "clip": lambda x, top, bend: x.clamp(max=1),
    "reinhard": _reinhard,
    "mobius": _mobius,
    "hable": _hable,
    "filmic": _filmic,
    "sigmoid": _sigmoid,
    "log": _log,
    "bt2390": _bt2390,
}
"""From light, the largest light (a scalar in fp64), and the shape of the curve, to light of the display."""
