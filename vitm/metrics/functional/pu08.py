"""Aydin's perceptually uniform encoding of luminance, as HDR-VQM uses it."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

# log10 of the luminance in cd/m2: equal steps from the first to the last node.
_FIRST, _LAST = -1.744727494896694, 4.0
# fmt: off
_PU = (
    0.494437498, 1.15328268, 1.84073615, 2.56605122, 3.33232469, 4.14636422, 5.01037516, 5.92358704, 6.89216214,
    7.92158324, 9.0090304, 10.1592046, 11.3803148, 12.6750184, 14.0402278, 15.4830331, 17.013114, 18.6292961,
    20.329315, 22.1241717, 24.0229312, 26.0198784, 28.114014, 30.3201952, 32.6448818, 35.0792342, 37.6230297,
    40.2932708, 43.0951405, 46.0165168, 49.0566097, 52.2346085, 55.5559685, 59.0059652, 62.5812833, 66.302435,
    70.1785504, 74.1938989, 78.3405548, 82.6351009, 87.0952858, 91.7114368, 96.4661338, 101.363912, 106.433177,
    111.67708, 117.073544, 122.613535, 128.308068, 134.183783, 140.239209, 146.449301, 152.803375, 159.302691,
    165.975287, 172.823433, 179.838598, 186.992239, 194.275541, 201.682771, 209.222293, 216.908503, 224.733947,
    232.69058, 240.766651, 248.937587, 257.19425, 265.529706, 273.937252, 282.410499, 290.943336, 299.530337,
    308.176055, 316.879049, 325.633261, 334.433288, 343.274084, 352.151069, 361.060111, 369.997494, 378.959893,
    387.94434, 396.948167, 405.968985, 415.004778, 424.05362, 433.113958, 442.18429, 451.263434, 460.350183,
    469.443661, 478.542966, 487.647356, 496.756217, 505.868926, 514.985016,
)
# fmt: on


@lru_cache(maxsize=8)
def _cubics(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the cubics of the not-a-knot spline between the nodes, (4, N - 1), in t = 0..1, highest power first."""
    with torch.inference_mode(False):  # the cached tensor must serve graphs later
        y = torch.tensor(_PU, dtype=torch.float64)
        n = len(y)
        # Second derivatives m at the nodes: continuous slopes inside, continuous third derivatives next to the ends.
        equations, right = torch.zeros(n, n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
        for row in range(1, n - 1):
            equations[row, row - 1 : row + 2] = torch.tensor([1.0, 4.0, 1.0], dtype=torch.float64)
            right[row] = 6 * (y[row - 1] - 2 * y[row] + y[row + 1])
        for row, first in ((0, 0), (n - 1, n - 3)):
            equations[row, first : first + 3] = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)
        m = torch.linalg.solve(equations, right)
        cubics = torch.stack(((m[1:] - m[:-1]) / 6, m[:-1] / 2, y.diff() - (2 * m[:-1] + m[1:]) / 6, y[:-1]))
        return cubics.to(device, dtype)


def pu08(nits: Tensor) -> Tensor:
    """Return the perceptually uniform code of luminance (Aydin, Mantiuk & Seidel 2008).

    Convention: a cubic spline through 96 samples of the table that HDR-VQM version 2 ships (mperreir/HDR-VQM, MIT
    licence); within 0.002 of the table, whose own steps are linear in the logarithms.

    Args:
        nits: luminance in cd/m2 of any shape, clamped to [0.018, 10000], fp32 or fp64.

    Returns:
        Codes in [0.49, 515], same shape and dtype. Differentiable.

    Example:
        >>> import torch
        >>> [round(code) for code in pu08(torch.tensor([0.1, 100.0, 10000.0])).tolist()]
        [12, 224, 515]
    """
    cubics = _cubics(nits.dtype, nits.device)
    steps = cubics.shape[1]
    position = (nits.clamp(10**_FIRST, 10**_LAST).log10() - _FIRST) * (steps / (_LAST - _FIRST))
    index = position.detach().long().clamp(0, steps - 1)
    t = position - index
    code = torch.zeros_like(t)
    for cubic in cubics:
        code = code * t + cubic[index]
    return code
