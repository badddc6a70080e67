"""What edges say: the bend of a curve, and whether light was mixed, whatever a picture shows."""

from __future__ import annotations

import pytest
import torch

from vitm.papers.scene_map.edges import EDGE_STATISTICS, edge_statistics, find_edges
from vitm.papers.scene_map.operators import OPERATORS, Operator

PLAIN = OPERATORS.index(Operator("clip", "channel", "gamma22", 1.0))
LEVELS = 7 * 8 // 2


def bars(rng, count=60):
    """Bars of random colours in light, whose edges fall anywhere within a pixel: (1, 3, count, 7 count)."""
    colours = 0.02 + 0.9 * torch.rand(3, count, count, generator=rng)
    light = colours.repeat_interleave(7, 2)
    light[..., 6::7] = torch.lerp(colours, colours.roll(-1, 2), torch.rand(count, count, generator=rng))
    return light[None]


def test_an_edge_is_a_dark_side_a_middle_and_a_bright_side():
    row = torch.tensor([0.2, 0.2, 0.2, 0.5, 0.8, 0.8, 0.8, 0.6, 0.4, 0.4, 0.4])
    edges = find_edges(row.expand(1, 3, 9, 11))
    (clear,) = (edges.weights > 0.9).nonzero()[:, 1].unique(return_counts=True)[:1]
    assert len(clear) == 18  # two edges in each of nine rows, and none along columns
    for i in clear.tolist():
        sides = [round(float(x[0, i, 0]), 2) for x in edges[:3]]
        assert sides in ([0.2, 0.5, 0.8], [0.4, 0.6, 0.8])


def test_large_pictures_lose_pixels_but_are_not_averaged(rng):
    small = torch.rand(1, 3, 20, 240, generator=rng)
    large = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    for one, other in zip(find_edges(large), find_edges(small), strict=True):
        assert torch.equal(one, other)


def test_edges_tell_the_curve_that_a_picture_was_made_by(rng):
    """In the light of the right inverse, middles are halves on average, on a straight line between their sides."""
    numbers = edge_statistics(bars(rng) ** (1 / 2.2), 33)[0]
    assert numbers.shape == (EDGE_STATISTICS,)
    operators = numbers[2 * LEVELS :].view(len(OPERATORS), 3, 4)
    half, line = operators[PLAIN, :2, 0]
    assert abs(float(half)) < 0.03
    assert float(line) < 0.02
    curved = OPERATORS.index(Operator("filmic", "channel", "srgb", 30.0))
    assert float(operators[curved, 1, 0]) > 3 * float(line)
    assert float(numbers[:LEVELS].sum()) > 0.2  # in code, middles are nearer to the brighter side


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (40, 2)])
def test_tiny_pictures_have_statistics(size):
    numbers = edge_statistics(torch.rand(2, 3, *size), 9)
    assert numbers.shape == (2, EDGE_STATISTICS)
    assert torch.isfinite(numbers).all()
