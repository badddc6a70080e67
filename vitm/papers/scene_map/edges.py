"""What edges say of how a picture was produced, whatever it shows.

A pixel on an edge is a mixture of the light of both sides, and on average half of each. In SDR code it lies elsewhere:
how far, by which levels the sides have, shows the bend of the tone curve. And mixtures of two colours lie on a straight
line in light: the inverse of another operator bends it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.color import DIFFUSE_WHITE_NITS, luminance, pq_eotf
from vitm.papers.scene_map.bars import LEAST_PICTURE
from vitm.papers.scene_map.operators import OPERATORS, operator_colors

_EDGES = 384  # edges of a picture that are looked at
_WIDTH = 240  # pixels of a row that are looked at, at most about
_STEP = 0.05  # difference of luma from which an edge counts
_EVEN = 0.25  # change on either side, as a share of the edge's, from which it is none
_LEVELS = 7
_FEW = 4.0  # edges below which a mean counts little
_BANDS = 4


class Edges(NamedTuple):
    """Edges of pictures: colours of their darker side, their middle and their brighter side, and how clear they are.

    Attributes:
        dark: (B, N, 3), BT.709 code.
        middle: the same shape.
        bright: the same shape.
        weights: (B, N), 0 for none.
    """

    dark: Tensor
    middle: Tensor
    bright: Tensor
    weights: Tensor


def find_edges(sdr: Tensor, bounds: Tensor | None = None) -> Edges:
    """Find the clearest edges of one pixel's width, along rows and columns.

    Pixels of large pictures are left out, not averaged: means of codes would be mixtures of another kind.

    Args:
        sdr: (B, 3, H, W), BT.709 code in [0, 1]; smaller pictures than 5 x 5 are continued beyond their borders.
        bounds: (B, 4), where the picture lies in each frame, see `picture_bounds`; None for all of it.
    """
    if bounds is None:
        every = max(1, round(sdr.shape[-1] / _WIDTH))
        sdr = sdr[..., ::every, ::every]
        height, width = sdr.shape[-2:]
        sdr = F.pad(sdr, (0, max(0, 5 - width), 0, max(0, 5 - height)), mode="replicate")
        runs = [_edges_along_rows(x) for x in (sdr, sdr.mT)]
    else:
        sdr, inside = _thinned(sdr, bounds)
        runs = [_edges_along_rows(x, y) for x, y in ((sdr, inside), (sdr.mT, inside.mT))]
    dark, middle, bright, weights = (torch.cat(parts, 1) for parts in zip(*runs, strict=True))
    weights, best = weights.topk(min(_EDGES, weights.shape[1]))
    best = best.unsqueeze(2).expand(-1, -1, 3)
    return Edges(dark.gather(1, best), middle.gather(1, best), bright.gather(1, best), weights)


def _thinned(sdr: Tensor, bounds: Tensor) -> tuple[Tensor, Tensor]:
    """Return every so many-th pixel of pictures within their frames, and 1 where there is one, 0 beyond the picture.

    The host does not know where pictures lie, so the result is as large as it is for the smallest picture.
    """
    height, width = sdr.shape[-2:]
    top, bottom, left, right = bounds.chunk(4, 1)
    every = ((right - left) / _WIDTH).round().clamp(min=1).long()
    least = max(1, round(LEAST_PICTURE * width / _WIDTH))
    rows, columns = max(5, -(-height // least)), max(5, min(-(-width // least), 3 * _WIDTH // 2))
    y, x = (first + every * torch.arange(n, device=sdr.device) for first, n in ((top, rows), (left, columns)))
    y, x = y[:, None, :, None], x[:, None, None]
    inside = (y < bottom[..., None, None]) & (x < right[..., None, None])
    sdr = sdr.gather(2, y.clamp(max=height - 1).expand(-1, 3, -1, width))
    return sdr.gather(3, x.clamp(max=width - 1).expand(-1, 3, rows, -1)), inside.to(sdr.dtype)


def _edges_along_rows(sdr: Tensor, inside: Tensor | None = None) -> Edges:
    width = sdr.shape[3] - 4
    lumas = [luminance(sdr, "bt709")[..., i : i + width] for i in range(5)]
    step = lumas[3] - lumas[1]
    size = step.abs()
    uneven = [(lumas[i + 1] - lumas[i]).abs() / (_EVEN * size + 1e-4) for i in (0, 3)]
    weights = (1 - uneven[0]).clamp(min=0) * (1 - uneven[1]).clamp(min=0) * ((size - _STEP) / _STEP).clamp(0, 1)
    if inside is not None:
        weights = weights * inside[..., 4:]
    left, middle, right = (sdr[..., i : i + width] for i in (1, 2, 3))
    rises = step > 0
    dark, bright = torch.where(rises, left, right), torch.where(rises, right, left)
    return Edges(dark.flatten(2).mT, middle.flatten(2).mT, bright.flatten(2).mT, weights.flatten(1))


def edge_statistics(sdr: Tensor, table_size: int, bounds: Tensor | None = None) -> Tensor:
    """Return what edges say, in SDR code and in the light that each operator's inverse makes of it.

    In code: where the middle of edges lies between both sides, for all pairs of 7 levels of their luma, and the numbers
    of edges. For each operator, over all edges and three bands of brightness: where the middle lies in light, less one
    half; how far from the straight line between both sides; and the spread, less that of a uniform one.

    Args:
        sdr: (B, 3, H, W), BT.709 code in [0, 1].
        table_size: vertices along each axis of the tables of the operators.
        bounds: (B, 4), where the picture lies in each frame, see `picture_bounds`; None for all of it.

    Returns:
        (B, `EDGE_STATISTICS`), fp32.
    """
    edges = find_edges(sdr, bounds)
    dark, middle, bright = (luminance(x.mT.unsqueeze(-1), "bt709")[:, 0, :, 0] for x in edges[:3])
    place = ((middle - dark) / (bright - dark).clamp(min=0.02)).clamp(-0.2, 1.2) - 0.5
    pairs = _levels(dark).unsqueeze(3) * _levels(bright).unsqueeze(2) * edges.weights[..., None, None]
    low, high = torch.triu_indices(_LEVELS, _LEVELS, device=sdr.device)
    pairs = pairs[:, :, low, high]
    counts = pairs.sum(1)
    in_code = (place.unsqueeze(2) * pairs).sum(1) / (counts + _FEW), (counts + 1).log() / 4

    light = pq_eotf(operator_colors(torch.cat(edges[:3], 1), table_size)) / DIFFUSE_WHITE_NITS  # (B, operators, 3N, 3)
    start, between, end = light.chunk(3, 2)
    line, way = end - start, between - start
    length = line.square().sum(3).clamp(min=1e-8)
    share = (way * line).sum(3) / length
    beside = ((way - share.unsqueeze(3) * line).square().sum(3) / length).clamp(max=1).add(1e-5).sqrt()
    share = share.clamp(-0.2, 1.2) - 0.5
    bands = _brightness_bands(bright) * edges.weights.unsqueeze(1)  # (B, bands, N)
    means = [x @ bands.mT / (bands.sum(2) + _FEW).unsqueeze(1) for x in (share, beside, share.square() - 1 / 12)]
    return torch.cat((*in_code, torch.cat(means, 2).flatten(1)), 1)


EDGE_STATISTICS = _LEVELS * (_LEVELS + 1) + 3 * _BANDS * len(OPERATORS)
"""The length of what `edge_statistics` returns."""


def _levels(luma: Tensor) -> Tensor:
    """Return triangular weights of the levels: (B, N) -> (B, N, levels)."""
    centres = torch.linspace(0, 1, _LEVELS, device=luma.device)
    return (1 - (luma.unsqueeze(2) - centres).abs() * (_LEVELS - 1)).clamp(min=0)


def _brightness_bands(luma: Tensor) -> Tensor:
    """Return the weights of all, mid-tones, bright and brightest: (B, N) -> (B, bands, N)."""
    middle, bright = ((1 - 3 * (luma - centre).abs()).clamp(min=0) for centre in (0.3, 0.65))
    return torch.stack((torch.ones_like(luma), middle, bright, (3.3 * (luma - 0.7)).clamp(0, 1)), 1)
