"""Depthwise convolution with large kernels, and with kernels of each sample's own (DSLNet's LDOE and LKRB)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

SLOW_IN_NCHW = 15  # kernels from this size on run 20 times slower in NCHW than in channels-last (oneDNN 3.13)
SPECTRUM_VALUES = 2**18  # of spectra at a time and thread, 1 MiB: with their products they stay in a core's cache


def depthwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Filter every channel with a kernel of its own; stride 1, zeros outside the image, output as large as the input.

    The result is that of `F.conv2d(x, weight, bias, padding=k // 2, groups=C)`. On a CPU kernels of 15x15 and more run
    in channels-last (oneDNN's NCHW kernels are 20 times slower). From 7x7 on the gradient of `x` is such a convolution
    with the flipped kernels, the gradient of `weight` a product of spectra, and there are no second derivatives.

    Args:
        x: Feature map `(B, C, H, W)`, any range and memory format.
        weight: Kernels `(C, 1, k, k)`, k odd.
        bias: `(C,)`, or None.

    Returns:
        `(B, C, H, W)`, channels-last for kernels of 15x15 and more. On a CPU and from 7x7 on it has the dtype of `x`,
        also under autocast, and is calculated in fp32 (fp64): bf16 is slower. Otherwise what `F.conv2d` returns.

    Raises:
        ValueError: The shapes do not belong together, or k is even.

    Example:
        >>> x, weight = torch.rand(1, 4, 20, 24), torch.rand(4, 1, 17, 17)
        >>> expected = F.conv2d(x, weight, padding=8, groups=4)
        >>> torch.allclose(depthwise_conv2d(x, weight), expected, atol=1e-4)
        True
    """
    channels, size = x.shape[1] if x.ndim == 4 else 0, weight.shape[-1]
    if x.ndim != 4 or weight.shape != (channels, 1, size, size) or size % 2 == 0 or not _fits(bias, channels):
        raise ValueError(
            f"depthwise_conv2d needs x (B, C, H, W), weight (C, 1, k, k) with k odd and bias (C,) or None, got "
            f"{_shapes(x, weight, bias)}"
        )
    if _by_spectra(x, size):
        return _apply(x, weight.transpose(0, 1), bias)
    if size >= 7:
        x = x.contiguous(memory_format=torch.channels_last)  # torch leaves these to cuDNN
    return F.conv2d(x, weight, bias, padding=size // 2, groups=channels)


def dynamic_depthwise_conv2d(x: Tensor, kernels: Tensor, bias: Tensor | None = None) -> Tensor:
    """Filter every channel of every sample with a kernel of its own; stride 1, zeros outside the image.

    `out[b, c] = x[b, c] convolved with kernels[b, c], + bias[c]`: the homogeneous dynamic depthwise convolution that
    DSLNet takes from Han et al., "On the Connection between Local Attention and Dynamic Depth-wise Convolution" (ICLR
    2022). As in `depthwise_conv2d` otherwise.

    Args:
        x: Feature map `(B, C, H, W)`, any range and memory format.
        kernels: `(B, C, k, k)`, k odd.
        bias: `(C,)`, or None.

    Returns:
        `(B, C, H, W)`, format and dtype as in `depthwise_conv2d`.

    Raises:
        ValueError: The shapes do not belong together, or k is even.

    Example:
        >>> x, kernels = torch.rand(2, 4, 9, 9), torch.zeros(2, 4, 3, 3)
        >>> kernels[1, :, 1, 1] = 1  # the second sample passes, the first becomes zero
        >>> torch.equal(dynamic_depthwise_conv2d(x, kernels), torch.stack([0 * x[0], x[1]]))
        True
    """
    size = kernels.shape[-1]
    B, C = x.shape[:2] if x.ndim == 4 else (0, 0)
    if x.ndim != 4 or kernels.shape != (B, C, size, size) or size % 2 == 0 or not _fits(bias, C):
        raise ValueError(
            f"dynamic_depthwise_conv2d needs x (B, C, H, W), kernels (B, C, k, k) with k odd and bias (C,) or None, "
            f"got {_shapes(x, kernels, bias)}"
        )
    if _by_spectra(x, size):
        return _apply(x, kernels, bias)
    if B == 1:
        return depthwise_conv2d(x, kernels.transpose(0, 1), bias)
    folded, weight = x.reshape(1, B * C, *x.shape[2:]), kernels.reshape(B * C, 1, size, size)
    repeated = None if bias is None else bias.repeat(B)
    return F.conv2d(folded, weight, repeated, padding=size // 2, groups=B * C).view(x.shape)


class DepthwiseConv2d(nn.Conv2d):
    """`depthwise_conv2d` with the parameters of `nn.Conv2d(groups=channels)`.

    Args:
        channels: number of channels C.
        kernel_size: size k of the kernels, odd.
        bias: whether there is a bias.

    Raises:
        ValueError: k is even.
    """

    def __init__(self, channels: int, kernel_size: int, bias: bool = True) -> None:
        if kernel_size % 2 == 0:
            raise ValueError(f"DepthwiseConv2d needs an odd kernel size, got {kernel_size}")
        super().__init__(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H, W)."""
        return depthwise_conv2d(x, self.weight, self.bias)


def _by_spectra(x: Tensor, size: int) -> bool:
    """Return whether `_Depthwise` is faster: on a CPU from 7x7 on; elsewhere the device's own library convolves."""
    return x.device.type == "cpu" and size >= 7


def _fits(bias: Tensor | None, channels: int) -> bool:
    return bias is None or bias.shape == (channels,)


def _shapes(*tensors: Tensor | None) -> str:
    return ", ".join("None" if t is None else str(tuple(t.shape)) for t in tensors)


def _apply(x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    out: Tensor = _Depthwise.apply(x, kernels, bias)
    return out


class _Depthwise(torch.autograd.Function):
    """Convolution with kernels `(1, C, k, k)` for all samples, or `(B, C, k, k)`."""

    @staticmethod
    def forward(x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
        return _convolve(x, kernels, bias).to(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, kernels = ctx.saved_tensors
        needs_x, needs_kernels, needs_bias = ctx.needs_input_grad
        grad_kernels = _correlate(x, grad, kernels).to(kernels.dtype) if needs_kernels else None
        grad_x = _convolve(grad, kernels.flip(2, 3), None).to(x.dtype) if needs_x else None
        grad_bias = grad.sum((0, 2, 3), dtype=_working_dtype(grad)) if needs_bias else None
        return grad_x, grad_kernels, grad_bias


def _working_dtype(*tensors: Tensor) -> torch.dtype:
    dtype = torch.float32
    for t in tensors:
        dtype = torch.promote_types(dtype, t.dtype)
    return dtype


def _channels_last(x: Tensor) -> Tensor:
    """Lay out channels-last by transposing a matrix a sample: 3 times faster than torch's change of memory format."""
    if x.is_contiguous(memory_format=torch.channels_last):
        return x
    B, C, H, W = x.shape
    return x.flatten(2).transpose(1, 2).contiguous().view(B, H, W, C).permute(0, 3, 1, 2)


def _convolve(x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    (B, C, _, _), size, dtype = x.shape, kernels.shape[-1], _working_dtype(x, kernels)
    x, weight = x.to(dtype), kernels.to(dtype)
    bias = None if bias is None else bias.to(dtype)
    with torch.autocast(x.device.type, enabled=False):
        if size < SLOW_IN_NCHW and x.is_contiguous():
            samples = B if len(kernels) > 1 else 1  # in the channels of one image, without a copy
            folded, weight = x.view(-1, samples * C, *x.shape[2:]), weight.reshape(samples * C, 1, size, size)
            bias = bias if bias is None or samples == 1 else bias.repeat(samples)
            return F.conv2d(folded, weight, bias, padding=size // 2, groups=samples * C).view(x.shape)
        x = _channels_last(x)
        parts = torch.split(x, 1) if len(kernels) > 1 else (x,)
        outs = [
            F.conv2d(part, w, bias, padding=size // 2, groups=C)
            for part, w in zip(parts, weight[:, :, None].unbind(), strict=True)
        ]
    return torch.cat(outs) if len(outs) > 1 else outs[0]


def _planes(x: Tensor) -> Tensor:
    """Lay out (C, H, W) of any format channel by channel; from channels-last by transposing a matrix."""
    if x.stride(0) != 1:
        return x.contiguous()
    return x.permute(1, 2, 0).flatten(0, 1).t().contiguous().view(x.shape)


def _correlate(x: Tensor, grad: Tensor, kernels: Tensor) -> Tensor:
    """Compute the gradient of the kernels: `sum over p of grad[p] * x[p + tap]` for each tap.

    A circular correlation over H + r rows has no wrapped products at distances up to the kernel's radius r. One
    sample's planes are held at a time, and the spectra of so many channels as stay in the cache.
    """
    radius, dtype = kernels.shape[-1] // 2, _working_dtype(x, kernels)
    size = [_smooth(n + radius) for n in x.shape[2:]]
    step = max(1, SPECTRUM_VALUES * torch.get_num_threads() // (size[0] * size[1]))
    out = torch.zeros(kernels.shape, dtype=dtype, device=x.device)
    taps = torch.arange(-radius, radius + 1, device=x.device)
    for b, (image, grad_image) in enumerate(zip(x.unbind(), grad.unbind(), strict=True)):
        planes, grad_planes = _planes(image.to(dtype)), _planes(grad_image.to(dtype))
        for c in range(0, x.shape[1], step):
            spectrum = torch.fft.rfft2(planes[c : c + step], s=size)
            spectrum *= torch.fft.rfft2(grad_planes[c : c + step], s=size).conj()
            products = torch.fft.irfft2(spectrum, s=size)
            out[b if len(kernels) > 1 else 0, c : c + step] += products[:, taps[:, None], taps]
    return out


def _smooth(n: int) -> int:
    """Return the smallest multiple of 4 from n on without prime factors beyond 7: these sizes transform fast."""
    size = -(-n // 4) * 4
    while 420**20 % size:  # a factor beyond 7 is left
        size += 4
    return size
