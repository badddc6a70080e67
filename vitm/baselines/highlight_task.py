"""Training of HDRTVNet's third stage against a discriminator, behind the other two."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from vitm.baselines.hdrtvnet import HDRTVNet
from vitm.baselines.published import hdrtvnet
from vitm.baselines.translation_task import TranslationTask, cross_entropy
from vitm.data.batch import ClipBatch, FrameBatch, TripletBatch
from vitm.nets.perceptual import PerceptualLoss
from vitm.training.optimizers import Schedule

LAST = 4  # height and width at which a picture is judged
HIDDEN = 100  # features that the verdict is made of


class PictureDiscriminator(nn.Module):
    """HDRTVNet's discriminator, which judges a picture as a whole.

    Five pairs of convolutions, the second of which halves the size, with batch normalisation after all but the first,
    and LeakyReLU; two linear layers. Made for pictures of 128 x 128, which have 4 x 4 features; those of other sizes
    are averaged to as many.

    Args:
        width: number of channels of the first convolution.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n, m in pairwise((3, *(min(width << i, 8 * width) for i in range(5)))):
            layers += [
                *(nn.Conv2d(n, m, 3, padding=1, bias=not layers), *([nn.BatchNorm2d(m)] if layers else [])),
                *(nn.LeakyReLU(0.2), nn.Conv2d(m, m, 4, 2, 1, bias=False), nn.BatchNorm2d(m), nn.LeakyReLU(0.2)),
            ]
        self.layers = nn.Sequential(*layers)
        self.verdict = nn.Sequential(
            nn.AdaptiveAvgPool2d(LAST),
            nn.Flatten(),
            nn.Linear(8 * width * LAST**2, HIDDEN),
            nn.LeakyReLU(0.2),
            nn.Linear(HIDDEN, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Judge pictures (B, 3, H, W), H and W at least 32: logits (B, 1), above 0 is real."""
        logits: Tensor = self.verdict(self.layers(x))
        return logits


class HighlightTask(TranslationTask):
    """HDRTVNet's highlight generation, trained at last against a discriminator, as its authors do.

    Chen et al., ICCV 2021. All three stages are trained by L1 before (`HDRTVNetTask`, whose checkpoint is `init_from`);
    here the first two stay as they are.

    Args:
        width: see `HDRTVNet`.
        blocks: see `HDRTVNet`.
        highlights: see `HDRTVNet`.
        l1_weight: weight of L1.
        perceptual_weight: weight of the differences of VGG19's conv5_4; 0 needs no weights of it.
        gan_weight: weight of the binary cross-entropy of the discriminator's verdict.
        vgg_weights: file of VGG19's weights; see `vitm.nets.perceptual.PerceptualLoss`.
        lr: learning rate of both Adams.
        betas: betas of both Adams.
        schedule: schedule of both learning rates.
        freeze: patterns of the names of parameters that do not learn.
        **recipe: see `TranslationTask`.
    """

    name: ClassVar[str] = "hdrtvnet"
    network_class = HDRTVNet
    published = staticmethod(hdrtvnet)

    def __init__(
        self,
        width: int = 64,
        blocks: int = 16,
        highlights: int = 64,
        l1_weight: float = 0.01,
        perceptual_weight: float = 1.0,
        gan_weight: float = 0.005,
        vgg_weights: str | None = None,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        schedule: Schedule = "halving",
        freeze: Sequence[str] = ("agcm.*", "le.*"),
        **recipe: Any,
    ) -> None:
        super().__init__(lr=lr, betas=betas, schedule=schedule, freeze=freeze, **recipe)
        if highlights < 1:
            raise ValueError(f"highlights={highlights}: there is no third stage to train; expected 1 channel or more")
        self.l1_weight, self.perceptual_weight, self.gan_weight = l1_weight, perceptual_weight, gan_weight
        self.vgg_weights = vgg_weights
        self.configure_networks(width=width, blocks=blocks, highlights=highlights)

    def configure_networks(self, **arguments: Any) -> None:
        """Make the network and the discriminator."""
        super().configure_networks(**arguments)
        self.discriminator = PictureDiscriminator()

    def configure_losses(self) -> None:
        """Make the perceptual loss, unless its weight is 0."""
        self.perceptual = PerceptualLoss(self.vgg_weights, "conv5_4") if self.perceptual_weight > 0 else None

    def forward(self, sdr: Tensor) -> Tensor:
        """Return predictions in [0, 1]: (..., 3, H, W) -> (..., 3, H, W)."""
        return super().forward(sdr.flatten(0, -4)).view_as(sdr)

    def losses(self, batch: FrameBatch | TripletBatch | ClipBatch) -> dict[str, Tensor]:
        """Return the generator's `loss`, its parts, and the `discriminator`'s."""
        sdr, target = batch["sdr"].flatten(0, -4), batch["hdr_pq"].flatten(0, -4)
        self.learner.agcm.eval()  # it was trained with dropout, and is used without
        generated = self.learner(sdr)
        zero = generated.new_zeros(())
        losses = {
            "l1": F.l1_loss(generated, target),
            "perceptual": zero if self.perceptual is None else self.perceptual(generated, target),
            "gan": cross_entropy(self.judge(generated), real=True),
        }
        real = cross_entropy(self.discriminator(target), real=True)
        fake = cross_entropy(self.discriminator(generated.detach()), real=False)
        loss = (
            self.l1_weight * losses["l1"]
            + self.perceptual_weight * losses["perceptual"]
            + self.gan_weight * losses["gan"]
        )
        return {"loss": loss, **losses, "discriminator": real + fake}
