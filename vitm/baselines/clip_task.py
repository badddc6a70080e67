"""Training and evaluation, on triplets, of the image networks that KPN-MFI compares with and adds its MFI to."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from vitm.baselines.deephdr import DeepHDR
from vitm.baselines.hdrunet import HDRUNet
from vitm.baselines.kpn_itm import KPNiTM
from vitm.baselines.published import hdrunet
from vitm.data.batch import TripletBatch
from vitm.nets.complexity import count_macs
from vitm.nets.interface import stream
from vitm.training.task import L1Task


class ClipTask(L1Task):
    """A `ClipNetwork` trained by the recipe of KPN-MFI, with the mean absolute difference of PQ codes.

    KPN-MFI retrains all networks of its tables on its data and does not say how; the losses of their own papers are
    made for linear light.
    """

    metrics: ClassVar[tuple[str, ...]] = ("psnr", "ssim", "ssim_kpn", "delta_e_itp", "mabd")
    clip_frames = 3

    def forward(self, sdr: Tensor) -> Tensor:
        """Return predictions in [0, 1], frame after frame: (B, T, 3, H, W) -> (B, T, 3, H, W)."""
        return torch.stack(list(stream(self.network, sdr.unbind(1))), dim=1).float().clamp(0, 1)

    def macs_per_frame(self) -> int:
        """Return the multiply-adds a frame at 256 x 256."""
        return count_macs(self.network, torch.rand(1, 3, 256, 256, device=self.device))

    def training_step(self, batch: TripletBatch, batch_idx: int) -> Tensor:
        """Return L1 of all three frames."""
        return self.loss(self.learner(batch["sdr"]), batch["hdr_pq"])


class HDRUNetTask(ClipTask):
    """HDRUNet, or MFI-HDRUNet.

    Args:
        width: see `HDRUNet`.
        blocks: see `HDRUNet`.
        mfi: whether frames interact (KPN-MFI, Table 2).
        **recipe: see `vitm.training.task.L1Task`.
    """

    name: ClassVar[str] = "hdrunet"
    network_class = HDRUNet
    published = staticmethod(hdrunet)

    def __init__(
        self, width: int = 64, blocks: tuple[int, int, int] = (2, 8, 2), mfi: bool = False, **recipe: Any
    ) -> None:
        super().__init__(**recipe)
        self.configure_networks(width=width, blocks=blocks, mfi=mfi)


class DeepHDRTask(ClipTask):
    """DeepHDR, or MFI-DeepHDR.

    Args:
        widths: see `DeepHDR`.
        mfi: whether frames interact (KPN-MFI, Table 2).
        **recipe: see `vitm.training.task.L1Task`.
    """

    name: ClassVar[str] = "deephdr"
    network_class = DeepHDR

    def __init__(
        self, widths: tuple[int, ...] = (64, 128, 256, 512, 512, 512, 512), mfi: bool = False, **recipe: Any
    ) -> None:
        super().__init__(**recipe)
        self.configure_networks(widths=widths, mfi=mfi)


class KPNiTMTask(ClipTask):
    """KPNiTM, or MFI-KPNiTM.

    Args:
        widths: see `KPNiTM`.
        kernel_size: see `KPNiTM`.
        mfi: whether frames interact (KPN-MFI, Table 2).
        **recipe: see `vitm.training.task.L1Task`.
    """

    name: ClassVar[str] = "kpn_itm"
    network_class = KPNiTM

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 128, 256, 256, 512, 512),
        kernel_size: int = 3,
        mfi: bool = False,
        **recipe: Any,
    ) -> None:
        super().__init__(**recipe)
        self.configure_networks(widths=widths, kernel_size=kernel_size, mfi=mfi)
