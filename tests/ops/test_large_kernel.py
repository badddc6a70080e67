from __future__ import annotations

import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.ops.large_kernel import DepthwiseConv2d, depthwise_conv2d, dynamic_depthwise_conv2d

SIZES = [(1, 30, 41), (2, 17, 16), (3, 5, 40), (1, 4, 3), (2, 1, 1), (1, 1, 23)]
FORMATS = [torch.contiguous_format, torch.channels_last]


def by_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))


def by_samples(x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    return torch.cat([by_conv2d(a[None], k[:, None], bias) for a, k in zip(x, kernels, strict=True)])


def inputs(
    B: int, C: int, H: int, W: int, k: int, rng: torch.Generator, *, dynamic: bool = False, dtype=torch.float32
) -> list[Tensor]:
    kernels = (B, C, k, k) if dynamic else (C, 1, k, k)
    return [torch.randn(s, generator=rng, dtype=dtype).requires_grad_() for s in ((B, C, H, W), kernels, (C,))]


def assert_same(ours, theirs, tensors: list[Tensor], rng: torch.Generator) -> None:
    """Values and all gradients."""
    out, expected = ours(*tensors), theirs(*tensors)
    assert out.dtype == expected.dtype
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-4)
    weight = torch.randn(expected.shape, generator=rng)
    grads = torch.autograd.grad(out, tensors, weight)
    for a, b in zip(grads, torch.autograd.grad(expected, tensors, weight), strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("k", [1, 3, 7, 17])
def test_equals_conv2d(k: int, size: tuple[int, int, int], memory_format, rng: torch.Generator) -> None:
    tensors = inputs(size[0], 5, *size[1:], k, rng)
    tensors[0] = tensors[0].detach().contiguous(memory_format=memory_format).requires_grad_()
    assert_same(depthwise_conv2d, by_conv2d, tensors, rng)


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("k", [3, 7])
def test_dynamic_equals_conv2d_of_each_sample(k, size, memory_format, rng: torch.Generator) -> None:
    tensors = inputs(size[0], 5, *size[1:], k, rng, dynamic=True)
    tensors[0] = tensors[0].detach().contiguous(memory_format=memory_format).requires_grad_()
    assert_same(dynamic_depthwise_conv2d, by_samples, tensors, rng)


def test_channels_in_groups(rng: torch.Generator) -> None:
    """So many rows and channels that the spectra are taken in several groups."""
    assert_same(depthwise_conv2d, by_conv2d, inputs(2, 24, 150, 131, 17, rng), rng)


@pytest.mark.parametrize(
    "view", [lambda t: t[:, :2, 1:, ::3], lambda t: t[:, :1].expand(-1, 2, -1, -1), lambda t: t.mT[:, ::2]]
)
def test_without_bias_and_non_contiguous(view, rng: torch.Generator) -> None:
    x, weight, _ = inputs(2, 4, 23, 19, 17, rng)
    assert_same(
        lambda x, w: depthwise_conv2d(view(x), w[::2]), lambda x, w: by_conv2d(view(x), w[::2], None), [x, weight], rng
    )
    kernels = torch.randn(2, 4, 7, 14, generator=rng).requires_grad_()
    assert_same(
        lambda x, w: dynamic_depthwise_conv2d(view(x), w[:, ::2, :, ::2]),
        lambda x, w: by_samples(view(x), w[:, ::2, :, ::2], None),
        [x, kernels],
        rng,
    )


def test_gradient_expanded(rng: torch.Generator) -> None:
    """The gradient of a sum is a broadcast scalar."""
    x, weight, bias = inputs(2, 3, 9, 12, 7, rng)
    grads = torch.autograd.grad(depthwise_conv2d(x, weight, bias).sum(), (x, weight, bias))
    for a, b in zip(grads, torch.autograd.grad(by_conv2d(x, weight, bias).sum(), (x, weight, bias)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(2, 5, 4), (1, 3, 9)], ids=str)
@pytest.mark.parametrize("dynamic", [False, True])
def test_gradcheck(dynamic: bool, size: tuple[int, int, int], rng: torch.Generator) -> None:
    function = dynamic_depthwise_conv2d if dynamic else depthwise_conv2d
    tensors = inputs(size[0], 2, *size[1:], 7, rng, dynamic=dynamic, dtype=torch.float64)
    assert torch.autograd.gradcheck(function, tensors)


def test_only_the_gradients_that_are_asked_for(rng: torch.Generator) -> None:
    x, weight, bias = inputs(1, 3, 12, 9, 17, rng)
    for tensor in (x, weight, bias):
        fixed = [t if t is tensor else t.detach() for t in (x, weight, bias)]
        (ours,) = torch.autograd.grad(depthwise_conv2d(*fixed).square().sum(), tensor)
        (theirs,) = torch.autograd.grad(by_conv2d(*fixed).square().sum(), tensor)
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype, dynamic: bool, rng: torch.Generator) -> None:
    """Calculated in fp32 whatever autocast says; the result has the dtype of `x`."""
    tensors = inputs(2, 4, 20, 21, 17, rng, dynamic=dynamic)
    ours, theirs = (dynamic_depthwise_conv2d, by_samples) if dynamic else (depthwise_conv2d, by_conv2d)
    tensors[0] = tensors[0].detach().to(dtype).requires_grad_()
    expected = theirs(tensors[0].float(), *tensors[1:])
    with torch.autocast("cpu", torch.bfloat16):
        out = ours(*tensors)
        grads = torch.autograd.grad(out.sum(), tensors)
    assert out.dtype == dtype
    rounding = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-3}[dtype]
    torch.testing.assert_close(out.float(), expected, rtol=rounding, atol=1e-4)
    for a, b in zip(grads, torch.autograd.grad(expected.sum(), tensors), strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a.float(), b.float(), rtol=rounding, atol=1e-3)


def test_module_is_a_depthwise_conv2d(rng: torch.Generator) -> None:
    torch.manual_seed(0)
    module, conv = DepthwiseConv2d(64, 17), nn.Conv2d(64, 64, 17, padding=8, groups=64)
    assert sum(p.numel() for p in module.parameters()) == 18_560
    bound = 1 / 17
    for ours, theirs in zip(module.parameters(), conv.parameters(), strict=True):
        for p in (ours, theirs):
            assert float(p.detach().abs().max()) <= bound
            assert float(p.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.3 if p.ndim == 1 else 0.03)
    module.load_state_dict(conv.state_dict())
    x = torch.rand(1, 64, 9, 20, generator=rng)
    torch.testing.assert_close(module(x), conv(x), rtol=0, atol=1e-5)
    assert [name for name, _ in DepthwiseConv2d(3, 7, bias=False).named_parameters()] == ["weight"]


@pytest.mark.slow
@pytest.mark.parametrize("memory_format", FORMATS)
def test_memory(memory_format: torch.memory_format, extra_peak, rng: torch.Generator) -> None:
    """At most twice conv2d's, in either format."""
    tensors = inputs(1, 32, 96, 128, 17, rng)
    tensors[0] = tensors[0].detach().contiguous(memory_format=memory_format).requires_grad_()
    weight = torch.randn(1, 32, 96, 128, generator=rng)

    def forward(function) -> Tensor:
        with torch.no_grad():
            return function(*tensors)

    def both(function) -> tuple[Tensor, ...]:
        return torch.autograd.grad(function(*tensors), tensors, weight)

    for call in (forward, both):
        theirs = extra_peak(lambda call=call: call(by_conv2d))
        assert extra_peak(lambda call=call: call(depthwise_conv2d)) <= 2 * theirs


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles(dynamic: bool, backend: str, rng: torch.Generator) -> None:
    if backend == "inductor" and shutil.which("g++") is None:
        pytest.skip("inductor needs a C++ compiler")
    torch._dynamo.reset()
    ours, theirs = (dynamic_depthwise_conv2d, by_samples) if dynamic else (depthwise_conv2d, by_conv2d)
    compiled = torch.compile(ours, backend=backend, dynamic=False)
    assert_same(compiled, theirs, inputs(2, 4, 12, 16, 9, rng, dynamic=dynamic), rng)


def test_errors() -> None:
    x = torch.zeros(2, 4, 8, 8)
    for weight, bias in (
        (torch.zeros(4, 1, 6, 6), None),
        (torch.zeros(3, 1, 7, 7), None),
        (torch.zeros(4, 1, 7, 5), None),
        (torch.zeros(4, 1, 7, 7), torch.zeros(3)),
        (torch.zeros(4, 2, 7, 7), None),
    ):
        with pytest.raises(ValueError, match=r"weight \(C, 1, k, k\) with k odd"):
            depthwise_conv2d(x, weight, bias)
    for kernels in (torch.zeros(1, 4, 7, 7), torch.zeros(2, 3, 7, 7), torch.zeros(2, 4, 6, 6)):
        with pytest.raises(ValueError, match=r"kernels \(B, C, k, k\) with k odd"):
            dynamic_depthwise_conv2d(x, kernels)
    with pytest.raises(ValueError, match="x \\(B, C, H, W\\)"):
        depthwise_conv2d(x[0], torch.zeros(4, 1, 7, 7))
    with pytest.raises(ValueError, match="odd kernel size, got 4"):
        DepthwiseConv2d(3, 4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dynamic", [False, True])
def test_cuda(dynamic: bool, rng: torch.Generator) -> None:
    ours, theirs = (dynamic_depthwise_conv2d, by_samples) if dynamic else (depthwise_conv2d, by_conv2d)
    for k in (3, 17):
        tensors = inputs(2, 8, 33, 47, k, rng, dynamic=dynamic)
        expected = theirs(*tensors)
        out = ours(*(t.cuda() for t in tensors))
        torch.testing.assert_close(out.cpu(), expected, rtol=0, atol=1e-3)
        grads = torch.autograd.grad(out.square().sum(), tensors)
        for a, b in zip(grads, torch.autograd.grad(expected.square().sum(), tensors), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))
