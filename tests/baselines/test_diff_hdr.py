"""Differentiable HDR: merging against Debevec's sums and a true stack, the recursion, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.baselines.test_frames import randomised
from vitm.baselines.diff_hdr import DiffHDR, ExposureChange, GatedUnit, merge_stack
from vitm.baselines.sequence_task import DiffHDRTask

STOPS = [-2, -1, 0, 1, 2]


def true_stack(light: torch.Tensor) -> torch.Tensor:
    return torch.stack([(light * 2.0**s).clamp(0, 1) ** (1 / 2.2) for s in STOPS], 1)


def test_merging_is_debevecs(rng: torch.Generator) -> None:
    """Pixel by pixel, and true exposures give the true light."""
    stack = torch.rand(1, 5, 3, 3, 4, generator=rng)
    merged = merge_stack(stack, STOPS)
    for c, y, x in np.ndindex(3, 3, 4):
        above = below = 0.0
        for j, stop in enumerate(STOPS):
            z = float(stack[0, j, c, y, x])
            w = (z if z < 0.5 else 1 - z) * 2 + 0.001
            if (j == 0 and z > 0.5) or (j == 4 and z < 0.5):
                w = 1.0
            above += w * (math.log(max(z**2.2, 1e-4)) - stop * math.log(2))
            below += w
        assert float(merged[0, c, y, x]) == pytest.approx(math.exp(above / below), rel=1e-4)
    light = torch.logspace(-2.2, 0.5, 60).expand(1, 3, 1, 60)  # up to 3.2, which the darkest exposure holds
    np.testing.assert_allclose(merge_stack(true_stack(light), STOPS), light, rtol=0.02)


def test_gradients_reach_every_exposure(rng: torch.Generator) -> None:
    stack = (0.2 + 0.6 * torch.rand(1, 5, 3, 2, 2, generator=rng)).double().requires_grad_()
    merge_stack(stack, STOPS).sum().backward()
    assert stack.grad is not None
    assert bool((stack.grad.abs().amax((0, 2, 3, 4)) > 0).all())


def test_recursion(rng: torch.Generator) -> None:
    """Every exposure is made from the one before, and the unit's memory goes on."""
    network = randomised(DiffHDR((4, 6), steps=2), rng)
    ldr = torch.rand(2, 3, 16, 16, generator=rng)
    with torch.no_grad():
        stack = network.stack(ldr)
        assert torch.equal(stack[:, 2], ldr)
        for net, places in ((network.brighter, (3, 4)), (network.darker, (1, 0))):
            one, memory = net(ldr, 0, None)
            two, _ = net(one, 1, memory)
            torch.testing.assert_close(stack[:, places[0]], one)
            torch.testing.assert_close(stack[:, places[1]], two)
            assert not torch.allclose(two, net(one, 1, None)[0], atol=1e-6)
            assert not torch.allclose(two, net(one, 0, memory)[0], atol=1e-6)
        torch.testing.assert_close(network(ldr), merge_stack(stack, [-2, -1, 0, 1, 2]))


def test_layers(rng: torch.Generator) -> None:
    """A step of two sizes, written out."""
    net = randomised(ExposureChange((4, 6), steps=2), rng)
    s = net.state_dict()
    code, memory = torch.rand(1, 3, 8, 12, generator=rng), torch.randn(1, 6, 4, 6, generator=rng)

    def conv(name: str, x: torch.Tensor) -> torch.Tensor:
        w = s[f"{name}.weight"]
        return F.conv2d(x, w, s[f"{name}.bias"], padding=w.shape[2] // 2)

    def swish(x: torch.Tensor) -> torch.Tensor:
        return x * x.sigmoid()

    def block(name: str, x: torch.Tensor) -> torch.Tensor:
        x = conv(f"{name}.conv2", swish(conv(f"{name}.conv1", x)))
        x = (x - x.mean((2, 3), keepdim=True)) / (x.var((2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
        return swish(x * s[f"{name}.norm.scale"][1][:, None, None] + s[f"{name}.norm.shift"][1][:, None, None])

    full = swish(conv("first", code))
    x = F.max_pool2d(block("down.0", full), 2)
    z, r = conv("unit.gates", torch.cat([x, memory], 1)).sigmoid().chunk(2, 1)
    new = (1 - z) * memory + z * conv("unit.candidate", torch.cat([x, r * memory], 1)).tanh()
    x = block("up.0", torch.cat([F.interpolate(new, scale_factor=2), full], 1))
    with torch.no_grad():
        out, kept = net(code, 1, memory)
        torch.testing.assert_close(kept, new, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(out, conv("last", torch.cat([x, code], 1)).sigmoid(), rtol=1e-4, atol=1e-5)
        unit = GatedUnit(6)
        assert torch.equal(unit(memory, None), unit(memory, torch.zeros_like(memory)))


def test_size_and_any_frame(rng: torch.Generator) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in DiffHDR().parameters()) == 9_965_192
    network = randomised(DiffHDR((4, 6, 8), steps=1), rng)
    for size in ((1, 1), (13, 21)):
        ldr = torch.rand(1, 3, *size, generator=rng)
        with torch.no_grad():
            out = network(ldr)
        assert out.shape == ldr.shape
        assert float(out.min()) > 0
    with pytest.raises(ValueError, match=r"expected ldr .*got \(3, 8, 8\)"):
        network(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match="two sizes or more"):
        DiffHDR((8,))


def test_loss(rng: torch.Generator) -> None:
    task = DiffHDRTask(widths=(4, 6), steps=2, light_weight=0.5)
    light = torch.rand(1, 3, 8, 8, generator=rng) * 3
    ldr = light.clamp(0, 1) ** (1 / 2.2)
    stack = task.network.stack(ldr)
    codes = [(1 + 5000 * x).log() / math.log(5001) for x in (task.network(ldr), light)]
    expected = (stack - true_stack(light)).abs().mean() + 0.5 * (codes[0] - codes[1]).abs().mean()
    torch.testing.assert_close(task.loss(ldr, light), expected, rtol=1e-4, atol=1e-5)
