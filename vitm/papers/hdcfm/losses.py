"""The adversarial part of PDCG's loss (equation 4), on the over-exposed regions."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

GANLoss = Literal["vanilla", "lsgan"]


def patch_loss(logits: Tensor, mask: Tensor, real: bool, kind: GANLoss = "vanilla") -> Tensor:
    """Measure how far a patch discriminator is from calling the masked regions real, or generated.

    A patch weighs as much as the masked share of its area, and the weights of a frame sum to one: small highlights
    count as much as large ones. A frame without any counts zero. The paper names a patch-based adversarial loss and no
    more.

    Args:
        logits: output (B, 1, h, w) of a patch discriminator.
        mask: over-exposure mask (B, 1, H, W) or (B, 3, H, W) in [0, 1].
        real: whether the regions should be called real.
        kind: form of the loss: `"vanilla"`: binary cross-entropy; `"lsgan"`: squared distance to 1 and 0.

    Returns:
        A scalar in fp32: the mean over frames.
    """
    logits = logits.float()
    labels = torch.full_like(logits, float(real))
    criterion = F.binary_cross_entropy_with_logits if kind == "vanilla" else F.mse_loss
    patches = criterion(logits, labels, reduction="none")
    weights = F.adaptive_avg_pool2d(mask.float().amax(1, keepdim=True), (logits.shape[2], logits.shape[3]))
    frames = (weights * patches).sum((1, 2, 3)) / (weights.sum((1, 2, 3)) + 1e-6)
    return frames.mean()
