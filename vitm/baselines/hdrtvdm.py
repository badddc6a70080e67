"""HDRTVDM's LSN: a global mapping, and branches for highlights and shadows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vitm.baselines.csrnet import GlobalMapping
from vitm.color.gamut import luminance
from vitm.ops.padding import pad_to_multiple
from vitm.ops.tiling import map_rows, needs_whole_maps, row_bands

SLOPE = 0.1
SMALLEST = 8  # the global conditions look at averages of 8 x 8 pixels


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        normalised = super().forward(rearrange(x, "b c h w -> b h w c"))
        return rearrange(normalised, "b h w c -> b c h w")


def _band(x: Tensor) -> int:
    """Return the number of rows of a map that are computed at once: few for the caches of a CPU, many for a GPU."""
    return 32 if x.device.type == "cpu" else 512


def _with_depthwise(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs, bias=False),
    )


class ChannelAttention(nn.Module):
    """Attention between channels over the whole frame (Restormer's MDTA): linear in the number of pixels."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = _with_depthwise(width, 3 * width)
        self.project = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        q, k, v = rearrange(self.qkv(x), "b (three head c) h w -> three b head c (h w)", three=3, head=self.heads)
        weights = self._weights(q @ k.mT, q.norm(dim=-1, keepdim=True), k.norm(dim=-1, keepdim=True))
        return self._attended(weights, v, x.shape[-1])

    def weights_in_bands(self, x: Tensor, norm: nn.Module) -> Tensor:
        """Return the weights (B, heads, C / heads, C / heads) of a normalised map, band by band of its rows."""
        sums = [x.new_zeros(())] * 3
        for start, stop in row_bands(x.shape[-2], _band(x)):
            top = max(0, start - 1)
            maps = self._maps(norm(x[..., top : stop + 1, :]), slice(2 * self.width))[..., start - top : stop - top, :]
            q, k = rearrange(maps, "b (two head c) h w -> two b head c (h w)", two=2, head=self.heads)
            own = (q @ k.mT, q.square().sum(-1, keepdim=True), k.square().sum(-1, keepdim=True))
            sums = [before + part for before, part in zip(sums, own, strict=True)]
        products, q, k = sums
        return self._weights(products, q.sqrt(), k.sqrt())

    def rows(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return rows of the result, from normalised rows and the weights of the whole frame."""
        v = rearrange(self._maps(x, slice(2 * self.width, None)), "b (head c) h w -> b head c (h w)", head=self.heads)
        return self._attended(weights, v, x.shape[-1])

    def _maps(self, x: Tensor, channels: slice) -> Tensor:
        """Return some of the channels of queries, keys and values."""
        for layer in self.qkv:
            assert isinstance(layer, nn.Conv2d)
            weight = layer.weight[channels]
            x = F.conv2d(x, weight, padding=layer.padding, groups=1 if layer.groups == 1 else len(weight))
        return x

    def _weights(self, products: Tensor, norm_q: Tensor, norm_k: Tensor) -> Tensor:
        """Return the product of normalised rows, without maps that hold them, as weights."""
        return (products / (norm_q * norm_k.mT).clamp_min(1e-24) * self.temperature).softmax(-1)

    def _attended(self, weights: Tensor, v: Tensor, width: int) -> Tensor:
        out: Tensor = self.project(rearrange(weights @ v, "b head c (h w) -> b (head c) h w", w=width))
        return out


class GatedFeedForward(nn.Module):
    """Restormer's GDFN: half of the channels, through a GELU, weigh the other half."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand = _with_depthwise(width, 4 * width)
        self.project = nn.Conv2d(2 * width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        gate, value = self.expand(x).chunk(2, dim=1)
        out: Tensor = self.project(F.gelu(gate) * value)
        return out


class TransformerBlock(nn.Module):
    """Channel attention and gated feed-forward, each behind a norm and beside a skip."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = ChannelNorm(width), ChannelAttention(width, heads)
        self.norm2, self.forward_gate = ChannelNorm(width), GatedFeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        if needs_whole_maps(self, x):
            return self._gated(x + self.attention(self.norm1(x)))
        weights = self.attention.weights_in_bands(x, self.norm1)
        # of a row, the values depend on the rows beside it, and so does the gate
        return map_rows(
            lambda x: self._gated(x + self.attention.rows(self.norm1(x), weights)), (x,), halo=2, band=_band(x)
        )

    def _gated(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.forward_gate(self.norm2(x))
        return out


class ExtremeBranch(nn.Module):
    """A small Restormer (Zamir et al., CVPR 2022) of three levels and one block each, for one end of the range."""

    def __init__(self, width: int) -> None:
        super().__init__()

        def conv(n: int, m: int) -> nn.Conv2d:
            return nn.Conv2d(n, m, 3, padding=1, bias=False)

        self.first = conv(3, width)
        self.encoder = nn.ModuleList([TransformerBlock(width, 1), TransformerBlock(2 * width, 2)])
        self.down = nn.ModuleList([conv(width, width // 2), conv(2 * width, width)])
        self.bottom = TransformerBlock(4 * width, 4)
        self.up = nn.ModuleList([conv(4 * width, 8 * width), conv(2 * width, 4 * width)])
        self.reduce = nn.Conv2d(4 * width, 2 * width, 1, bias=False)
        self.decoder = nn.ModuleList([TransformerBlock(2 * width, 2), TransformerBlock(2 * width, 1)])
        self.last = conv(2 * width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, 3, H, W); H and W are multiples of 4."""
        full = self.encoder[0](self.first(x))
        half = self.encoder[1](F.pixel_unshuffle(self.down[0](full), 2))
        x = self.bottom(F.pixel_unshuffle(self.down[1](half), 2))
        x = self.decoder[0](self.reduce(torch.cat([F.pixel_shuffle(self.up[0](x), 2), half], dim=1)))
        x = self.decoder[1](torch.cat([F.pixel_shuffle(self.up[1](x), 2), full], dim=1))
        out: Tensor = self.last(x)
        return out


class GlobalConditions(nn.Sequential):
    """A vector from the whole frame: averages of 8 x 8 pixels, three convolutions of stride 2, and their averages."""

    def __init__(self, conditions: int) -> None:
        inner = conditions // 2
        super().__init__(
            nn.AvgPool2d(SMALLEST),
            nn.Conv2d(3, inner, 3, 2, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(inner, inner, 3, 2, 1, groups=4),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(inner, conditions, 3, 2, 1),
            nn.LeakyReLU(SLOPE),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


class LSN(nn.Module):
    """Luminance segmented network: a global mapping plus what two branches add in highlights and in shadows.

    They see the frame times a mask: luma divided by the threshold, up to 1; and its opposite, which is 1 below the
    threshold.

    Guo et al., "Learning a Practical SDR-to-HDRTV Up-Conversion using New Dataset and Degradation Models", CVPR 2023.
    401,741 parameters at the default width, which is that of the released files; these were trained for SDR that
    different tone mappings made.

    Convention: any height and width of at least 8; they are padded to multiples of 4 by reflection and cropped back.
    Attention is over the whole frame, so crops of a frame do not give crops of the result. At 1920 x 1080 it needs
    1 GiB on a CPU, in bands of rows.

    Args:
        width: number of channels of the global mapping, a multiple of 8.
        threshold: luma at which the mask of highlights reaches 1 and the mask of shadows leaves it; the default is the
            released code's for both.
    """

    def __init__(self, width: int = 32, threshold: float = 0.7611) -> None:
        super().__init__()
        if width % 8 or width < 8 or not 0 < threshold < 1:
            raise ValueError(
                f"expected a width that is a multiple of 8 and a threshold in (0, 1), got {width} and {threshold}"
            )
        self.threshold = threshold
        self.conditions = GlobalConditions(width)
        widths: Sequence[int] = (3, width, 2 * width, 2 * width, width, 3)
        self.middle = GlobalMapping(widths, width, SLOPE, activate_last=True)
        self.bright, self.dark = ExtremeBranch(width // 2), ExtremeBranch(width // 2)

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert frames.

        Args:
            sdr: (B, 3, H, W), BT.709 gamma code in [0, 1], H and W at least 8.

        Returns:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped.

        Raises:
            ValueError: if the shape is another.
        """
        if sdr.ndim != 4 or sdr.shape[1] != 3 or min(sdr.shape[2:]) < SMALLEST:
            raise ValueError(f"expected sdr of shape (B, 3, H, W) with H, W >= {SMALLEST}, got {tuple(sdr.shape)}")
        x = pad_to_multiple(sdr, 4)
        hdr_pq: Tensor = self.middle(x, self.conditions(x))
        luma = luminance(x)  # of the code, with the weights of BT.2020
        hdr_pq = hdr_pq + self.bright(x * (luma / self.threshold).clamp(0, 1))
        hdr_pq = hdr_pq + self.dark(x * ((1 - luma) / (1 - self.threshold)).clamp(0, 1))
        return hdr_pq[..., : sdr.shape[-2], : sdr.shape[-1]]
