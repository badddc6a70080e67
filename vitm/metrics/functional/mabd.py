"""Mean absolute brightness difference: how much consecutive frames differ."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from vitm.color import luminance
from vitm.metrics.functional.code import as_codes, check_clips, code_pair


class MABDValues(NamedTuple):
    """The values of each clip, (B,) in fp64; `gt` and `mse` only where a target was given.

    Attributes:
        pred: mean |f(k+1) - f(k)| of the prediction over pixels, the three PQ channels and pairs (KPN-MFI). A frozen
            output scores 0: read it beside `gt`.
        gt: the same of the target.
        mse: mean over pairs of (MABD_pred(k) - MABD_gt(k))^2 (Jiang & Zheng 2019), on PQ luma with BT.2020 weights.
    """

    pred: Tensor
    gt: Tensor | None = None
    mse: Tensor | None = None


def _steps(video: Tensor) -> Tensor:
    """Return the mean absolute difference to the next frame: (B, T, C, H, W) -> (B, T - 1)."""
    return video.diff(dim=1).abs().mean(dim=(-3, -2, -1))


def mabd(pred: Tensor, target: Tensor | None = None) -> MABDValues:
    """Return the brightness differences between consecutive frames, of a prediction and of its target.

    Args:
        pred: (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], fp32 or fp64, T >= 2. No pair may cross a scene cut.
        target: the same shape, or None.

    Returns:
        `pred` alone, or with a target `pred`, `gt` and `mse`.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for shapes that differ, are not of that form, or have fewer than two frames.

    Example:
        >>> import torch
        >>> fade = torch.tensor([0.25, 0.5, 0.5]).view(1, 3, 1, 1, 1).expand(1, 3, 3, 8, 8)
        >>> values = mabd(fade, torch.zeros_like(fade))
        >>> values.pred.item(), values.gt.item(), round(values.mse.item(), 5)
        (0.125, 0.0, 0.03125)
    """
    check_clips(pred, "MABD")
    if target is None:
        return MABDValues(_steps(as_codes(pred, "pred")).mean(dim=1))
    pred, target = code_pair(pred, target)
    mse = (_steps(luminance(pred)) - _steps(luminance(target))).square().mean(dim=1)
    return MABDValues(_steps(pred).mean(dim=1), _steps(target).mean(dim=1), mse)
