"""Colour tables: three values for each colour of a cube, read between its vertices."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.ops import kernels

_ROWS = 16  # rows of a picture that are looked up together, so that what lies between stays in the cache


def color_grid(size: int, device: torch.device | str | None = None) -> Tensor:
    """Return the colours of a table's vertices.

    Args:
        size: number of vertices along each axis, 2 or more.
        device: where the result lies.

    Returns:
        (3, size, size, size), fp32: R, G and B in [0, 1] at [:, b, g, r], the order of `.cube` files.

    Example:
        >>> color_grid(2)[:, 0, 1, 1].tolist()
        [1.0, 1.0, 0.0]
    """
    axis = torch.linspace(0, 1, size, device=device)
    b, g, r = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.stack((r, g, b))


def apply_color_table(rgb: Tensor, table: Tensor) -> Tensor:
    """Look colours up in tables, with trilinear interpolation between the eight nearest vertices.

    On a GPU with Triton it is one kernel, `vitm.ops.kernels.color_table`.

    Args:
        rgb: (B, 3, H, W), R, G and B in [0, 1]; values outside are clamped.
        table: (B, C, N, N, N) or (1, C, N, N, N): C values at [..., b, g, r].

    Returns:
        (B, C, H, W), in the type of `table`.

    Raises:
        ValueError: the numbers of pictures and tables differ.

    Example:
        >>> table = color_grid(5)[None].square()
        >>> apply_color_table(torch.full((1, 3, 1, 1), 0.5), table).flatten().tolist()
        [0.25, 0.25, 0.25]
    """
    if table.shape[0] not in (1, rgb.shape[0]):
        raise ValueError(f"expected one table, or one for each of {rgb.shape[0]} pictures; got {table.shape[0]}")
    table = table.expand(rgb.shape[0], -1, -1, -1, -1)
    needs_gradients = torch.is_grad_enabled() and (rgb.requires_grad or table.requires_grad)
    if rgb.device.type == "cpu" and not (needs_gradients or torch.compiler.is_compiling()):  # it would unroll the rows
        return _by_slices(rgb.to(table.dtype), table)
    exact = table.dtype in (torch.float32, torch.float64)
    if exact and kernels.can_run(rgb, table) and not (needs_gradients and torch.are_deterministic_algorithms_enabled()):
        from vitm.ops.kernels.color_table import look_up

        return look_up(rgb, table)
    return by_grid_sample(rgb, table)


def by_grid_sample(rgb: Tensor, table: Tensor) -> Tensor:
    """Do what `apply_color_table` does by PyTorch's own lookup, with a table for each picture."""
    where = (rgb.to(table.dtype) * 2 - 1).permute(0, 2, 3, 1).unsqueeze(1)  # x, y and z of `grid_sample` are r, g and b
    return F.grid_sample(table, where, mode="bilinear", padding_mode="border", align_corners=True).squeeze(2)


def look_up_in_tetrahedra(rgb: Tensor, table: Tensor) -> Tensor:
    """Look colours up in a table, with interpolation between the four vertices of a tetrahedron.

    Each cell is split into six along its grey diagonal, so greys are interpolated between two vertices. FFmpeg's
    `lut3d` and DaVinci Resolve do so by default.

    Args:
        rgb: (B, 3, H, W), R, G and B in [0, 1]; values outside are clamped.
        table: (C, N, N, N), values at [:, b, g, r].

    Returns:
        (B, C, H, W), in the type of `table`.

    Example:
        >>> table = color_grid(5).square()
        >>> look_up_in_tetrahedra(torch.full((1, 3, 1, 1), 0.5), table).flatten().tolist()
        [0.25, 0.25, 0.25]
    """
    size = table.shape[-1]
    at = rgb.to(table.dtype).clamp(0, 1).movedim(1, 0).flatten(1) * (size - 1)
    below = at.floor().clamp(max=size - 2)
    parts, axes = (at - below).sort(0, descending=True)
    steps = torch.tensor([1, size, size * size], device=rgb.device)  # of r, g and b in the flat table
    place = (below.long() * steps[:, None]).sum(0)
    ends = [*parts, torch.zeros_like(parts[0])]
    values, out = table.flatten(1), (1 - parts[0]) * table.flatten(1)[:, place]
    for axis, part, following in zip(axes, ends, ends[1:], strict=False):
        place = place + steps[axis]
        out = out + (part - following) * values[:, place]
    return out.view(-1, len(rgb), *rgb.shape[2:]).movedim(1, 0)


def even_positions(rgb: Tensor, vertices: Tensor) -> Tensor:
    """Return where colours lie among unevenly placed vertices, as if these were evenly placed.

    So `apply_color_table(even_positions(rgb, vertices), table)` looks up a table whose vertices lie at `vertices`, with
    trilinear interpolation between them. Differentiable by both.

    Args:
        rgb: (B, 3, H, W), R, G and B in [0, 1]; values outside are clamped.
        vertices: (B, 3, N), from 0 to 1 along R, G and B, in rising order.

    Returns:
        (B, 3, H, W), in [0, 1]: vertex i is at i / (N - 1).

    Example:
        >>> vertices = torch.tensor([0.0, 0.2, 1.0]).expand(1, 3, 3)
        >>> even_positions(torch.full((1, 3, 1, 1), 0.6), vertices).flatten().tolist()
        [0.75, 0.75, 0.75]
    """
    x = rgb.to(vertices.dtype).clamp(0, 1).flatten(2)
    last = vertices.shape[2] - 2
    if torch.compiler.is_exporting():  # ONNX has no search
        below = torch.zeros_like(x, dtype=torch.long)
        for vertex in vertices[:, :, 1:-1].unbind(2):
            below = below + (x >= vertex.unsqueeze(2))
    else:
        below = torch.searchsorted(vertices.detach().contiguous(), x.detach().contiguous(), right=True)
        below = below.sub_(1).clamp_(0, last)
    low, high = vertices.gather(2, below), vertices.gather(2, below + 1)
    part = (x - low) / (high - low).clamp(min=torch.finfo(x.dtype).tiny)  # intervals may vanish
    return ((below + part) / (last + 1)).view_as(rgb)


def _by_slices(rgb: Tensor, table: Tensor) -> Tensor:
    """Do the same with 2-D lookups, which are vectorised on the CPU: a third of the time, to 1e-4 of a cell.

    The slices of constant blue lie one below the other in a picture, each beside the next one, so that one bilinear
    lookup of red and green gives both, and blue blends them. Each slice repeats its first and its last row, so that
    what is rounded at its edge does not reach into another one.
    """
    size, channels = table.shape[-1], table.shape[1]
    pairs = torch.cat((table[:, :, :-1], table[:, :, 1:]), 1).flatten(1, 2)  # (B, 2 C (N - 1), N, N)
    pairs = F.pad(pairs, (0, 0, 1, 1), mode="replicate").reshape(len(table), 2 * channels, -1, size)
    rows = size + 2  # of a slice
    scale = 2 / (pairs.shape[2] - 1)
    out = table.new_empty(len(rgb), channels, *rgb.shape[2:])
    for band, part in zip(torch.split(rgb, _ROWS, dim=2), torch.split(out, _ROWS, dim=2), strict=True):
        red, green, blue = band.clamp(0, 1).unbind(1)
        blue = blue * (size - 1)
        below = blue.floor().clamp_(max=size - 2)
        row = (green * (size - 1)).add_(1).add_(below, alpha=rows)
        where = torch.stack((red * 2 - 1, row.mul_(scale).sub_(1)), -1)
        both = F.grid_sample(pairs, where, mode="bilinear", padding_mode="border", align_corners=True)
        torch.lerp(both[:, :channels], both[:, channels:], (blue - below).unsqueeze(1), out=part)
    return out
