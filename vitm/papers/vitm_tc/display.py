"""Relative linear light on an HDR10 display: the scaling by which VITM-TC's output is shown, written and measured."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vitm.color import DIFFUSE_WHITE_NITS, bt709_to_bt2020, bt2020_to_bt709, luminance, pq_eotf, pq_inverse_eotf

PERCENTILE, PERCENTILE_NITS = 99.9, 1000.0


def to_hdr_pq(x_linear: Tensor, white_nits: float = DIFFUSE_WHITE_NITS) -> Tensor:
    """Convert relative light to HDR10 code.

    Args:
        x_linear: (..., 3, H, W), BT.709 primaries; 1 is where the camera clips. Negative light becomes black.
        white_nits: luminance of 1, cd/m2.

    Returns:
        The same shape, BT.2020 primaries, PQ code in [0, 1], fp32; light beyond 10,000 cd/m2 is 1.
    """
    nits = bt709_to_bt2020(x_linear.float().clamp_min(0)) * white_nits
    return pq_inverse_eotf(nits.clamp_max(10_000))


def from_hdr_pq(hdr_pq: Tensor, white_nits: float = DIFFUSE_WHITE_NITS) -> Tensor:
    """Convert HDR10 code to relative light: the inverse of `to_hdr_pq`.

    Args:
        hdr_pq: (..., 3, H, W), BT.2020 primaries, PQ code, clamped to [0, 1].
        white_nits: luminance of 1, cd/m2.

    Returns:
        The same shape, BT.709 primaries, fp32; below 0 in channels of colours that BT.709 does not have.
    """
    return bt2020_to_bt709(pq_eotf(hdr_pq.float().clamp(0, 1))) / white_nits


def measuring_white(target_linear: Tensor) -> float:
    """Return the luminance of light 1 for which the 99.9th percentile of a true clip is 1000 cd/m2.

    The paper's metrics need absolute light, and it does not say how its relative light becomes absolute.

    Args:
        target_linear: (T, 3, H, W), true relative light of a clip; every second pixel in both directions counts.

    Returns:
        cd/m2; that of diffuse white for a clip that is black.
    """
    light = luminance(target_linear[..., ::2, ::2].float(), "bt709")
    top = float(np.percentile(light.cpu().numpy(), PERCENTILE))
    return PERCENTILE_NITS / top if top > 0 and torch.isfinite(light).all() else DIFFUSE_WHITE_NITS
