"""Discriminators for adversarial training."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """A network that tells real pictures from generated ones, each 70x70 patch by itself (Isola et al., CVPR 2017).

    Five 4x4 convolutions of stride 2, 2, 2, 1, 1; instance normalisation (without parameters) after the middle three
    (appendix 6.1.2).

    Args:
        inputs: number of channels of a picture.
        width: number of channels after the first convolution.
    """

    def __init__(self, inputs: int = 3, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for i, stride in enumerate((2, 2, 1)):
            layers += [
                nn.Conv2d(width << i, width << i + 1, 4, stride, 1),
                nn.InstanceNorm2d(width << i + 1),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * width, 1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Judge patches.

        Args:
            x: (B, inputs, H, W), H and W at least 32.

        Returns:
            Logits (B, 1, H // 8 - 2, W // 8 - 2) for H and W that are multiples of 8; above 0 is real.

        Raises:
            ValueError: if the picture is smaller.
        """
        if x.ndim != 4 or min(x.shape[2:]) < 32:
            raise ValueError(f"expected pictures (B, C, H, W) with H, W >= 32, got {tuple(x.shape)}")
        logits: Tensor = self.layers(x)
        return logits


class ClipDiscriminator(nn.Module):
    """A network that tells real clips from generated ones, each patch of 11 frames and 70x70 pixels by itself.

    The 3D form of `PatchDiscriminator`: five 3x4x4 convolutions of stride 2, 2, 2, 1, 1 in space and 1 in time.

    Args:
        inputs: number of channels of a frame.
        width: number of channels after the first convolution.
    """

    def __init__(self, inputs: int = 3, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv3d(inputs, width, (3, 4, 4), (1, 2, 2), 1), nn.LeakyReLU(0.2)]
        for i, stride in enumerate((2, 2, 1)):
            layers += [
                nn.Conv3d(width << i, width << i + 1, (3, 4, 4), (1, stride, stride), 1),
                nn.InstanceNorm3d(width << i + 1),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv3d(8 * width, 1, (3, 4, 4), 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Judge patches.

        Args:
            x: (B, T, inputs, H, W), T >= 1, H and W at least 32.

        Returns:
            Logits (B, T, 1, H // 8 - 2, W // 8 - 2) for H and W that are multiples of 8; above 0 is real.

        Raises:
            ValueError: if the shape is another, or the frames are smaller.
        """
        if x.ndim != 5 or min(x.shape[3:]) < 32:
            raise ValueError(f"expected clips (B, T, C, H, W) with H, W >= 32, got {tuple(x.shape)}")
        logits: Tensor = rearrange(self.layers(rearrange(x, "b t c h w -> b c t h w")), "b c t h w -> b t c h w")
        return logits


def least_squares_loss(logits: Tensor, real: bool) -> Tensor:
    """Measure how far logits are from calling everything real, or generated (Mao et al., ICCV 2017, equation 9).

    A discriminator minimises the sum for real and for generated samples; a generator minimises the loss of its own
    samples called real.

    Args:
        logits: any shape, above 0 is real.
        real: whether the samples should be called real.

    Returns:
        Half the mean squared distance to 1 or 0, a scalar in fp32.

    Example:
        >>> import torch
        >>> least_squares_loss(torch.tensor([0.0, 1.0]), real=True)
        tensor(0.2500)
    """
    logits = logits.float()
    return 0.5 * F.mse_loss(logits, logits.new_full((), float(real)).expand_as(logits))
