"""The adversarial part of PDCG's loss (equation 4), on the over-exposed regions."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

GANLoss = Literal["vanilla", "lsgan"]


def patch_loss(logits: Tensor, mask: Tensor, real: bool, kind: GANLoss = "vanilla") -> Tensor:
    """How far a patch discriminator is from calling the masked regions real, or generated.

    Each patch weighs as much as of its share of the frame is masked, and the weights of a frame sum to one: so small
    highlights count as much as large ones. A frame without any counts zero. The paper names a patch-based adversarial
    loss and no more.

    Args:
        logits: (B, 1, h, w) of a patch discriminator.
        mask: over-exposure mask (B, 1, H, W) or (B, 3, H, W) in [0, 1].
        real: which of the two.
        kind: `"vanilla"`: binary cross-entropy; `"lsgan"`: squared distance to 1 and 0.

    Returns:
        A scalar in fp32: the mean over frames.
    """
    logits = logits.float()
    wanted = torch.full_like(logits, float(real))
    criterion = F.binary_cross_entropy_with_logits if kind == "vanilla" else F.mse_loss
    patches = criterion(logits, wanted, reduction="none")
    weights = F.adaptive_avg_pool2d(mask.float().amax(1, keepdim=True), (logits.shape[2], logits.shape[3]))
    frames = (weights * patches).sum((1, 2, 3)) / (weights.sum((1, 2, 3)) + 1e-6)
    return frames.mean()
