from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.ops.pixel_conv import pixel_conv


def by_definition(x: np.ndarray, kernels: np.ndarray) -> np.ndarray:
    """Equation 3 pixel by pixel."""
    B, C, H, W = x.shape
    k = round((kernels.shape[1] / C) ** 0.5)
    r = k // 2
    out = np.zeros_like(x)
    for b, c, i, j in np.ndindex(B, C, H, W):
        for dy in range(-r, r + 1):
            for dx in range(-r, r + 1):
                if 0 <= i + dy < H and 0 <= j + dx < W:
                    out[b, c, i, j] += kernels[b, c * k * k + (dy + r) * k + dx + r, i, j] * x[b, c, i + dy, j + dx]
    return out


def by_unfold(x: Tensor, kernels: Tensor, k: int) -> Tensor:
    B, C, H, W = x.shape
    patches = F.unfold(x, k, padding=k // 2).view(B, C, k * k, H, W)
    return (patches * kernels.view(B, C, k * k, H, W)).sum(2)


@pytest.mark.parametrize(("channels", "k", "size"), [(3, 5, (7, 9)), (1, 3, (4, 6)), (2, 7, (5, 3)), (4, 1, (3, 3))])
def test_equals_the_definition(channels: int, k: int, size: tuple[int, int], rng: torch.Generator) -> None:
    x = torch.rand(2, channels, *size, generator=rng, dtype=torch.float64)
    kernels = torch.randn(2, channels * k * k, *size, generator=rng, dtype=torch.float64)
    expected = by_definition(x.numpy(), kernels.numpy())
    np.testing.assert_allclose(pixel_conv(x, kernels).numpy(), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(pixel_conv(x.float(), kernels.float()).numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_large_images_in_bands(memory_format: torch.memory_format, rng: torch.Generator) -> None:
    x = torch.rand(2, 3, 150, 700, generator=rng)  # several bands of rows, the last one short
    kernels = torch.randn(2, 75, 150, 700, generator=rng).contiguous(memory_format=memory_format)
    x.requires_grad_()
    kernels.requires_grad_()
    weight = torch.rand(x.shape, generator=rng)
    out, expected = pixel_conv(x, kernels), by_unfold(x, kernels.contiguous(), 5)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(out, (x, kernels), weight),
        torch.autograd.grad(expected, (x, kernels), weight),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(pixel_conv(x, kernels), out)


@pytest.mark.parametrize("needs", [(True, True), (True, False), (False, True)])
def test_gradient(needs: tuple[bool, bool], rng: torch.Generator) -> None:
    x = torch.rand(2, 2, 4, 5, generator=rng, dtype=torch.float64, requires_grad=needs[0])
    kernels = torch.randn(2, 18, 4, 5, generator=rng, dtype=torch.float64, requires_grad=needs[1])
    assert torch.autograd.gradcheck(pixel_conv, (x, kernels))


def test_fp32_under_autocast(rng: torch.Generator) -> None:
    x = torch.rand(1, 3, 8, 8, generator=rng, requires_grad=True)
    kernels = torch.randn(1, 75, 8, 8, generator=rng).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = pixel_conv(x, kernels)
    torch.testing.assert_close(out, by_unfold(x, kernels.float(), 5), rtol=0, atol=1e-5)
    grads = torch.autograd.grad(out.sum(), (x, kernels))
    assert [g.dtype for g in grads] == [torch.float32, torch.bfloat16]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiles_without_graph_breaks(backend: str, rng: torch.Generator) -> None:
    if backend == "inductor" and shutil.which("g++") is None:
        pytest.skip("inductor needs a C++ compiler")
    x = torch.rand(1, 3, 12, 16, generator=rng, requires_grad=True)
    kernels = torch.randn(1, 75, 12, 16, generator=rng, requires_grad=True)
    torch._dynamo.reset()
    compiled = torch.compile(pixel_conv, backend=backend, fullgraph=True)
    out = compiled(x, kernels)
    expected = by_unfold(x, kernels, 5)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(out.square().sum(), (x, kernels)),
        torch.autograd.grad(expected.square().sum(), (x, kernels)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
def test_memory(extra_peak, rng: torch.Generator) -> None:
    x = torch.rand(1, 3, 540, 960, generator=rng)
    kernels = torch.rand(1, 75, 540, 960, generator=rng)
    image = x.nbytes / 2**20
    pixel_conv(x[..., :8, :8], kernels[..., :8, :8])
    assert extra_peak(lambda: pixel_conv(x, kernels)) < 3 * image  # a padded image and the output; unfold: 25 * 2
    x.requires_grad_()
    kernels.requires_grad_()
    gradients = extra_peak(lambda: torch.autograd.grad(pixel_conv(x, kernels).sum(), (x, kernels)))
    assert gradients < 25 * image + 8 * image  # the kernels' gradient itself is 25 images


@pytest.mark.parametrize(
    ("x", "kernels", "message"),
    [
        ((1, 3, 8, 8), (1, 74, 8, 8), "74 for C = 3"),
        ((1, 3, 8, 8), (1, 48, 8, 8), "k odd"),
        ((1, 3, 8, 8), (1, 75, 8, 9), "one size"),
        ((1, 3, 8, 8), (2, 75, 8, 8), "one size"),
    ],
)
def test_errors(x: tuple[int, ...], kernels: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pixel_conv(torch.zeros(x), torch.zeros(kernels))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_cuda(memory_format: torch.memory_format, rng: torch.Generator) -> None:
    x = torch.rand(2, 3, 33, 47, generator=rng)
    kernels = torch.randn(2, 75, 33, 47, generator=rng)
    on_device = pixel_conv(x.cuda(), kernels.cuda().contiguous(memory_format=memory_format))
    torch.testing.assert_close(on_device.cpu(), by_unfold(x, kernels, 5), rtol=0, atol=1e-5)
