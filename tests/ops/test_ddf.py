from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.reference import hdcfm as reference
from vitm.ops.ddf import ddf


def by_unfold(x: Tensor, spatial: Tensor, channel: Tensor) -> Tensor:
    B, C, H, W = x.shape
    patches = F.unfold(x, 3, padding=1).view(B, C, 9, H, W)
    return (patches * spatial[:, None] * channel[..., None, None]).sum(2)


def inputs(B: int, C: int, H: int, W: int, rng: torch.Generator, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [torch.randn(s, generator=rng, dtype=dtype) for s in ((B, C, H, W), (B, 9, H, W), (B, C, 9))]


SIZES = [(2, 4, 5, 6), (1, 16, 1, 1), (2, 64, 1, 1), (1, 64, 17, 30), (1, 3, 1, 7), (1, 3, 7, 1), (1, 2, 2, 2)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_the_definition(size: tuple[int, int, int, int], rng: torch.Generator) -> None:
    x, spatial, channel = inputs(*size, rng, torch.float64)
    expected = np.stack(
        [reference.ddf(*args) for args in zip(x.numpy(), spatial.numpy(), channel.numpy(), strict=True)]
    )
    np.testing.assert_allclose(ddf(x, spatial, channel).numpy(), expected, rtol=0, atol=1e-12)
    out = ddf(x.float(), spatial.float(), channel.float())
    np.testing.assert_allclose(out.numpy(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_large_maps_in_bands(memory_format: torch.memory_format, rng: torch.Generator) -> None:
    x, spatial, channel = inputs(2, 8, 150, 700, rng)  # several bands of rows, of unequal height
    x, spatial = x.contiguous(memory_format=memory_format), spatial.contiguous(memory_format=memory_format)
    tensors = [t.requires_grad_() for t in (x, spatial, channel)]
    out, expected = ddf(*tensors), by_unfold(*tensors)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-4)
    weight = torch.rand(x.shape, generator=rng)
    grads = torch.autograd.grad(out, tensors, weight)
    for ours, theirs in zip(grads, torch.autograd.grad(expected, tensors, weight), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)
    with torch.no_grad():
        assert torch.equal(ddf(*tensors), out)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (1, 2, 1, 1), (1, 2, 1, 4), (1, 2, 3, 1)], ids=str)
def test_gradient(size: tuple[int, int, int, int], rng: torch.Generator) -> None:
    assert torch.autograd.gradcheck(ddf, [t.requires_grad_() for t in inputs(*size, rng, torch.float64)])


def test_fp32_under_autocast(rng: torch.Generator) -> None:
    x, spatial, channel = inputs(1, 4, 8, 8, rng)
    tensors = [x.requires_grad_(), spatial.bfloat16().requires_grad_(), channel.requires_grad_()]
    expected = by_unfold(x, tensors[1].float(), channel)
    with torch.autocast("cpu", torch.bfloat16):
        out = ddf(*tensors)
        grads = torch.autograd.grad(out.sum(), tensors)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-4)
    for ours, theirs in zip(grads, torch.autograd.grad(expected.sum(), tensors), strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=1e-2 if ours.dtype == torch.bfloat16 else 1e-5, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiles_without_graph_breaks(backend: str, rng: torch.Generator) -> None:
    if backend == "inductor" and shutil.which("g++") is None:
        pytest.skip("inductor needs a C++ compiler")
    tensors = [t.requires_grad_() for t in inputs(2, 4, 12, 16, rng)]
    torch._dynamo.reset()
    out = torch.compile(ddf, backend=backend, fullgraph=True, dynamic=False)(*tensors)
    expected = by_unfold(*tensors)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-4)
    grads = torch.autograd.grad(out.square().sum(), tensors)
    for ours, theirs in zip(grads, torch.autograd.grad(expected.square().sum(), tensors), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-2)


@pytest.mark.slow
def test_memory(extra_peak, rng: torch.Generator) -> None:
    tensors = inputs(1, 32, 270, 480, rng)
    image = tensors[0].nbytes / 2**20
    assert extra_peak(lambda: ddf(*tensors)) < 1.5 * image  # the output; by unfold 18 images
    for t in tensors:
        t.requires_grad_()
    assert extra_peak(lambda: torch.autograd.grad(ddf(*tensors).sum(), tensors)) < 5 * image


def test_errors() -> None:
    x, spatial, channel = torch.zeros(1, 4, 8, 8), torch.zeros(1, 9, 8, 8), torch.zeros(1, 4, 9)
    for wrong in ((x[0], spatial, channel), (x, spatial[:, :8], channel), (x, spatial, channel[:, :3])):
        with pytest.raises(ValueError, match=r"spatial \(B, 9, H, W\)"):
            ddf(*wrong)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda(rng: torch.Generator) -> None:
    tensors = [t.requires_grad_() for t in inputs(2, 8, 33, 47, rng)]
    expected = by_unfold(*tensors)
    out = ddf(*(t.cuda() for t in tensors))
    torch.testing.assert_close(out.cpu(), expected, rtol=0, atol=1e-4)
    grads = torch.autograd.grad(out.square().sum(), tensors)
    for ours, theirs in zip(grads, torch.autograd.grad(expected.square().sum(), tensors), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-2)
