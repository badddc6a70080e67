"""Local functions computed in bands of rows, so that their inner tensors stay small."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def needs_whole_maps(network: nn.Module, x: Tensor) -> bool:
    """Return whether a network must compute `x` whole: for gradients, for a compiler, which fuses, and on "meta"."""
    if torch.compiler.is_compiling() or x.is_meta:
        return True
    return torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in network.parameters()))


def row_bands(height: int, band: int, multiple: int = 1) -> list[tuple[int, int]]:
    """Split rows into bands of nearly equal height.

    Args:
        height: Rows, a multiple of `multiple`.
        band: Largest band (at least one `multiple`).
        multiple: Every band starts at a multiple of this.

    Returns:
        `(start, stop)` of each band, in order, covering `range(height)`.

    Raises:
        ValueError: `height` is not a positive multiple of `multiple`.

    Example:
        >>> row_bands(10, band=4)
        [(0, 3), (3, 6), (6, 10)]
        >>> row_bands(12, band=5, multiple=2)
        [(0, 4), (4, 8), (8, 12)]
    """
    if height < 1 or multiple < 1 or height % multiple:
        raise ValueError(f"rows are split at multiples of {multiple}, got {height} rows: pad the input")
    units = height // multiple
    count = -(-units // max(1, band // multiple))
    edges = [units * i // count * multiple for i in range(count + 1)]
    return list(pairwise(edges))


def map_rows(
    fn: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    *,
    halo: int,
    band: int = 128,
    multiple: int = 1,
    out: Tensor | None = None,
) -> Tensor:
    """Run a local function band by band into one output. Exact up to rounding.

    Every band reaches `halo` rows into its neighbours, and these rows of the result are thrown away. Bands at the
    image's border end there, so `fn` pads the real border as it always does. Call it under no_grad: with gradients
    every band's inner tensors are kept, and nothing is gained.

    Example:
        The tail of a decoder, features at half resolution, one of its inputs and its output at full resolution. Two 3x3
        convolutions after the upsampling reach 2 full rows (1 half row), the one before it 1 half row:

            map_rows(lambda f, skip: head(up(f) + skip), (f, skip), halo=2, band=64)

        The head of an encoder with one stride-2 convolution starts its bands at even rows:

            map_rows(lambda x: down(relu(first(x))), (x,), halo=2, multiple=2)

    Args:
        fn: function of bands `(..., rows, W)` of the inputs; the height of its result is a fixed ratio of theirs.
        inputs: tensors `(..., H_i, W_i)`; every height is a multiple of the smallest.
        halo: Rows of the smallest input that a row of the output can depend on, on either side.
        band: Rows of the smallest input in one band, without halo.
        multiple: Bands start at multiples of this many rows of the smallest input (the total stride of `fn`).
        out: tensor for the result. It may be an input of which `fn` needs the rows it computes and no others.

    Returns:
        The result of `fn(*inputs)`, in one tensor of its memory format; `out` if that is given.

    Raises:
        ValueError: The heights do not divide, or the output's height is no fixed ratio of the input's.
    """
    heights = [t.shape[-2] for t in inputs]
    height = min(heights)
    if any(h % height for h in heights):
        raise ValueError(f"map_rows needs heights that are multiples of the smallest, got {heights}")
    scales = [h // height for h in heights]
    reach = -(-halo // multiple) * multiple
    for start, stop in row_bands(height, band, multiple):
        low, high = max(0, start - reach), min(height, stop + reach)
        part = fn(*(t[..., low * s : high * s, :] for t, s in zip(inputs, scales, strict=True)))
        scale = Fraction(part.shape[-2], high - low)
        if out is None:
            channels_last = part.ndim == 4 and part.is_contiguous(memory_format=torch.channels_last)
            out = torch.empty(
                *(*part.shape[:-2], int(height * scale), part.shape[-1]),
                dtype=part.dtype,
                device=part.device,
                memory_format=torch.channels_last if channels_last else torch.contiguous_format,
            )
        if height * scale != out.shape[-2] or (multiple * scale).denominator != 1:
            raise ValueError(
                f"map_rows got {part.shape[-2]} output rows from a band of {high - low} rows, no fixed ratio at "
                f"multiples of {multiple}: give the total stride of the function as `multiple`"
            )
        kept = slice(int((start - low) * scale), int((stop - low) * scale))
        out[..., int(start * scale) : int(stop * scale), :] = part[..., kept, :]
    assert out is not None
    return out


def rows_at_once(x: Tensor) -> int:
    """Return the number of rows of a map (..., C, H, W) in a band: 64 MiB in fp32 or 128 rows, whichever is larger."""
    return max(128, 2**24 // (x.shape[-3] * x.shape[-1]))


def update_rows(fn: Callable[[Tensor], Tensor], x: Tensor, *, halo: int, band: int = 128) -> Tensor:
    """Replace `x` by fn(x), for a local function that keeps the shape, band by band in place. Exact up to rounding.

    Args:
        fn: function of bands `(..., rows, W)` that keeps their shape.
        x: map `(..., H, W)`; it is overwritten.
        halo: Rows of `x` that a row of the result can depend on, on either side.
        band: Rows in one band, without halo.

    Returns:
        `x`.
    """
    height = x.shape[-2]
    above = x[..., :0, :]  # the rows before the band, as they were
    for start, stop in row_bands(height, max(band, halo)):
        rows = x[..., start : min(height, stop + halo), :]
        rows = torch.cat([above, rows], dim=-2) if start else rows
        done = above.shape[-2]
        above = rows[..., max(0, done + stop - start - halo) : done + stop - start, :].clone()
        x[..., start:stop, :] = fn(rows)[..., done : done + stop - start, :]
    return x


def upsample_rows(x: Tensor, size: tuple[int, int], rows: Tensor) -> Tensor:
    """Return some rows of a map enlarged bilinearly.

    Convention: pixels are areas, as in `F.interpolate(x, size, mode="bilinear", align_corners=False)`.

    Args:
        x: (B, C, h, w).
        size: height H and width W of the enlarged map.
        rows: (n,) integers, numbers of its rows.

    Returns:
        (B, C, n, W).
    """
    at = ((rows + 0.5) * (x.shape[2] / size[0]) - 0.5).clamp_min(0)
    first = at.long().clamp_max(x.shape[2] - 1)
    second = (first + 1).clamp_max(x.shape[2] - 1)
    chosen = torch.lerp(x[:, :, first], x[:, :, second], (at - first).to(x.dtype)[:, None])
    return F.interpolate(chosen, (rows.shape[0], size[1]), mode="bilinear", align_corners=False)
