"""Highlight generation: a U-Net that fills what is over-exposed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vitm.ops.padding import pad_to_multiple

THRESHOLD = 0.95  # SDR code above which the brightest channel counts as partly over-exposed
LEVELS = 5


def over_exposure(sdr: Tensor) -> Tensor:
    """Return how over-exposed pixels are: 0 up to the threshold, linear to 1 where the brightest channel is at code 1.

    Args:
        sdr: (B, 3, H, W), BT.709 gamma code in [0, 1].

    Returns:
        (B, 1, H, W) in [0, 1].

    Example:
        >>> over_exposure(torch.tensor([0.2, 0.975, 0.5]).view(1, 3, 1, 1)).round(decimals=3).flatten()
        tensor([0.5000])
    """
    return ((sdr.amax(1, keepdim=True) - THRESHOLD) / (1 - THRESHOLD)).clamp(0, 1)


def normalised(n: int, m: int) -> nn.Sequential:
    """Return a 3x3 convolution, batch normalisation and a ReLU."""
    return nn.Sequential(nn.Conv2d(n, m, 3, padding=1), nn.BatchNorm2d(m), nn.ReLU())


class HighlightGeneration(nn.Module):
    """A U-Net over six sizes, whose output is added where a mask says that the frame is over-exposed.

    The third stage of HDRTVNet (Chen et al., ICCV 2021, "Highlight Generation"). On the way down
    are maxima of 2 x 2 pixels, on the way up convolutions with a pixel shuffle; skips are joined by 1x1 convolutions.
    36,794,200 parameters.

    Convention: any height and width; frames are padded to multiples of 32 by reflection and cropped back. Training
    normalises by the statistics of its batch, conversion by those of all training.

    Args:
        width: number of channels at full size.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        w = width

        def level(n: int, m: int) -> nn.Sequential:
            return nn.Sequential(normalised(n, m), nn.MaxPool2d(2), normalised(m, m))

        self.first = normalised(3, w)
        self.second = nn.Sequential(nn.MaxPool2d(2), normalised(w, 2 * w))
        self.down = nn.ModuleList(
            level(n, m) for n, m in ((2 * w, 4 * w), (4 * w, 8 * w), (8 * w, 8 * w), (8 * w, 8 * w))
        )
        widths = (8 * w, 8 * w, 4 * w, 2 * w, w)  # of the skips, from below
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(n, 4 * n, 3, padding=1), nn.PixelShuffle(2), nn.ReLU()) for n in widths
        )
        joined = (8 * w, 4 * w, 2 * w, w, 3)
        self.join = nn.ModuleList(nn.Conv2d(2 * n, m, 1) for n, m in zip(widths, joined, strict=True))
        self.last = nn.Conv2d(6, 3, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def forward(self, hdr_pq: Tensor, mask: Tensor) -> Tensor:
        """Fill highlights.

        Args:
            hdr_pq: (B, 3, H, W), BT.2020 PQ code.
            mask: (B, 1, H, W), see `over_exposure`.

        Returns:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped.
        """
        x = pad_to_multiple(hdr_pq, 2**LEVELS)
        features = self.first(x)
        skips = [features]
        for level in (self.second, *self.down):
            features = level(features)
            skips.append(features)
        skips.pop()
        for up, join in zip(self.up, self.join, strict=True):
            features = join(torch.cat((up(features), skips.pop()), 1))
        highlights = self.last(torch.cat((features, x), 1))[..., : hdr_pq.shape[2], : hdr_pq.shape[3]]
        return torch.addcmul(hdr_pq, mask, highlights)
