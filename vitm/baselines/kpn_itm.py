"""KPNiTM: a U-Net that predicts one kernel for each pixel and colour of the frame."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.baselines.clip_network import ClipNetwork, Encoded
from vitm.ops.pixel_conv import pixel_conv
from vitm.ops.tiling import map_rows, needs_whole_maps


def _pair(n: int, m: int) -> nn.Sequential:
    """Return two 3x3 convolutions with ReLU."""
    return nn.Sequential(nn.Conv2d(n, m, 3, padding=1), nn.ReLU(), nn.Conv2d(m, m, 3, padding=1), nn.ReLU())


class KPNiTM(ClipNetwork):
    """A kernel prediction network for inverse tone mapping, as far as its size tells what it is.

    Cao et al. 2021, as KPN-MFI cites it; no code was published. What is known: pixel-wise kernels that are applied to
    the frame, and from KPN-MFI's Table 1 35.8732 M parameters and 73.4167 G multiply-adds at 256 x 256. Assumed: a
    U-Net with two convolutions at each size, strided convolutions down, 4x4 transposed ones up, skips concatenated, two
    more convolutions, and kernels of any sign for each colour. Of such networks with widths that are powers of two, the
    default was chosen because it meets both numbers: 35,876,955 parameters (+0.010 %) and 73.44439 G (+0.038 %; each
    output of a transposed convolution counts all 16 taps). With `mfi` frames interact at 1/32, after the last strided
    convolution.

    Args:
        widths: channels at each size, the full one first.
        kernel_size: size of the predicted kernels, odd.
        mfi: see `ClipNetwork`.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (64, 128, 256, 256, 512, 512),
        kernel_size: int = 3,
        mfi: bool = False,
    ) -> None:
        if len(widths) < 2:
            raise ValueError(f"widths is {tuple(widths)}; expected the channels at two sizes or more")
        if kernel_size % 2 == 0 or kernel_size < 1:
            raise ValueError(f"kernel_size must be odd and positive, got {kernel_size}")
        super().__init__(stride=2 ** (len(widths) - 1), channels=widths[-1], mfi=mfi)
        steps = list(pairwise(widths))
        self.first = _pair(3, widths[0])
        self.down = nn.ModuleList(nn.Conv2d(n, m, 3, stride=2, padding=1) for n, m in steps)
        self.encoder = nn.ModuleList(_pair(m, m) for m in widths[1:])
        self.up = nn.ModuleList(nn.ConvTranspose2d(m, n, 4, stride=2, padding=1) for n, m in steps)
        self.decoder = nn.ModuleList(_pair(2 * n, n) for n in widths[:-1])
        self.tail = _pair(widths[0], widths[0])
        self.kernels = nn.Conv2d(widths[0], 3 * kernel_size**2, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def encode(self, sdr: Tensor) -> Encoded:
        """Encode frames, see `ClipNetwork`."""
        x = self.first(sdr) if needs_whole_maps(self, sdr) else map_rows(self.first, (sdr,), halo=2)
        skips = []
        for down, encoder in zip(self.down, (*self.encoder[:-1], nn.Identity()), strict=True):
            skips.append(x)
            x = encoder(F.relu(down(x)))
        return Encoded(x, (sdr, skips))

    def decode(self, encoded: Encoded) -> Tensor:
        """Decode frames, see `ClipNetwork`."""
        deep, (sdr, skips) = encoded
        x = self.encoder[-1](deep)
        for level in range(len(skips) - 1, 0, -1):
            x = self._enlarged(level, x, skips[level])
        inputs = (x, skips[0], sdr)
        return self._last(*inputs) if needs_whole_maps(self, x) else map_rows(self._last, inputs, halo=3, band=64)

    def _enlarged(self, level: int, x: Tensor, skip: Tensor) -> Tensor:
        """Return features at twice the size, with what the encoder had there."""
        out: Tensor = self.decoder[level](torch.cat([F.relu(self.up[level](x)), skip], dim=1))
        return out

    def _last(self, x: Tensor, skip: Tensor, sdr: Tensor) -> Tensor:
        """Return rows of the full size, from those at half of it, of which each depends on three on either side."""
        return pixel_conv(sdr.float(), self.kernels(self.tail(self._enlarged(0, x, skip))).float())
