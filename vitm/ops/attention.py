"""Attention over image positions whose memory grows with the number of positions, not with its square."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Compute softmax attention between positions, without the 1/sqrt(d) of transformers.

    `out_i = sum_j softmax_j(q_i . k_j) v_j` (KPN-MFI, section 3.1). The N x M matrix is never built: the fused kernels
    ask for queries, keys and values of one width with a unit last stride, so `q`, `k` and `v` are padded with zeros,
    which add nothing.

    Args:
        q: Queries `(B, d, N)`.
        k: Keys `(B, d, M)`.
        v: Values `(B, c, M)`.

    Returns:
        `(B, c, N)`, in the dtype of `v` (autocast's dtype under autocast).

    Raises:
        ValueError: The shapes do not belong together.

    Example:
        >>> q, k, v = torch.ones(1, 2, 3), torch.ones(1, 2, 4), torch.arange(4.0).view(1, 1, 4)
        >>> softmax_attention(q, k, v)  # all keys are alike: the mean of the values
        tensor([[[1.5000, 1.5000, 1.5000]]])
    """
    if q.ndim != 3 or q.shape[:2] != k.shape[:2] or k.shape[::2] != v.shape[::2]:
        raise ValueError(
            f"softmax_attention needs q (B, d, N), k (B, d, M), v (B, c, M), got {tuple(q.shape)}, {tuple(k.shape)}, "
            f"{tuple(v.shape)}"
        )
    channels = v.shape[1]
    width = -(-max(q.shape[1], channels) // 8) * 8  # CUDA's kernels want multiples of 8
    q, k, v = (F.pad(t.transpose(1, 2), (0, width - t.shape[1])).contiguous().unsqueeze(1) for t in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, scale=1.0)
    return out[:, 0, :, :channels].transpose(1, 2)


def correlate(p: Tensor, q: Tensor, v: Tensor) -> Tensor:
    """Sum values by their correlation, without softmax (KPN-MFI, equations 4 and 5, for normalised `p` and `q`).

    `out_i = sum_j (p_i . q_j) v_j`, computed as `(v q^T) p`: the c x c product first, so time and memory are linear in
    the number of positions. The sum over j is not divided by N.

    Args:
        p: Positions that ask `(B, c, M)` (the neighbour frame).
        q: Positions that answer `(B, c, N)` (the current frame).
        v: Values at these `(B, e, N)`.

    Returns:
        `(B, e, M)`, fp32 (fp64 when an input is fp64), also under autocast.

    Raises:
        ValueError: The shapes do not belong together.

    Example:
        >>> p, q, v = torch.ones(1, 2, 3), torch.ones(1, 2, 4), torch.arange(4.0).view(1, 1, 4)
        >>> correlate(p, q, v)  # 2 times the sum of the values
        tensor([[[12., 12., 12.]]])
    """
    if p.ndim != 3 or p.shape[:2] != q.shape[:2] or q.shape[::2] != v.shape[::2]:
        raise ValueError(
            f"correlate needs p (B, c, M), q (B, c, N), v (B, e, N), got {tuple(p.shape)}, {tuple(q.shape)}, "
            f"{tuple(v.shape)}"
        )
    with torch.autocast(p.device.type, enabled=False):
        dtype = torch.promote_types(torch.promote_types(p.dtype, v.dtype), torch.float32)
        p, q, v = p.to(dtype), q.to(dtype), v.to(dtype)
        return (v @ q.transpose(1, 2)) @ p  # eq. 4 and 5, reassociated
