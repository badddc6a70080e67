"""VITM-TC's losses (equations 4, 8 and 13); the adversarial one is `vitm.nets.discriminators.least_squares_loss`."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.nets.perceptual import PerceptualLoss

VGG_LAYERS = ("relu1_2", "relu2_2", "relu3_3")


def mu_law(x_linear: Tensor, mu: float = 5000.0) -> Tensor:
    """Apply the global tone mapping operator of Wu et al. (ECCV 2018), which the paper takes for equation 4.

    Args:
        x_linear: linear light; the camera clips at 1, and has lost what is above. Below 0 the operator is continued
            with odd symmetry, so that gradients lead back.
        mu: strength of the compression.

    Returns:
        log(1 + mu x) / log(1 + mu), the same shape, fp32; 1 for 1.

    Example:
        >>> mu_law(torch.tensor([0.0, 0.01, 1.0]))
        tensor([0.0000, 0.4616, 1.0000])
    """
    x = x_linear.float()
    return x.sign() * (mu * x.abs()).log1p() / math.log1p(mu)


PixelDomain = Literal["mu_law", "linear"]
"""What L_pix compares: mu-law codes, or linear light."""


def pixel_loss(predicted: Tensor, target: Tensor, domain: PixelDomain = "mu_law") -> Tensor:
    """Compute L_pix of equations 8 and 13: the mean absolute difference.

    Assumption: the codes are those of the mu-law, where a shadow weighs as much as a highlight; the paper names no
    domain.

    Args:
        predicted: linear light, any shape.
        target: true linear light of the same shape.
        domain: see `PixelDomain`.

    Returns:
        A scalar in fp32.
    """
    compress = mu_law if domain == "mu_law" else torch.Tensor.float
    return F.l1_loss(compress(predicted), compress(target))


class HDRPerceptualLoss:
    """L_per of equations 8 and 13: VGG16 features of mu-law codes.

    Assumptions, as the paper names the network alone: the last layers of the first three blocks after their ReLU,
    added; codes as they are, so that highlights exceed 1.

    Args:
        weights: see `PerceptualLoss`.
    """

    def __init__(self, weights: str | Path | None = None) -> None:
        self._distance = PerceptualLoss(weights, VGG_LAYERS, "vgg16")

    def __call__(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Compare predicted and true linear light (B, 3, H, W); return a scalar in fp32."""
        return self._distance(mu_law(predicted), mu_law(target))


def flow_loss(flows: Tensor, true_flows: Tensor, valid: Tensor | None = None) -> Tensor:
    """Compute L_flow of equation 4: the mean absolute difference of corrected and true flow.

    Args:
        flows: corrected flow (..., 2, H, W), pixels.
        true_flows: true flow of the same shape.
        valid: (..., 1, H, W), False where the true flow is unknown or the reference is absent.

    Returns:
        A scalar in fp32: the mean over what is valid; 0 where nothing is.
    """
    error = (flows.float() - true_flows.float()).abs()  # eq. 4
    if valid is None:
        return error.mean() if error.numel() else error.sum()
    valid = valid.bool().expand_as(error)
    return error.masked_fill(~valid, 0).sum() / valid.sum().clamp_min(1)


@torch.no_grad()
def tone_mapped_flow(
    flow: Callable[[Tensor, Tensor], Tensor], key: Tensor, reference: Tensor, exposure_ratio: Tensor | float = 1.0
) -> Tensor:
    """Estimate f_gt of equation 4, where the synthesis does not know it, between tone-mapped true HDR frames.

    Both are brought to the key's exposure and their common peak to 1, so the same thing has the same code in both and
    nothing is clipped.

    Args:
        flow: estimator of `vitm.nets.flow`.
        key: true HDR frame (B, 3, H, W), linear, in its own exposure.
        reference: true HDR frame (B, 3, H, W), linear, in its own exposure.
        exposure_ratio: exposure of the key over that of the reference, a number or (B, 1, 1, 1).

    Returns:
        (B, 2, H, W), pixels, x first, fp32.
    """
    frames = torch.stack([key.float(), reference.float() * exposure_ratio]).clamp_min(0)
    frames = mu_law(frames / frames.amax((0, 2, 3, 4), keepdim=True).clamp_min(1e-6))
    return flow(frames[0], frames[1])
