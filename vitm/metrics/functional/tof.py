"""The tOF of clips: how differently a prediction and its target move."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vitm.metrics.functional.code import clip_pair
from vitm.metrics.functional.flows import Flow, PairFlows


def tof_steps(pred: Tensor, target: Tensor, flows: PairFlows, clip: int = 0) -> Tensor:
    """Return the values that `tof` averages over pairs of frames: 2 x (T, 3, H, W) -> (T - 1,) in fp64."""
    both = torch.stack((pred, target), dim=1)
    steps = []
    for i in range(len(both) - 1):
        of_pred, of_target = flows(clip, i, both[i], both[i + 1])
        step = (of_pred - of_target).abs().sum(dim=0).mean()
        steps.append(step.masked_fill(both[i : i + 2].isnan().any(), math.nan))  # estimators may swallow nan
    return torch.stack(steps)


def tof(pred: Tensor, target: Tensor, flow: Flow = "dis") -> Tensor:
    """Return the tOF of each clip (TecoGAN, Chu et al. 2020): how differently prediction and target move.

    The mean over pixels and pairs of frames of |flow(pred) - flow(target)|_1 in pixels, flow from frame t - 1 to t.

    Convention: this is the paper's formula. The authors' script takes the Euclidean length in place of the sum, with
    Farneback's flow, on cropped frames: compare values of one estimator only. Estimators see the PQ codes as they are.

    Args:
        pred: (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], fp32 or fp64, T >= 2. No pair may cross a scene cut.
        target: the same shape.
        flow: estimator or its name; or exact flows (of `pred`, of `target`), each (B, T - 1, 2, H, W) in pixels,
            x first, from frame i to frame i + 1.

    Returns:
        (B,) in fp64. Lower is better, 0 for identical clips. No gradient.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for shapes that differ or are not of that form, or fewer than two frames.

    Example:
        >>> import torch
        >>> clip = torch.rand(1, 3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> tof(clip, clip.flip(1), "zero").item()
        0.0
    """
    pred, target = clip_pair(pred, target, "tOF")
    flows = PairFlows(flow, target)
    clips = zip(pred, target, strict=True)
    return torch.stack([tof_steps(x, y, flows, clip).mean() for clip, (x, y) in enumerate(clips)])
