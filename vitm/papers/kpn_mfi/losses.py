"""KPN-MFI's content and brightness consistency losses (section 3.3)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.color import rgb_to_ycbcr
from vitm.color.precision import as_float
from vitm.nets.flow import FlowEstimator
from vitm.ops.copies import copied_to
from vitm.ops.filtering import bilateral_blur, guided_filter
from vitm.ops.pyramid import gaussian_pyramid
from vitm.ops.warp import warp

LEVEL_WEIGHTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)  # gamma_j of equation 9, from fine to coarse

Reduction = Literal["mean", "frame_sum", "printed"]
"""How the L1 norms of equations 8 and 9 become numbers, which decides how much L_T weighs beside L_C.

`"mean"`: means, as in the released code. `"frame_sum"`: L_C adds the means of the three frames, as equation 8 adds
frames. `"printed"`: sums over pixels and channels; both losses are divided by the number of values of a frame, which
rescales their sum alone. There a level of the pyramid weighs by its share of the pixels too.
"""

Content = Literal["tanh", "l1"]
"""What L_C compares: the tanh of PQ codes (equation 8), or PQ codes (released code)."""


def content_loss(hdr_pq: Tensor, target: Tensor, reduction: Reduction = "mean", content: Content = "tanh") -> Tensor:
    """Compute L_C of equation 8: |tanh(H) - tanh(H')|, over pixels, channels and frames.

    Args:
        hdr_pq: prediction (B, T, 3, H, W), PQ code (not clamped).
        target: ground truth, the same shape.
        reduction: see `Reduction`.
        content: see `Content`.

    Returns:
        A scalar, fp32 (fp64 when `hdr_pq` is fp64).
    """
    hdr_pq, target = as_float(hdr_pq), as_float(target)
    if content == "tanh":
        hdr_pq, target = hdr_pq.tanh(), target.tanh()
    loss = F.l1_loss(hdr_pq, target)  # eq. 8
    return loss if reduction == "mean" else loss * hdr_pq.shape[1]


def illumination(hdr_pq: Tensor, log_first: bool = False, luma: bool = False) -> Tensor:
    """Compute the Retinex illumination B of section 3.3: the log of the frame's bilateral base (d = 9, sigmas 10, 5).

    Assumption: the paper's sigma of 10 is in 8-bit units, so the base is that of 255 times the frame.

    Args:
        hdr_pq: (B, 3, H, W), PQ code; clipped to [0, 1].
        log_first: whether log(1 + I) is filtered instead; there sigma 10 exceeds the whole range, and the filter is a
            plain Gaussian.
        luma: whether I is the frame's luma (BT.2020) instead of its three channels.

    Returns:
        (B, 3, H, W) or, of luma, (B, 1, H, W), log units.
    """
    image = 255 * as_float(hdr_pq).clamp(0, 1)
    image = rgb_to_ycbcr(image)[:, :1] if luma else image
    return bilateral_blur(image.log1p()) if log_first else bilateral_blur(image).log1p()


class BrightnessConsistencyLoss:
    """L_T of equation 9: aligned neighbours and the middle frame have the same illumination at all scales.

    Flows are estimated between given frames, without gradient; the predictions are warped. No occlusion mask is used,
    since coarse levels forgive what is misaligned.

    Args:
        flow: estimator of `vitm.nets.flow`.
        reduction: see `Reduction`.
        log_first: see `illumination`.
        luma: see `illumination`.
    """

    def __init__(
        self, flow: FlowEstimator, reduction: Reduction = "mean", log_first: bool = False, luma: bool = False
    ) -> None:
        self.flow = flow
        self.reduction = reduction
        self.log_first, self.luma = log_first, luma

    def __call__(self, hdr_pq: Tensor, seen: Tensor) -> Tensor:
        """Compare the neighbours with the middle frame.

        Args:
            hdr_pq: prediction (B, 3, 3, H, W), PQ code; gradients reach all three frames.
            seen: (B, 3, 3, H, W), frames between which motion is estimated, codes in [0, 1]: SDR, or the target.

        Returns:
            A scalar, fp32 (fp64 when `hdr_pq` is fp64).

        Raises:
            ValueError: if there are not three frames.
        """
        if hdr_pq.shape[1] != 3:
            raise ValueError(f"the consistency loss needs three frames, got {tuple(hdr_pq.shape)}")
        with torch.autocast(hdr_pq.device.type, enabled=False):
            before, current, after = as_float(hdr_pq).unbind(1)
            before = warp(before, self.flow(seen[:, 1], seen[:, 0]))
            after = warp(after, self.flow(seen[:, 1], seen[:, 2]))
            aligned = torch.cat([before, current, after])  # one filter for all three
            levels = gaussian_pyramid(illumination(aligned, self.log_first, self.luma))
            loss = current.new_zeros(())
            for gamma, level in zip(LEVEL_WEIGHTS, levels, strict=True):
                b_before, b, b_after = level.chunk(3)
                share = b.numel() / current.numel() if self.reduction == "printed" else 1.0
                loss = loss + gamma * share * (F.l1_loss(b_before, b) + F.l1_loss(b_after, b))  # eq. 9
            return loss


class OfficialConsistencyLoss:
    """The consistency loss of the released code: no alignment, no logarithm, a guided filter for the bilateral one.

    Its level weights are indexed by the frame, so all levels of the first frame weigh 1/16, and those of the last 1/4;
    its pyramid uses the 5 x 5 binomial kernel with zero padding.
    """

    def __call__(self, hdr_pq: Tensor, seen: Tensor) -> Tensor:
        """Map a prediction (B, 3, 3, H, W), PQ code, to a scalar; `seen` is not used."""
        with torch.autocast(hdr_pq.device.type, enabled=False):
            frames = as_float(hdr_pq).unbind(1)
            pyramids = [_binomial_pyramid(guided_filter(frame)) for frame in frames]
            loss = frames[0].new_zeros(())
            for t in (0, 2):
                for level, middle in zip(pyramids[t], pyramids[1], strict=True):
                    loss = loss + LEVEL_WEIGHTS[t] * F.l1_loss(level, middle)
            return loss


def _binomial_pyramid(x: Tensor, levels: int = 5) -> list[Tensor]:
    taps = copied_to(x.device, torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=x.dtype) / 16)
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 5, 5)
    pyramid = [x]
    while len(pyramid) < levels:
        pyramid.append(F.conv2d(pyramid[-1], kernel, stride=2, padding=2, groups=x.shape[1]))
    return pyramid
