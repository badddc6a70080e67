from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from vitm.ops.attention import correlate, softmax_attention


def explicit_softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.einsum("bij,bcj->bci", torch.softmax(torch.einsum("bdi,bdj->bij", q, k), dim=2), v)


def explicit_correlation(p: Tensor, q: Tensor, v: Tensor) -> Tensor:
    return torch.einsum("bij,bcj->bci", torch.einsum("bdi,bdj->bij", p, q), v)  # equations 4 and 5 as printed


@pytest.mark.parametrize(("d", "c", "n", "m"), [(8, 64, 35, 35), (8, 8, 20, 20), (12, 5, 9, 17), (1, 1, 3, 3)])
def test_softmax_equals_the_explicit_matrix(d: int, c: int, n: int, m: int, rng: torch.Generator) -> None:
    q, k, v = (torch.randn(2, *s, generator=rng).requires_grad_() for s in ((d, n), (d, m), (c, m)))
    out, expected = softmax_attention(q, k, v), explicit_softmax(q.double(), k.double(), v.double())
    assert out.shape == (2, c, n)
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-5)
    weight = torch.rand(out.shape, generator=rng)
    ours = torch.autograd.grad(out, (q, k, v), weight)
    theirs = torch.autograd.grad(expected, (q, k, v), weight.double())
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-5)


def test_softmax_accepts_strided_inputs(rng: torch.Generator) -> None:
    features = torch.randn(1, 80, 6, 7, generator=rng).contiguous(memory_format=torch.channels_last)
    q, k, v = features.flatten(2).split([8, 8, 64], dim=1)
    torch.testing.assert_close(softmax_attention(q, k, v), explicit_softmax(q, k, v), rtol=0, atol=1e-5)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_softmax_takes_a_fused_kernel(device: str, rng: torch.Generator) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    q, k, v = (torch.randn(1, s, 256, generator=rng).to(device).requires_grad_() for s in (8, 8, 60))
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]):  # raises where neither fits
        out = softmax_attention(q, k, v)
    assert out.grad_fn is not None
    torch.testing.assert_close(out, explicit_softmax(q, k, v), rtol=0, atol=1e-4)


def test_softmax_never_builds_the_matrix(extra_peak, rng: torch.Generator) -> None:
    positions = 8160  # 544 x 960 at 1/8
    q, k, v = (torch.randn(1, s, positions, generator=rng) for s in (8, 8, 64))
    softmax_attention(q[..., :64], k[..., :64], v[..., :64])
    matrix = positions**2 * 4 / 2**20
    assert extra_peak(lambda: softmax_attention(q, k, v)) < matrix / 8


@pytest.mark.parametrize(("c", "e", "m", "n"), [(64, 64, 30, 30), (4, 9, 11, 23)])
def test_correlation_equals_the_explicit_matrix(c: int, e: int, m: int, n: int, rng: torch.Generator) -> None:
    p, q = (torch.nn.functional.normalize(torch.randn(2, c, s, generator=rng), dim=1) for s in (m, n))
    v = torch.randn(2, e, n, generator=rng)
    inputs = [t.requires_grad_() for t in (p, q, v)]
    out, expected = correlate(*inputs), explicit_correlation(*(t.double() for t in inputs))
    assert out.shape == (2, e, m)
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=1e-5)
    for a, b in zip(torch.autograd.grad(out.sum(), inputs), torch.autograd.grad(expected.sum(), inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


def test_correlation_is_fp32_under_autocast(rng: torch.Generator) -> None:
    p, q, v = (torch.rand(1, 16, 500, generator=rng).bfloat16() for _ in range(3))
    with torch.autocast("cpu", torch.bfloat16):
        out = correlate(p, q, v)
    assert out.dtype == torch.float32
    torch.testing.assert_close(
        out.double(), explicit_correlation(p.double(), q.double(), v.double()), rtol=1e-5, atol=0
    )


def test_correlation_memory_is_linear(extra_peak, rng: torch.Generator) -> None:
    p, q, v = (torch.rand(1, 64, 16384, generator=rng) for _ in range(3))
    correlate(p[..., :64], q[..., :64], v[..., :64])
    assert extra_peak(lambda: correlate(p, q, v)) < 16  # the matrix: 1024 MiB


@pytest.mark.parametrize("attention", [softmax_attention, correlate])
def test_errors(attention) -> None:
    with pytest.raises(ValueError, match=r"\(1, 8, 4\), \(1, 7, 4\)"):
        attention(torch.zeros(1, 8, 4), torch.zeros(1, 7, 4), torch.zeros(1, 8, 4))
    with pytest.raises(ValueError, match="needs"):
        attention(torch.zeros(1, 8, 4), torch.zeros(1, 8, 4), torch.zeros(1, 8, 5))
