"""Training and evaluation, on long clips of linear light, of the networks that VITM-TC compares with."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from vitm.baselines.hdrcnn import HDRCNN, illumination_reflectance_loss
from vitm.data.batch import SequenceBatch
from vitm.papers.vitm_tc.exposure import over_exposure
from vitm.papers.vitm_tc.task import SequenceTask
from vitm.training.optimizers import Schedule


class LinearFrameTask(SequenceTask):
    """A network of single frames, trained on frames of long clips (`data.schedule.references=0`).

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
        """Return the loss of the batch's first frames, the keys."""
        with self.step_rng(batch_idx):
            loss = self.loss(batch["ldr"][:, 0], batch["linear"][:, 0])
        self.log("train/loss", loss, prog_bar=True, sync_dist=True)
        return loss

    @abstractmethod
    def loss(self, ldr: Tensor, linear: Tensor) -> Tensor:
        """Return the loss for frames (B, 3, H, W), camera code, and their true linear light."""


class HDRCNNTask(LinearFrameTask):
    """HDRCNN, with its loss of illumination and reflectance where the frame is over-exposed.

    Args:
        widths: see `HDRCNN`.
        pretrained: start the encoder from VGG16's ImageNet weights, as the paper does.
        vgg_weights: file of these weights; see `vitm.nets.perceptual.PerceptualLoss`.
        illumination_weight: lambda of the paper's equation 7.
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
        """Return the loss of equation 7."""
        alpha = over_exposure(ldr, self.network.tau)
        return illumination_reflectance_loss(self.network.log_light(ldr), linear, alpha, self.illumination_weight)
