"""How much of the HDR volume a frame uses: statistics of one video, which are no measure of quality."""

from __future__ import annotations

from torch import Tensor

from vitm.color import DIFFUSE_WHITE_NITS, pq_eotf
from vitm.color.transfer import PQ_PEAK_NITS
from vitm.metrics.functional.code import as_codes


def _light_and_white(code: Tensor, white_nits: float, peak_nits: float) -> tuple[Tensor, float]:
    """Return light with 1 at code 1, and diffuse white on that scale."""
    if not 0 < white_nits < peak_nits:
        raise ValueError(f"expected 0 < white_nits < peak_nits, got {white_nits} and {peak_nits}")
    return pq_eotf(as_codes(code, "code")) / PQ_PEAK_NITS, white_nits / peak_nits


def fhlp(code: Tensor, white_nits: float = DIFFUSE_WHITE_NITS, peak_nits: float = PQ_PEAK_NITS) -> Tensor:
    """Return FHLP (HDRTVDM, CVPR 2023): the share of channel values at or above diffuse white.

    Convention: the published script divides its white of 100 by its peak of 1000 although its code 1 is 10,000 cd/m2,
    so its threshold is 1000 cd/m2. `white_nits=100, peak_nits=1000` gives its values; the defaults mean 203 cd/m2
    (BT.2408).

    Args:
        code: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes, clamped to [0, 1], fp32 or fp64.
        white_nits: diffuse white in cd/m2.
        peak_nits: light of code 1 in cd/m2.

    Returns:
        (B,) or (B, T) in fp64, in [0, 1]. A count: it has no gradient.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for other shapes, and unless 0 < white_nits < peak_nits.

    Example:
        >>> import torch
        >>> codes = torch.tensor([0.3, 0.5, 0.6, 0.9]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
        >>> fhlp(codes).item()  # 203 cd/m2 is at code 0.58
        0.5
    """
    light, white = _light_and_white(code, white_nits, peak_nits)
    return (light >= white).double().mean(dim=(-3, -2, -1))


def ehl(code: Tensor, white_nits: float = DIFFUSE_WHITE_NITS, peak_nits: float = PQ_PEAK_NITS) -> Tensor:
    """Return EHL (HDRTVDM, CVPR 2023): the mean of max(light - white, 0) / (1 - white) over all channel values.

    Convention: light is linear, 1 at code 1; white is `white_nits / peak_nits`; see `fhlp` for the published script.

    Args:
        code: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes, clamped to [0, 1], fp32 or fp64.
        white_nits: diffuse white in cd/m2.
        peak_nits: light of code 1 in cd/m2.

    Returns:
        (B,) or (B, T) in fp64, in [0, 1]; differentiable.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for other shapes, and unless 0 < white_nits < peak_nits.

    Example:
        >>> import torch
        >>> codes = torch.tensor([0.3, 1.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
        >>> round(ehl(codes).item(), 6)
        0.5
    """
    light, white = _light_and_white(code, white_nits, peak_nits)
    return (light - white).clamp(min=0.0).mean(dim=(-3, -2, -1)) / (1 - white)
