"""Training of JSInet: by squared errors, and then against discriminators of pictures and of their details."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from vitm.baselines.deep_sr_itm import base_and_detail
from vitm.baselines.jsi_net import JSInet
from vitm.baselines.translation_task import TranslationTask
from vitm.data.batch import FrameBatch

HALVINGS = 4  # of the discriminator that give features to be matched


class FeatureDiscriminator(nn.Module):
    """JSI-GAN's discriminator, which also shows its features at four sizes.

    Convolutions with spectral normalisation, batch normalisation and LeakyReLU: one, four pairs of which the first
    halves the size, one more that halves it, and two that judge. The 5x5 one of these is padded here, so that pictures
    of any size from 32 are judged place by place; the published one sees 160 x 160 as a whole.

    Args:
        width: number of channels of the first convolution.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()

        def layer(n: int, m: int, size: int, stride: int = 1, padding: int = 1) -> nn.Sequential:
            convolution = spectral_norm(nn.Conv2d(n, m, size, stride, padding, bias=False))
            return nn.Sequential(convolution, nn.BatchNorm2d(m), nn.LeakyReLU(0.2))

        self.first = nn.Sequential(spectral_norm(nn.Conv2d(3, width, 3, padding=1)), nn.LeakyReLU(0.2))
        widths = [width << i for i in range(HALVINGS + 1)]
        self.halving = nn.ModuleList(layer(n, n, 4, stride=2) for n in widths[:-1])
        self.widening = nn.ModuleList(layer(n, 2 * n, 3) for n in widths[:-1])
        self.judge = nn.Sequential(
            layer(widths[-1], widths[-1], 4, stride=2),
            layer(widths[-1], widths[-1], 5, padding=2),
            *(spectral_norm(nn.Conv2d(widths[-1], 1, 1, bias=False)), nn.BatchNorm2d(1)),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Judge pictures (B, 3, H, W), H and W at least 32: logits (B, 1, H // 32, W // 32), and four feature maps."""
        features: list[Tensor] = []
        x = self.first(x)
        for halving, widening in zip(self.halving, self.widening, strict=True):
            features.append(halving(x))
            x = widening(features[-1])
        logits: Tensor = self.judge(x)
        return logits, features


def relativistic_hinge(better: Tensor, worse: Tensor) -> Tensor:
    """Measure how far logits are from calling some samples more real than the average of others, by a margin of 1.

    A discriminator minimises it for real samples against generated ones, a generator the other way round.

    Args:
        better: logits of the samples that should look more real.
        worse: logits of the others.

    Returns:
        A scalar.

    Example:
        >>> relativistic_hinge(torch.tensor([2.0, 0.0]), torch.tensor([0.0]))
        tensor(0.5000)
    """
    return F.relu(1 - (better - worse.mean())).mean() + F.relu(1 + (worse - better.mean())).mean()


class JSIGANTask(TranslationTask):
    """JSInet with squared errors, and from a step on JSI-GAN's adversarial and feature-matching losses as well.

    The released code trains 250 epochs by squared errors and 10 more with all losses at a hundredth of the rate.

    Args:
        width: see `JSInet`.
        kernel_for_each_color: see `JSInet`.
        gan_start: step from which the discriminators count for the generator, or below 1 the share of all steps that
            are before it; they learn from the first step on.
        gan_weight: weight of the adversarial losses.
        feature_weight: weight of the differences of the discriminators' features.
        detail_weight: weight of the discriminator of details, as a factor of the other's.
        **recipe: see `TranslationTask`.
    """

    name: ClassVar[str] = "jsi_net"
    network_class = JSInet

    def __init__(
        self,
        width: int = 64,
        kernel_for_each_color: bool = False,
        gan_start: float = 0,
        gan_weight: float = 1.0,
        feature_weight: float = 0.5,
        detail_weight: float = 0.5,
        **recipe: Any,
    ) -> None:
        super().__init__(**recipe)
        self.gan_start, self.gan_weight = gan_start, gan_weight
        self.feature_weight, self.detail_weight = feature_weight, detail_weight
        self.configure_networks(width=width, kernel_for_each_color=kernel_for_each_color)

    def configure_networks(self, **arguments: Any) -> None:
        """Make the network, and discriminators of pictures and of their details."""
        super().configure_networks(**arguments)
        self.discriminator = nn.ModuleDict({kind: FeatureDiscriminator() for kind in ("picture", "detail")})

    def losses(self, batch: FrameBatch) -> dict[str, Tensor]:
        """Return the generator's `loss`, its parts, and the `discriminator`'s."""
        target, generated = batch["hdr_pq"], self.learner(batch["sdr"])
        mse = F.mse_loss(generated, target)
        gan = features = discriminator = generated.new_zeros(())
        views = [
            ("picture", 1.0, target, generated),
            ("detail", self.detail_weight, _detail(target), _detail(generated)),
        ]
        for kind, weight, real, fake in views:
            judge = self.discriminator[kind]  # type: ignore[index]
            real_logits, real_features = judge(real)
            fake_logits, _ = judge(fake.detach())
            discriminator = discriminator + weight * relativistic_hinge(real_logits, fake_logits)
            if self.has_begun(self.gan_start):
                judge.requires_grad_(False)
                logits, fake_features = judge(fake)
                judge.requires_grad_(True)
                gan = gan + weight * relativistic_hinge(logits, real_logits.detach())
                pairs = zip(fake_features, real_features, strict=True)
                features = features + weight * torch.stack([F.mse_loss(f, r.detach()) for f, r in pairs]).sum()
        loss = mse + self.gan_weight * gan + self.feature_weight * features
        return {"loss": loss, "mse": mse, "gan": gan, "features": features, "discriminator": discriminator}


def _detail(hdr_pq: Tensor) -> Tensor:
    return base_and_detail(hdr_pq.clamp(0, 1))[1]
