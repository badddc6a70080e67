"""Ada-3DLUT: its layers and its lookup written out, what keeps tables smooth and monotonic, its size, its loss."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vitm.baselines.ada_3dlut import Ada3DLUT, falls, roughness
from vitm.baselines.table_task import Ada3DLUTTask
from vitm.nets.complexity import count_macs, count_parameters
from vitm.ops.color_table import apply_color_table, color_grid


def trilinear(rgb, table):
    """(3,) and (3, S, S, S) at [:, b, g, r] -> (3,), corner by corner."""
    size = table.shape[-1]
    low = np.minimum(np.floor(rgb * (size - 1)), size - 2).astype(int)
    part = rgb * (size - 1) - low
    out = np.zeros(3)
    for step in product((0, 1), repeat=3):
        weight = np.prod([p if s else 1 - p for s, p in zip(step, part, strict=True)])
        r, g, b = low + step
        out += weight * table[:, b, g, r]
    return out


@pytest.fixture
def network(rng):
    torch.manual_seed(0)
    network = Ada3DLUT(size=4, tables=2).eval()
    torch.nn.init.normal_(network.head.weight, std=0.02)
    network.values.data += 0.3 * torch.randn(network.values.shape, generator=rng)
    return network


def test_sizes_of_the_tables():
    """594 K in HDCFM's Table 1, 0.59 M in DSLNet's; the layers by hand."""
    network = Ada3DLUT().to("meta")
    assert count_parameters(network) == 593_516
    widths = (3, 16, 32, 64, 128, 128)
    outputs = [m * (256 >> i + 1) ** 2 for i, m in enumerate(widths[1:])]
    macs = sum(n * (9 * m + 2) for n, m in zip(outputs, widths, strict=False)) + 3 * (128 * 64 + 1)
    assert count_macs(network, torch.empty(1, 3, 300, 200, device="meta")) == macs  # bias and LeakyReLU: the 2


def test_layers_and_lookup(network, rng):
    sdr = torch.rand(2, 3, 5, 7, generator=rng)
    state = network.state_dict()
    x = F.interpolate(sdr, size=(256, 256), mode="bilinear")
    for i in range(5):
        weight, bias = (state[f"reader.layers.{3 * i}.{name}"] for name in ("weight", "bias"))
        x = F.conv2d(F.pad(x, [1] * 4), weight, bias, 2)
        x = torch.where(x > 0, x, 0.2 * x)
        if i < 4:
            x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), keepdim=True, correction=0) + 1e-5).sqrt()
            scale, shift = (state[f"reader.layers.{3 * i + 2}.{name}"] for name in ("weight", "bias"))
            x = x * scale[:, None, None] + shift[:, None, None]
    weights = torch.einsum("bchw,nchw->bn", x, state["head.weight"]) + state["head.bias"]
    tables = torch.einsum("bn,ncijk->bcijk", weights, state["values"].view(2, 3, 4, 4, 4)).double().numpy()
    with torch.no_grad():
        hdr_pq = network(sdr).numpy()
    for b, i, j in product(range(2), range(5), range(7)):
        expected = trilinear(sdr[b, :, i, j].double().numpy(), tables[b])
        np.testing.assert_allclose(hdr_pq[b, :, i, j], expected, atol=2e-4 * np.abs(tables).max())


def test_it_begins_near_the_sdr(rng):
    """Also in training, with dropout; no two tables have the same weights, or they would stay alike."""
    torch.manual_seed(0)
    network, sdr = Ada3DLUT(), torch.rand(1, 3, 20, 30, generator=rng)
    with torch.no_grad():
        assert float((network(sdr) - sdr).abs().max()) < 0.2
        assert float(network.eval().weights(sdr).diff().abs().min()) > 1e-4


def test_lookup_does_not_reach_into_the_next_slice(rng):
    """Where green is full, and the colours of the next blue begin; with and without gradients."""
    table = 1000 * (color_grid(33)[None] == 0).float()
    rgb = torch.rand(1, 3, 40, 50, generator=rng).clamp(min=1 / 32)
    rgb[:, 1] = 1
    assert float(apply_color_table(rgb, table)[:, 1].abs().max()) == 0
    assert float(apply_color_table(rgb, table.requires_grad_())[:, 1].detach().abs().max()) == 0


def test_what_keeps_tables_smooth_and_monotonic(rng):
    """Against sums over all neighbours, the outer differences counted twice; a table that grows does not fall."""
    tables = torch.randn(2, 3, 4, 4, 4, generator=rng)
    values = tables.numpy().astype(float)
    rough, fall = 0.0, 0.0
    for n, axis in product(range(2), range(3)):
        lines = np.moveaxis(values[n], axis + 1, -1)
        squares, drops = [], []
        for c, i, j, k in product(range(3), range(4), range(4), range(3)):
            difference = lines[c, i, j, k] - lines[c, i, j, k + 1]
            squares.append(difference**2 * (2 if k in (0, 2) else 1))
            drops.append(max(difference, 0))
        rough += np.mean(squares)
        fall += np.mean(drops)
    np.testing.assert_allclose(roughness(tables), rough, rtol=1e-5)
    np.testing.assert_allclose(falls(tables), fall, rtol=1e-5)
    assert float(falls(color_grid(5)[None])) == 0


def test_loss(network, rng):
    task = Ada3DLUTTask(size=4, tables=2, smoothness=0.5, monotonicity=3.0)
    task.log = lambda *args, **kwargs: None
    task.network.load_state_dict(network.state_dict())
    task.eval()
    sdr, target = torch.rand(2, 2, 3, 6, 8, generator=rng)
    loss = task.frame_loss(sdr, target)
    with torch.no_grad():
        weights, tables = network.weights(sdr), network.tables
        expected = (network(sdr) - target).square().mean()
        expected += 0.5 * (roughness(tables) + weights.square().mean()) + 3 * falls(tables)
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-4, atol=0)
    loss.backward()
    assert all(p.grad is not None for p in task.network.parameters())


def test_wrong_arguments():
    with pytest.raises(ValueError, match="size >= 2"):
        Ada3DLUT(size=1)
