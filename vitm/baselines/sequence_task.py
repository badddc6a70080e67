"""Training and evaluation, on long clips of linear light, of the networks that VITM-TC compares with."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.baselines.basicvsr_pp import BasicVSRPP
from vitm.baselines.deep_vitm import DeepVITM, luminance_and_color_loss
from vitm.baselines.diff_hdr import DiffHDR, merge_stack
from vitm.baselines.fmnet import FMNet
from vitm.baselines.hdrcnn import HDRCNN, illumination_reflectance_loss
from vitm.baselines.published import basicvsr_pp
from vitm.baselines.single_hdr import SingleHDR
from vitm.color import gamma22_inverse_eotf
from vitm.data.batch import SequenceBatch, pick_frames
from vitm.nets.complexity import count_macs
from vitm.nets.flow import FlowName
from vitm.papers.vitm_tc.display import from_hdr_pq, to_hdr_pq
from vitm.papers.vitm_tc.exposure import over_exposure
from vitm.papers.vitm_tc.losses import mu_law
from vitm.papers.vitm_tc.task import SequenceTask, hdr_perceptual_loss
from vitm.training.optimizers import Schedule


class LinearTask(SequenceTask):
    """A network of linear light, trained on frames of long clips, or on windows of them.

    VITM-TC retrains all systems of its table on its data and does not say how. Here each has the loss of its own paper,
    and VITM-TC's recipe (section 4.1).

    Args:
        lr: learning rate of Adam.
        schedule: schedule of the learning rate.
        **recipe: see `vitm.training.task.InverseToneMappingTask`.
    """

    def __init__(self, lr: float = 2e-4, schedule: Schedule = "cosine", **recipe: Any) -> None:
        super().__init__(lr=lr, schedule=schedule, **recipe)

    def training_step(self, batch: SequenceBatch, batch_idx: int) -> Tensor:
        """Return the loss of what `pick` takes from the batch."""
        with self.step_rng(batch_idx):
            loss = self.loss(self.pick(batch, "ldr"), self.pick(batch, "linear"))
        self.log("train/loss", loss, sync_dist=True)
        return loss

    @abstractmethod
    def pick(self, batch: SequenceBatch, frames: Literal["ldr", "linear"]) -> Tensor:
        """Return what the network learns from: some of the batch's frames."""

    @abstractmethod
    def loss(self, ldr: Tensor, linear: Tensor) -> Tensor:
        """Return the loss for camera code in [0, 1] and its true linear light."""


class LinearFrameTask(LinearTask):
    """A network of single frames (`data.sampling=references`, `data.schedule.references=0`).

    Args:
        **recipe: see `LinearTask`.
    """

    def pick(self, batch: SequenceBatch, frames: Literal["ldr", "linear"]) -> Tensor:
        """Return the first frames (B, 3, H, W), the keys."""
        return batch[frames][:, 0]


class LinearClipTask(LinearTask):
    """A network of consecutive frames (`data.sampling=window`), `data.schedule.window` of them.

    Args:
        **recipe: see `LinearTask`.
    """

    def pick(self, batch: SequenceBatch, frames: Literal["ldr", "linear"]) -> Tensor:
        """Return the windows (B, W, 3, H, W)."""
        return pick_frames(batch[frames], batch["window"])


class HDRCNNTask(LinearFrameTask):
    """HDRCNN, with its loss of illumination and reflectance where the frame is over-exposed.

    Args:
        widths: see `HDRCNN`.
        pretrained: start the encoder from VGG16's ImageNet weights, as the paper does.
        vgg_weights: file of these weights; see `vitm.nets.perceptual.PerceptualLoss`.
        illumination_weight: lambda, the share of illumination in the loss.
        **recipe: see `LinearFrameTask`.
    """

    name: ClassVar[str] = "hdrcnn"
    network_class = HDRCNN
    network: HDRCNN

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 128, 256, 512, 512),
        pretrained: bool = True,
        vgg_weights: str | None = None,
        illumination_weight: float = 0.5,
        **recipe: Any,
    ) -> None:
        super().__init__(**recipe)
        self.pretrained, self.vgg_weights = pretrained, vgg_weights
        self.illumination_weight = illumination_weight
        self.configure_networks(widths=tuple(widths))

    def configure_losses(self) -> None:
        """Load VGG16, unless `pretrained` is false: a checkpoint to resume from is loaded over it later."""
        if self.pretrained:
            self.network.encoder.load_classifier(self.vgg_weights)

    def loss(self, ldr: Tensor, linear: Tensor) -> Tensor:
        """Return the loss of illumination and reflectance."""
        alpha = over_exposure(ldr, self.learner.tau)
        return illumination_reflectance_loss(self.learner.log_light(ldr), linear, alpha, self.illumination_weight)


class FMNetTask(LinearFrameTask):
    """FMNet, with the mean absolute difference of HDR10 codes.

    The network gives HDR10 code, also here: light 1, where a camera clips, is at diffuse white (203 cd/m2), and codes
    are brought back to linear light to be measured.

    Args:
        width: see `FMNet`.
        blocks: see `FMNet`.
        **recipe: see `LinearTask`.
    """

    name: ClassVar[str] = "fmnet"
    network_class = FMNet

    def __init__(self, width: int = 64, blocks: int = 13, **recipe: Any) -> None:
        super().__init__(**recipe)
        self.configure_networks(width=width, blocks=blocks)

    def forward(self, ldr: Tensor) -> Tensor:
        """Convert frames (B, 3, H, W), camera code in [0, 1], to linear light of the same shape."""
        return from_hdr_pq(self.network(ldr))

    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Convert a clip, see `SequenceTask`."""
        return map(self, frames)

    def loss(self, ldr: Tensor, linear: Tensor) -> Tensor:
        """Return L1 of HDR10 codes."""
        return F.l1_loss(self.learner(ldr).float(), to_hdr_pq(linear))


class SingleHDRTask(LinearFrameTask):
    """Single HDR, with a loss for each of its stages, all of them at once.

    The data know what the stages should give: code before quantisation, the curve 2.2, light that is clipped, light.

    Args:
        widths: see `SingleHDR`.
        vgg_widths: see `SingleHDR`.
        emor: see `SingleHDR`.
        pretrained: start the hallucination's encoder from VGG16's ImageNet weights, as the paper does.
        vgg_weights: file of these weights; see `vitm.nets.perceptual.PerceptualLoss`.
        linear_weight: weight of the squared difference of clipped light.
        curve_weight: weight of the squared difference of curves, within that of light.
        perceptual_weight: weight of VGG16's features, of what is filled in; 0 needs no weights.
        variation_weight: weight of the total variation of what is filled in.
        **recipe: see `LinearTask`.
    """

    name: ClassVar[str] = "single_hdr"
    network_class = SingleHDR
    network: SingleHDR

    def __init__(
        self,
        widths: tuple[int, ...] = (16, 32, 64, 128, 256),
        vgg_widths: tuple[int, ...] = (64, 128, 256, 512, 512),
        emor: str | None = None,
        pretrained: bool = True,
        vgg_weights: str | None = None,
        linear_weight: float = 10.0,
        curve_weight: float = 0.1,
        perceptual_weight: float = 0.001,
        variation_weight: float = 0.1,
        **recipe: Any,
    ) -> None:
        super().__init__(**recipe)
        self.pretrained, self.vgg_weights = pretrained, vgg_weights
        self.linear_weight, self.curve_weight = linear_weight, curve_weight
        self.perceptual_weight, self.variation_weight = perceptual_weight, variation_weight
        self.configure_networks(widths=tuple(widths), vgg_widths=tuple(vgg_widths), emor=emor)
        self.arguments |= {"emor": None}  # a place of this machine; the state has what was read

    def configure_losses(self) -> None:
        """Make the perceptual loss, unless its weight is 0; load VGG16, unless `pretrained` is false."""
        self.perceptual = hdr_perceptual_loss(self.perceptual_weight, self.vgg_weights)
        if self.pretrained:
            self.network.hallucination.encoder.load_classifier(self.vgg_weights)

    def loss(self, ldr: Tensor, linear: Tensor) -> Tensor:
        """Return the weighted sum of the losses of the stages."""
        stages = self.learner.stages(ldr)
        clipped = linear.clamp(0, 1)
        curve = torch.linspace(0, 1, stages.curve.shape[1], device=ldr.device) ** 2.2
        dequantized = F.mse_loss(stages.dequantized, gamma22_inverse_eotf(clipped))
        light = F.mse_loss(stages.linear, clipped)
        curves = F.mse_loss(stages.curve, curve.expand_as(stages.curve))
        logs = [(x + 1 / 255).log() for x in (stages.filled, stages.refined, linear)]
        filled, refined = F.l1_loss(logs[0], logs[2]), F.l1_loss(logs[1], logs[2])
        variation = logs[0].diff(dim=2).abs().mean() + logs[0].diff(dim=3).abs().mean()
        loss = dequantized + self.linear_weight * (light + self.curve_weight * curves)
        loss = loss + filled + self.variation_weight * variation + refined
        if self.perceptual is not None:
            loss = loss + self.perceptual_weight * self.perceptual(stages.filled, linear)
        return loss


class DiffHDRTask(LinearFrameTask):
    """Differentiable HDR, with the differences of all exposures and that of the merged light.

    Args:
        widths: see `DiffHDR`.
        steps: see `DiffHDR`.
        light_weight: weight of the mean absolute difference of mu-law codes of the merged light.
        **recipe: see `LinearTask`.
    """

    name: ClassVar[str] = "diff_hdr"
    network_class = DiffHDR
    network: DiffHDR

    def __init__(
        self,
        widths: tuple[int, ...] = (16, 32, 64, 128, 256),
        steps: int = 3,
        light_weight: float = 1.0,
        **recipe: Any,
    ) -> None:
        super().__init__(**recipe)
        self.light_weight = light_weight
        self.configure_networks(widths=tuple(widths), steps=steps)

    def loss(self, ldr: Tensor, linear: Tensor) -> Tensor:
        """Return L1 of the exposures' codes, and of the merged light."""
        stack, stops = self.learner.stack(ldr), self.learner.stops
        true = torch.stack([gamma22_inverse_eotf((linear * 2.0**stop).clamp(0, 1)) for stop in stops], 1)
        merged = merge_stack(stack, stops)
        return F.l1_loss(stack, true) + self.light_weight * F.l1_loss(mu_law(merged), mu_law(linear))


class DeepVITMTask(LinearClipTask):
    """Deep VITM, with losses of luminance and of colour for the middle frame of a window.

    Args:
        widths: see `DeepVITM`.
        radius: see `DeepVITM`; the window must have 2 radius + 1 frames.
        color_weight: weight of the loss of colour.
        **recipe: see `LinearTask`.
    """

    name: ClassVar[str] = "deep_vitm"
    network_class = DeepVITM
    network: DeepVITM

    def __init__(
        self, widths: tuple[int, ...] = (24, 48, 96), radius: int = 2, color_weight: float = 1.0, **recipe: Any
    ) -> None:
        super().__init__(**recipe)
        self.color_weight = color_weight
        self.configure_networks(widths=tuple(widths), radius=radius)

    def loss(self, ldr: Tensor, linear: Tensor) -> Tensor:
        """Return the loss of the middle frame."""
        if ldr.shape[1] != 2 * self.network.radius + 1:
            raise ValueError(
                f"radius={self.network.radius} needs windows of {2 * self.network.radius + 1} frames, got "
                f"{ldr.shape[1]}: set data.schedule.window"
            )
        return luminance_and_color_loss(self.learner(ldr), linear[:, self.network.radius], self.color_weight)

    def macs_per_frame(self) -> int:
        """Return the multiply-adds a frame at 256 x 256: a window gives one frame."""
        white = torch.ones(1, 2 * self.network.radius + 1, 3, 64, 64, device=self.device)  # all of it is reconstructed
        return count_macs(self.network, white) * 16


class BasicVSRPPTask(LinearClipTask):
    """BasicVSR++, with its Charbonnier loss, of mu-law codes, for all frames of a window.

    Args:
        width: see `BasicVSRPP`.
        blocks: see `BasicVSRPP`.
        max_residue: see `BasicVSRPP`.
        flow: see `BasicVSRPP`.
        flow_weights: see `BasicVSRPP`.
        **recipe: see `LinearTask`.
    """

    name: ClassVar[str] = "basicvsr_pp"
    network_class = BasicVSRPP
    published = staticmethod(basicvsr_pp)
    network: BasicVSRPP

    def __init__(
        self,
        width: int = 64,
        blocks: int = 7,
        max_residue: float = 10.0,
        flow: FlowName = "dis",
        flow_weights: str | Path | None = None,
        **recipe: Any,
    ) -> None:
        super().__init__(**recipe)
        arguments = {"width": width, "blocks": blocks, "max_residue": max_residue, "flow": flow}
        self.configure_networks(**arguments, flow_weights=flow_weights)
        self.arguments |= {"flow_weights": None}  # a place of this machine

    def loss(self, ldr: Tensor, linear: Tensor) -> Tensor:
        """Return the mean of sqrt(difference^2 + 1e-12)."""
        difference = mu_law(self.learner(ldr)) - mu_law(linear)
        return (difference.square() + 1e-12).sqrt().mean()

    def macs_per_frame(self) -> int:
        """Return the multiply-adds a frame at 256 x 256: what a clip needs more that is longer by a frame."""
        clip = torch.rand(1, 3, 3, 64, 64, device=self.device)  # at either end nothing is aligned
        return (count_macs(self.network, clip) - count_macs(self.network, clip[:, :2])) * 16
