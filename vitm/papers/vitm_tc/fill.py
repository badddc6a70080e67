"""The fill: light that a key has clipped, copied from references that show it."""

from __future__ import annotations

from collections.abc import Iterable
from math import exp
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.ops.warp import warp
from vitm.papers.vitm_tc.exposure import BLACK, composite, linearise, over_exposure
from vitm.papers.vitm_tc.motion import Motion, inside

FULL = 0.98  # code from which a channel counts as clipped: its light is at least this
LONGER = 1.02  # exposure of a key over that of a reference below which the reference clips whatever the key does
TOUCHED = 0.01  # share of clipped samples in an interpolated one from which it counts as clipped
DARKER = 0.85  # a clipped channel may come out darker than 1 by this: flow errs by parts of a pixel
AGREEMENT = 0.35  # natural logarithm: difference to the key's light of a channel that is not clipped
NEAREST = 1 / 16  # weight of a clue beside that of the one before it
FEATHER = 1 / 32  # width of a seam, as a share of the shorter side
DARK = 0.02  # linear light below which differences count less


class Fill(NamedTuple):
    """The light of a key whose clipped pixels are filled from references.

    Attributes:
        hdr_linear: composite of equation 1, with the fill for Y (B, 3, H, W), linear, in the key's exposure, fp32.
        confidence: (B, 3, H, W) in [0, 1]: 1 where a channel is not clipped, or a reference shows it; 0 where it is
            clipped in all references: the light is then at least what stands there; between them at seams.
    """

    hdr_linear: Tensor
    confidence: Tensor


@torch.no_grad()
def fill_from_clues(key: Tensor, references: Iterable[tuple[Tensor, Motion]], tau: float = 0.95) -> Fill:
    """Fill what a key has clipped with the light of references, in the key's exposure, channel by channel.

    A reference counts at a pixel if it contradicts nothing that the key shows there: light that the key has clipped
    must be bright, channels that it has not clipped must agree. Where a reference is clipped too, its own limit is a
    lower bound of the light, and the largest bound is taken where no reference shows more. Nearer references come
    first; seams are blended in the logarithm of light.

    Args:
        key: (B, 3, H, W), camera code in [0, 1].
        references: frames (B, 3, H, W), camera code in [0, 1], with the motion from the key to each, from near to far;
            one whose gain is 0 is not there.
        tau: see `over_exposure`.
    """
    light, clipped, possible = linearise(key), key >= FULL, possible_light(key)
    bound, total, summed, shown = light.clone(), *(torch.zeros_like(light) for _ in range(3))
    order = torch.ones_like(light[:, :1, :1, :1])
    for frame, (flow, gain) in references:
        warped = warp(torch.cat([linearise(frame), (frame >= FULL).float()], 1), flow)
        clue, full = warped[:, :3] * gain, warped[:, 3:] > TOUCHED
        within = inside(flow)
        usable = within & ~contradicts(possible, clue) & (gain > LONGER)
        bound = torch.where(usable & clipped, bound.maximum(light.lerp(clue, _feathered(within))), bound)
        share = _feathered(usable & ~full)
        total, summed = total + order * share, summed + order * share * clue.clamp_min(BLACK).log()
        shown, order = shown.maximum(share), torch.where(gain > 0, order * NEAREST, order)
    filled = shown * summed / total.clamp_min(1e-12) + (1 - shown) * bound.clamp_min(BLACK).log()
    hdr_linear = composite(key, torch.where(clipped, filled.exp(), light), over_exposure(key, tau))
    return Fill(hdr_linear, torch.where(clipped, shown, 1.0))


def possible_light(frame: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least and the most light that a frame leaves possible: not dark where it clips, else about its own.

    Args:
        frame: (B, 3, H, W), camera code in [0, 1].

    Returns:
        Two (B, 3, H, W), linear, in the frame's exposure.
    """
    light, clipped = linearise(frame) + DARK, frame >= FULL
    least, most = light * exp(-AGREEMENT) - DARK, light * exp(AGREEMENT) - DARK
    return least.masked_fill(clipped, DARKER), most.masked_fill(clipped, torch.inf)


def contradicts(possible: tuple[Tensor, Tensor], other: Tensor) -> Tensor:
    """Return where light (B, 3, H, W) cannot be that of a frame with a `possible_light`: (B, 1, H, W), bool."""
    least, most = possible
    return ((other < least) | (other > most)).any(1, keepdim=True)


def _feathered(mask: Tensor) -> Tensor:
    """Return weights in [0, 1] that fall to almost 0 at the edge of a mask (B, C, H, W), and are 0 outside."""
    side = 2 * round(FEATHER * min(mask.shape[2:]) / 2) + 1
    if side < 3:
        return mask.float()
    share = F.avg_pool2d(mask.float(), side, 1, side // 2, count_include_pad=False)
    return torch.where(mask, (2 * share - 1).clamp(1e-3, 1), 0.0)
