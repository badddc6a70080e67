"""Deformable convolution (Dai et al., ICCV 2017; with a mask, Zhu et al., CVPR 2019), stride 1."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vitm.ops import kernels
from vitm.ops.tiling import row_bands

# Samples (B, C, k*k, h, w) of x by offset and mask, from the size k of the kernels, the padding and the first row.
Sampler = Callable[[Tensor, Tensor, Tensor | None, int, int, int], Tensor]


def deform_conv2d(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None = None, mask: Tensor | None = None, padding: int = 1
) -> Tensor:
    """Convolve pixels at positions that each tap shifts by its own offsets; zeros outside the image.

    `out[b, o, p] = bias[o] + sum over channels c and taps k of weight[o, c, k] * mask[b, g, k, p] * x[b, c, p + p_k +
    offset[b, g, k, p]]`, sampled bilinearly; g is the offset group of channel c (Dai et al., equation 2; Zhu et al.,
    equation 1). Without gradients the sampled taps of a band of rows are held at a time; the result is the same. With
    gradients they are kept for the backward pass; on CUDA torchvision's kernel (where installed) samples them again.
    Without gradients or torchvision, a GPU with Triton samples by one kernel, `vitm.ops.kernels.deform`.

    Args:
        x: Feature map `(B, C, H, W)`.
        offset: `(B, 2*G*k*k, h, w)` in pixels, `h = H + 2 * padding - k + 1`; channel `2*(g*k*k + tap)` is the offset
            down, the next one the offset to the right of offset group g; taps row by row. As in torchvision.
        weight: `(O, C, k, k)`.
        bias: `(O,)`, or None.
        mask: Factors `(B, G*k*k, h, w)`, or None.
        padding: Zeros on each side.

    Returns:
        `(B, O, h, w)`, fp32 (fp64 when an input is fp64), also under autocast.

    Raises:
        ValueError: The shapes do not belong together, or the offset groups do not divide C.

    Example:
        >>> x, weight = torch.rand(1, 2, 6, 7), torch.rand(3, 2, 3, 3)
        >>> still = torch.zeros(1, 18, 6, 7)
        >>> torch.allclose(deform_conv2d(x, still, weight), F.conv2d(x, weight, padding=1), atol=1e-5)
        True
    """
    x, offset, weight, bias, mask = _checked(x, offset, weight, bias, mask, padding)
    tensors = (x, offset, weight, bias, mask)
    trained = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    compiling = torch.compiler.is_compiling()
    if trained and x.device.type == "cuda" and not compiling and (kernel := _torchvision()):
        return kernel(x, offset, weight, bias, padding=padding, mask=mask)
    sampler = _sampler(x, offset, weight, mask, trained)
    if trained or compiling:
        return _rows(*tensors, padding, 0, sampler)
    B, (height, width) = len(x), offset.shape[2:]
    out = x.new_empty(B, len(weight), height, width)
    values = 2**20 * torch.get_num_threads() if x.device.type == "cpu" else 2**27
    for top, bottom in row_bands(height, max(1, values // (B * weight[0].numel() * width))):
        rows = slice(top, bottom)
        mask_rows = None if mask is None else mask[:, :, rows]
        out[:, :, rows] = _rows(x, offset[:, :, rows], weight, bias, mask_rows, padding, top, sampler)
    return out


def deform_conv2d_torch(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None = None, mask: Tensor | None = None, padding: int = 1
) -> Tensor:
    """Compute `deform_conv2d` in one piece, by functions that every backend and exporter has."""
    return _rows(*_checked(x, offset, weight, bias, mask, padding), padding, 0, sample_by_grid)


class DeformConv2d(nn.Conv2d):
    """`deform_conv2d` with the parameters of `nn.Conv2d`; the output is as large as the input.

    Args:
        in_channels: channels C of the input.
        out_channels: channels O of the output.
        kernel_size: size k of the kernels, odd.
        bias: whether there is a bias.

    Raises:
        ValueError: k is even.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, bias: bool = True) -> None:
        if kernel_size % 2 == 0:
            raise ValueError(f"DeformConv2d needs an odd kernel size, got {kernel_size}")
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=bias)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Convolve x (B, C, H, W) by offset (B, 2*G*k*k, H, W) and mask (B, G*k*k, H, W) or None: (B, O, H, W)."""
        return deform_conv2d(x, offset, self.weight, self.bias, mask, self.kernel_size[0] // 2)


def _sampler(x: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None, trained: bool) -> Sampler:
    """Return what samples: the kernel where it can run, unless sums must come out alike each time."""
    alike = trained and torch.are_deterministic_algorithms_enabled()
    if alike or not kernels.can_run(x, offset, weight, *(() if mask is None else (mask,))):
        return sample_by_grid
    from vitm.ops.kernels.deform import sample

    return sample


@cache
def _torchvision() -> Callable[..., Tensor] | None:
    try:
        from torchvision.ops import deform_conv2d as kernel
    except ImportError:
        return None
    out: Callable[..., Tensor] = kernel
    return out


def _checked(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None, padding: int
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """Return the tensors in one dtype, or raise if their shapes do not belong together."""
    tensors = (x, offset, weight, bias, mask)
    got = ", ".join("None" if t is None else str(tuple(t.shape)) for t in tensors)
    if x.ndim != 4 or offset.ndim != 4 or weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
        raise ValueError(
            f"deform_conv2d needs x (B, C, H, W), offset (B, 2*G*k*k, h, w) and weight (O, C, k, k), got {got}"
        )
    (B, C, H, W), (outputs, inputs, size, _) = x.shape, weight.shape
    taps, shape = size * size, (B, H + 2 * padding - size + 1, W + 2 * padding - size + 1)
    groups = offset.shape[1] // (2 * taps)
    if groups == 0 or offset.shape[1] % (2 * taps) or C % groups:
        raise ValueError(
            f"deform_conv2d needs 2*G*k*k offset channels with G a divisor of C, got {offset.shape[1]} for C = {C} and "
            f"k = {size}; for one group predict {2 * taps} channels"
        )
    if (
        inputs != C
        or (offset.shape[0], *offset.shape[2:]) != shape
        or not (bias is None or bias.shape == (outputs,))
        or not (mask is None or mask.shape == (B, groups * taps, *shape[1:]))
    ):
        raise ValueError(
            f"deform_conv2d with padding {padding} needs x (B, C, H, W), offset (B, 2*G*k*k, h, w), weight (O, C, k, "
            f"k), bias (O,) or None and mask (B, G*k*k, h, w) or None, h = H + 2*padding - k + 1; got {got}"
        )
    dtype = torch.float32
    for t in tensors:
        dtype = dtype if t is None else torch.promote_types(dtype, t.dtype)
    x, offset, weight = (t.to(dtype) for t in (x, offset, weight))
    bias, mask = (None if t is None else t.to(dtype) for t in (bias, mask))
    return x, offset, weight, bias, mask


def _rows(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    padding: int,
    top: int,
    sample: Sampler,
) -> Tensor:
    """Compute the output's rows from `top` on, as many as there are offsets for."""
    (outputs, _, size, _), (height, width) = weight.shape, offset.shape[2:]
    with torch.autocast(x.device.type, enabled=False):
        sampled = sample(x, offset, mask, size, padding, top)
        out = weight.flatten(1) @ sampled.reshape(len(x), -1, height * width)
    if bias is not None:
        out = out + bias[:, None]
    return out.view(len(x), outputs, height, width)


def sample_by_grid(x: Tensor, offset: Tensor, mask: Tensor | None, size: int, padding: int, top: int) -> Tensor:
    """Sample the image of each tap by PyTorch's own function.

    Args:
        x: (B, C, H, W).
        offset: (B, 2*G*size*size, h, w): those of the rows from `top` on.
        mask: factors (B, G*size*size, h, w), or None.
        size: height and width of the kernels.
        padding: zeros on each side of the image.
        top: number of the first row.

    Returns:
        (B, C, size*size, h, w); zeros outside the image.
    """
    B, C, H, W = x.shape
    taps, (height, width) = size * size, offset.shape[2:]
    groups = offset.shape[1] // (2 * taps)
    down, right = rearrange(offset, "b (group tap yx) h w -> yx (b group) tap h w", yx=2, tap=taps)
    # grid_sample's coordinate of pixel p among n is (2p + 1) / n - 1
    tap, y, x_right = (torch.arange(n, device=x.device, dtype=x.dtype) for n in (size, height, width))
    base_y = (2 * (tap[:, None] + y + (top - padding)) + 1) / H - 1
    base_x = (2 * (tap[:, None] + x_right - padding) + 1) / W - 1
    base_y = base_y[:, None, :, None].expand(size, size, -1, 1).reshape(taps, height, 1)
    base_x = base_x[None, :, None, :].expand(size, size, 1, -1).reshape(taps, 1, width)
    grid = torch.stack((torch.add(base_x, right, alpha=2 / W), torch.add(base_y, down, alpha=2 / H)), -1)
    images = x.reshape(B * groups, C // groups, H, W)
    sampled = F.grid_sample(images, grid.flatten(1, 2), align_corners=False)
    if mask is not None:
        sampled = sampled.view(B, groups, -1, taps, height, width) * mask.view(B, groups, 1, taps, height, width)
    return sampled.view(B, C, taps, height, width)
