"""Tone operators: SDR from HDR, and back by their analytic inverses.

Each operator is a pair of functions on linear BT.2020 light, between HDR in cd/m2 and relative SDR (1 = SDR white).
`tone_map` and `inverse_tone_map` put the signals around them: PQ and BT.2020 on one side, BT.1886 and BT.709 on the
other. BT.2446 is Report ITU-R BT.2446-1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from vitm.color.gamut import bt709_to_bt2020, bt2020_to_bt709, luminance
from vitm.color.transfer import (
    PQ_PEAK_NITS,
    bt1886_eotf,
    bt1886_inverse_eotf,
    hlg_system_gamma,
    pq_eotf,
    pq_inverse_eotf,
)

SDR_PEAK_NITS = 100.0  # L_SDR of BT.2446
DIFFUSE_WHITE_NITS = 203.0  # HDR Reference White (BT.2408, 2.1)

# BT.2446 method A, table 1: the knee, and table 4: the fitted expansion
_KNEE_LOW, _KNEE_HIGH = 0.7399, 0.9909
_BELOW_70 = (1.8712e-5, -2.7334e-3, 1.3141)
_ABOVE_70 = (2.8305e-6, -7.4622e-4, 1.2528)
_RED_DIFFERENCE = 1.4746  # R' - Y' is 1.4746 C'r (BT.2020-2, table 4)
_DARK = 1e-6  # denominators stay above it, where both sides of a ratio vanish

_CROSSTALK = 0.05  # BT.2446 6.1.2 leaves alpha open in 0..0.33

# Hable 2010, "Uncharted 2: HDR lighting", the filmic curve and its white
_A, _B, _C, _D, _E, _F, _HABLE_WHITE = 0.15, 0.50, 0.10, 0.20, 0.02, 0.30, 11.2


def _rho(peak_nits: float) -> float:
    return 1 + 32 * math.pow(peak_nits / 10_000, 1 / 2.4)  # table 1


def _bt2446a(hdr_nits: Tensor, peak_nits: float) -> Tensor:
    """Apply method A (section 4.1, tables 1 to 3)."""
    rho_hdr, rho_sdr = _rho(peak_nits), _rho(SDR_PEAK_NITS)
    rgb = bt1886_inverse_eotf(hdr_nits / peak_nits)
    y = luminance(rgb)
    y_p = torch.log1p((rho_hdr - 1) * y) / math.log(rho_hdr)  # step 1
    knee = (-1.1510 * y_p + 2.7811) * y_p - 0.6302
    upper = torch.where(y_p < _KNEE_HIGH, knee, 0.5 * y_p + 0.5)
    y_c = torch.where(y_p <= _KNEE_LOW, 1.0770 * y_p, upper)  # step 2
    y_sdr = torch.expm1(y_c * math.log(rho_sdr)) / (rho_sdr - 1)  # step 3
    # Table 3 scales both colour differences by one f, so that R', G' and B' keep their ratio of distances to luma.
    difference = y_sdr / (1.1 * y.clamp(min=_DARK)) * (rgb - y)
    red = difference[..., 0:1, :, :] / _RED_DIFFERENCE
    y_tmo = y_sdr - 0.1 * red.clamp(min=0.0)
    return bt1886_eotf(y_tmo + difference)


def _bt2446a_inverse(sdr_linear: Tensor, peak_nits: float) -> Tensor:
    """Invert method A: by section 4.2, table 4, a fit for 1000 cd/m2; for other peaks, by 4.1 solved for its input."""
    if peak_nits != 1000:
        return _bt2446a_solved(sdr_linear, peak_nits)
    rgb = bt1886_inverse_eotf(sdr_linear)
    y = luminance(rgb)
    y_255 = 255.0 * y
    (a1, b1, c1), (a2, b2, c2) = _BELOW_70, _ABOVE_70
    exponent = torch.where(y_255 <= 70, (a1 * y_255 + b1) * y_255 + c1, (a2 * y_255 + b2) * y_255 + c2)
    gain = 255.0 * torch.exp((exponent - 1) * y_255.clamp(min=_DARK).log())  # Y'_HDR / Y'_SDR = 255 Y''^(E - 1)
    code = gain * (y + 1.075 * (rgb - y)) / 1000
    return peak_nits * bt1886_eotf(code.clamp(0.0, 1.0))


def _bt2446a_solved(sdr_linear: Tensor, peak_nits: float) -> Tensor:
    rho_hdr, rho_sdr = _rho(peak_nits), _rho(SDR_PEAK_NITS)
    rgb = bt1886_inverse_eotf(sdr_linear)
    y_tmo = luminance(rgb)
    difference = rgb - y_tmo
    y_sdr = y_tmo + 0.1 * (difference[..., 0:1, :, :] / _RED_DIFFERENCE).clamp(min=0.0)
    y_c = torch.log1p((rho_sdr - 1) * y_sdr) / math.log(rho_sdr)
    root = (2.7811**2 - 4 * 1.1510 * (0.6302 + y_c.clamp(max=1.0))).sqrt()
    knee = ((2.7811 - root) / (2 * 1.1510)).clamp(min=_KNEE_LOW)  # the printed pieces leave a gap of 6e-4 there
    upper = torch.where(y_c < 0.5 * _KNEE_HIGH + 0.5, knee, 2 * y_c - 1)
    y_p = torch.where(y_c <= 1.0770 * _KNEE_LOW, y_c / 1.0770, upper)
    y = torch.expm1(y_p * math.log(rho_hdr)) / (rho_hdr - 1)
    return peak_nits * bt1886_eotf((y + 1.1 * y / y_sdr.clamp(min=_DARK) * difference).clamp(0.0, 1.0))


class MethodC(NamedTuple):
    """Parameters of BT.2446 method C, 6.1.4: `k1` to `k4` and the inflection point in cd/m2 of HDR."""

    k1: float
    k2: float
    k3: float
    k4: float
    inflection_nits: float


@lru_cache(maxsize=16)
def method_c_parameters(peak_nits: float = 1000.0) -> MethodC:
    """Return the curve of BT.2446 method C from the conditions that the report states in 6.1.4.

    Skin is 50 % HLG and 70 % SDR, the inflection lies at 80 % SDR, HDR Reference White is 75 % HLG and 96 % SDR,
    and the slope is continuous. At 1000 cd/m2 these are the printed 0.83802, 15.09968, 0.74204 and 78.99439.
    """
    gamma = hlg_system_gamma(peak_nits)
    skin_nits = peak_nits * (1 / 12) ** gamma  # HLG 50 % is 1/12 of scene light
    a = 0.17883277
    scene_white = (math.exp((0.75 - 0.5) / a) * 4 * a + 1 - 4 * a) / 12  # HLG 75 %, with c written out
    white_nits = peak_nits * scene_white**gamma
    skin, knee, white = (SDR_PEAK_NITS * code**2.4 for code in (0.70, 0.80, 0.96))
    k1 = skin / skin_nits
    inflection = knee / k1
    low, high = 0.0, 1.0  # u = 1 - k3; the log branch at Reference White grows with u: bisection
    for _ in range(60):
        u = (low + high) / 2
        below = knee * (1 + u * math.log((white_nits / inflection - 1 + u) / u)) < white
        low, high = (u, high) if below else (low, u)
    k2 = knee * u
    return MethodC(k1, k2, 1 - u, knee - k2 * math.log(u), inflection)


def _crosstalk_luminance(rgb: Tensor) -> Tensor:
    """Return Y after the crosstalk matrix of 6.1.2.

    The curve of 6.1.4 keeps x and y, so it scales R, G and B by one factor. A factor passes through the inverse matrix
    of 6.1.6: crosstalk changes nothing but the Y that the curve sees.
    """
    return (1 - 3 * _CROSSTALK) * luminance(rgb) + _CROSSTALK * rgb.sum(dim=-3, keepdim=True)


def _bt2446c(hdr_nits: Tensor, peak_nits: float) -> Tensor:
    """Apply method C (section 6.1); what lies above SDR white (the report's 100 to 109 %) is clipped by `tone_map`."""
    p = method_c_parameters(peak_nits)
    y = _crosstalk_luminance(hdr_nits)
    y_high = y.clamp(min=p.inflection_nits)
    log = p.k2 * torch.log(y_high / p.inflection_nits - p.k3) + p.k4
    return hdr_nits * torch.where(y < p.inflection_nits, p.k1, log / y_high) / SDR_PEAK_NITS


def _bt2446c_inverse(sdr_linear: Tensor, peak_nits: float) -> Tensor:
    """Invert method C (section 6.2)."""
    p = method_c_parameters(peak_nits)
    sdr_nits = SDR_PEAK_NITS * sdr_linear
    y = _crosstalk_luminance(sdr_nits)
    knee = p.k1 * p.inflection_nits
    y_high = y.clamp(min=knee)
    expanded = p.inflection_nits * (torch.exp((y_high - p.k4) / p.k2) + p.k3)
    return sdr_nits * torch.where(y < knee, 1 / p.k1, expanded / y_high)


def _filmic(x: Tensor) -> Tensor:
    return (x * (_A * x + _C * _B) + _D * _E) / (x * (_A * x + _B) + _D * _F) - _E / _F


_FILMIC_WHITE = _filmic(torch.tensor(_HABLE_WHITE, dtype=torch.float64)).item()


def _hable(hdr_nits: Tensor, peak_nits: float) -> Tensor:
    """Apply the filmic curve to each channel; the peak is the curve's white."""
    return _filmic(hdr_nits * (_HABLE_WHITE / peak_nits)) / _FILMIC_WHITE


def _hable_inverse(sdr_linear: Tensor, peak_nits: float) -> Tensor:
    """Return the positive root of A (1 - v) x^2 + B (C - v) x + D (E - F v) = 0 with v = y f(white) + E / F."""
    y = sdr_linear * _FILMIC_WHITE
    v = y + _E / _F
    a, b, c = _A * (1 - v), _B * (_C - v), -_D * _F * y
    root = (b**2 - 4 * a * c).sqrt()
    x = torch.where(b > 0, -2 * c / (b.clamp(min=0.0) + root), (root - b) / (2 * a))  # no difference of near equals
    return x * (peak_nits / _HABLE_WHITE)


def _reinhard(hdr_nits: Tensor, peak_nits: float) -> Tensor:
    """Apply Reinhard et al. 2002, eq. 4, to luminance: 1 is HDR Reference White, the peak is the least pure white."""
    y, white = luminance(hdr_nits) / DIFFUSE_WHITE_NITS, peak_nits / DIFFUSE_WHITE_NITS
    return hdr_nits / DIFFUSE_WHITE_NITS * (1 + y / white**2) / (1 + y)


def _reinhard_inverse(sdr_linear: Tensor, peak_nits: float) -> Tensor:
    """Return the positive root of y^2 / white^2 + (1 - d) y - d = 0, over d."""
    d, white = luminance(sdr_linear), peak_nits / DIFFUSE_WHITE_NITS
    b = 1 - d
    gain = 2 / (b + (b**2 + 4 * d / white**2).sqrt())
    return DIFFUSE_WHITE_NITS * sdr_linear * gain


def _clip(hdr_nits: Tensor, peak_nits: float) -> Tensor:
    return hdr_nits / DIFFUSE_WHITE_NITS


def _clip_inverse(sdr_linear: Tensor, peak_nits: float) -> Tensor:
    return sdr_linear * DIFFUSE_WHITE_NITS


_Operator = Callable[[Tensor, float], Tensor]
_OPERATORS: dict[str, tuple[_Operator, _Operator]] = {
    "bt2446a": (_bt2446a, _bt2446a_inverse),
    "bt2446c": (_bt2446c, _bt2446c_inverse),
    "hable": (_hable, _hable_inverse),
    "reinhard": (_reinhard, _reinhard_inverse),
    "clip": (_clip, _clip_inverse),
}
METHODS = tuple(_OPERATORS)


def _operator(method: str, peak_nits: float) -> tuple[_Operator, _Operator]:
    if method not in _OPERATORS:
        raise ValueError(f"unknown method {method!r}: expected one of {', '.join(METHODS)}")
    if not SDR_PEAK_NITS <= peak_nits <= PQ_PEAK_NITS:
        raise ValueError(f"peak_nits must lie in [100, 10000] cd/m2, got {peak_nits}")
    return _OPERATORS[method]


def tone_map(hdr_pq: Tensor, method: str = "bt2446a", peak_nits: float = 1000.0) -> Tensor:
    """Convert HDR10 to SDR by a tone curve.

    Args:
        hdr_pq: (..., 3, H, W), BT.2020 PQ codes in [0, 1].
        method: one of `METHODS`. "bt2446a", "bt2446c": Report ITU-R BT.2446-1, 4.1 and 6.1; "hable": the filmic curve
            of Uncharted 2 on each channel; "reinhard": the extended curve on luminance; "clip": everything above
            203 cd/m2 (BT.2408) is white.
        peak_nits: the HDR level that becomes SDR white ("clip" ignores it; "bt2446c" takes it as the HLG display).

    Returns:
        (..., 3, H, W), BT.709 codes for a BT.1886 display, clipped to [0, 1] in linear BT.709.

    Raises:
        ValueError: for an unknown method, a peak outside [100, 10000], or if there are not three channels.
        TypeError: for integer tensors.

    Example:
        >>> import torch
        >>> white = torch.full((3, 1, 1), 0.581)  # PQ code of 203 cd/m2
        >>> round(tone_map(white, "clip").max().item(), 2)
        1.0
    """
    forward, _ = _operator(method, peak_nits)
    return bt1886_inverse_eotf(bt2020_to_bt709(forward(pq_eotf(hdr_pq), peak_nits)).clamp(0.0, 1.0))


def inverse_tone_map(sdr: Tensor, method: str = "bt2446a", peak_nits: float = 1000.0, gain: float = 1.0) -> Tensor:
    """Convert SDR to HDR10 by a fixed formula.

    `tone_map` undoes it up to rounding, except for "bt2446a" at 1000 cd/m2, where the report's own expansion (4.2,
    table 4) is a fit: grey comes back within 0.012, uniformly drawn colours within 0.016 on average and 0.17 at worst.

    Args:
        sdr: (..., 3, H, W), BT.709 codes for a BT.1886 display, clamped to [0, 1].
        method: one of `METHODS`. "bt2446a", "bt2446c": Report ITU-R BT.2446-1, 4.2 and 6.2; "hable", "reinhard": the
            curves of `tone_map` solved for their input; "clip": primaries and PQ only, white at 203 cd/m2 (BT.2408).
        peak_nits: the HDR level of SDR white ("clip" ignores it; "bt2446c" takes it as the HLG display, and puts SDR
            white below the peak).
        gain: factor on the light that comes out.

    Returns:
        (..., 3, H, W), BT.2020 PQ codes in [0, 1].

    Raises:
        ValueError: for an unknown method, a peak outside [100, 10000], or if there are not three channels.
        TypeError: for integer tensors.

    Example:
        >>> import torch
        >>> from vitm.color import pq_eotf
        >>> white = torch.ones(3, 1, 1)
        >>> [round(pq_eotf(inverse_tone_map(white, method)).max().item()) for method in ("clip", "hable")]
        [203, 1000]
    """
    _, inverse = _operator(method, peak_nits)
    nits = inverse(bt709_to_bt2020(bt1886_eotf(sdr).clamp(max=1.0)), peak_nits)
    return pq_inverse_eotf(nits if gain == 1 else gain * nits)
