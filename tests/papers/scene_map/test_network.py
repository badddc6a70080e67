"""SceneMap: its table is its map, statistics see curves and not sizes, and clips are smooth."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vitm.color import bt709_to_bt2020, bt1886_eotf, pq_inverse_eotf
from vitm.nets.interface import StreamingNetwork, stream
from vitm.ops.color_table import apply_color_table, color_grid
from vitm.papers.scene_map import SceneMap
from vitm.papers.scene_map.network import STATISTICS, statistics, thumbnail


@pytest.fixture
def network(rng):
    torch.manual_seed(0)
    net = SceneMap().eval()
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    net.last.weight.normal_(0, 0.2)
    net.modulate.weight.normal_(0, 0.05)
    return net


def plain(sdr):
    return pq_inverse_eotf(bt709_to_bt2020(203 * bt1886_eotf(sdr)))


def test_tables_are_read_between_vertices(rng):
    """Against a sum over the eight corners of the cell."""
    table = torch.rand(2, 3, 5, 5, 5, generator=rng)
    rgb = torch.rand(2, 3, 4, 6, generator=rng)
    at = rgb * 4
    low = at.floor().clamp(max=3).long()
    part = at - low
    expected = torch.zeros_like(rgb)
    for b in range(2):
        for corner in range(8):
            step = [(corner >> k) & 1 for k in range(3)]
            weight = torch.ones(4, 6)
            index = []
            for k in range(3):
                weight = weight * (part[b, k] if step[k] else 1 - part[b, k])
                index.append(low[b, k] + step[k])
            expected[b] += weight * table[b][:, index[2], index[1], index[0]]
    torch.testing.assert_close(apply_color_table(rgb, table), expected, atol=4e-6, rtol=1e-5)
    identity = color_grid(17)[None]
    torch.testing.assert_close(apply_color_table(rgb, identity), rgb, atol=4e-6, rtol=0)
    with pytest.raises(ValueError, match="expected one table"):
        apply_color_table(rgb, torch.rand(3, 3, 5, 5, 5))


def test_it_begins_as_sdr_at_203_nits(rng):
    sdr = torch.rand(1, 3, 40, 50, generator=rng)
    code = SceneMap().describe(sdr)
    exact = SceneMap().color_map(sdr.flatten(2).mT, code).mT.view_as(sdr)
    torch.testing.assert_close(exact, plain(sdr), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(90, 160), (61, 97), (200, 120)])
def test_the_table_is_the_map(network, rng, size):
    sdr = torch.rand(2, 3, *size, generator=rng)
    exact = network.color_map(sdr.flatten(2).mT, network.describe(sdr)).mT.view_as(sdr)
    result = network(sdr)
    assert result.shape == sdr.shape
    assert float((result - exact).abs().mean()) < 2e-3
    assert float((result - exact)[sdr.amin(1, keepdim=True).expand_as(sdr) > 0.1].abs().max()) < 6e-3


def test_statistics_see_the_curve(rng):
    """Gradients of a flatter curve are smaller in its bins; sizes of the picture change little."""
    noise = F.interpolate(torch.rand(1, 3, 45, 80, generator=rng), size=(90, 160), mode="bilinear")
    numbers = statistics(noise)
    assert numbers.shape == (1, STATISTICS)
    assert torch.isfinite(numbers).all()
    assert float(numbers.abs().max()) < 4
    flat = statistics(0.4 + 0.2 * noise)
    fine = slice(0, 32 * 9, 9)
    both = (numbers[0, fine] != 0) & (flat[0, fine].abs() > 0.2)
    assert (flat[0, fine][both] < numbers[0, fine][both]).float().mean() > 0.8
    large = F.interpolate(noise, size=(270, 480), mode="nearest")
    torch.testing.assert_close(thumbnail(large), noise, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_frames_are_smoothed_over_their_scene_and_pixels_are_not(network, rng):
    assert isinstance(network, StreamingNetwork)
    scale = torch.tensor([1.0, 0.8, 0.1, 0.5, 0.9, 0.7]).view(6, 1, 1, 1)
    frames = (scale * torch.rand(6, 3, 48, 64, generator=rng)).split(1)
    network.context = 2
    results = list(stream(network, frames))
    codes = [network.describe(x) for x in frames]
    lumas = [0.2126 * x[:, 0, ::4, ::4] + 0.7152 * x[:, 1, ::4, ::4] + 0.0722 * x[:, 2, ::4, ::4] for x in frames]
    weights = [float(luma.std(correction=0)) + 0.001 for luma in lumas]
    for t, result in enumerate(results):
        held = range(max(0, t - 2), t + 1)
        code = sum(weights[i] * codes[i] for i in held) / sum(weights[i] for i in held)
        torch.testing.assert_close(result, apply_color_table(frames[t], network.table(code)))
    torch.testing.assert_close(results[0], network(frames[0]))
    again = list(stream(network, frames[2:]))
    torch.testing.assert_close(again[2], results[4])  # nothing before the context counts
