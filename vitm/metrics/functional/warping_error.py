"""Warping error: what changes along the motion."""

from __future__ import annotations

import torch
from torch import Tensor

from vitm.metrics.functional.code import clip_pair
from vitm.metrics.functional.flows import Flow, PairFlows
from vitm.ops.warp import warp


def visible(backward: Tensor, forward: Tensor) -> Tensor:
    """Return which pixels of a frame are seen in the one before, and lie on no edge of the motion.

    The test and the constants of Ruder, Dosovitskiy & Brox (2016, after Sundaram et al. 2010), which Lai et al. (2018)
    use: backward and forward flow must cancel, and the backward flow must be smooth. Pixels that come from outside the
    frame are not seen either; the authors' script leaves those to the test.

    Args:
        backward: (B, 2, H, W), flow from the frame to the one before, in pixels, x first.
        forward: (B, 2, H, W), flow from the one before to the frame.

    Returns:
        (B, 1, H, W), bool.
    """
    returning = warp(forward, backward)
    length = backward.square().sum(dim=1, keepdim=True)
    gap = (backward + returning).square().sum(dim=1, keepdim=True)
    consistent = gap <= 0.01 * (length + returning.square().sum(dim=1, keepdim=True)) + 0.5
    edge = backward.diff(dim=-1, append=backward[..., -1:]).square()
    edge = (edge + backward.diff(dim=-2, append=backward[..., -1:, :]).square()).sum(dim=1, keepdim=True)
    height, width = backward.shape[-2:]
    x = backward[:, :1] + torch.arange(width, dtype=backward.dtype, device=backward.device)
    y = backward[:, 1:] + torch.arange(height, dtype=backward.dtype, device=backward.device)[:, None]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return consistent & (edge <= 0.01 * length + 0.002) & inside


def warping_steps(videos: Tensor, truth: Tensor, flows: PairFlows, clip: int = 0) -> tuple[Tensor, Tensor]:
    """Return the errors that `warping_error` averages over the pairs of frames of a clip.

    Args:
        videos: (N, T, 3, H, W), PQ codes in fp64, that should move as `truth`.
        truth: (T, 3, H, W), PQ codes.
        flows: flows of `truth`.
        clip: index of the clip in `flows`.

    Returns:
        Mean squared errors over what is visible, (T - 1, N), nan if that is nothing, and shares of visible pixels,
        (T - 1,).
    """
    errors, shares = [], []
    for i in range(len(truth) - 1):
        pair = truth[i : i + 2]
        both = flows(clip, i, pair.flip(0), pair)  # to the earlier frame, and back
        seen = visible(both[:1], both[1:])
        warped = warp(videos[:, i], both[:1].expand(len(videos), -1, -1, -1))
        squares = torch.where(seen, videos[:, i + 1] - warped, 0.0).square().mean(dim=(1, 2, 3))
        shares.append(seen.double().mean())
        errors.append(squares / shares[-1])
    return torch.stack(errors), torch.stack(shares)


def mean_seen(errors: Tensor, shares: Tensor) -> Tensor:
    """Return the mean over the pairs with visible pixels: (T - 1, N), (T - 1,) -> (N,); nan if there is none."""
    return errors[shares > 0].mean(dim=0)


def warping_error(pred: Tensor, target: Tensor, flow: Flow = "dis") -> Tensor:
    """Return the warping error of each clip (Lai et al. 2018): what changes along the motion.

    The mean over pairs of frames of the squared difference, in PQ codes, between frame t and frame t - 1 warped onto
    it, over the pixels that `visible` finds. The motion is that of the target, and so are the occlusions.

    Convention:
        - The error is averaged over the three channels, as in the authors' script. That warps t + 1 onto t; here the
          past is warped, as frames arrive.
        - Estimators see the PQ codes as they are: spread evenly over what the eye tells apart, like the gamma codes
          that they are made for.
        - A blurred or frozen prediction scores well: read it beside the target's own, `warping_error(target, target)`.

    Args:
        pred: (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], fp32 or fp64, T >= 2. No pair may cross a scene cut.
        target: the same shape.
        flow: estimator or its name; or exact flows (backward, forward), each (B, T - 1, 2, H, W) in pixels, x first:
            `backward[:, i]` leads from frame i + 1 to frame i, `forward[:, i]` from frame i to frame i + 1.

    Returns:
        (B,) in fp64. Lower is better. Pairs of which nothing is visible are left out; nan if there is no other.
        Differentiable in `pred`; the flow has no gradient.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for shapes that differ or are not of that form, or fewer than two frames.

    Example:
        >>> import torch
        >>> texture = torch.rand(1, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> clip = texture.expand(1, 3, 3, 32, 32)
        >>> round(warping_error(clip, clip, "zero").item(), 6)
        0.0
    """
    pred, target = clip_pair(pred, target, "the warping error")
    flows = PairFlows(flow, target)
    clips = zip(pred.unsqueeze(1), target, strict=True)
    return torch.cat([mean_seen(*warping_steps(x, y, flows, clip)) for clip, (x, y) in enumerate(clips)])
