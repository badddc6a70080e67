"""The endpoint error of optical flow inside a mask."""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST = 50.0  # pixels: beyond it a flow is lost, and by how much no longer counts


def endpoint_error(flow: Tensor, true_flow: Tensor, mask: Tensor, largest: float = LARGEST) -> Tensor:
    """Return the mean distance between the ends of two flows, weighted by a mask.

    Each pixel counts with at most `largest` pixels: one flow that is lost would outweigh all that are found, and what
    it leads to is wrong in any case.

    Args:
        flow: (..., 2, H, W), pixels, x first; infinite values are lost.
        true_flow: the same shape.
        mask: (..., 1, H, W), weights >= 0; True counts as 1. Outside, both flows may be anything.
        largest: largest distance of a pixel.

    Returns:
        (...) in fp64, pixels; nan where the mask is 0 everywhere. Lower is better.

    Raises:
        ValueError: for shapes that differ.

    Example:
        >>> import torch
        >>> flow, still = torch.tensor([3.0, 4.0]).view(2, 1, 1), torch.zeros(2, 1, 1)
        >>> endpoint_error(flow, still, torch.ones(1, 1, 1)).item()
        5.0
    """
    total, weight = endpoint_sums(flow, true_flow, mask, largest)
    return total / weight


def endpoint_sums(flow: Tensor, true_flow: Tensor, mask: Tensor, largest: float = LARGEST) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of distances, and the sum of weights; see `endpoint_error`."""
    if flow.shape != true_flow.shape:
        raise ValueError(f"flow has shape {tuple(flow.shape)}, true_flow {tuple(true_flow.shape)}: expected the same")
    if mask.shape != (*flow.shape[:-3], 1, *flow.shape[-2:]):
        raise ValueError(f"mask has shape {tuple(mask.shape)}: expected one channel for flow of {tuple(flow.shape)}")
    weights = mask.double()
    distances = torch.linalg.vector_norm(flow.double() - true_flow.double(), dim=-3, keepdim=True).clamp(max=largest)
    counted = torch.where(weights > 0, distances, 0.0) * weights  # outside, both may be infinite
    return counted.sum(dim=(-3, -2, -1)), weights.sum(dim=(-3, -2, -1))
