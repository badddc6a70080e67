"""What `test_kernels.py` runs in processes of their own: Triton's interpreter is switched on before Triton is there."""

from __future__ import annotations

import functools
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d


def strided(*shape: int) -> Tensor:
    """Random numbers laid out channel by channel of each pixel, every second pixel and not the first and last row."""
    *outer, height, width = shape
    whole = torch.randn(*outer, height + 2, 2 * width).contiguous(memory_format=torch.channels_last)
    return whole[..., 1:-1, ::2]


def compare(
    ours: Callable[..., Tensor], reference: Callable[..., Tensor], inputs: Sequence[Tensor], turned: bool
) -> list[float]:
    """Largest differences of result and gradients from those of `reference` in fp64, relative to the largest value."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    out, expected = ours(*inputs), reference(*exact)
    grad = torch.randn_like(out)
    if turned:
        grad = grad.contiguous(memory_format=torch.channels_last)
    values = [out, *torch.autograd.grad(out, inputs, grad)]
    wanted = [expected, *torch.autograd.grad(expected, exact, grad.double())]
    return [
        float((a.detach() - b.detach()).abs().max() / b.detach().abs().max())
        for a, b in zip(values, wanted, strict=True)
    ]


def trilinear(rgb: Tensor, table: Tensor) -> Tensor:
    where = (rgb * 2 - 1).permute(0, 2, 3, 1).unsqueeze(1)
    return F.grid_sample(
        table.expand(len(rgb), -1, -1, -1, -1), where, padding_mode="border", align_corners=True
    ).squeeze(2)


def windows(x: Tensor, spatial: Tensor, channel: Tensor) -> Tensor:
    taps = F.unfold(x, 3, padding=1).view(*x.shape[:2], 9, *x.shape[2:])
    return torch.einsum("bcthw,bthw,bct->bchw", taps, spatial, channel)


def own_kernels(x: Tensor, kernels: Tensor) -> Tensor:
    size = math.isqrt(kernels.shape[1] // x.shape[1])
    taps = F.unfold(x, size, padding=size // 2).view(*x.shape[:2], size * size, *x.shape[2:])
    return (taps * kernels.reshape(taps.shape)).sum(2)


def deformed(x: Tensor, offset: Tensor, weight: Tensor, *mask: Tensor) -> Tensor:
    return deform_conv2d(x, offset, weight, padding=weight.shape[-1] // 2, mask=mask[0] if mask else None)


def differences() -> Iterator[tuple[str, list[float]]]:
    from vitm.ops.kernels import color_table, ddf, deform, pixel_conv

    def ours_deformed(x: Tensor, offset: Tensor, weight: Tensor, *mask: Tensor) -> Tensor:
        size = weight.shape[-1]
        samples = deform.sample(x, offset, mask[0] if mask else None, size, size // 2, top=0)
        return torch.einsum("oct,bcthw->bohw", weight.flatten(2), samples)

    image = torch.randn(2, 4, 7, 9), 2 * torch.randn(2, 36, 7, 9), torch.randn(3, 4, 3, 3), torch.rand(2, 18, 7, 9)
    yield "deform, two groups with factors", compare(ours_deformed, deformed, image, turned=False)
    image = strided(1, 2, 9, 17), 3 * strided(1, 18, 9, 17), torch.randn(3, 2, 3, 3)
    yield "deform", compare(ours_deformed, deformed, image, turned=True)
    x, offset, weight = image
    rows = deform.sample(x, offset[:, :, 4:7], None, 3, 1, top=4)
    yield (
        "deform of some rows",
        [float((torch.einsum("oct,bcthw->bohw", weight.flatten(2), rows) - deformed(*image)[:, :, 4:7]).abs().max())],
    )

    for size, new in ((5, torch.randn), (3, strided)):
        inputs = new(2, 2, 7, 13), new(2, 2 * size * size, 7, 13)
        ours = functools.partial(pixel_conv.pixel_conv, size=size)
        yield f"pixel_conv {size}x{size}", compare(ours, own_kernels, inputs, turned=new is strided)
    for tables, channels, n, size in ((2, 3, 5, (7, 13)), (1, 4, 9, (19, 31))):
        rgb = torch.rand(2, 3, *size) * 1.2 - 0.1 if tables == 2 else strided(2, 3, *size) * 0.3 + 0.5
        rgb[0, :, 0, :2] = torch.tensor([0.0, 1.0])  # black and white get no gradient
        table = torch.randn(tables, channels, n, n, n)
        yield f"color_table {size}", compare(color_table.look_up, trilinear, (rgb, table), turned=tables == 1)
    for channels, size in ((5, (7, 13)), (17, (12, 21)), (3, (1, 5))):
        new = strided if channels == 17 else torch.randn
        inputs = new(2, channels, *size), new(2, 9, *size), torch.randn(2, channels, 9)
        yield f"ddf {size}", compare(ddf.ddf, windows, inputs, turned=channels == 17)
    x, spatial, channel = torch.randn(1, 4, 9, 5), torch.randn(1, 9, 9, 5), torch.randn(1, 4, 9)
    out = torch.zeros(4, 40)[:, 3:18]
    ddf.filter_pixels(out, x[0].flatten(1), spatial[0].flatten(1)[:, 10:25], channel[0], width=5, start=10)
    expected = windows(x, spatial, channel)[0].flatten(1)[:, 10:25]
    yield "ddf of some rows", [float((out - expected).abs().max() / expected.abs().max())]


def compiled() -> Iterator[tuple[str, int]]:
    """The bytes of each kernel's machine code for a GPU of compute capability 9.0; nothing is run."""
    from triton import compile as build
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from vitm.ops.kernels import color_table, ddf, deform, pixel_conv

    blocks = {"PIXELS": ddf._PIXELS, "CHANNELS": ddf._CHANNELS}
    kernels: list[tuple[Any, dict[str, Any], int]] = [
        (color_table._forward, {"PIXELS": color_table._PIXELS}, color_table._WARPS),
        (
            color_table._backward,
            {"PIXELS": color_table._PIXELS, "NEEDS_RGB": True, "NEEDS_TABLE": True},
            color_table._WARPS,
        ),
        (ddf._filter_kernel, {**blocks, "TURNED": True}, ddf._WARPS),
        (ddf._filters_kernel, blocks, ddf._WARPS),
        (pixel_conv._filter_kernel, {"SIZE": 3, "TURNED": True, "PIXELS": pixel_conv._PIXELS}, pixel_conv._WARPS),
        (deform._forward, {"SIZE": 3, "HAS_MASK": False, "mask": None, "PIXELS": deform._PIXELS}, deform._WARPS),
        (deform._backward, {"SIZE": 3, "HAS_MASK": True, "PIXELS": deform._PIXELS}, deform._WARPS),
        (pixel_conv._kernels_backward, {"SIZE": 3, "PIXELS": pixel_conv._PIXELS}, pixel_conv._WARPS),
    ]
    tensors = {"kernels", "grad_kernels", "offset", "mask", "grad_x", "grad_offset", "grad_mask"} | {
        "rgb",
        "table",
        "out",
        "grad",
        "grad_rgb",
        "grad_table",
        "x",
        "spatial",
        "channel",
        "grad_spatial",
        "sums",
    }
    for kernel, constants, warps in kernels:
        types = {name: "*fp32" if name in tensors else "i32" for name in kernel.arg_names}
        types |= dict.fromkeys(constants, "constexpr")
        places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
        target = GPUTarget("cuda", 90, 32)
        code = build(ASTSource(kernel, types, places), target=target, options={"num_warps": warps}).asm["cubin"]
        yield f"{kernel.__module__}{kernel.__name__}", len(code)


if __name__ == "__main__":
    torch.manual_seed(0)
    print(json.dumps(dict({"differences": differences, "compiled": compiled}[sys.argv[1]]())))
