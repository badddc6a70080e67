"""Transfer functions: PQ, HLG, BT.1886, sRGB, gamma 2.2, BT.709.

Convention, for every function here:

- any shape; half precision is computed and returned in fp32, fp32 and fp64 stay;
- an *EOTF* or *inverse OETF* takes codes and gives light, an *OETF* or *inverse EOTF* takes light and gives codes;
- inputs are clamped to the domain first: below 0 counts as 0 (its gradient is 0), and the top is 1 for PQ codes,
  10,000 cd/m2 for PQ light, 1.095 (10-bit narrow-range code 1023) for HLG codes and 1e6 elsewhere;
- the root of a power law has an infinite slope at 0. Below 1e-12 of the peak it is replaced by the chord from 0:
  that moves no 16-bit code, and keeps values and gradients finite for every finite input.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vitm.color.gamut import luminance
from vitm.color.precision import as_float

# ST 2084:2014, 5.2; BT.2100-2, table 4
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_D = 1 - _C1  # = C2 - C3
PQ_PEAK_NITS = 10_000.0

# BT.2100-2, table 5
_HLG_A = 0.17883277
_HLG_B = 1 - 4 * _HLG_A
_HLG_C = 0.5 - _HLG_A * math.log(4 * _HLG_A)
_HLG_TOP = (1023 - 64) / 876  # the largest 10-bit narrow-range signal

_TOP = 1e6  # keeps powers within fp32
_CHORD = 1e-12  # below this a power law is a chord


def _domain(x: Tensor, top: float = _TOP) -> Tensor:
    return as_float(x).clamp(0.0, top)


def _power(x: Tensor, exponent: float) -> Tensor:
    """Return x ** exponent for x >= 0 and exponent < 1; below 1e-12 its chord from 0, which is the lower one there."""
    return torch.minimum(x * _CHORD ** (exponent - 1), x.clamp(min=_CHORD) ** exponent)


def pq_eotf(code: Tensor) -> Tensor:
    """Convert PQ code to light (ST 2084:2014, eq. 4.1; BT.2100-2, table 4).

    Written about code = 1 (c1 = c3 - c2 + 1), where the printed form loses four digits of fp32.

    Args:
        code: PQ codes in [0, 1], clamped to that range.

    Returns:
        Display light in cd/m2, in [0, 10000].

    Example:
        >>> import torch
        >>> [round(nits, 1) for nits in pq_eotf(torch.tensor([0.0, 0.5, 1.0])).tolist()]
        [0.0, 92.2, 10000.0]
    """
    u = torch.expm1(_domain(code, 1.0).clamp(min=_C1**_M2).log() / _M2)  # E^(1/m2) - 1; the EOTF is 0 up to c1^m2
    return PQ_PEAK_NITS * ((_D + u).clamp(min=0.0) / (_D - _C3 * u)) ** (1 / _M1)


def pq_inverse_eotf(nits: Tensor) -> Tensor:
    """Convert light to PQ code (ST 2084:2014, eq. 5.2; BT.2100-2, table 4).

    Args:
        nits: display light in cd/m2, clamped to [0, 10000].

    Returns:
        PQ codes in [7.3e-7, 1] (the code of 0 cd/m2 is c1 ** m2, as in the standard).

    Example:
        >>> import torch
        >>> [round(code, 3) for code in pq_inverse_eotf(torch.tensor([100.0, 203.0, 1000.0])).tolist()]
        [0.508, 0.581, 0.752]
    """
    y = _power(_domain(nits, PQ_PEAK_NITS) / PQ_PEAK_NITS, _M1)
    return torch.exp(_M2 * torch.log1p(_D * (y - 1) / (1 + _C3 * y)))


def hlg_oetf(scene: Tensor) -> Tensor:
    """Convert scene light to an HLG signal (BT.2100-2, table 5).

    Args:
        scene: scene light, 1 at the nominal peak.

    Returns:
        Signal, 1 at the nominal peak.

    Example:
        >>> import torch
        >>> [round(signal, 3) for signal in hlg_oetf(torch.tensor([0.0, 1 / 12, 1.0])).tolist()]
        [0.0, 0.5, 1.0]
    """
    e = _domain(scene)
    log = _HLG_A * torch.log(12 * e.clamp(min=1 / 12) - _HLG_B) + _HLG_C
    return torch.where(e <= 1 / 12, _power(3 * e, 0.5), log)


def hlg_inverse_oetf(code: Tensor) -> Tensor:
    """Convert an HLG signal to scene light (BT.2100-2, table 5).

    Args:
        code: signal in [0, 1.095], clamped to that range.

    Returns:
        Scene light, 1 at the nominal peak.

    Example:
        >>> import torch
        >>> [round(light, 3) for light in hlg_inverse_oetf(torch.tensor([0.0, 0.5, 1.0])).tolist()]
        [0.0, 0.083, 1.0]
    """
    v = _domain(code, _HLG_TOP)
    return torch.where(v <= 0.5, v**2 / 3, (torch.exp((v.clamp(min=0.5) - _HLG_C) / _HLG_A) + _HLG_B) / 12)


def hlg_system_gamma(peak_nits: float) -> float:
    """Return the system gamma of an HLG display (BT.2100-2, table 5, notes 5e and 5f).

    1.2 + 0.42 log10(peak / 1000) from 400 to 2000 cd/m2; 1.2 * 1.111 ** log2(peak / 1000) outside.

    Raises:
        ValueError: if the peak is not positive.
    """
    if not peak_nits > 0:
        raise ValueError(f"peak_nits must be positive, got {peak_nits}")
    if 400 <= peak_nits <= 2000:
        return 1.2 + 0.42 * math.log10(peak_nits / 1000)
    return float(1.2 * 1.111 ** math.log2(peak_nits / 1000))


def hlg_ootf(scene: Tensor, peak_nits: float = 1000.0) -> Tensor:
    """Convert HLG scene light to display light: F = peak * Y ** (gamma - 1) * E (BT.2100-2, table 5; black level 0).

    Args:
        scene: (..., 3, H, W), linear BT.2020 scene light, 1 at the nominal peak.
        peak_nits: peak luminance of the display in cd/m2; it sets the system gamma.

    Returns:
        (..., 3, H, W), display light in cd/m2.

    Raises:
        ValueError: if the peak is not positive, or if there are not three channels.

    Example:
        >>> import torch
        >>> round(hlg_ootf(torch.ones(3, 1, 1), peak_nits=1000.0).max().item())
        1000
    """
    e = _domain(scene)
    return peak_nits * _power(luminance(e), hlg_system_gamma(peak_nits) - 1) * e


def hlg_inverse_ootf(nits: Tensor, peak_nits: float = 1000.0) -> Tensor:
    """Convert display light to HLG scene light (BT.2100-2, table 5).

    E = Y ** ((1 - gamma) / gamma) * F, on light over peak.

    Args:
        nits: (..., 3, H, W), linear BT.2020 display light in cd/m2.
        peak_nits: peak luminance of the display in cd/m2; it sets the system gamma.

    Returns:
        (..., 3, H, W), scene light, 1 at the nominal peak.

    Raises:
        ValueError: if the peak is not positive, or if there are not three channels.
    """
    gamma = hlg_system_gamma(peak_nits)
    f = _domain(nits) / peak_nits
    return _power(luminance(f), (1 - gamma) / gamma) * f


def _bt1886_gain_and_lift(peak: float, black: float) -> tuple[float, float]:
    if not 0 <= black < peak:
        raise ValueError(f"expected 0 <= black < peak, got black={black}, peak={peak}")
    white_root, black_root = peak ** (1 / 2.4), black ** (1 / 2.4)
    return (white_root - black_root) ** 2.4, black_root / (white_root - black_root)


def bt1886_eotf(code: Tensor, peak: float = 1.0, black: float = 0.0) -> Tensor:
    """Convert SDR code to the light of the reference display: L = a * max(V + b, 0) ** 2.4 (BT.1886, annex 1).

    Args:
        code: SDR codes in [0, 1].
        peak: light of code 1; 1 gives relative light, 100 gives cd/m2 of the reference display.
        black: light of code 0, on the same scale.

    Returns:
        Display light on the scale of `peak`.

    Raises:
        ValueError: unless 0 <= black < peak.

    Example:
        >>> import torch
        >>> round(bt1886_eotf(torch.tensor(0.5), peak=100.0).item(), 2)
        18.95
    """
    gain, lift = _bt1886_gain_and_lift(peak, black)
    return gain * _domain(as_float(code) + lift) ** 2.4


def bt1886_inverse_eotf(light: Tensor, peak: float = 1.0, black: float = 0.0) -> Tensor:
    """Convert display light to SDR code: V = (L / a) ** (1 / 2.4) - b (BT.1886, annex 1).

    Args:
        light: display light on the scale of `peak`.
        peak: light of code 1.
        black: light of code 0, on the same scale.

    Returns:
        SDR codes; negative for light below `black`.

    Raises:
        ValueError: unless 0 <= black < peak.
    """
    gain, lift = _bt1886_gain_and_lift(peak, black)
    return _power(_domain(light) / gain, 1 / 2.4) - lift


def srgb_eotf(code: Tensor) -> Tensor:
    """Convert sRGB code to relative linear light, both 1 at white (IEC 61966-2-1, 5.2)."""
    v = _domain(code)
    return torch.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def srgb_inverse_eotf(linear: Tensor) -> Tensor:
    """Convert relative linear light to sRGB code, both 1 at white (IEC 61966-2-1, 5.3)."""
    x = _domain(linear)
    return torch.where(x <= 0.0031308, 12.92 * x, 1.055 * x.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def gamma22_eotf(code: Tensor) -> Tensor:
    """Convert code to relative linear light by a pure power of 2.2, both 1 at white."""
    return _domain(code) ** 2.2


def gamma22_inverse_eotf(linear: Tensor) -> Tensor:
    """Convert relative linear light to code by a pure power of 1 / 2.2, both 1 at white."""
    return _power(_domain(linear), 1 / 2.2)


def bt709_oetf(linear: Tensor) -> Tensor:
    """Convert scene light to the camera's code, both 1 at white (BT.709-6, item 1.2)."""
    x = _domain(linear)
    return torch.where(x < 0.018, 4.5 * x, 1.099 * x.clamp(min=0.018) ** 0.45 - 0.099)


def bt709_inverse_oetf(code: Tensor) -> Tensor:
    """Convert the camera's code to scene light, both 1 at white (inverse of BT.709-6, item 1.2).

    The printed pieces leave a gap from 0.0810 to 0.0813, which is read as their joint, 0.018.
    """
    v = _domain(code)
    return torch.where(v < 0.081, v / 4.5, (((v + 0.099) / 1.099) ** (1 / 0.45)).clamp(min=0.018))
