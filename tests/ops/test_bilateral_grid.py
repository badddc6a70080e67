"""Bilateral grids: slicing against the paper's sum, bands and gradients, errors."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from vitm.ops.bilateral_grid import apply_grid, slice_grid


def sliced(grid, guide):
    """Equation 4: a sum over all cells with tent weights; beyond the outer cells the outer values."""
    channels, depth, rows, columns = grid.shape
    height, width = guide.shape
    out = np.zeros((channels, height, width))
    for i, j in product(range(height), range(width)):
        at = (
            np.clip(guide[i, j] * depth - 0.5, 0, depth - 1),
            np.clip((i + 0.5) / height * rows - 0.5, 0, rows - 1),
            np.clip((j + 0.5) / width * columns - 0.5, 0, columns - 1),
        )
        weights = [np.maximum(1 - np.abs(np.arange(n) - a), 0) for n, a in zip(grid.shape[1:], at, strict=True)]
        out[:, i, j] = np.einsum("czyx,z,y,x->c", grid, *weights)
    return out


@pytest.fixture
def inputs(rng):
    grid = torch.randn(2, 12, 4, 3, 5, generator=rng)
    guide = 1.4 * torch.rand(2, 21, 17, generator=rng) - 0.2
    return grid, guide, torch.rand(2, 3, 21, 17, generator=rng)


def test_slicing(inputs):
    grid, guide, _ = inputs
    for b in range(2):
        expected = sliced(grid[b].double().numpy(), guide[b].double().numpy())
        np.testing.assert_allclose(slice_grid(grid, guide)[b].numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (33, 3)])
def test_transforms_in_rows_are_the_whole(size, rng):
    """More pixels than cells, and fewer; each output from its own factors."""
    grid = torch.randn(2, 8, 4, 3, 5, generator=rng)
    guide, rgb = torch.rand(2, *size, generator=rng), torch.rand(2, 3, *size, generator=rng)
    transforms = slice_grid(grid, guide).view(2, 2, 4, *size)
    expected = torch.einsum("bnchw,bchw->bnhw", transforms[:, :, :3], rgb) + transforms[:, :, 3]
    torch.testing.assert_close(apply_grid(grid, guide, rgb), expected, atol=2e-5, rtol=0)
    whole = apply_grid(grid, guide, rgb.requires_grad_())
    assert whole.requires_grad
    torch.testing.assert_close(whole.detach(), expected, atol=2e-5, rtol=0)


def test_gradients(rng):
    grid = torch.randn(1, 4, 2, 3, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    guide = torch.rand(1, 4, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    rgb = torch.rand(1, 3, 4, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(apply_grid, (grid, guide, rgb))


def test_wrong_shapes(inputs):
    grid, guide, rgb = inputs
    with pytest.raises(ValueError, match=r"expected a grid \(B, C, D, h, w\)"):
        slice_grid(grid[0], guide)
    with pytest.raises(ValueError, match="expected N"):
        apply_grid(grid[:, :11], guide, rgb)
    with pytest.raises(ValueError, match="do not fit a picture"):
        apply_grid(grid, guide, rgb[..., 1:])
