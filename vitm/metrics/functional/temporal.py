"""Steadiness in time: along the motion (warping error, tOF), of the highlights, and of the whole frame (flicker)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vitm.color import luminance, pq_eotf
from vitm.metrics.functional.code import as_codes, code_pair
from vitm.nets.flow import FlowEstimator, FlowName, flow_estimator
from vitm.ops.warp import warp

Flow = FlowName | FlowEstimator | tuple[Tensor, Tensor]
"""An estimator's name, an estimator (as `flow_estimator` makes), or exact flows, which each metric explains."""


class PairFlows:
    """Two flows for each pair of frames, from an estimator (both in one batch) or from the tensors given.

    Args:
        flow: where they come from.
        clips: (B, T, 3, H, W), for the sizes.

    Raises:
        ValueError: for exact flows of other shapes, and for an unknown estimator.
    """

    def __init__(self, flow: Flow, clips: Tensor) -> None:
        self._exact: tuple[Tensor, Tensor] | None = None
        if isinstance(flow, tuple):
            batch, length, _, height, width = clips.shape
            expected = (batch, length - 1, 2, height, width)
            if len(flow) != 2 or any(not f.is_floating_point() or f.shape != expected for f in flow):
                shapes = ", ".join(f"{f.dtype} {tuple(f.shape)}" for f in flow)
                raise ValueError(f"exact flows must be two floating-point tensors {expected}, got {shapes}")
            self._exact = flow
        else:
            self._estimate = flow_estimator(flow) if isinstance(flow, str) else flow

    def __call__(self, clip: int, pair: int, sources: Tensor, targets: Tensor) -> Tensor:
        """(2, 2, H, W) in fp64, from `sources` (2, 3, H, W) to `targets`."""
        if self._exact is not None:
            return torch.stack([f[clip, pair] for f in self._exact]).double()
        return self._estimate(sources.detach(), targets.detach()).double()


def _clip_pair(pred: Tensor, target: Tensor, name: str) -> tuple[Tensor, Tensor]:
    pred, target = code_pair(pred, target)
    _at_least_two(pred, name)
    return pred, target


def _at_least_two(video: Tensor, name: str) -> None:
    if video.ndim != 5 or video.shape[1] < 2:
        raise ValueError(f"{name} needs clips (B, T, 3, H, W) of at least 2 frames, got {tuple(video.shape)}")


def visible(backward: Tensor, forward: Tensor) -> Tensor:
    """Which pixels of a frame are seen in the one before, and lie on no edge of the motion.

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
    """What `warping_error` averages over the pairs of frames of a clip.

    Args:
        videos: (N, T, 3, H, W), PQ codes in fp64, that should move as `truth`.
        truth: (T, 3, H, W), PQ codes.
        flows: the flows of `truth`.
        clip: the index of the clip in `flows`.

    Returns:
        (T - 1, N) mean squared errors over what is visible, nan if that is nothing; (T - 1,) shares of visible pixels.
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
    """The mean over the pairs of which something is visible: (T - 1, N), (T - 1,) -> (N,); nan if there is none."""
    return errors[shares > 0].mean(dim=0)


def warping_error(pred: Tensor, target: Tensor, flow: Flow = "dis") -> Tensor:
    """Warping error of each clip (Lai et al. 2018): what changes along the motion.

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
        flow: an estimator or its name; or exact flows (backward, forward), each (B, T - 1, 2, H, W) in pixels, x first:
            `backward[:, i]` leads from frame i + 1 to frame i, `forward[:, i]` from frame i to frame i + 1.

    Returns:
        (B,) in fp64. Lower is better. Pairs of which nothing is visible are left out; nan if there is no other.
        Differentiable in `pred`; the flow has no gradient.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for shapes that differ or are not of that form, or fewer than two frames.
    """
    pred, target = _clip_pair(pred, target, "the warping error")
    flows = PairFlows(flow, target)
    clips = zip(pred.unsqueeze(1), target, strict=True)
    return torch.cat([mean_seen(*warping_steps(x, y, flows, clip)) for clip, (x, y) in enumerate(clips)])


def tof_steps(pred: Tensor, target: Tensor, flows: PairFlows, clip: int = 0) -> Tensor:
    """What `tof` averages over the pairs of frames of a clip: 2 x (T, 3, H, W) -> (T - 1,) in fp64."""
    both = torch.stack((pred, target), dim=1)
    steps = []
    for i in range(len(both) - 1):
        ours, theirs = flows(clip, i, both[i], both[i + 1])
        step = (ours - theirs).abs().sum(dim=0).mean()
        steps.append(step.masked_fill(both[i : i + 2].isnan().any(), math.nan))  # estimators may swallow nan
    return torch.stack(steps)


def tof(pred: Tensor, target: Tensor, flow: Flow = "dis") -> Tensor:
    """The tOF of each clip (TecoGAN, Chu et al. 2020): how differently prediction and target move.

    The mean over pixels and pairs of frames of |flow(pred) - flow(target)|_1 in pixels, flow from frame t - 1 to t.

    Convention: this is the paper's formula. The authors' script takes the Euclidean length in place of the sum, with
    Farneback's flow, on cropped frames: compare values of one estimator only. Estimators see the PQ codes as they are.

    Args:
        pred: (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], fp32 or fp64, T >= 2. No pair may cross a scene cut.
        target: the same shape.
        flow: an estimator or its name; or exact flows (of `pred`, of `target`), each (B, T - 1, 2, H, W) in pixels,
            x first, from frame i to frame i + 1.

    Returns:
        (B,) in fp64. Lower is better, 0 for identical clips. No gradient.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for shapes that differ or are not of that form, or fewer than two frames.
    """
    pred, target = _clip_pair(pred, target, "tOF")
    flows = PairFlows(flow, target)
    clips = zip(pred, target, strict=True)
    return torch.stack([tof_steps(x, y, flows, clip).mean() for clip, (x, y) in enumerate(clips)])


def highlight_nits(video: Tensor) -> Tensor:
    """The highlights of each frame: the 99th percentile of its luminance, linear between order statistics.

    Args:
        video: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes, clamped to [0, 1], fp32 or fp64.

    Returns:
        (B,) or (B, T) in cd/m2, fp64.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for other shapes.
    """
    video = as_codes(video, "video")
    values = []
    for frame in video.flatten(0, -4):  # one at a time: fp64 light of a 4K frame is 200 MB
        light = luminance(pq_eotf(frame)).flatten()
        position = 0.99 * (len(light) - 1)
        low = light.kthvalue(math.floor(position) + 1).values
        high = light.kthvalue(math.ceil(position) + 1).values
        value = low + (position - math.floor(position)) * (high - low)
        values.append(value.masked_fill(light.isnan().any(), math.nan))  # sorting puts nan last
    return torch.stack(values).view(video.shape[:-3])


def deviation(series: Tensor) -> Tensor:
    """Population standard deviation over the last dimension; its gradient is 0, not nan, where nothing varies."""
    centred = series - series.mean(dim=-1, keepdim=True)
    norm: Tensor = torch.linalg.vector_norm(centred, dim=-1)
    return norm / math.sqrt(series.shape[-1])


def variation(series: Tensor) -> Tensor:
    """Coefficient of variation over the last dimension of values >= 0; 0 where all are 0."""
    mean = series.mean(dim=-1)
    return deviation(series) / mean.clamp(min=torch.finfo(mean.dtype).tiny)


def highlight_stability(video: Tensor) -> Tensor:
    """How much the highlights of each clip swell and fade: the coefficient of variation of `highlight_nits` over time.

    Convention: standard deviation (population) over mean. Scenes vary by themselves: compare it with the target's.

    Args:
        video: (B, T, 3, H, W), BT.2020 PQ codes, clamped to [0, 1], fp32 or fp64, T >= 2.

    Returns:
        (B,) in fp64, 0 for constant highlights. Differentiable.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for other shapes or fewer than two frames.
    """
    _at_least_two(video, "the stability of highlights")
    return variation(highlight_nits(video))


def mean_luma(video: Tensor) -> Tensor:
    """The mean PQ luma of each frame, with BT.2020 weights: (..., 3, H, W) codes -> (...)."""
    return luminance(video).mean(dim=(-3, -2, -1))


def flicker(pred: Tensor, target: Tensor) -> Tensor:
    """Flicker of each clip: the standard deviation over time of the frames' mean PQ luma, prediction minus target.

    Convention: population deviation. A constant level error does not count; a drift does.

    Args:
        pred: (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], fp32 or fp64, T >= 2.
        target: the same shape.

    Returns:
        (B,) in PQ code, fp64. Lower is better, 0 for identical clips. Differentiable.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for shapes that differ or are not of that form, or fewer than two frames.
    """
    pred, target = _clip_pair(pred, target, "flicker")
    return deviation(mean_luma(pred) - mean_luma(target))
