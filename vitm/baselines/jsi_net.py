"""JSInet: a coarse picture, details by filters of each pixel, and local contrast, by three subnets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.baselines.deep_sr_itm import Block, base_and_detail, conv
from vitm.ops.pixel_conv import pixel_conv
from vitm.ops.tiling import map_rows, needs_whole_maps

LINE = 41  # taps of the filters that restore details, along columns and then along rows
SQUARE = 9  # height and width of the filters that enhance contrast
BLOCKS = 4  # residual blocks of a subnet
HALO = 32  # rows that a result depends on: 10 convolutions, then 20 of the filters, and 2 to spare


def separable_pixel_conv(x: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """Filter every pixel with a column and then a row of its own (the paper's detail restoration).

    Zeros lie around the image and, for rows, around the result of the columns.

    Args:
        x: (B, C, H, W).
        vertical: (B, N, K, H, W), K odd taps from top to bottom, N = C kernels, or N = 1 for all channels.
        horizontal: the same, from left to right.

    Returns:
        (B, C, H, W).

    Example:
        >>> x, middle = torch.rand(1, 3, 4, 5), torch.zeros(1, 1, 3, 4, 5)
        >>> middle[:, :, 1] = 2
        >>> torch.equal(separable_pixel_conv(x, middle, middle), 4 * x)
        True
    """
    for axis, kernels in ((2, vertical), (3, horizontal)):
        reach = kernels.shape[2] // 2
        padded = F.pad(x, (0, 0, reach, reach) if axis == 2 else (reach, reach))
        out = torch.zeros_like(x)
        for i, tap in enumerate(kernels.unbind(2)):
            out = torch.addcmul(out, padded.narrow(axis, i, x.shape[axis]), tap)
        x = out
    return x


class JSInet(nn.Module):
    """Three subnets, whose results are a coarse picture, details to be added, and contrast that multiplies both.

    Kim et al., "JSI-GAN: GAN-Based Joint Super-Resolution and Inverse Tone-Mapping with Pixel-Wise Task-Specific
    Filters for UHD HDR Video", AAAI 2020, without super-resolution, as the papers' tables use it. The guided filter
    splits the frame into base and detail, as in Deep SR-ITM. The detail is filtered by columns and rows of 41 taps; the
    base by squares of 9 x 9, which are a softmax, and 2 sigmoid(.) of it is the contrast; the reconstruction is of
    convolutions that also see early features of the detail.

    1,061,222 parameters, HDCFM's 1.06 M, with one kernel for all three colours, as published. With a kernel for each
    colour 1,249,324, and the 81.8757 G multiply-adds of KPN-MFI's table, which prints 1.2493 M.

    Convention: H and W of at least 3, as BT.709 RGB code where the published network takes Y'CbCr.

    Args:
        width: number of channels.
        kernel_for_each_color: whether each colour has kernels of its own.
    """

    def __init__(self, width: int = 64, kernel_for_each_color: bool = False) -> None:
        super().__init__()
        self.kernels = kernels = 3 if kernel_for_each_color else 1

        def blocks() -> nn.ModuleList:
            return nn.ModuleList(Block(width) for _ in range(BLOCKS))

        self.contrast = nn.Sequential(conv(3, width), *blocks(), nn.ReLU(), conv(width, kernels * SQUARE**2))
        self.detail_first, self.detail_blocks = conv(3, width), blocks()
        self.vertical, self.horizontal = conv(width, kernels * LINE), conv(width, kernels * LINE)
        self.first, self.blocks = conv(3, width), blocks()
        self.blocks[1] = _Joined(width)
        self.last = nn.Sequential(nn.ReLU(), conv(width, width), nn.ReLU(), conv(width, 3))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert frames.

        Args:
            sdr: (B, 3, H, W), BT.709 gamma code in [0, 1], H and W at least 3.

        Returns:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped.

        Raises:
            ValueError: if the shape is another.
        """
        if sdr.ndim != 4 or sdr.shape[1] != 3 or min(sdr.shape[2:]) < 3:
            raise ValueError(f"expected sdr of shape (B, 3, H, W) with H, W >= 3, got {tuple(sdr.shape)}")
        x = torch.cat((sdr, *base_and_detail(sdr)), 1)
        return self._converted(x) if needs_whole_maps(self, sdr) else map_rows(self._converted, (x,), halo=HALO)

    def _converted(self, x: Tensor) -> Tensor:
        """Convert (B, 9, H, W): frames, their base and their detail."""
        sdr, base, detail = torch.split(x, 3, dim=1)
        squares = self.contrast(base).unflatten(1, (self.kernels, -1)).softmax(2)
        contrast = 2 * pixel_conv(base, squares.expand(-1, 3, -1, -1, -1).flatten(1, 2)).sigmoid()

        features = early = self.detail_blocks[0](self.detail_first(detail))
        for block in self.detail_blocks[1:]:
            features = block(features)
        features = torch.relu(features)
        lines = (head(features).unflatten(1, (self.kernels, LINE)) for head in (self.vertical, self.horizontal))
        details = separable_pixel_conv(detail, *lines)

        features = self.first(sdr)
        for i, block in enumerate(self.blocks):
            features = block(torch.cat((features, early), 1) if i == 1 else features)
        hdr_pq: Tensor = (self.last(features) + details) * contrast
        return hdr_pq


class _Joined(nn.Module):
    """Residual block of two streams: it reads both, and adds to the first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(2 * width, width), conv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x[:, : x.shape[1] // 2] + self.conv2(torch.relu(self.conv1(torch.relu(x))))
        return out
