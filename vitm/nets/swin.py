"""Swin transformer blocks on feature maps of any size (Liu et al., ICCV 2021); the blocks are timm's."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from timm.models.swin_transformer import SwinTransformerBlock
from torch import Tensor, nn


class SwinBlocks(nn.Module):
    """Blocks with attention in windows, which are shifted by half a window in every second block.

    Convention: any height and width; maps are padded at the bottom and the right to multiples of the window by
    repeating the last row and column, and cropped back.

    Args:
        channels: number of channels C, a multiple of `heads`.
        blocks: number of blocks.
        heads: number of attention heads.
        window: side of a window in pixels.
        mlp_ratio: width of the hidden layer of a block's MLP over C.
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
        """Map (B, C, H, W) to (B, C, H, W)."""
        H, W = x.shape[2:]
        x = F.pad(x, (0, -W % self.window, 0, -H % self.window), mode="replicate")
        out: Tensor = rearrange(self.blocks(rearrange(x, "b c h w -> b h w c")), "b h w c -> b c h w")
        return out[:, :, :H, :W]
