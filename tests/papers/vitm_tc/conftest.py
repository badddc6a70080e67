from __future__ import annotations

import pytest
import torch

WIDTHS = (8, 8, 8, 8, 16)


@pytest.fixture
def make(rng):
    """Make a small network whose layers keep the size of their signals, also those that start at zero.

    So nothing that a layer does is lost in rounding, and comparisons see it.
    """

    def make(network, **arguments):
        torch.manual_seed(0)
        made = network(**arguments).eval()
        with torch.no_grad():
            for p in made.parameters():
                noise = torch.randn(p.shape, generator=rng)
                if p.ndim > 1:
                    p.copy_(noise * (1.5 / p[0].numel()) ** 0.5)
                else:
                    p.add_(0.1 * noise)
        return made

    return make


@pytest.fixture
def clip(rng):
    """Make a clip (B, T, 3, H, W) of 8-bit codes with clipped regions, smooth enough to be warped."""

    def clip(frames, height, width, batch=1):
        coarse = torch.rand(batch * frames, 3, 5, 6, generator=rng) * 1.3
        x = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
        return ((x * 255).round() / 255).view(batch, frames, 3, height, width)

    return clip


def assert_equal(ours, expected, tolerance=1e-3):
    """The largest difference, relative to the standard deviation of what is expected."""
    assert ours.shape == expected.shape
    assert ours.isfinite().all()
    assert (ours - expected).abs().max() < tolerance * expected.std()
