"""Pixel2Pixel: a generator of nine residual blocks, trained beside a discriminator of pairs."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vitm.ops.padding import pad_to_multiple

SMALLEST = 5  # padded to 8, a quarter of it can be reflected


class ResidualBlock(nn.Module):
    """Residual block: two 3x3 convolutions with reflected borders and instance norms, ReLU and dropout between them."""

    def __init__(self, width: int, dropout: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect")
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect")
        self.dropout = nn.Dropout(0.5) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to (B, width, H, W)."""
        inner = self.dropout(F.instance_norm(self.conv1(x)).relu_())
        out: Tensor = F.instance_norm(self.conv2(inner)).add_(x)
        return out


class Pixel2Pixel(nn.Module):
    """An image translation network: down to a quarter of the size, residual blocks, and up again.

    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017; the generator is that
    of Johnson et al. (ECCV 2016) with instance norms, as the authors' PyTorch code has it (`resnet_9blocks`, BSD):
    11,378,179 parameters, HDCFM's number. The paper's noise is dropout, in training alone.

    Convention: any height and width of at least 5; frames are padded to multiples of 4 by reflection, and cropped back.
    Codes are mapped to [-1, 1] inside; the output is in [0, 1].

    Args:
        width: number of channels at full size; four times as many at a quarter.
        blocks: number of residual blocks.
        dropout: whether the blocks drop half of their features in training.
    """

    def __init__(self, width: int = 64, blocks: int = 9, dropout: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 7, padding=3, padding_mode="reflect")
        self.down = nn.ModuleList(nn.Conv2d(n * width, 2 * n * width, 3, stride=2, padding=1) for n in (1, 2))
        self.blocks = nn.Sequential(*(ResidualBlock(4 * width, dropout) for _ in range(blocks)))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * n * width, n * width, 3, stride=2, padding=1, output_padding=1) for n in (2, 1)
        )
        self.last = nn.Conv2d(width, 3, 7, padding=3, padding_mode="reflect")
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0, 0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert frames.

        Args:
            sdr: (B, 3, H, W), BT.709 gamma code in [0, 1], H and W at least 5.

        Returns:
            hdr_pq (B, 3, H, W), BT.2020 PQ code in [0, 1].

        Raises:
            ValueError: if the shape is another.
        """
        if sdr.ndim != 4 or sdr.shape[1] != 3 or min(sdr.shape[2:]) < SMALLEST:
            raise ValueError(f"expected sdr of shape (B, 3, H, W), H and W >= {SMALLEST}, got {tuple(sdr.shape)}")
        x = F.instance_norm(self.first(pad_to_multiple(2 * sdr - 1, 4))).relu_()
        for down in self.down:
            x = F.instance_norm(down(x)).relu_()
        x = self.blocks(x)
        for up in self.up:
            x = F.instance_norm(up(x)).relu_()
        hdr_pq: Tensor = (self.last(x).float().tanh() + 1) / 2
        return hdr_pq[..., : sdr.shape[2], : sdr.shape[3]]
