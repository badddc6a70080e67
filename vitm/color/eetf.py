"""The EETF of Report ITU-R BT.2390: highlights of a master, rolled off for a display that is less bright."""

from __future__ import annotations

import torch
from torch import Tensor

from vitm.color.transfer import pq_inverse_eotf


def bt2390_eetf(code: Tensor, source_nits: Tensor | float, display_nits: float) -> Tensor:
    """Return the PQ code of a display from the PQ code of a master (BT.2390, 5.4.1, with both blacks at 0).

    Codes below the knee are kept; above it a Hermite spline ends at the display's peak.

    Args:
        code: PQ code in [0, 1], any shape.
        source_nits: peak of the master in cd/m2, a number or a scalar on the codes' device; brighter codes become the
            display's peak.
        display_nits: peak of the display in cd/m2.

    Example:
        >>> code = pq_inverse_eotf(torch.tensor([50.0, 4000.0]))
        >>> [round(x, 3) for x in (bt2390_eetf(code, 4000, 300) / pq_inverse_eotf(torch.tensor(300.0))).tolist()]
        [0.708, 1.0]
    """
    peaks = (torch.as_tensor(nits, dtype=torch.float32) for nits in (source_nits, display_nits))
    source, display = (pq_inverse_eotf(nits).double() for nits in peaks)
    e1, max_lum = code / source, display / source
    knee = 1.5 * max_lum - 0.5
    t = ((e1 - knee) / (1 - knee)).clamp(0, 1)
    t2, t3 = t**2, t**3
    spline = (2 * t3 - 3 * t2 + 1) * knee + (t3 - 2 * t2 + t) * (1 - knee) + (3 * t2 - 2 * t3) * max_lum
    return (source * torch.where(e1 < knee, e1, spline)).to(code.dtype)
