"""The best single gain of a picture: what is left of an error when the overall level is taken out."""

from __future__ import annotations

import torch
from torch import Tensor

from vitm.color import pq_eotf, pq_inverse_eotf

_STOPS = 2.5  # gains from a sixth to six times are tried
_COARSE, _FINE = 41, 11


def at_best_level(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply predictions by the gain that brings them nearest to their targets, in squared PQ code.

    SDR does not tell the level of a scene, and a viewer can turn it; this is the error of the picture alone.

    Args:
        pred: (B, 3, H, W), BT.2020 PQ code.
        target: the same shape.

    Returns:
        The predictions with their gains, PQ code in [0, 1], and the gains (B,).

    Example:
        >>> target = torch.rand(1, 3, 4, 4)
        >>> halved = pq_inverse_eotf(0.5 * pq_eotf(target))
        >>> result, gain = at_best_level(halved, target)
        >>> round(float(gain), 1)
        2.0
    """
    light = pq_eotf(pred.clamp(0, 1))

    def error(gain: Tensor) -> Tensor:
        code = pq_inverse_eotf((light * gain[:, None, None, None]).clamp(0, 10_000))
        return (code - target).square().mean((1, 2, 3))

    centre = torch.zeros(len(pred), device=pred.device)
    width, count = _STOPS, _COARSE
    for _ in range(3):
        offsets = torch.linspace(-width, width, count, device=pred.device)
        errors = torch.stack([error(torch.exp2(centre + offset)) for offset in offsets])
        centre = centre + offsets[errors.argmin(0)]
        width, count = 2 * width / (count - 1), _FINE
    gain = torch.exp2(centre)
    return pq_inverse_eotf((light * gain[:, None, None, None]).clamp(0, 10_000)), gain
