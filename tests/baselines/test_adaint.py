"""AdaInt: the lookup between uneven vertices written out, gradients, its size, its loss, the authors' keys."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vitm.baselines.ada_3dlut import falls
from vitm.baselines.adaint import AdaInt
from vitm.baselines.table_task import AdaIntTask
from vitm.nets.complexity import count_parameters
from vitm.ops.color_table import apply_color_table, even_positions
from vitm.zoo import load_network


def uneven(rgb, table, vertices):
    """(3,), (3, S, S, S) at [:, b, g, r] and (3, S) -> (3,), corner by corner."""
    low, part = [], []
    for value, places in zip(rgb, vertices, strict=True):
        i = next(i for i in range(len(places) - 2, -1, -1) if value >= places[i])
        low.append(i)
        part.append((value - places[i]) / (places[i + 1] - places[i]))
    out = np.zeros(3)
    for step in product((0, 1), repeat=3):
        r, g, b = (i + s for i, s in zip(low, step, strict=True))
        out += np.prod([p if s else 1 - p for s, p in zip(step, part, strict=True)]) * table[:, b, g, r]
    return out


@pytest.fixture
def network(rng):
    torch.manual_seed(0)
    network = AdaInt(size=4, tables=2).eval()
    for p in (network.values, network.intervals.weight, network.weigh.weight):
        p.data += 0.3 * torch.randn(p.shape, generator=rng)
    return network


def test_size_of_the_table():
    """0.62 M in DSLNet's Table 1: reader, heads and tables by hand."""
    widths = (3, 16, 32, 64, 128, 128)
    reader = sum(m * (9 * n + 1) for n, m in pairwise(widths)) + 2 * (16 + 32 + 64 + 128)
    assert count_parameters(AdaInt()) == reader + 513 * (3 + 3 * 32) + 3 * 3 * 33**3 == 619_724


def test_lookup_between_uneven_vertices(network, rng):
    sdr = torch.rand(2, 3, 6, 7, generator=rng)
    sdr[:, :, 0], sdr[:, :, 1, 0] = 1, 0  # the outer vertices
    with torch.no_grad():
        hdr_pq, (weights, vertices) = network(sdr), network.describe(sdr)
        state = network.state_dict()
        code = network.reader(sdr).reshape(2, 128, 2, 4, 2, 4).mean((3, 5)).flatten(1)
    intervals = (code @ state["intervals.weight"].T + state["intervals.bias"]).view(2, 3, 3).exp()
    intervals = (intervals / intervals.sum(2, keepdim=True)).double().numpy()
    places = np.concatenate([np.zeros((2, 3, 1)), np.cumsum(intervals, 2)], 2)
    assert np.diff(places, 2).std() > 0.02
    np.testing.assert_allclose(vertices.numpy(), places, atol=1e-6)
    tables = torch.einsum("bn,ncv->bcv", weights, state["values"]).view(2, 3, 4, 4, 4).double().numpy()
    for b, i, j in product(range(2), range(6), range(7)):
        expected = uneven(sdr[b, :, i, j].double().numpy(), tables[b], places[b])
        np.testing.assert_allclose(hdr_pq[b, :, i, j].numpy(), expected, atol=3e-4 * np.abs(tables).max())


def test_gradients_of_colors_and_vertices(rng):
    table = torch.rand(1, 2, 4, 4, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    rgb = torch.rand(1, 3, 3, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    intervals = torch.rand(1, 3, 3, generator=rng, dtype=torch.float64, requires_grad=True)

    def lookup(rgb, intervals, table):
        vertices = F.pad(intervals.softmax(-1).cumsum(-1), (1, 0))
        return apply_color_table(even_positions(rgb, vertices), table)

    assert torch.autograd.gradcheck(lookup, (rgb, intervals, table))


def test_vanished_intervals():
    vertices = torch.tensor([0.0, 0.5, 0.5, 1.0, 1.0]).expand(1, 3, 5)
    rgb = torch.tensor([0.0, 0.25, 0.5, 1.0]).view(1, 1, 1, 4).expand(1, 3, 1, 4)
    positions = even_positions(rgb, vertices)[0, 0, 0]
    assert positions.tolist() == [0, 0.125, 0.5, 0.75]


def test_it_begins_near_the_sdr(rng):
    torch.manual_seed(0)
    network = AdaInt().eval()
    sdr = torch.rand(1, 3, 20, 30, generator=rng)
    with torch.no_grad():
        gain = network.describe(sdr)[0][0, 0]
        torch.testing.assert_close(network(sdr), gain * sdr, atol=2e-5, rtol=0)


def test_loss_and_slower_intervals(network, rng, monkeypatch):
    task = AdaIntTask(size=4, tables=2, sparsity=0.5, monotonicity=3.0, schedule="constant", lr=1e-2)
    task.log = lambda *args, **kwargs: None
    task.network.load_state_dict(network.state_dict())
    task.eval()
    sdr, target = torch.rand(2, 2, 3, 6, 8, generator=rng)
    loss = task.frame_loss(sdr, target)
    with torch.no_grad():
        expected = (network(sdr) - target).square().mean() + 0.5 * network.describe(sdr)[0].square().mean()
        expected += 3 * falls(network.tables)
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-4, atol=0)
    loss.backward()
    optimizer = task.configure_optimizers()["optimizer"]
    optimizer.step()
    for name, p in task.network.named_parameters():
        moved = float((p.detach() - network.state_dict()[name]).abs().max())
        assert moved == pytest.approx(1e-3 if name.startswith("intervals") else 1e-2, rel=0.01), name


def test_files_of_the_authors_code(network, rng, tmp_path):
    """A state dict in their layout: blocks, the tables as a linear layer, a count of steps."""
    state = network.state_dict()
    published = {
        "cnt_iters": torch.zeros(1),
        "lut_generator.weights_generator.weight": state["weigh.weight"],
        "lut_generator.weights_generator.bias": state["weigh.bias"],
        "lut_generator.basis_luts_bank.weight": state["values"].reshape(2, -1).T,
        "adaint.intervals_generator.weight": state["intervals.weight"],
        "adaint.intervals_generator.bias": state["intervals.bias"],
    }
    for block, part, name in product(range(5), (0, 2), ("weight", "bias")):
        if (block, part) != (4, 2):
            published[f"backbone.{block}.{part}.{name}"] = state[f"reader.layers.{3 * block + part}.{name}"]
    torch.save({"meta": {}, "state_dict": published}, tmp_path / "AiLUT.pth")
    sdr = torch.rand(1, 3, 9, 8, generator=rng)
    with torch.no_grad():
        torch.testing.assert_close(load_network("adaint", tmp_path / "AiLUT.pth")(sdr), network(sdr))
