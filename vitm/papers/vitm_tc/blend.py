"""Keys blended along time: what stands for FCPM behind an ICAM that starts from the clues, without a network.

Not in the paper, whose FCPM learns how to weigh the keys around a frame (equation 9). Keys that start from the clues
are close to the light already: what is left is that they pass into one another as smoothly as the scene moves.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp
from typing import NamedTuple

import torch
from torch import Tensor

from vitm.ops.warp import warp
from vitm.papers.vitm_tc.exposure import BLACK, composite, exposure_gain, linearise, over_exposure
from vitm.papers.vitm_tc.fill import FULL, contradicts, possible_light
from vitm.papers.vitm_tc.motion import inside

SPREAD = 1.5  # distances from key to key: standard deviation of the weights in time
GUESSED = 0.1  # weight of light that no reference has shown to a key, beside light that one has
LEAST = 1e-3  # weight of a key where it contradicts the frame, or ends: it decides where all others do so too


class Neighbour(NamedTuple):
    """A reconstructed key near a frame.

    Attributes:
        image: (B, 4, H, W), from `vitm.papers.vitm_tc.fcpm.key_image`.
        confidence: (B, 1, H, W) in [0, 1]: the least of the channels', see `vitm.papers.vitm_tc.fill.Fill`.
        flow: (B, 2, H, W), pixels, x first; `warp(image, flow)` lies on the frame.
        distance: distance in time from the frame, in distances from key to key.
    """

    image: Tensor
    confidence: Tensor
    flow: Tensor
    distance: float


@torch.no_grad()
def blend_keys(ldr: Tensor, keys: Iterable[Neighbour], tau: float = 0.95) -> Tensor:
    """Blend the light of keys where a frame has clipped, in the frame's exposure.

    The weight of a key falls smoothly with its distance in time (a normal curve), so that nothing jumps from frame to
    frame. It is small where the key contradicts the frame, and smaller where the key's own light was a guess. Keys are
    interpolated bicubically in the logarithm of light, which keeps lamps sharp. A channel that the frame has not
    clipped keeps its light, whatever the others have.

    Args:
        ldr: frame (B, 3, H, W), camera code in [0, 1].
        keys: one key at least.
        tau: see `over_exposure`.

    Returns:
        The composite of equation 1 (B, 3, H, W), linear, in the exposure of `ldr`, fp32.
    """
    frame, alpha, possible = linearise(ldr), over_exposure(ldr, tau), possible_light(ldr)
    total, summed = torch.zeros_like(frame), torch.zeros_like(frame)
    for image, confidence, flow, distance in keys:
        light = warp(image[:, :3].clamp_min(BLACK).log(), flow, mode="bicubic").exp()
        warped = warp(torch.cat([image[:, 3:], confidence], 1), flow)
        clipped, certain = warped[:, :1], warped[:, 1:]
        light = light * exposure_gain(frame, light, (alpha == 0) & (clipped == 0))
        usable = inside(flow) & ~contradicts(possible, light)
        trust = torch.where(usable, 1.0, LEAST) * (GUESSED + (1 - GUESSED) * certain)
        weight = exp(-((distance / SPREAD) ** 2) / 2) * trust
        total, summed = total + weight, summed + weight * light
    return composite(ldr, torch.where(ldr >= FULL, summed / total, frame), alpha)
