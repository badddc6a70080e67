"""Adversarial training of the image translation networks that HDCFM compares with."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.baselines.cyclegan import CycleGAN, ImagePool
from vitm.baselines.pixel2pixel import Pixel2Pixel
from vitm.baselines.published import cyclegan, pixel2pixel
from vitm.data.batch import FrameBatch
from vitm.nets.discriminators import PatchDiscriminator, least_squares_loss
from vitm.training.adversarial import AdversarialTask
from vitm.training.optimizers import Schedule


class TranslationTask(AdversarialTask):
    """A generator of pictures, its discriminators, and what both papers share.

    Args:
        lr: learning rate of all Adams.
        betas: betas of all Adams.
        schedule: schedule of the learning rates: kept for half of the steps, then falling to zero.
        **recipe: see `vitm.training.task.InverseToneMappingTask`.
    """

    metrics: ClassVar[tuple[str, ...]] = ("psnr", "ssim", "delta_e_itp")

    def __init__(
        self,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        schedule: Schedule = "linear",
        **recipe: Any,
    ) -> None:
        super().__init__(lr=lr, betas=betas, schedule=schedule, **recipe)

    def setup(self, stage: str) -> None:
        """Lay all networks out channels-last."""
        super().setup(stage)
        for networks in (self.generators(), self.discriminator):
            networks.to(memory_format=torch.channels_last)

    def configure_optimizers(self) -> Any:
        """Return Adam for what generates, and one for what judges."""
        return [self.optimize(self.generators().parameters()), self.optimize(self.discriminator.parameters())]

    def generators(self) -> nn.Module:
        """Return everything that generates and learns."""
        return self.learner  # type: ignore[no-any-return]


class Pixel2PixelTask(TranslationTask):
    """Pixel2Pixel: a discriminator of pairs of 70x70 patches, and L1 (equation 4).

    Args:
        width: see `Pixel2Pixel`.
        blocks: see `Pixel2Pixel`.
        dropout: see `Pixel2Pixel`.
        l1_weight: lambda of equation 4.
        **recipe: see `TranslationTask`.
    """

    name: ClassVar[str] = "pixel2pixel"
    network_class = Pixel2Pixel
    published = staticmethod(pixel2pixel)

    def __init__(
        self, width: int = 64, blocks: int = 9, dropout: bool = True, l1_weight: float = 100.0, **recipe: Any
    ) -> None:
        super().__init__(**recipe)
        self.l1_weight = l1_weight
        self.configure_networks(width=width, blocks=blocks, dropout=dropout)

    def configure_networks(self, **arguments: Any) -> None:
        """Make the generator, and the discriminator of an SDR frame with its HDR frame."""
        super().configure_networks(**arguments)
        self.discriminator = PatchDiscriminator(inputs=6)

    def losses(self, batch: FrameBatch) -> dict[str, Tensor]:
        """Return `loss`, the GAN's and 100 times L1 (equation 4), its parts, and the `discriminator`'s, halved."""
        sdr, target = batch["sdr"], batch["hdr_pq"]
        generated = self.learner(sdr)
        pairs = {name: 2 * torch.cat([sdr, hdr], 1) - 1 for name, hdr in (("real", target), ("fake", generated))}
        l1 = F.l1_loss(generated, target)
        gan = cross_entropy(self.judge(pairs["fake"]), real=True)
        real = cross_entropy(self.discriminator(pairs["real"]), real=True)
        fake = cross_entropy(self.discriminator(pairs["fake"].detach()), real=False)
        loss = gan + self.l1_weight * l1  # eq. 4
        return {"loss": loss, "l1": l1, "gan": gan, "discriminator": (real + fake) / 2}


class CycleGANTask(TranslationTask):
    """CycleGAN: two generators that undo each other, and a discriminator for either kind of picture (equation 3).

    The data come in pairs, but no loss compares a frame with its partner. What is measured is the generator that makes
    HDR; the other one is in the checkpoints too.

    Args:
        width: see `CycleGAN`.
        blocks: see `CycleGAN`.
        cycle_weight: lambda of equation 3.
        identity_weight: weight of the difference that a generator makes to a picture of its own output's kind (section
            5.2: half of lambda).
        pool: number of generated pictures that each discriminator's pool keeps (section 4).
        **recipe: see `TranslationTask`.
    """

    name: ClassVar[str] = "cyclegan"
    network_class = CycleGAN
    published = staticmethod(cyclegan)

    def __init__(
        self,
        width: int = 64,
        blocks: int = 9,
        cycle_weight: float = 10.0,
        identity_weight: float = 5.0,
        pool: int = 50,
        **recipe: Any,
    ) -> None:
        super().__init__(**recipe)
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight
        self.configure_networks(width=width, blocks=blocks)
        self.pools = nn.ModuleDict({kind: ImagePool(pool) for kind in ("sdr", "hdr")})

    def configure_networks(self, **arguments: Any) -> None:
        """Make the generators of HDR and of SDR, and a discriminator of each."""
        super().configure_networks(**arguments)
        self.back = CycleGAN(**arguments)
        self.discriminator = nn.ModuleDict({kind: PatchDiscriminator() for kind in ("sdr", "hdr")})

    def generators(self) -> nn.Module:
        """Return both generators."""
        return nn.ModuleList([self.learner, self.back])

    def losses(self, batch: FrameBatch) -> dict[str, Tensor]:
        """Return `loss` (equation 3 and the identity of section 5.2), its parts, and the `discriminator`'s, halved."""
        real = {"sdr": batch["sdr"], "hdr": batch["hdr_pq"]}
        to = {"sdr": self.back, "hdr": self.learner}
        fake = {kind: to[kind](real[other]) for kind, other in (("hdr", "sdr"), ("sdr", "hdr"))}
        zero = real["sdr"].new_zeros(())
        losses = {"gan": zero, "cycle": zero, "identity": zero, "discriminator": zero}
        for kind, other in (("sdr", "hdr"), ("hdr", "sdr")):
            judge = self.discriminator[kind]  # type: ignore[index]
            losses["gan"] = losses["gan"] + 2 * least_squares_loss(self.judge(2 * fake[kind] - 1, judge), real=True)
            losses["cycle"] = losses["cycle"] + F.l1_loss(to[kind](fake[other]), real[kind])  # eq. 2
            losses["identity"] = losses["identity"] + F.l1_loss(to[kind](real[kind]), real[kind])
            logits = judge(2 * real[kind] - 1), judge(2 * self.pools[kind](fake[kind]) - 1)
            true, generated = (least_squares_loss(x, real=k) for x, k in zip(logits, (True, False), strict=True))
            losses["discriminator"] = losses["discriminator"] + true + generated
        loss = losses["gan"] + self.cycle_weight * losses["cycle"] + self.identity_weight * losses["identity"]  # eq. 3
        return {"loss": loss, **losses}


def cross_entropy(logits: Tensor, real: bool) -> Tensor:
    """Return the binary cross-entropy of logits that should call everything real, or generated."""
    return F.binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits, float(real), dtype=torch.float32))
