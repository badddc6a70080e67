"""HDRTVNet++: global colour mapping, then local enhancement."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vitm.baselines.hdrunet import SLOPE, LocalModulation, ModulatedBlock
from vitm.ops.padding import pad_to_multiple
from vitm.ops.resize import resize_bicubic
from vitm.papers.hdcfm import HDCFM

CONDITIONS = 64  # channels of the maps that local conditions are made of
LEVELS = 3


class AGCM(HDCFM):
    """Adaptive global colour mapping: three 1x1 convolutions, modulated by a vector of six conditions.

    HDCFM grew from it: it is HDCFM with its global modulation alone (Table 2, M0), except that the vector is estimated
    on the frame at a quarter of its size. 35,251 parameters.

    Convention: any height and width of at least 32. Frames of up to 64 x 64 are looked at as they are, since nothing
    would be left of a quarter of them.
    """

    def __init__(self) -> None:
        super().__init__(local_mod=False, dyct=False, context=False)

    def _estimate(self, sdr: Tensor) -> tuple[Tensor | None, Tensor | None]:
        return super()._estimate(resize_bicubic(sdr, scale=0.25) if max(sdr.shape[2:]) > 64 else sdr)


class LocalEnhancement(nn.Module):
    """A U-Net over four sizes, its features modulated by maps made of its own input; it adds to its input.

    It is HDRUNet with one more level and without its weighting network; the released code calls it HDRUNet3T1.

    555,907 parameters at the default width, which is that of the released files. It is fully convolutional. H and W
    are padded to multiples of 8 by reflection and cropped back.

    Args:
        width: number of channels of the features, even.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        if width % 2 or width < 2:
            raise ValueError(f"width is {width}; expected an even number")

        def pointwise(n: int, m: int) -> nn.Conv2d:
            return nn.Conv2d(n, m, 1)

        def halving(n: int, m: int) -> nn.Conv2d:
            return nn.Conv2d(n, m, 3, stride=2, padding=1)

        def head(level: int) -> nn.Sequential:
            one, two, three = (halving if i < level else pointwise for i in range(3))
            return nn.Sequential(
                one(CONDITIONS, CONDITIONS),
                nn.LeakyReLU(SLOPE),
                two(CONDITIONS, CONDITIONS),
                nn.LeakyReLU(SLOPE),
                three(CONDITIONS, width // 2),
            )

        self.condition = nn.Sequential(
            nn.Conv2d(3, CONDITIONS, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            pointwise(CONDITIONS, CONDITIONS),
            nn.LeakyReLU(SLOPE),
            pointwise(CONDITIONS, CONDITIONS),
            nn.LeakyReLU(SLOPE),
        )
        self.heads = nn.ModuleList(head(level) for level in range(LEVELS + 1))

        def conv(n: int, m: int, stride: int = 1) -> nn.Conv2d:
            return nn.Conv2d(n, m, 3, stride, 1)

        self.first, self.mod_in, self.second = conv(3, width), LocalModulation(width), conv(width, width)
        self.down = nn.ModuleList(conv(width, width, 2) for _ in range(LEVELS))
        self.encoder = nn.ModuleList(ModulatedBlock(width) for _ in range(LEVELS - 1))
        self.bottom = nn.ModuleList(ModulatedBlock(width) for _ in range(4))
        self.up = nn.ModuleList(conv(width, 4 * width) for _ in range(LEVELS))
        self.decoder = nn.ModuleList(ModulatedBlock(width) for _ in range(LEVELS - 1))
        self.mod_out, self.third, self.last = LocalModulation(width), conv(width, width), conv(width, 3)

    def forward(self, hdr_pq: Tensor) -> Tensor:
        """Enhance BT.2020 PQ code (B, 3, H, W); the result is not clamped."""
        x = pad_to_multiple(hdr_pq, 2**LEVELS)
        shared = self.condition(x)
        conditions = [head(shared) for head in self.heads]
        del shared
        features = F.relu(self.second(self.mod_in(F.relu(self.first(x)), conditions[0])))
        skips = []
        for level in range(LEVELS):
            skips.append(features)
            features = F.relu(self.down[level](features))
            if level < LEVELS - 1:
                features = self.encoder[level](features, conditions[level + 1])
        deepest = features
        for block in self.bottom:
            features = block(features, conditions[LEVELS])
        features = features + deepest
        for i in range(LEVELS):
            level = LEVELS - 1 - i
            features = F.relu(F.pixel_shuffle(self.up[i](features), 2)) + skips.pop()
            if level:
                features = self.decoder[i](features, conditions[level])
        features = F.relu(self.third(self.mod_out(features, conditions[0])))
        out: Tensor = x + self.last(features)
        return out[..., : hdr_pq.shape[-2], : hdr_pq.shape[-1]]


class HDRTVNetPlus(nn.Module):
    """AGCM and LE one after another, or one of them.

    Chen et al., "Towards Efficient SDRTV-to-HDRTV by Learning from Image Formation", 2023 (arXiv:2309.04084). Both
    together have 591,158 parameters; the released file HR holds the same network after adversarial training.

    Convention: any height and width of at least 32 (LE alone: any).

    Args:
        agcm: whether there is global mapping.
        le: whether there is local enhancement; without `agcm` the input must be AGCM's output.
        width: number of channels of the local enhancement.
    """

    def __init__(self, agcm: bool = True, le: bool = True, width: int = 32) -> None:
        super().__init__()
        if not (agcm or le):
            raise ValueError("expected agcm, le or both")
        self.agcm = AGCM() if agcm else None
        self.le = LocalEnhancement(width) if le else None

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert frames.

        Args:
            sdr: (B, 3, H, W), BT.709 gamma code in [0, 1]; for LE alone BT.2020 PQ code.

        Returns:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped.

        Raises:
            ValueError: if the shape is another, or the frame is too small.
        """
        if sdr.ndim != 4 or sdr.shape[1] != 3:
            raise ValueError(f"expected sdr of shape (B, 3, H, W), got {tuple(sdr.shape)}")
        hdr_pq = sdr if self.agcm is None else self.agcm(sdr)
        return hdr_pq if self.le is None else self.le(hdr_pq)
