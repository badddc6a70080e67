"""Conversion between the two HDR signals, PQ and HLG, with the same picture on the reference display of 1000 cd/m2."""

from __future__ import annotations

from torch import Tensor

from vitm.color.transfer import (
    hlg_inverse_oetf,
    hlg_inverse_ootf,
    hlg_oetf,
    hlg_ootf,
    pq_eotf,
    pq_inverse_eotf,
)

HLG_TOP = (1019 - 64) / 876  # the largest 10-bit narrow-range video code, 1.09 (BT.2100-2, table 9)


def pq_to_hlg(hdr_pq: Tensor, peak_nits: float = 1000.0) -> Tensor:
    """Convert PQ to HLG by the light on a display of this peak (BT.2390-11, 7.2; BT.2100-2, table 5).

    PQ code -> display light, cut at the peak -> inverse OOTF (system gamma 1.2 at 1000 cd/m2) -> OETF.

    Convention: each of R, G and B is cut at `peak_nits`; tone-map first to keep highlights above it. Saturated colours
    near the peak need signals above 1, as HLG provides for: those up to 1.09, the top of video codes, are kept.

    Args:
        hdr_pq: (..., 3, H, W), BT.2020, PQ codes in [0, 1].
        peak_nits: nominal peak luminance of the HLG display in cd/m2.

    Returns:
        (..., 3, H, W), BT.2020, HLG signal in [0, 1.09]; 1 is peak white.

    Raises:
        ValueError: if the peak is not positive, or if there are not three channels.
    """
    scene = hlg_inverse_ootf(pq_eotf(hdr_pq).clamp(max=peak_nits), peak_nits)
    return hlg_oetf(scene).clamp(max=HLG_TOP)


def hlg_to_pq(hlg: Tensor, peak_nits: float = 1000.0) -> Tensor:
    """Convert HLG to PQ by the light on a display of this peak (BT.2390-11, 7.2; BT.2100-2, table 5).

    Args:
        hlg: (..., 3, H, W), BT.2020, HLG signal, 1 at peak white.
        peak_nits: nominal peak luminance of the HLG display in cd/m2.

    Returns:
        (..., 3, H, W), BT.2020, PQ codes in [0, 1].

    Raises:
        ValueError: if the peak is not positive, or if there are not three channels.
    """
    return pq_inverse_eotf(hlg_ootf(hlg_inverse_oetf(hlg), peak_nits))
