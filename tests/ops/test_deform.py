from __future__ import annotations

import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.reference import deform as reference
from vitm.ops import deform
from vitm.ops.deform import DeformConv2d, deform_conv2d, deform_conv2d_torch

# B, C, O, G, k, padding, H, W
CASES = [
    (2, 6, 4, 3, 3, 1, 7, 9),
    (1, 4, 3, 1, 3, 1, 5, 6),
    (1, 4, 3, 4, 3, 0, 6, 5),
    (2, 4, 2, 2, 5, 2, 3, 4),
    (1, 3, 2, 1, 1, 0, 4, 4),
    (1, 2, 2, 1, 3, 1, 1, 1),
    (1, 2, 2, 2, 3, 1, 8, 1),
    (1, 2, 2, 2, 3, 3, 1, 8),
]


def inputs(case, rng: torch.Generator, *, spread: float = 2.0, dtype=torch.float64, masked: bool = True):
    B, C, outputs, G, k, padding, H, W = case
    h, w = H + 2 * padding - k + 1, W + 2 * padding - k + 1
    shapes = ((B, C, H, W), (B, 2 * G * k * k, h, w), (outputs, C, k, k), (outputs,), (B, G * k * k, h, w))
    x, offset, weight, bias, mask = (torch.randn(s, generator=rng, dtype=dtype) for s in shapes)
    return [x, offset * spread, weight, bias, *([mask] if masked else [])]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_the_definition(case, masked: bool, rng: torch.Generator) -> None:
    tensors = inputs(case, rng, masked=masked)
    x, offset, weight, bias, *mask = (t.numpy() for t in tensors)
    expected = np.stack(
        [
            reference.deform_conv2d(x[b], offset[b], weight, bias, *(m[b] for m in mask), padding=case[5])
            for b in range(len(x))
        ]
    )
    for function in (deform_conv2d, deform_conv2d_torch):
        np.testing.assert_allclose(function(*tensors, padding=case[5]).numpy(), expected, rtol=0, atol=1e-12)
    out = deform_conv2d(*(t.float() for t in tensors), padding=case[5])
    np.testing.assert_allclose(out.numpy(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equals_torchvision(case, masked: bool, rng: torch.Generator) -> None:
    ops = pytest.importorskip("torchvision.ops")
    tensors = [t.requires_grad_() for t in inputs(case, rng, masked=masked)]
    x, offset, weight, bias, *mask = tensors
    expected = ops.deform_conv2d(x, offset, weight, bias, padding=case[5], mask=mask[0] if mask else None)
    upstream = torch.randn(expected.shape, generator=rng, dtype=expected.dtype)
    expected_grads = torch.autograd.grad(expected, tensors, upstream)
    for function in (deform_conv2d, deform_conv2d_torch):
        out = function(*tensors, padding=case[5])
        torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
        for a, b in zip(torch.autograd.grad(out, tensors, upstream), expected_grads, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def test_equals_torchvision_in_fp32(rng: torch.Generator) -> None:
    ops = pytest.importorskip("torchvision.ops")
    tensors = [t.requires_grad_() for t in inputs((2, 15, 8, 5, 3, 1, 33, 40), rng, dtype=torch.float32, masked=False)]
    expected = ops.deform_conv2d(*tensors, padding=1)
    out = deform_conv2d(*tensors)
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5 * scale)
    grads = torch.autograd.grad(out.square().mean(), tensors)
    for a, b in zip(grads, torch.autograd.grad(expected.square().mean(), tensors), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(b.abs().max()))


def test_no_offset_is_a_convolution(rng: torch.Generator) -> None:
    x, offset, weight, bias = inputs((2, 6, 4, 3, 3, 1, 12, 17), rng, dtype=torch.float32, masked=False)
    out = deform_conv2d(x, torch.zeros_like(offset), weight, bias)
    torch.testing.assert_close(out, F.conv2d(x, weight, bias, padding=1), rtol=0, atol=1e-4)
    ones = torch.ones(2, 27, 12, 17)
    torch.testing.assert_close(deform_conv2d(x, torch.zeros_like(offset), weight, bias, ones), out, rtol=0, atol=0)


def test_whole_offsets_shift_each_group(rng: torch.Generator) -> None:
    """Each group of channels looks (down, right) of itself; zeros beyond the border."""
    x, offset, weight, bias = inputs((1, 4, 3, 2, 3, 1, 9, 11), rng, masked=False)
    shifts = ((2, -3), (-1, 4))
    moved = torch.zeros_like(x)
    for y in range(9):
        for x0 in range(11):
            for group, (down, right) in enumerate(shifts):
                if 0 <= y + down < 9 and 0 <= x0 + right < 11:
                    moved[:, 2 * group : 2 * group + 2, y, x0] = x[:, 2 * group : 2 * group + 2, y + down, x0 + right]
    for group, shift in enumerate(shifts):
        offset.view(1, 2, 9, 2, 9, 11)[:, group] = torch.tensor(shift, dtype=x.dtype)[:, None, None]
    out = deform_conv2d(x, offset, weight, bias)[..., 4:-4]  # taps outside may look back inside, moved has zeros there
    torch.testing.assert_close(out[:, :, 3:-3], F.conv2d(moved, weight, bias, padding=1)[:, :, 3:-3, 4:-4])


@pytest.mark.parametrize("spread", [0.0, 3.0, 500.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bands_equal_the_whole(dtype: torch.dtype, spread: float, monkeypatch, rng: torch.Generator) -> None:
    """However far the offsets reach: each band samples the whole image."""
    tensors = inputs((1, 15, 16, 5, 3, 1, 150, 200), rng, dtype=dtype, spread=spread)
    calls = []
    rows = deform._rows
    monkeypatch.setattr(deform, "_rows", lambda *args: calls.append(args[-1]) or rows(*args))
    out = deform_conv2d(*tensors)
    assert len(calls) > 3
    expected = deform_conv2d_torch(*tensors)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck(masked: bool, rng: torch.Generator) -> None:
    tensors = [t.requires_grad_() for t in inputs((2, 2, 2, 2, 3, 1, 4, 5), rng, masked=masked)]
    assert torch.autograd.gradcheck(deform_conv2d, tensors)


def test_fp32_under_autocast(rng: torch.Generator) -> None:
    tensors = inputs((1, 4, 3, 2, 3, 1, 16, 20), rng, dtype=torch.float32, masked=False)
    tensors[0] = tensors[0].bfloat16()
    expected = deform_conv2d(tensors[0].float(), *tensors[1:])
    with torch.autocast("cpu", torch.bfloat16):
        out = deform_conv2d(*tensors)
        trained = deform_conv2d(*(t.requires_grad_() for t in tensors))
        grads = torch.autograd.grad(trained.sum(), tensors)
    assert out.dtype == trained.dtype == torch.float32
    for t in (out, trained):
        torch.testing.assert_close(t, expected, rtol=0, atol=1e-5)
    assert [g.dtype for g in grads] == [t.dtype for t in tensors]


def test_module(rng: torch.Generator) -> None:
    torch.manual_seed(0)
    module, conv = DeformConv2d(15, 64), nn.Conv2d(15, 64, 3, padding=1)
    assert sum(p.numel() for p in module.parameters()) == 8_704
    bound = 1 / math.sqrt(15 * 9)
    assert float(module.weight.detach().abs().max()) <= bound
    assert float(module.weight.detach().std()) == pytest.approx(float(conv.weight.detach().std()), rel=0.03)
    module.load_state_dict(conv.state_dict())
    x, offset, mask = torch.rand(1, 15, 9, 7, generator=rng), torch.zeros(1, 90, 9, 7), torch.full((1, 45, 9, 7), 0.5)
    with torch.no_grad():
        torch.testing.assert_close(module(x, offset), conv(x), rtol=0, atol=1e-5)
        assert conv.bias is not None
        half = 0.5 * (conv(x) + conv.bias[:, None, None])
        torch.testing.assert_close(module(x, offset, mask), half, rtol=0, atol=1e-5)
    assert [name for name, _ in DeformConv2d(3, 7, 5, bias=False).named_parameters()] == ["weight"]
    with pytest.raises(ValueError, match="odd kernel size, got 2"):
        DeformConv2d(3, 3, 2)


@pytest.mark.slow
def test_memory(extra_peak, rng: torch.Generator) -> None:
    """Without gradients: the output and a band's taps, never those of the whole image."""
    tensors = inputs((1, 15, 16, 5, 3, 1, 270, 480), rng, dtype=torch.float32, masked=False)
    output, columns = 16 * 270 * 480 * 4 / 2**20, 135 * 270 * 480 * 4 / 2**20
    assert extra_peak(lambda: deform_conv2d(*tensors)) < output + 12 < columns / 3
    assert extra_peak(lambda: deform_conv2d_torch(*tensors)) > columns


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiles_without_graph_breaks(backend: str, rng: torch.Generator) -> None:
    if backend == "inductor" and shutil.which("g++") is None:
        pytest.skip("inductor needs a C++ compiler")
    torch._dynamo.reset()
    tensors = inputs((1, 4, 3, 2, 3, 1, 12, 16), rng, dtype=torch.float32)
    compiled = torch.compile(deform_conv2d, backend=backend, fullgraph=True, dynamic=False)
    torch.testing.assert_close(compiled(*tensors), deform_conv2d_torch(*tensors), rtol=0, atol=1e-4)
    for t in tensors:
        t.requires_grad_()
    grads = torch.autograd.grad(compiled(*tensors).square().mean(), tensors)
    expected = torch.autograd.grad(deform_conv2d_torch(*tensors).square().mean(), tensors)
    for a, b in zip(grads, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4 * float(b.abs().max()))


def test_errors() -> None:
    x, offset, weight = torch.zeros(1, 4, 8, 8), torch.zeros(1, 36, 8, 8), torch.zeros(2, 4, 3, 3)
    deform_conv2d(x, offset, weight)
    for channels in (17, 20, 54, 0):  # no multiple of 18, no divisor of 4, no group
        with pytest.raises(ValueError, match=f"got {channels} for C = 4 and k = 3; for one group predict 18"):
            deform_conv2d(x, torch.zeros(1, channels, 8, 8), weight)
    for wrong in (
        (x, offset[..., :7], weight),
        (x, offset, weight[:, :2]),
        (x, offset, weight, torch.zeros(3)),
        (x, offset, weight, None, torch.zeros(1, 9, 8, 8)),
        (x, offset, weight, None, None, 0),
    ):
        with pytest.raises(ValueError, match=r"h = H \+ 2\*padding - k \+ 1"):
            deform_conv2d(*wrong)
    with pytest.raises(ValueError, match=r"weight \(O, C, k, k\)"):
        deform_conv2d(x[0], offset, weight)


@pytest.mark.slow
def test_torchvision_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, vitm.ops.deform; assert 'torchvision' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda(rng: torch.Generator) -> None:
    tensors = inputs((2, 6, 4, 3, 3, 1, 33, 47), rng)
    expected = deform_conv2d_torch(*tensors)
    torch.testing.assert_close(deform_conv2d(*(t.cuda() for t in tensors)).cpu(), expected, rtol=0, atol=1e-10)
    for t in tensors:
        t.requires_grad_()
    grads = torch.autograd.grad(deform_conv2d(*(t.cuda() for t in tensors)).square().sum(), tensors)
    theirs: tuple[Tensor, ...] = torch.autograd.grad(deform_conv2d_torch(*tensors).square().sum(), tensors)
    for a, b in zip(grads, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)
