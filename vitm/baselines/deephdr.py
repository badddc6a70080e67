"""DeepHDR: a U-Net of partial convolutions, which trust a clipped pixel less."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.baselines.clip_network import ClipNetwork, Encoded
from vitm.nets.perceptual import MEAN, STD
from vitm.ops.tiling import map_rows, needs_whole_maps
from vitm.papers.vitm_tc.display import to_hdr_pq

THRESHOLD = 0.95  # released code: above it a channel counts as partly clipped
EPSILON = 1e-6
KERNELS = (7, 5, 5)  # of the first layers; 3 of the others


def exposure_mask(sdr: Tensor) -> Tensor:
    """Compute how little each channel of each pixel is clipped: 1 up to the threshold, linear to 0 at code 1.

    Args:
        sdr: (B, 3, H, W), BT.709 gamma code in [0, 1].

    Returns:
        (B, 3, H, W) in [0, 1].
    """
    return 1 - ((sdr - THRESHOLD) / (1 - THRESHOLD)).clamp(0, 1)


class SoftPartialConv2d(nn.Module):
    """A convolution of features times their mask; the mask passes through the absolute values of the same kernel.

    Santos et al., section on feature masking: X' = W * (X M) + b and M' = |W| / (|W|_1 + eps) * M, zeros around both.
    No gradient passes through the masks.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)
        nn.init.xavier_normal_(self.conv.weight, gain=2**0.5)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map features and their mask in [0, 1], (B, inputs, H, W) each, to (B, outputs, H', W') each."""
        features: Tensor = self.conv(x * mask)
        with torch.no_grad():
            weight = self.conv.weight.abs()
            weight = weight / (weight.sum((1, 2, 3), keepdim=True) + EPSILON)
            mask = F.conv2d(mask, weight, stride=self.conv.stride, padding=self.conv.padding)
        return features, mask


class DeepHDR(ClipNetwork):
    """Seven layers of stride 2 and back, with skips, the frame itself among them; a mask says what is clipped.

    Santos et al., "Single Image HDR Reconstruction Using a CNN with Masked Features and Perceptual Loss", SIGGRAPH 2020
    (released code and weights: BSD-3, for linear HDR). 25,770,964 parameters. KPN-MFI's Table 1 prints 51.5419 M and
    18.9459 G multiply-adds at 256 x 256: each kernel counted twice, for features and for masks. With `mfi` frames
    interact at 1/128, the masks of each frame remaining its own.

    The published network predicts log(1 + H) where the frame is clipped, and squares the frame elsewhere. Here the
    target is PQ code, which differs from the frame everywhere, so its output is taken as it is for the whole picture.

    Args:
        widths: numbers of channels of the encoder's layers.
        mfi: see `ClipNetwork`.
        light: whether it is the published network, which takes the frame as ImageNet's classifiers do, and gives light:
            1 becomes diffuse white. For the released weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 128, 256, 512, 512, 512, 512),
        mfi: bool = False,
        light: bool = False,
    ) -> None:
        if not widths:
            raise ValueError("widths is empty; expected the channels of one layer or more")
        super().__init__(stride=2 ** len(widths), channels=widths[-1], mfi=mfi)
        outer = (3, *widths[:-1])
        kernels = (*KERNELS, *[3] * len(widths))
        self.encoder = nn.ModuleList(
            SoftPartialConv2d(n, m, kernel, stride=2) for n, m, kernel in zip(outer, widths, kernels, strict=False)
        )
        self.decoder = nn.ModuleList(
            SoftPartialConv2d(m + n, n, bias=level == 0) for level, (n, m) in enumerate(zip(outer, widths, strict=True))
        )
        self.act = nn.LeakyReLU(0.2)
        self.light = light
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    def encode(self, sdr: Tensor) -> Encoded:
        """Encode frames, see `ClipNetwork`."""
        x, mask = (sdr - self.mean) / self.std if self.light else sdr, exposure_mask(sdr)
        skips = []
        for layer in self.encoder:
            skips.append(x)
            x, mask = layer(x, mask)
            x = F.relu(x)
        return Encoded(x, (mask, skips))

    def decode(self, encoded: Encoded) -> Tensor:
        """Decode frames, see `ClipNetwork`."""
        x, (mask, (sdr, *skips)) = encoded
        for level in range(len(skips), 0, -1):
            x, mask = self._enlarged(level, x, mask, skips.pop())
            x = self.act(x)
        inputs = (x, mask, sdr)
        x = self._last(*inputs) if needs_whole_maps(self, x) else map_rows(self._last, inputs, halo=1, band=64)
        return self._shown(x, sdr * self.std + self.mean) if self.light else x

    def _enlarged(self, level: int, x: Tensor, mask: Tensor, skip: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and mask at twice the size, with what the encoder had there."""
        x, mask = (F.interpolate(y, scale_factor=2, mode="nearest") for y in (x, mask))
        inputs = torch.cat([x, skip], 1), torch.cat([mask, torch.ones_like(skip)], 1)
        features, mask = self.decoder[level](*inputs)
        return features, mask

    def _last(self, x: Tensor, mask: Tensor, sdr: Tensor) -> Tensor:
        """Return rows of the full size, from those at half of it and the frame's."""
        return self._enlarged(0, x, mask, sdr)[0]

    def _shown(self, log_light: Tensor, sdr: Tensor) -> Tensor:
        """Return the light log(1 + H) where frames are clipped, and their squares elsewhere, as hdr_pq."""
        seen = exposure_mask(sdr)
        return to_hdr_pq(seen * sdr.square() + (1 - seen) * log_light.float().expm1())
