"""Discriminators for adversarial training."""

from __future__ import annotations

from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Tells real pictures from generated ones, each 70x70 patch by itself (Isola et al., CVPR 2017, appendix 6.1.2).

    Five 4x4 convolutions of stride 2, 2, 2, 1, 1; instance normalisation (without parameters) after the middle three.

    Args:
        inputs: channels of a picture.
        width: channels after the first convolution.
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
