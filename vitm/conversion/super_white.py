"""Super-white: luma codes above 235 (of 8 bits), where cameras keep glints, and which no network was trained on.

A network gets the picture without it, of the same hue, and its light is multiplied by what was taken away. So nothing
is clipped, and what is brighter in SDR is brighter in HDR.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vitm.color import luminance, pq_eotf, pq_inverse_eotf

_BT1886 = 2.4  # the exponent of SDR light, by which a factor on codes is a factor on light


def take_super_white(rgb: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return a frame whose luma ends at white, and the factor on codes that was taken away.

    Args:
        rgb: (3, H, W), BT.709 gamma code; above 1 where the video is brighter than its white.

    Returns:
        sdr (3, H, W) in [0, 1], and luma where it is above 1 and otherwise 1, (1, H, W); None where none is above 1.
    """
    if rgb.amax() <= 1:
        return rgb.clamp(0, 1), None
    excess = luminance(rgb, "bt709").clamp_(min=1)  # of codes: luma
    if excess.amax() <= 1:
        return rgb.clamp(0, 1), None
    return (rgb / excess).clamp_(0, 1), excess


def give_super_white(hdr_pq: Tensor, excess: Tensor | None) -> Tensor:
    """Return the converted frame with the light that `take_super_white` took away.

    Args:
        hdr_pq: (3, H, W), PQ code of BT.2020.
        excess: what `take_super_white` returned for the frame, on the same device.
    """
    if excess is None:
        return hdr_pq
    if hdr_pq.device.type == "cuda":  # the host would wait for the number of places
        return torch.where(excess > 1, pq_inverse_eotf(pq_eotf(hdr_pq) * excess**_BT1886).clamp(max=1), hdr_pq)
    factors = excess.flatten()
    places = (factors > 1).nonzero()[:, 0]  # once for all channels
    result = hdr_pq.flatten(1).clone()
    result[:, places] = pq_inverse_eotf(pq_eotf(result[:, places]) * factors[places] ** _BT1886).clamp(max=1)
    return result.view_as(hdr_pq)
