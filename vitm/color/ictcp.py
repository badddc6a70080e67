"""ICtCp in its PQ flavour."""

from __future__ import annotations

import torch
from torch import Tensor

from vitm.color.gamut import Matrix, apply_matrix
from vitm.color.transfer import pq_eotf, pq_inverse_eotf


def _rows(matrix: Tensor) -> Matrix:
    return tuple(tuple(row) for row in matrix.tolist())  # type: ignore[return-value]


# BT.2100-2, table 7, in 1/4096
_LMS = torch.tensor([[1688, 2146, 262], [683, 2951, 462], [99, 309, 3688]], dtype=torch.float64) / 4096
_ICTCP = torch.tensor([[2048, 2048, 0], [6610, -13613, 7003], [17933, -17390, -543]], dtype=torch.float64) / 4096
_RGB_TO_LMS, _LMS_TO_RGB = _rows(_LMS), _rows(torch.linalg.inv(_LMS))
_LMS_TO_ICTCP, _ICTCP_TO_LMS = _rows(_ICTCP), _rows(torch.linalg.inv(_ICTCP))


def rgb2020_to_ictcp(rgb_nits: Tensor) -> Tensor:
    """Convert linear BT.2020 to ICtCp (BT.2100-2, table 7, PQ).

    Args:
        rgb_nits: (..., 3, H, W), cd/m2; the cone responses are clamped to [0, 10000] by PQ.

    Returns:
        (..., 3, H, W): I in [0, 1], Ct and Cp in [-0.5, 0.5]. For BT.2124 halve Ct.

    Example:
        >>> import torch
        >>> grey = torch.full((3, 1, 1), 100.0)
        >>> [round(value, 2) for value in rgb2020_to_ictcp(grey).flatten().tolist()]
        [0.51, 0.0, 0.0]
    """
    return apply_matrix(pq_inverse_eotf(apply_matrix(rgb_nits, _RGB_TO_LMS)), _LMS_TO_ICTCP)


def ictcp_to_rgb2020(ictcp: Tensor) -> Tensor:
    """Convert ICtCp to linear BT.2020, the inverse of `rgb2020_to_ictcp`.

    Args:
        ictcp: (..., 3, H, W): I in [0, 1], Ct and Cp in [-0.5, 0.5].

    Returns:
        (..., 3, H, W), cd/m2; negative for colours outside BT.2020 (nothing is clipped here).
    """
    return apply_matrix(pq_eotf(apply_matrix(ictcp, _ICTCP_TO_LMS)), _LMS_TO_RGB)
