"""SceneMap: a colour map for each picture, from what its statistics say of how it was produced.

Tone curves leave traces: gradients shrink where a curve is flat, histograms pile up where it clips, colours fade where
it desaturates. The network reads these traces from a small picture, and gives a colour map, the same for all pixels,
which is applied at full size through a table. So it costs a table's lookup whatever the size of the picture, and what
varies over time is one vector, which can be smoothed without blurring a pixel.

The map is a mixture: of the exact inverses of the operators that SDR is usually made by, each as far as the traces
speak for it, and of a free map for all else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.color import DIFFUSE_WHITE_NITS, bt709_to_bt2020, bt1886_eotf, luminance, pq_inverse_eotf
from vitm.ops.color_table import apply_color_table, color_grid
from vitm.ops.resize import resize_area
from vitm.papers.scene_map.operators import OPERATORS, operator_tables

_THUMBNAIL = (90, 160)  # rows and columns that statistics are taken from
_BINS = 32
_FEW = 1e-3  # share of pixels below which a bin's mean counts little
_RECOGNISER = 192  # channels of the layers that recognise operators
_RESIDUAL = 0.25  # PQ code that an output of 1 adds
_LEAST_CONTRAST = 1e-3  # of a frame in a mean, so that a black one has some weight, too


def thumbnail(sdr: Tensor, bounds: Tensor | None = None) -> Tensor:
    """Return the small picture that statistics are taken from: (B, 3, H, W) -> (B, 3, 90, 160), by area.

    Args:
        sdr: frames.
        bounds: (B, 4), where the picture lies in each, see `picture_bounds`; None for all of it.
    """
    return sdr if bounds is None and sdr.shape[-2:] == _THUMBNAIL else resize_area(sdr, _THUMBNAIL, bounds)


def statistics(small: Tensor) -> Tensor:
    """Return what a picture says of its production.

    For each of 32 bins of luma: the share of pixels, and the means of gradients at two scales, of saturation, colour
    differences, surrounding luma and the largest channel. Then the histogram of the largest channel, and the shares
    of pixels that clip at white and at black.

    Args:
        small: (B, 3, 90, 160), BT.709 code in [0, 1].

    Returns:
        (B, `STATISTICS`), fp32, each of the order of 1.
    """
    luma, most, least = luminance(small, "bt709"), small.amax(1, keepdim=True), small.amin(1, keepdim=True)
    fine, coarse = _gradient(luma), _resized(_gradient(F.avg_pool2d(luma, 5)), luma)
    features = [fine, fine.square(), coarse, coarse.square()]
    features += [most - least, small[:, :1] - luma, small[:, 2:] - luma]
    features += [_resized(F.interpolate(luma, size=(9, 16), mode="area"), luma), most, torch.ones_like(luma)]
    sampled = torch.cat(features, 1)[..., ::2, ::2].flatten(2)
    means = torch.einsum("bnk,bfn->bkf", _weights(luma), sampled) / sampled.shape[-1]
    share, means = means[..., -1:], means[..., :-1] / (means[..., -1:] + 0.2 * _FEW)
    gradients, others = means[..., :4], means[..., 4:]
    means = torch.cat(((gradients + 1e-4).log() / 3 + 1.5, others), -1) * (share / (share + _FEW))
    histograms = (torch.cat((share[..., 0], _weights(most).mean(1)), 1) + 1e-4).log() / 4 + 1
    clipped = [x.float().mean((2, 3)) for x in (most >= 0.998, least <= 0.002, small >= 0.998, small <= 0.002)]
    return torch.cat((means.flatten(1), histograms, *clipped), 1)


STATISTICS = 9 * _BINS + 2 * _BINS + 8
"""The length of what `statistics` returns."""


def _gradient(x: Tensor) -> Tensor:
    right = F.pad((x[..., 1:] - x[..., :-1]).abs(), (0, 1))
    return right + F.pad((x[..., 1:, :] - x[..., :-1, :]).abs(), (0, 0, 0, 1))


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _weights(x: Tensor) -> Tensor:
    """Return, for (B, 1, H, W), the triangular weights (B, N, bins) of every second pixel of every second row."""
    centres = torch.linspace(0, 1, _BINS, device=x.device)
    return (1 - (x[..., ::2, ::2].flatten(2)[:, 0, :, None] - centres).abs() * (_BINS - 1)).clamp(min=0)


class SceneColors(nn.Module, ABC):
    """A network that maps colours by a table, which a vector gives that describes the picture.

    In means of vectors each frame weighs by its contrast: a black one says nothing of how SDR was made, and one of a
    fade says little.

    Args:
        smoothing: number of frames before a frame, of the same scene, that its vector is averaged with.
    """

    colors_by_scene = True
    steady_start: ClassVar[bool] = False
    """Whether a scene's first vector stands for those that its means lack, so that its first steps are small, too."""

    def __init__(self, smoothing: int) -> None:
        super().__init__()
        self.context = smoothing

    @abstractmethod
    def describe(self, sdr: Tensor) -> Tensor:
        """Return the vector that describes pictures: (B, 3, H, W) -> (B, length)."""

    @abstractmethod
    def table(self, code: Tensor) -> Tensor:
        """Return the colour map as a table: (B, length) -> (B, 3, N, N, N), PQ code at [..., b, g, r]."""

    def in_clip(self, code: Tensor) -> Tensor:
        """Return the vector of a scene of a clip, from its own: (B, length) -> (B, length); here its own alone."""
        return code

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert pictures, each by itself: sdr -> hdr_pq, (B, 3, H, W)."""
        return apply_color_table(sdr, self.table(self.describe(sdr)))

    def color_map_for(self, frames: Iterable[Tensor]) -> Callable[[Tensor], Tensor]:
        """Return the map of the frames' mean vector, see `vitm.nets.interface.ColorMapNetwork`."""
        table = self.table(self.in_clip(_mean_vector([(self.describe(sdr), contrast(sdr)) for sdr in frames])))
        return lambda sdr: apply_color_table(sdr, table)

    def stream(self, frames: Iterable[Tensor]) -> Iterator[Tensor]:
        """Convert the frames of one scene: each by the mean of its own vector and those of up to `smoothing` before it.

        Args:
            frames: sdr (B, 3, H, W), in their order.

        Yields:
            hdr_pq (B, 3, H, W).
        """
        recent: deque[tuple[Tensor, Tensor]] = deque(maxlen=self.context + 1)
        for sdr in frames:
            described = self.describe(sdr), contrast(sdr)
            if self.steady_start and not recent:
                recent.extend([described] * self.context)
            recent.append(described)
            yield apply_color_table(sdr, self.table(self.in_clip(_mean_vector(recent))))


def contrast(sdr: Tensor) -> Tensor:
    """Return the standard deviation of luma of every fourth pixel of every fourth row: (B, 3, H, W) -> (B, 1)."""
    luma = luminance(sdr[..., ::4, ::4].float(), "bt709")
    return luma.flatten(1).std(1, correction=0, keepdim=True) + _LEAST_CONTRAST


def _mean_vector(described: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the mean (B, length) of vectors (B, length) by their weights (B, 1)."""
    vectors, weights = (torch.stack(x) for x in zip(*described, strict=True))
    return (weights * vectors).sum(0) / weights.sum(0)


class SceneMap(SceneColors):
    """SDR to HDR10 by a colour map for each picture.

    The mid-tones of the result lie where those of the SDR lie when its white is shown at 203 cd/m2: SDR does not tell
    the level of a scene, so the network does not guess it.

    Args:
        width: channels of the colour map's layers.
        code_size: length of the vector that describes the picture.
        hidden: channels of the layers that read the statistics.
        table_size: vertices along each axis of the table that applies the map.
        smoothing: number of frames before a frame, of the same scene, that its vector is averaged with.
        picture: whether the vector is also read from a small picture, by convolutions. They recognise places: with few
            places in training, that does harm.
        operators: whether the map is a mixture of the free map and of the inverses of `OPERATORS`. Without, it is the
            free map alone.

    Example:
        >>> network = SceneMap()
        >>> network(torch.rand(1, 3, 54, 96)).shape
        torch.Size([1, 3, 54, 96])
    """

    def __init__(
        self,
        width: int = 48,
        code_size: int = 128,
        hidden: int = 320,
        table_size: int = 33,
        smoothing: int = 24,
        picture: bool = False,
        operators: bool = False,
    ) -> None:
        super().__init__(smoothing)
        self.table_size, self.code_size = table_size, code_size
        self.read_statistics = nn.Sequential(
            nn.LayerNorm(STATISTICS), nn.Linear(STATISTICS, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()
        )
        self.read_picture: nn.Sequential | None = None
        if picture:
            channels = (3, 16, 32, 48, 64)
            layers: list[nn.Module] = []
            for before, after in pairwise(channels):
                layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GELU()]
            self.read_picture = nn.Sequential(*layers)
        self.encode = nn.Sequential(nn.Linear(hidden + (128 if picture else 0), code_size), nn.GELU())
        self.layers = nn.ModuleList([nn.Linear(6, width), nn.Linear(width, width), nn.Linear(width, width)])
        self.modulate = nn.Linear(code_size, 2 * width * len(self.layers))
        self.last = nn.Linear(width, 3)
        for layer in (self.modulate, self.last):  # the map begins as SDR shown with white at 203 cd/m2
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.recognise: nn.Sequential | None = None
        if operators:
            self.recognise = nn.Sequential(
                nn.LayerNorm(STATISTICS),
                *(nn.Linear(STATISTICS, _RECOGNISER), nn.GELU(), nn.Dropout(0.2)),
                *(nn.Linear(_RECOGNISER, _RECOGNISER), nn.GELU(), nn.Dropout(0.2)),
                nn.Linear(_RECOGNISER, len(OPERATORS) + 1),
            )

    def describe(self, sdr: Tensor) -> Tensor:
        """Return the vector that describes pictures: (B, 3, H, W) -> (B, code_size), or longer with operators."""
        small = thumbnail(sdr.float())
        return self.describe_statistics(statistics(small), F.avg_pool2d(small, 2))

    def describe_statistics(self, numbers: Tensor, small: Tensor) -> Tensor:
        """Return the vector from (B, STATISTICS) and a picture of (B, 3, 45, 80).

        With operators, the logarithms of their shares follow, and that of the free map.
        """
        read = self.read_statistics(numbers)
        if self.read_picture is not None:
            maps = self.read_picture(small - 0.4)
            read = torch.cat((read, maps.mean((2, 3)), maps.amax((2, 3))), 1)
        code: Tensor = self.encode(read)
        return code if self.recognise is None else torch.cat((code, self.recognise(numbers)), 1)

    def color_map(self, rgb: Tensor, code: Tensor) -> Tensor:
        """Map colours, exactly.

        Args:
            rgb: (B, N, 3), BT.709 code in [0, 1].
            code: what `describe` returns.

        Returns:
            (B, N, 3), BT.2020 PQ code.
        """
        free = self.free_map(rgb, code[:, : self.code_size])
        if self.recognise is None:
            return free
        operators, rest = self._shares(code)
        mixed: Tensor = apply_color_table(rgb.mT.unsqueeze(-1), operators).squeeze(-1).mT
        return mixed + rest.unsqueeze(-1) * free

    def free_map(self, rgb: Tensor, code: Tensor) -> Tensor:
        """Map colours by the layers that the vector modulates: (B, N, 3), (B, code_size) -> (B, N, 3), PQ code."""
        planes = rgb.mT.unsqueeze(-1)  # (B, 3, N, 1): the colour functions have channels third from the end
        luma = luminance(planes, "bt709").squeeze(-1).mT
        x = torch.cat((rgb, luma, rgb.amax(-1, keepdim=True), rgb.amin(-1, keepdim=True)), -1)
        modulation = self.modulate(code).unsqueeze(1).chunk(2 * len(self.layers), -1)
        for i, layer in enumerate(self.layers):
            x = F.gelu(layer(x) * (1 + modulation[2 * i]) + modulation[2 * i + 1])
        base = pq_inverse_eotf(bt709_to_bt2020(DIFFUSE_WHITE_NITS * bt1886_eotf(planes.clamp(0, 1))))
        result: Tensor = base.squeeze(-1).mT + _RESIDUAL * self.last(x)
        return result

    def table(self, code: Tensor) -> Tensor:
        """Return the colour map as a table: (B, code_size) -> (B, 3, N, N, N), PQ code at [..., b, g, r]."""
        size = self.table_size
        grid = color_grid(size, code.device).flatten(1).mT.expand(len(code), -1, -1)
        table = self.free_map(grid, code[:, : self.code_size]).mT.reshape(len(code), 3, size, size, size)
        if self.recognise is not None:
            operators, rest = self._shares(code)
            table = operators + rest[..., None, None, None] * table
        return table

    def _shares(self, code: Tensor) -> tuple[Tensor, Tensor]:
        """Return the operators' part of the table, (B, 3, N, N, N), and the share of the free map, (B, 1)."""
        shares, size = code[:, self.code_size :].softmax(1), self.table_size
        mixed = shares[:, :-1] @ operator_tables(size, code.device).flatten(1)
        return mixed.view(-1, 3, size, size, size), shares[:, -1:]
