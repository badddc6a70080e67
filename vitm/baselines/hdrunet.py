"""HDRUNet: a U-Net whose features are modulated by maps made of the input."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.baselines.clip_network import ClipNetwork, Encoded

SLOPE = 0.1


class _Sloped(nn.Module):
    """LeakyReLU as a function, as the released code has it here: its elements are not counted as multiply-adds."""

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, SLOPE)


class LocalModulation(nn.Module):
    """Modulation x (1 + a) + b, with a and b for each channel and pixel from a map (SFT, Wang et al., CVPR 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width // 2
        self.scale, self.shift = (
            nn.Sequential(nn.Conv2d(inner, inner, 1), _Sloped(), nn.Conv2d(inner, width, 1)) for _ in range(2)
        )

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Modulate (B, width, H, W) by conditions (B, width / 2, H, W)."""
        return torch.addcmul(self.shift(conditions), x, 1 + self.scale(conditions))


class ModulatedBlock(nn.Module):
    """A residual block whose two convolutions get modulated features; Kaiming weights times 0.1."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mod1, self.mod2 = LocalModulation(width), LocalModulation(width)
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            with torch.no_grad():
                conv.weight.mul_(0.1)

    def forward(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Modulate (B, width, H, W) by conditions (B, width / 2, H, W)."""
        out: Tensor = x + self.conv2(self.mod2(F.relu(self.conv1(self.mod1(x, conditions))), conditions))
        return out


def _layers(width: int, *steps: tuple[int, int, int], act: type[nn.ReLU] | None = None) -> list[nn.Module]:
    """Return convolutions (channels, kernel, stride) from `width` channels, each followed by LeakyReLU or `act`."""
    layers: list[nn.Module] = []
    for (n, _, _), (m, kernel, stride) in pairwise([(width, 0, 0), *steps]):
        layers += [nn.Conv2d(n, m, kernel, stride, kernel // 2), act() if act else nn.LeakyReLU(SLOPE)]
    return layers


class HDRUNet(ClipNetwork):
    """Base, condition and weighting network.

    Chen et al., "HDRUNet: Single Image HDR Reconstruction with Denoising and Dequantization", CVPR Workshops 2021. With
    the default arguments 1,651,494 parameters and 23.42230 G multiply-adds at 256 x 256, which is what KPN-MFI's Table
    1 prints; the authors' weights (MIT) are for linear HDR photographs. Conditions are made of the frame itself, at
    its full size. With `mfi` frames interact at 1/4, before the deepest trunk.

    Args:
        width: number of channels of the features, even.
        blocks: numbers of modulated residual blocks at 1/2, at 1/4 and at 1/2 again.
        mfi: see `ClipNetwork`.
    """

    def __init__(self, width: int = 64, blocks: tuple[int, int, int] = (2, 8, 2), mfi: bool = False) -> None:
        super().__init__(stride=4, channels=width, mfi=mfi)
        if width % 2 or width < 2:
            raise ValueError(f"width is {width}; expected an even number")

        def conv(n: int, m: int, stride: int = 1) -> nn.Conv2d:
            return nn.Conv2d(n, m, 3, stride, 1)

        self.condition = nn.Sequential(*_layers(3, (width, 3, 1), (width, 1, 1), (width, 1, 1)))
        keep, halve = (1, 1), (3, 2)
        self.heads = nn.ModuleList(
            nn.Sequential(*_layers(width, (width, *first), (width // 2, *second))[:-1])
            for first, second in ((keep, keep), (halve, keep), (halve, halve))
        )
        weighting = _layers(3, (width, 3, 1), (width, 3, 1), (width, 1, 1), (3, 1, 1), act=nn.ReLU)
        self.weighting = nn.Sequential(*weighting[:-1])
        self.first, self.mod_in, self.second = conv(3, width), LocalModulation(width), conv(width, width)
        self.down = nn.ModuleList(conv(width, width, 2) for _ in range(2))
        self.trunks = nn.ModuleList(nn.ModuleList(ModulatedBlock(width) for _ in range(n)) for n in blocks)
        self.up = nn.ModuleList(conv(width, 4 * width) for _ in range(2))
        self.mod_out, self.third, self.last = LocalModulation(width), conv(width, width), conv(width, 3)

    def encode(self, sdr: Tensor) -> Encoded:
        """Encode frames, see `ClipNetwork`."""
        shared = self.condition(sdr)
        conditions = [head(shared) for head in self.heads]
        full = F.relu(self.second(self.mod_in(F.relu(self.first(sdr)), conditions[0])))
        half = self._trunk(0, F.relu(self.down[0](full)), conditions[1])
        return Encoded(F.relu(self.down[1](half)), (sdr, conditions, full, half))

    def decode(self, encoded: Encoded) -> Tensor:
        """Decode frames, see `ClipNetwork`."""
        quarter, (sdr, conditions, full, half) = encoded
        x = quarter + self._trunk(1, quarter, conditions[2])
        x = self._trunk(2, F.relu(F.pixel_shuffle(self.up[0](x), 2)) + half, conditions[1])
        x = F.relu(F.pixel_shuffle(self.up[1](x), 2)) + full
        x = self.last(F.relu(self.third(self.mod_out(x, conditions[0]))))
        hdr_pq: Tensor = self.weighting(sdr) * sdr + x
        return hdr_pq

    def _trunk(self, i: int, x: Tensor, conditions: Tensor) -> Tensor:
        trunk = self.trunks[i]
        assert isinstance(trunk, nn.ModuleList)
        for block in trunk:
            x = block(x, conditions)
        return x
