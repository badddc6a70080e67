"""MATLAB's bicubic resize against a scalar oracle, torch and piq."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.reference.resize import imresize
from vitm.ops.resize import resize_bicubic


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((13, 10), {"scale": 0.25}),  # 3.25 -> 4, 2.5 -> 3: the scale is not the ratio of the sizes
        ((13, 10), {"scale": 0.37}),
        ((13, 10), {"scale": 1.5}),
        ((7, 9), {"scale": 3}),
        ((7, 9), {"scale": 1}),
        ((4, 3), {"size": (13, 10)}),
        ((13, 10), {"size": (4, 10)}),  # one axis stays
        ((13, 10), {"size": (5, 23)}),  # one axis shrinks, the other grows
        ((2, 3), {"scale": 0.2}),  # the kernel is wider than the image: borders are mirrored more than once
        ((1, 1), {"size": (3, 2)}),
        ((150, 140), {"size": (131, 300)}),  # several blocks
    ],
)
def test_agrees_with_the_definition(shape: tuple[int, int], options: dict, rng: torch.Generator) -> None:  # type: ignore[type-arg]
    x = torch.rand(2, 3, *shape, generator=rng, dtype=torch.float64) - 0.3
    ours = resize_bicubic(x, **options)
    expected = np.stack([[imresize(plane.numpy(), **options) for plane in image] for image in x])
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-14)
    single = resize_bicubic(x[0, 0].float(), **options)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, expected[0, 0], rtol=0, atol=2e-7)


@pytest.mark.parametrize("size", [(270, 480), (75, 65), (40, 30)])
def test_interior_agrees_with_torch(size: tuple[int, int], rng: torch.Generator) -> None:
    """With antialiasing torch's kernel has a = -0.5 too; its borders are cut off and renormalised."""
    x = torch.rand(1, 2, 150, 130, generator=rng, dtype=torch.float64)
    ours, theirs = resize_bicubic(x, size), F.interpolate(x, size, mode="bicubic", antialias=True)
    border = 8
    inside = (..., slice(border, -border), slice(border, -border))
    torch.testing.assert_close(ours[inside], theirs[inside], rtol=0, atol=1e-12)
    assert (ours - theirs).abs().max() > 1e-3


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0])
def test_agrees_with_piq(scale: float, rng: torch.Generator) -> None:
    piq_resize = pytest.importorskip("piq.functional.resize")
    x = torch.rand(2, 3, 37, 50, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(resize_bicubic(x, scale=scale), piq_resize.imresize(x, scale=scale), rtol=0, atol=1e-6)


def test_gradients(rng: torch.Generator) -> None:
    x = torch.rand(2, 9, 11, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: resize_bicubic(v, scale=0.4), x, fast_mode=True)
    assert torch.autograd.gradcheck(lambda v: resize_bicubic(v, size=(20, 5)), x, fast_mode=True)


def test_flat_stays_flat_and_mean_is_kept_when_halved(rng: torch.Generator) -> None:
    torch.testing.assert_close(resize_bicubic(torch.full((30, 21), 0.7), size=(7, 50)), torch.full((7, 50), 0.7))
    x = torch.rand(16, 24, generator=rng, dtype=torch.float64)
    assert resize_bicubic(x, scale=0.5).mean().item() == pytest.approx(x.mean().item(), abs=1e-12)


def test_autocast_and_inference_mode_change_nothing(rng: torch.Generator) -> None:
    x = torch.rand(1, 3, 32, 32, generator=rng)
    expected = resize_bicubic(x, scale=0.5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(resize_bicubic(x, scale=0.5), expected)
    with torch.inference_mode():
        assert torch.equal(resize_bicubic(x, scale=0.5), expected)
    leaf = x.clone().requires_grad_()
    resize_bicubic(leaf, scale=0.5).sum().backward()
    assert leaf.grad is not None


def test_half_precision_becomes_fp32(rng: torch.Generator) -> None:
    x = torch.rand(8, 8, generator=rng).bfloat16()
    ours = resize_bicubic(x, scale=2)
    assert ours.dtype == torch.float32
    assert torch.equal(ours, resize_bicubic(x.float(), scale=2))


def test_errors() -> None:
    x = torch.zeros(3, 8, 8)
    for options in ({}, {"size": (4, 4), "scale": 0.5}):
        with pytest.raises(ValueError, match="either size or scale"):
            resize_bicubic(x, **options)  # type: ignore[arg-type]
    for options in ({"size": (0, 4)}, {"size": (4, -1)}, {"scale": 0.0}, {"scale": -2.0}, {"scale": float("nan")}):
        with pytest.raises(ValueError, match="positive"):
            resize_bicubic(x, **options)  # type: ignore[arg-type]
    for shape in ((8,), (3, 0, 8)):
        with pytest.raises(ValueError, match="at least one pixel"):
            resize_bicubic(torch.zeros(shape), scale=2)
    with pytest.raises(TypeError, match="uint8"):
        resize_bicubic(x.to(torch.uint8), scale=0.5)
