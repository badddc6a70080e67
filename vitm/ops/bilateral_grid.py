"""Bilateral grids: coefficients over place and brightness at low resolution, read along a guide at any resolution."""

from __future__ import annotations

from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS = 12  # rows of a picture that are read together, so that what lies between stays in the cache


def slice_grid(grid: Tensor, guide: Tensor) -> Tensor:
    """Read a bilateral grid at the place and guide of each pixel, with trilinear interpolation.

    Gharbi et al., "Deep Bilateral Learning for Real-Time Image Enhancement", SIGGRAPH 2017, section 3.2, equations 4
    and 5.

    Convention: cells and pixels are areas. The centre of cell (z, y, x) lies at ((x + 0.5) / w, (y + 0.5) / h) of the
    picture and at a guide of (z + 0.5) / D; beyond the outer centres the outer values hold.

    Args:
        grid: (B, C, D, h, w).
        guide: (B, H, W), in [0, 1]; values outside are clamped.

    Returns:
        (B, C, H, W), in the type of `grid`; differentiable by both.

    Raises:
        ValueError: the shapes do not belong together.

    Example:
        >>> grid = torch.tensor([1.0, 3.0]).view(1, 1, 2, 1, 1)  # by brightness alone
        >>> slice_grid(grid, torch.tensor([[[0.0, 0.5, 1.0]]])).flatten().tolist()
        [1.0, 2.0, 3.0]
    """
    _check(grid, guide)
    height, width = guide.shape[1:]
    x, y = _centres(width, grid).expand_as(guide), _centres(height, grid)[:, None].expand_as(guide)
    where = torch.stack((x, y, guide.to(grid.dtype) * 2 - 1), -1).unsqueeze(1)
    return F.grid_sample(grid, where, mode="bilinear", padding_mode="border", align_corners=False).squeeze(2)


def apply_grid(grid: Tensor, guide: Tensor, rgb: Tensor) -> Tensor:
    """Map each pixel by the affine transform that a bilateral grid holds for its place and guide.

    The same paper's equation 6. On the CPU, without gradients, no transforms of a whole picture lie in memory, and they
    are products of matrices instead of lookups, which give the same to 1e-5 of the largest coefficient.

    Args:
        grid: (B, N (C + 1), D, h, w): for each of N outputs the factors of the C inputs, and an addend.
        guide: (B, H, W), in [0, 1]; values outside are clamped.
        rgb: (B, C, H, W).

    Returns:
        (B, N, H, W).

    Raises:
        ValueError: the shapes do not belong together.

    Example:
        >>> grid = torch.tensor([2.0, 0.5]).view(1, 2, 1, 1, 1)  # 2 x + 0.5 everywhere
        >>> apply_grid(grid, torch.zeros(1, 1, 2), torch.tensor([[[[0.0, 1.0]]]])).flatten().tolist()
        [0.5, 2.5]
    """
    _check(grid, guide)
    if rgb.ndim != 4 or rgb.shape[2:] != guide.shape[1:] or grid.shape[1] % (rgb.shape[1] + 1):
        raise ValueError(
            f"a grid {tuple(grid.shape)} of affine transforms and a guide {tuple(guide.shape)} do not fit a picture "
            f"{tuple(rgb.shape)}: expected N (C + 1) coefficients and one size"
        )
    needs_gradients = torch.is_grad_enabled() and any(t.requires_grad for t in (grid, guide, rgb))
    if rgb.device.type != "cpu" or needs_gradients or torch.compiler.is_compiling():  # which would unroll the rows
        return _affine(slice_grid(grid, guide), rgb)
    return _apply_by_products(grid.to(rgb.dtype), guide.to(rgb.dtype), rgb)


def bilateral_grid_filter(x: Tensor, edges: Tensor, sigma_px: float, sigma_edges: float) -> Tensor:
    """Smooth an image, but not across edges of another one: the cross bilateral filter on a grid.

    Chen et al., "Real-Time Edge-Aware Image Processing with the Bilateral Grid", SIGGRAPH 2007. Cells are one standard
    deviation wide; pixels are added to their nearest cell, cells blurred by a Gaussian of 3 x 3 x 3, and read between
    cells. The time does not depend on the standard deviations.

    Args:
        x: (B, 1, H, W).
        edges: (B, 1, H, W), in [0, 1]; `x` itself for the bilateral filter.
        sigma_px: standard deviation over pixels.
        sigma_edges: standard deviation over the values of `edges`.

    Returns:
        (B, 1, H, W), fp32.

    Raises:
        ValueError: the shapes differ or a standard deviation is not positive.

    Example:
        >>> step = (torch.arange(64) > 31).float().expand(1, 1, 8, 64)
        >>> torch.allclose(bilateral_grid_filter(step, step, sigma_px=8, sigma_edges=0.1), step)  # the edge is kept
        True
    """
    if x.ndim != 4 or x.shape[1] != 1 or x.shape != edges.shape or min(sigma_px, sigma_edges) <= 0:
        raise ValueError(
            f"expected x and edges (B, 1, H, W) and positive deviations, got {tuple(x.shape)}, {tuple(edges.shape)}, "
            f"{sigma_px} and {sigma_edges}"
        )
    x = x.float()
    columns = (torch.arange(x.shape[3], device=x.device) / sigma_px).expand(x.shape[2:])
    rows = (torch.arange(x.shape[2], device=x.device) / sigma_px)[:, None].expand(x.shape[2:])
    lasts = (1 / sigma_edges, (x.shape[2] - 1) / sigma_px, (x.shape[3] - 1) / sigma_px)
    depth, height, width = (torch.sym_int(last) + 2 for last in lasts)
    bell = torch.arange(-1, 2, device=x.device).square().mul(-0.5).exp()
    kernel = bell[:, None, None] * bell[:, None] * bell
    out = []
    for data, edge in zip(x[:, 0], edges[:, 0].float().clamp(0, 1), strict=True):
        at = torch.stack((columns, rows, edge / sigma_edges), -1)
        nearest = (at + 0.5).long()
        cells = ((nearest[..., 2] * height + nearest[..., 1]) * width + nearest[..., 0]).flatten()
        grid = torch.stack((data, torch.ones_like(data))).flatten(1)
        grid = x.new_zeros(2, depth * height * width).index_add_(1, cells, grid).view(2, 1, depth, height, width)
        total, weight = F.conv3d(grid, kernel[None, None], padding=1)
        smooth = total / torch.where(weight > 0, weight, 1)
        places = [a * (2 / (n - 1)) - 1 for a, n in zip(at.unbind(-1), (width, height, depth), strict=True)]
        out.append(F.grid_sample(smooth[None], torch.stack(places, -1)[None, None], align_corners=True)[0, :, 0])
    return torch.stack(out)


def _apply_by_products(grid: Tensor, guide: Tensor, rgb: Tensor) -> Tensor:
    """Apply a grid, see `apply_grid`, without looking anything up.

    With t_z, the guide at the centre of cell z, what is linear between centres is, for g up to the last of them,
    f(g) = a + sum_z b_z max(g, t_z). So in one row, and between the centres of two columns of cells, every coefficient
    is a sum over the same functions of the pixel: 1, max(g, t_z) and, with u, the way from the left centre to the right
    one, u and u max(g, t_z). A row is one product for each column of cells.
    """
    (channels, depth, *cells_of), (height, width) = grid.shape[1:], guide.shape[1:]
    knots = (torch.arange(depth, dtype=grid.dtype) + 0.5) / depth
    bends = (grid.diff(dim=2) * depth).diff(dim=2, prepend=torch.zeros_like(grid[:, :, :1]))
    addend = grid[:, :, :1] - (bends * knots[:-1, None, None]).sum(2, keepdim=True)
    left = torch.cat((addend, bends), 2)
    factors = torch.cat((left, left.diff(dim=4, append=left[..., -1:])), 2)
    factors = factors.permute(0, 4, 3, 1, 2).contiguous()  # (B, w, h, N (C + 1), 2 D)
    (row, down), (column, along) = (_cells(*sizes) for sizes in zip((height, width), cells_of, strict=True))
    down, along, below = down[:, None, None].to(grid), along.to(grid), (row + 1).clamp(max=cells_of[0] - 1)

    count = min(_ROWS, height)
    functions = grid.new_empty(count, 2, depth, width)
    functions[:, 0, 0], functions[:, 1, 0] = 1, along
    transforms = grid.new_empty(count, channels, width)
    ends = torch.bincount(column, minlength=cells_of[1]).cumsum(0).tolist()
    spans = [(functions.flatten(1, 2)[..., i:j], transforms[..., i:j]) for i, j in pairwise([0, *ends])]
    out = rgb.new_empty(len(rgb), channels // (rgb.shape[1] + 1), height, width)
    for b, top in product(range(len(rgb)), [*range(0, height - count, count), height - count]):
        rows = slice(top, top + count)
        hinges = guide[b, rows, None].clamp(max=1 - 0.5 / depth)
        hinges = torch.maximum(hinges, knots[:-1, None], out=functions[:, 0, 1:])
        torch.mul(hinges, along, out=functions[:, 1, 1:])
        matrices = torch.lerp(factors[b][:, row[rows]], factors[b][:, below[rows]], down[rows])
        for matrix, (pixels, result) in zip(matrices, spans, strict=True):
            torch.bmm(matrix, pixels, out=result)
        _affine(transforms.movedim(0, 1)[None], rgb[b : b + 1, :, rows], out=out[b : b + 1, :, rows])
    return out


def _cells(size: int, cells: int) -> tuple[Tensor, Tensor]:
    """Return the last cell whose centre each pixel along an axis has reached, or the first, and the way to the next."""
    at = ((torch.arange(size, dtype=torch.float64) + 0.5) * (cells / size) - 0.5).clamp(0, cells - 1)
    return at.long(), at - at.floor()


def _affine(transforms: Tensor, rgb: Tensor, out: Tensor | None = None) -> Tensor:
    """Apply (B, N (C + 1), H, W) to (B, C, H, W)."""
    factors = transforms.reshape(len(transforms), -1, rgb.shape[1] + 1, *transforms.shape[2:])
    result = factors[:, :, -1]
    for c in range(rgb.shape[1]):
        result = torch.addcmul(result, factors[:, :, c], rgb[:, None, c], out=out)
    return result


def _centres(size: int, like: Tensor) -> Tensor:
    """Return the centres of pixels along an axis, where its ends are -1 and 1."""
    return (torch.arange(size, dtype=like.dtype, device=like.device) + 0.5) * (2 / size) - 1


def _check(grid: Tensor, guide: Tensor) -> None:
    if grid.ndim != 5 or guide.ndim != 3 or len(grid) != len(guide):
        raise ValueError(
            f"expected a grid (B, C, D, h, w) and a guide (B, H, W), got {tuple(grid.shape)} and {tuple(guide.shape)}"
        )
