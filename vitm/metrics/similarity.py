"""How alike two videos look: SR-SIM, PSNR and SSIM on a perceptually uniform scale, and their use of the HDR volume."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vitm.color import DIFFUSE_WHITE_NITS
from vitm.color.transfer import PQ_PEAK_NITS
from vitm.metrics.clip import ClipMetric
from vitm.metrics.frame import PSNR, FrameMetric
from vitm.metrics.functional.pu21 import PU21Channels, pu21_psnr, pu21_ssim
from vitm.metrics.functional.sr_sim import SRSIMScale, sr_sim
from vitm.metrics.functional.volume import ehl, fhlp
from vitm.metrics.protocol import CLIPS, FRAMES

_PU21 = replace(FRAMES, domain="PU21 BT.2020")


class SRSIM(FrameMetric):
    """Mean of the frames' SR-SIM. See `functional.sr_sim`.

    Args:
        scale: what code 1 becomes first: 255, or 1 as the code of KPN-MFI evaluates.
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    higher_is_better = True

    def __init__(self, scale: SRSIMScale = 255, round_16bit: bool = True, **kwargs: Any) -> None:
        variant = "0..255" if scale == 255 else "as KPN-MFI, 0..1"
        super().__init__(round_16bit, replace(FRAMES, variant=variant), **kwargs)
        self.scale: SRSIMScale = scale

    def values(self, pred: Tensor, target: Tensor) -> Tensor:
        """SR-SIM of each frame."""
        return sr_sim(pred, target, self.scale)


class PU21PSNR(PSNR):
    """Mean of the frames' PSNR on PU21 values in dB; identical frames as in `PSNR`. See `functional.pu21_psnr`.

    Args:
        channels: "rgb" or "y".
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    def __init__(self, channels: PU21Channels = "rgb", round_16bit: bool = True, **kwargs: Any) -> None:
        super().__init__(round_16bit, protocol=replace(_PU21, variant=channels), **kwargs)
        self.channels: PU21Channels = channels

    def values(self, pred: Tensor, target: Tensor) -> Tensor:
        """PU21-PSNR of each frame."""
        return pu21_psnr(pred, target, self.channels)


class PU21SSIM(FrameMetric):
    """Mean of the frames' SSIM on PU21 values. See `functional.pu21_ssim`.

    Args:
        channels: "rgb" or "y".
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    higher_is_better = True

    def __init__(self, channels: PU21Channels = "rgb", round_16bit: bool = True, **kwargs: Any) -> None:
        super().__init__(round_16bit, replace(_PU21, variant=f"gauss11, {channels}"), **kwargs)
        self.channels: PU21Channels = channels

    def values(self, pred: Tensor, target: Tensor) -> Tensor:
        """PU21-SSIM of each frame."""
        return pu21_ssim(pred, target, self.channels)


class HDRVolume(ClipMetric):
    """Mean over clips of the highlights' share (`fhlp_pred`, `fhlp_gt`) and extent (`ehl_pred`, `ehl_gt`).

    Statistics, not quality: a prediction is good where its values are near the target's. See `functional.fhlp`.

    Args:
        white_nits: diffuse white in cd/m2.
        peak_nits: what code 1 is taken for in cd/m2; 100 and 1000 are the published script's.
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    columns = values = ("fhlp_pred", "fhlp_gt", "ehl_pred", "ehl_gt")

    def __init__(
        self,
        white_nits: float = DIFFUSE_WHITE_NITS,
        peak_nits: float = PQ_PEAK_NITS,
        round_16bit: bool = True,
        **kwargs: Any,
    ) -> None:
        protocol = replace(CLIPS, variant=f"white {white_nits:g} of {peak_nits:g}")
        super().__init__(round_16bit, protocol, **kwargs)
        self.white_nits, self.peak_nits = white_nits, peak_nits

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """The four statistics of each frame."""
        columns = [statistic(x, self.white_nits, self.peak_nits) for statistic in (fhlp, ehl) for x in (pred, target)]
        return torch.stack(columns, dim=-1)

    def reduce(self, measured: Tensor) -> dict[str, Tensor]:
        """Their means."""
        return dict(zip(self.values, measured.mean(dim=0).unbind(), strict=True))
