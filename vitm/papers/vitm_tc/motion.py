"""Motion between frames of different exposure, without any network: what a reference shows of a key, and how bright.

The paper estimates flow between frames as they are, and corrects it by a trained layer (equation 3). Here both frames
are first brought to a common exposure, so that the same thing has the same code in both, and the flow that comes out is
continued into what is clipped, where nothing can be matched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.nets.flow import feature_homography
from vitm.ops.warp import plane_flow, warp
from vitm.papers.vitm_tc.exposure import code_gain, linearise, over_exposure

QUANTILES = 37  # of brightness that two frames are compared at
SAMPLES = 2**14  # pixels that they are taken from
TRUSTED = (3e-4, 0.85)  # linear light whose codes tell the exposure: above the first few codes, and below clipping
SAME_EXPOSURE = 1.05  # a change of the gain by less does not ask for another flow
ROUND_TRIP = 1.0  # pixels that a flow there and back may miss its start by
OUTLIER = 4.0  # pixels beyond which a flow is no detail of the camera's motion, but an error or another object
LOST = 0.35  # share of what a key has not clipped that has to be trusted, else frames are aligned by features first
LEAST_SHARE = 0.7  # of the trusted flow that one homography has to explain before it stands for the camera's motion


class Motion(NamedTuple):
    """Where the pixels of a key lie in a reference, and how much longer the key was exposed.

    Attributes:
        flow: (B, 2, H, W), pixels, x first; `warp(reference, flow)` resembles the key.
        gain: (B, 1, 1, 1), factor on the reference's linear light that gives it the key's exposure.
    """

    flow: Tensor
    gain: Tensor


@torch.no_grad()
def brightness(frame: Tensor) -> Tensor:
    """Return quantiles (37, B) of the linear light of a frame's brightest channel.

    Args:
        frame: (B, 3, H, W), camera code in [0, 1]; about 16 thousand of its pixels count.
    """
    step = max(1, int((frame.shape[2] * frame.shape[3] / SAMPLES) ** 0.5))
    light = linearise(frame[..., ::step, ::step]).float().amax(1).flatten(1)
    return light.quantile(torch.linspace(0.05, 0.95, QUANTILES, device=frame.device), dim=1)


def exposure_ratio(brightness: Tensor, other: Tensor) -> Tensor:
    """Return how much longer a frame was exposed than another one, without knowing the motion between them.

    Frames of one clip show much the same light, so equal quantiles are taken for the same things: the result is the
    median of the ratios at which neither frame is clipped nor black.

    Args:
        brightness: `brightness` of the frame, (37, B).
        other: that of the other frame.

    Returns:
        (B, 1, 1, 1), fp32: the factor on the linear light of the other frame; 1 where no quantile can be compared.

    Example:
        >>> scene = torch.linspace(0.01, 0.3, 64 * 64).reshape(1, 1, 64, 64).expand(1, 3, -1, -1)
        >>> long, short = ((gain * scene).clamp(max=1) ** (1 / 2.2) for gain in (4, 1))
        >>> round(exposure_ratio(brightness(long), brightness(short)).item(), 3)
        4.0
    """
    least, most = TRUSTED
    comparable = (brightness.minimum(other) > least) & (brightness.maximum(other) < most)
    ratios = (brightness / other).log().masked_fill(~comparable, torch.nan)
    return ratios.nanmedian(0).values.nan_to_num(0.0).exp()[:, None, None, None]


@torch.no_grad()
def estimate_motion(
    estimate: Callable[[Tensor, Tensor], Tensor], key: Tensor, reference: Tensor, gain: Tensor | None = None
) -> Motion:
    """Estimate the motion from a key to a reference of another exposure.

    1. Both frames are brought to the longer exposure of the two, where they clip alike; the flow is estimated there and
       back, and once more if it changes what is known of the exposures.
    2. Flow is trusted where neither frame is clipped and the way there and back ends where it began.
    3. Where little is trusted, because the camera has turned far, both steps are done once more behind a homography of
       features that match, if that makes more trusted.
    4. A homography is fitted to trusted flow: the motion of a camera that turns. What trusted flow differs from it is
       continued smoothly into all that is not trusted, so moving things count where they are near. Where no homography
       explains most of the flow, because the camera also walks, the flow stays as it was estimated.

    Args:
        estimate: estimator of `vitm.nets.flow`.
        key: (B, 3, H, W), camera code in [0, 1].
        reference: (B, 3, H, W), camera code in [0, 1].
        gain: `exposure_ratio` of both, (B, 1, 1, 1), where it is known already.
    """
    if gain is None:
        gain = exposure_ratio(brightness(key), brightness(reference))
    (flow, gain), trusted = _trusted_motion(estimate, key, reference, gain)
    gains, continued = [], []
    for b in range(len(key)):
        one = (x[b : b + 1] for x in (key, reference, gain, flow, trusted))
        one_gain, one_flow, one_trusted = _found_again(estimate, *one)
        gains.append(one_gain)
        continued.append(continued_flow(one_flow[0], one_trusted[0]))
    return Motion(torch.stack(continued), torch.cat(gains))


def _found_again(
    estimate: Callable[[Tensor, Tensor], Tensor],
    key: Tensor,
    reference: Tensor,
    gain: Tensor,
    flow: Tensor,
    trusted: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return gain, flow, and where it is trusted, of one pair of frames: aligned first, if more is trusted then."""
    if trusted.sum() < LOST * (over_exposure(key) == 0).sum():
        matrix = feature_homography(*at_common_exposure(key, reference, gain))
        if matrix is not None:
            camera = plane_flow(matrix.to(flow), key.shape[2:])[None]
            aligned, more_trusted = _trusted_motion(estimate, key, reference, gain, camera)
            if more_trusted.sum() > trusted.sum():
                return aligned.gain, aligned.flow, more_trusted
    return gain, flow, trusted


def _trusted_motion(
    estimate: Callable[[Tensor, Tensor], Tensor],
    key: Tensor,
    reference: Tensor,
    gain: Tensor,
    camera: Tensor | None = None,
) -> tuple[Motion, Tensor]:
    """Return the motion that is estimated, and where it is trusted (B, 1, H, W).

    Args:
        estimate: see `estimate_motion`, and so are the frames.
        key: the key.
        reference: the reference.
        gain: what is known of the exposures, (B, 1, 1, 1).
        camera: flow (B, 2, H, W) that aligns the reference with the key before.
    """
    aligned = reference if camera is None else warp(reference, camera)
    for _ in range(2):
        frames = at_common_exposure(key, aligned, gain)
        detail = estimate(*frames)
        flow = detail if camera is None else detail + warp(camera, detail)
        gain, before = code_gain(key, reference, flow) ** 2.2, gain
        if (gain / before).log().abs().max() < np.log(SAME_EXPOSURE):
            break
    way_back = estimate(*reversed(frames))
    exposed = (over_exposure(key) == 0) & (warp(over_exposure(reference), flow) == 0)
    returns = (detail + warp(way_back, detail)).square().sum(1, keepdim=True) < ROUND_TRIP**2
    return Motion(flow, gain), exposed & returns & inside(flow)


def at_common_exposure(frame: Tensor, other: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """Return both frames, camera code in [0, 1], as the longer exposure of the two would have recorded them.

    Args:
        frame: (B, 3, H, W), camera code in [0, 1].
        other: (B, 3, H, W), camera code in [0, 1].
        gain: (B, 1, 1, 1), factor that gives the linear light of `other` the exposure of `frame`.
    """
    code = gain ** (1 / 2.2)
    return (frame * (1 / code).clamp_min(1)).clamp_max(1), (other * code.clamp_min(1)).clamp_max(1)


def inside(flow: Tensor) -> Tensor:
    """Return where a flow (B, 2, H, W) ends inside the frame, (B, 1, H, W), bool."""
    height, width = flow.shape[2:]
    x = flow[:, 0] + torch.arange(width, device=flow.device)
    y = flow[:, 1] + torch.arange(height, device=flow.device)[:, None]
    return ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))[:, None]


def continued_flow(flow: Tensor, trusted: Tensor) -> Tensor:
    """Return flow (2, H, W), pixels, continued from where it is trusted, (1, H, W), to everywhere else."""
    camera = camera_flow(flow, trusted)
    if camera is None:
        return flow
    detail = flow - camera
    weight = (trusted & (detail.square().sum(0, keepdim=True) < OUTLIER**2)).float()
    return camera + smooth_continuation(detail[None], weight[None])[0]


def camera_flow(flow: Tensor, trusted: Tensor) -> Tensor | None:
    """Return the flow (2, H, W) of the homography that explains most of the trusted flow; None: none explains enough.

    Args:
        flow: (2, H, W), pixels, x first.
        trusted: (1, H, W), bool.
    """
    height, width = flow.shape[1:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    start = torch.stack([x, y]).to(flow)
    step = max(2, min(height, width) // 64)
    chosen = trusted[0, ::step, ::step]
    points = start[:, ::step, ::step][:, chosen].T
    if len(points) < 20:
        return None
    ends = points + flow[:, ::step, ::step][:, chosen].T
    matrix, explained = cv2.findHomography(points.cpu().numpy(), ends.cpu().numpy(), cv2.RANSAC, 1.0, maxIters=500)
    if matrix is None or explained.mean() < LEAST_SHARE:
        return None
    return plane_flow(torch.from_numpy(matrix).to(flow), flow.shape[1:])


def smooth_continuation(values: Tensor, weight: Tensor, prior: float = 1e-3) -> Tensor:
    """Return values continued smoothly to where their weight is 0: sums over a pyramid, from coarse to fine.

    Args:
        values: (B, C, H, W).
        weight: (B, 1, H, W), >= 0.
        prior: weight of the coarser level; of the coarsest, that of zero.
    """
    sums, weights = [values * weight], [weight]
    while min(weights[-1].shape[2:]) >= 4:
        for levels in (sums, weights):
            levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True))
    coarser = torch.zeros_like(sums[-1])
    for level, total in zip(reversed(sums), reversed(weights), strict=True):
        coarser = F.interpolate(coarser, level.shape[2:], mode="bilinear", align_corners=False)
        coarser = (level + prior * coarser) / (total + prior)
    return coarser
