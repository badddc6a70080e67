"""Swin transformer blocks on feature maps of any size (Liu et al., ICCV 2021); the blocks are timm's."""

from __future__ import annotations

import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn


class SwinBlocks(nn.Module):
    """Blocks with attention in windows that are shifted by half a window in every second one.

    Convention: any height and width; maps are padded at the bottom and the right to multiples of the window by
    repeating the last row and column, and cropped back.

    Args:
        channels: C, a multiple of `heads`.
        blocks: how many.
        heads: attention heads.
        window: side of a window.
        mlp_ratio: width of the hidden layer of a block's MLP, in C.
    """

    def __init__(self, channels: int, blocks: int = 4, heads: int = 8, window: int = 8, mlp_ratio: float = 2.0) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.Sequential(
            *(
                SwinTransformerBlock(
                    channels,
                    input_resolution=(window, window),
                    num_heads=heads,
                    window_size=window,
                    shift_size=window // 2 * (i % 2),
                    always_partition=True,  # keep window and shift, whatever the size
                    dynamic_mask=True,  # and make the mask for the size at hand
                    mlp_ratio=mlp_ratio,
                )
                for i in range(blocks)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        H, W = x.shape[2:]
        x = F.pad(x, (0, -W % self.window, 0, -H % self.window), mode="replicate")
        out: Tensor = self.blocks(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out[:, :, :H, :W]
