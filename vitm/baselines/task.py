"""Training and evaluation of the single-frame networks that the papers compare with."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from vitm.baselines.csrnet import CSRNet
from vitm.baselines.deep_sr_itm import DeepSRITM
from vitm.baselines.hdrnet import HDRNet
from vitm.baselines.hdrtvdm import LSN
from vitm.baselines.hdrtvnet import HDRTVNet
from vitm.baselines.hdrtvnet_plus import HDRTVNetPlus
from vitm.baselines.jsi_net import JSInet
from vitm.baselines.published import hdrtvdm, hdrtvnet, hdrtvnet_plus
from vitm.baselines.srresnet import SRResNet
from vitm.data.batch import ClipBatch, FrameBatch, TripletBatch
from vitm.training.task import L1Task


class FrameTask(L1Task):
    """A network of single frames, trained and measured on frames or on the frames of clips.

    So the same network stands in the tables of all papers, whether their data are frames, triplets or windows (these
    with `data.radius=0`).
    """

    metrics: ClassVar[tuple[str, ...]] = ("psnr", "ssim", "delta_e_itp")

    def forward(self, sdr: Tensor) -> Tensor:
        """Return predictions in [0, 1]: (..., 3, H, W) -> (..., 3, H, W)."""
        return super().forward(sdr.flatten(0, -4)).view_as(sdr)

    def training_step(self, batch: FrameBatch | TripletBatch | ClipBatch, batch_idx: int) -> Tensor:
        """Return the loss of all frames of the batch; dropout is active."""
        sdr, target = batch["sdr"].flatten(0, -4), batch["hdr_pq"].flatten(0, -4)
        if len(sdr) != len(target):
            raise ValueError(
                f"a network of single frames got {len(sdr)} frames for {len(target)} targets: set data.radius to 0"
            )
        with self.step_rng(batch_idx):
            return self.frame_loss(sdr, target)

    def frame_loss(self, sdr: Tensor, target: Tensor) -> Tensor:
        """Return the loss of frames (B, 3, H, W), and log it; here: L1 of PQ codes."""
        return self.loss(self.learner(sdr), target)


class ResNetTask(FrameTask):
    """The papers' ResNet: an SRResNet of one frame.

    Args:
        width: see `SRResNet`.
        blocks: see `SRResNet`.
        **recipe: see `vitm.training.task.L1Task`.
    """

    name: ClassVar[str] = "srresnet"
    network_class = SRResNet

    def __init__(self, width: int = 64, blocks: int = 16, **recipe: Any) -> None:
        super().__init__(**recipe)
        self.configure_networks(width=width, blocks=blocks)


class CSRNetTask(FrameTask):
    """CSRNet.

    Args:
        width: see `CSRNet`.
        conditions: see `CSRNet`.
        **recipe: see `vitm.training.task.L1Task`.
    """

    name: ClassVar[str] = "csrnet"
    network_class = CSRNet

    def __init__(self, width: int = 64, conditions: int = 32, **recipe: Any) -> None:
        super().__init__(**recipe)
        self.configure_networks(width=width, conditions=conditions)


class HDRNetTask(FrameTask):
    """HDRNet, with squared errors as in its paper (section 4).

    Args:
        places: see `HDRNet`.
        brightnesses: see `HDRNet`.
        **recipe: see `vitm.training.task.L1Task`.
    """

    name: ClassVar[str] = "hdrnet"
    network_class = HDRNet

    def __init__(self, places: int = 16, brightnesses: int = 8, **recipe: Any) -> None:
        super().__init__(**recipe)
        self.configure_networks(places=places, brightnesses=brightnesses)

    def loss(self, hdr_pq: Tensor, target: Tensor) -> Tensor:
        """Return the squared error of PQ codes, and log it."""
        loss = F.mse_loss(hdr_pq.float(), target)
        self.log("train/loss", loss, sync_dist=True)
        return loss


class HDRTVNetTask(FrameTask):
    """HDRTVNet's AGCM and LE, or all three stages, trained together.

    Args:
        width: see `HDRTVNet`.
        blocks: see `HDRTVNet`.
        highlights: see `HDRTVNet`.
        **recipe: see `vitm.training.task.L1Task`.
    """

    name: ClassVar[str] = "hdrtvnet"
    network_class = HDRTVNet
    published = staticmethod(hdrtvnet)

    def __init__(self, width: int = 64, blocks: int = 16, highlights: int = 0, **recipe: Any) -> None:
        super().__init__(**recipe)
        self.configure_networks(width=width, blocks=blocks, highlights=highlights)


class DeepSRITMTask(FrameTask):
    """Deep SR-ITM.

    Args:
        width: see `DeepSRITM`.
        modulated: see `DeepSRITM`.
        merge: see `DeepSRITM`.
        shared: see `DeepSRITM`.
        halved: see `DeepSRITM`.
        **recipe: see `vitm.training.task.L1Task`.
    """

    name: ClassVar[str] = "deep_sr_itm"
    network_class = DeepSRITM

    def __init__(
        self,
        width: int = 64,
        modulated: Literal["every second", "all"] = "every second",
        merge: int = 1,
        shared: bool = False,
        halved: bool = False,
        **recipe: Any,
    ) -> None:
        super().__init__(**recipe)
        self.configure_networks(width=width, modulated=modulated, merge=merge, shared=shared, halved=halved)


class JSInetTask(FrameTask):
    """JSInet.

    Args:
        width: see `JSInet`.
        kernel_for_each_color: see `JSInet`.
        **recipe: see `vitm.training.task.L1Task`.
    """

    name: ClassVar[str] = "jsi_net"
    network_class = JSInet

    def __init__(self, width: int = 64, kernel_for_each_color: bool = False, **recipe: Any) -> None:
        super().__init__(**recipe)
        self.configure_networks(width=width, kernel_for_each_color=kernel_for_each_color)


class HDRTVNetPlusTask(FrameTask):
    """HDRTVNet++'s AGCM and LE, trained together, or one of them.

    Args:
        agcm: see `HDRTVNetPlus`.
        le: see `HDRTVNetPlus`; LE alone learns from SDR.
        width: see `HDRTVNetPlus`.
        **recipe: see `vitm.training.task.L1Task`.
    """

    name: ClassVar[str] = "hdrtvnet_plus"
    network_class = HDRTVNetPlus
    published = staticmethod(hdrtvnet_plus)

    def __init__(self, agcm: bool = True, le: bool = True, width: int = 32, **recipe: Any) -> None:
        super().__init__(**recipe)
        self.configure_networks(agcm=agcm, le=le, width=width)


class LSNTask(FrameTask):
    """HDRTVDM's LSN.

    Args:
        width: see `LSN`.
        threshold: see `LSN`.
        **recipe: see `vitm.training.task.L1Task`.
    """

    name: ClassVar[str] = "hdrtvdm"
    network_class = LSN
    published = staticmethod(hdrtvdm)

    def __init__(self, width: int = 32, threshold: float = 0.7611, **recipe: Any) -> None:
        super().__init__(**recipe)
        self.configure_networks(width=width, threshold=threshold)
