"""SRResNet: the plain residual network that the papers call ResNet, or MResNet with several frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from vitm.nets.windows import windows


class ResidualBlock(nn.Module):
    """Residual block x + convolution(ReLU(convolution(x))), 3x3, without normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to (B, width, H, W)."""
        out: Tensor = x + self.conv2(torch.relu(self.conv1(x)))
        return out


class SRResNet(nn.Module):
    """Residual blocks at half resolution, as HDRTVNet has them for its local enhancement and as a baseline.

    Chen et al., "A New Journey from SDRTV to HDRTV", ICCV 2021; after SRResNet (Ledig et al., CVPR 2017), without
    normalisation. A convolution of stride 2, the blocks, a convolution and a pixel shuffle back to full resolution, two
    convolutions; nothing leads past them from the input to the output. 1,369,859 parameters for one frame, 1,376,771
    for five. They have the names and the initialisation of the published network (He's normal times 0.1, biases 0).

    Args:
        frames: number of frames stacked on the channels, odd. More than one is DSLNet's MResNet (its Table 3).
        width: number of channels inside.
        blocks: number of residual blocks.
    """

    def __init__(self, frames: int = 1, width: int = 64, blocks: int = 16) -> None:
        super().__init__()
        if frames % 2 == 0 or frames < 1:
            raise ValueError(f"frames is {frames}; expected an odd number: the middle one is converted")
        self.frames, self.radius, self.context = frames, frames // 2, frames // 2
        self.conv_first = nn.Conv2d(3 * frames, width, 3, stride=2, padding=1)
        self.recon_trunk = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.upconv = nn.Conv2d(width, 4 * width, 3, padding=1)
        self.HRconv = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, 3, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                module.weight.data *= 0.1
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert one frame, or the middle frame of a clip.

        Args:
            sdr: BT.709 gamma code in [0, 1]: (B, frames, 3, H, W), for one frame also (B, 3, H, W); any H and W.

        Returns:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped.

        Raises:
            ValueError: if the shape is another.
        """
        expected = (3,) if self.frames == 1 and sdr.ndim == 4 else (self.frames, 3)
        if sdr.ndim != len(expected) + 3 or sdr.shape[1:-2] != expected:
            raise ValueError(
                f"expected sdr (B, {', '.join(map(str, expected))}, H, W) for frames={self.frames}, got "
                f"{tuple(sdr.shape)}"
            )
        x = sdr.flatten(1, -3)
        features = self.recon_trunk(torch.relu(self.conv_first(x)))
        features = torch.relu(nn.functional.pixel_shuffle(self.upconv(features), 2))
        features = features[..., : x.shape[-2], : x.shape[-1]]  # one more row or column where H or W is odd
        hdr_pq: Tensor = self.conv_last(torch.relu(self.HRconv(features)))
        return hdr_pq

    @torch.no_grad()
    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Convert a clip of any length; at its ends the first and the last frame are repeated.

        Args:
            frames: an iterator of sdr (B, 3, H, W), BT.709 gamma code in [0, 1], all of one size.

        Yields:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped, one for each frame and in the same order.
        """
        for window in windows(frames, self.radius):
            yield self(window[0] if self.frames == 1 else torch.stack(window, dim=1))
