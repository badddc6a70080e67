"""From camera code to linear light and back: the response curve, the mask of what is clipped, equation 1."""

from __future__ import annotations

import torch
from torch import Tensor

from vitm.color import gamma22_eotf as linearise  # f^-1 of equations 1 and 14
from vitm.ops.warp import warp

__all__ = ["code_gain", "composite", "exposure_gain", "linearise", "over_exposure"]

BLACK = 1e-5  # linear light: about code 1 of 255


def over_exposure(ldr: Tensor, tau: float = 0.95) -> Tensor:
    """Compute the soft mask alpha of equation 1, as in HDRCNN, which the paper cites (Eilertsen et al., 2017, eq. 2).

    Args:
        ldr: (B, 3, H, W), camera code in [0, 1].
        tau: code above which a pixel begins to count as over-exposed.

    Returns:
        (B, 1, H, W): 0 up to `tau`, 1 where the brightest channel is full, fp32.
    """
    return ((ldr.float().amax(1, keepdim=True) - tau) / (1 - tau)).clamp(0, 1)


def composite(ldr: Tensor, predicted: Tensor, alpha: Tensor) -> Tensor:
    """Combine by equation 1: the linearised frame where it is well exposed, the prediction where it is not.

    Args:
        ldr: (B, 3, H, W), camera code in [0, 1].
        predicted: (B, 3, H, W), linear light in the exposure of `ldr`.
        alpha: (B, 1, H, W), from `over_exposure`.

    Returns:
        (B, 3, H, W), linear, fp32; exactly `linearise(ldr)` where alpha is 0.
    """
    return (1 - alpha) * linearise(ldr) + alpha * predicted.float()  # eq. 1


@torch.no_grad()
def exposure_gain(frame: Tensor, other: Tensor, valid: Tensor) -> Tensor:
    """Return the factor that gives `other` the exposure of `frame`: the ratio of medians of what both show.

    Args:
        frame: (B, 3, H, W), linear.
        other: (B, 3, H, W), linear, aligned with `frame`.
        valid: (B, 1, H, W), True where neither is clipped; every fourth pixel in both directions counts.

    Returns:
        (B, 1, 1, 1), fp32; 1 where nothing is valid, or either median is black.
    """
    medians = []
    for x in (frame, other):
        light = x[:, :, ::4, ::4].float().mean(1, keepdim=True)
        light = light.masked_fill(~valid[:, :, ::4, ::4], torch.nan)
        medians.append(light.flatten(1).nanmedian(1).values[:, None, None, None])
    usable = (medians[0] > BLACK) & (medians[1] > BLACK)  # False for NaN, where nothing is valid
    return torch.where(usable, medians[0] / medians[1], 1.0)


@torch.no_grad()
def code_gain(ldr: Tensor, other: Tensor, flow: Tensor, tau: float = 0.95) -> Tensor:
    """Return the factor on camera codes that gives `other` the exposure of `ldr`; see `exposure_gain`.

    Args:
        ldr: (B, 3, H, W), camera code in [0, 1].
        other: (B, 3, H, W), camera code in [0, 1].
        flow: (B, 2, H, W), pixels, x first; `warp(other, flow)` resembles `ldr`.
        tau: see `over_exposure`.

    Returns:
        (B, 1, 1, 1), fp32.
    """
    warped = warp(torch.cat([linearise(other), over_exposure(other, tau)], 1), flow)
    unclipped = (over_exposure(ldr, tau) == 0) & (warped[:, 3:] == 0)
    return exposure_gain(linearise(ldr), warped[:, :3], unclipped) ** (1 / 2.2)
