"""HDR of other primaries as codes of BT.2020."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from vitm.color.gamut import primaries_conversion
from vitm.color.transfer import hlg_inverse_oetf, hlg_oetf, pq_eotf, pq_inverse_eotf
from vitm.video.planes import Float
from vitm.video.tags import StreamInfo


def to_bt2020(rgb: Float, info: StreamInfo) -> Float:
    """Convert PQ or HLG codes of a stream to those of BT.2020 primaries, in light (BT.2020, and SMPTE RP 177).

    Args:
        rgb: (H, W, 3), codes of the stream's transfer function and primaries.
        info: the stream.

    Returns:
        The same shape. Light that BT.2020 lacks, of which P3 has almost none, becomes 0.
    """
    to_light, to_codes = (pq_eotf, pq_inverse_eotf) if info.transfer == "pq" else (hlg_inverse_oetf, hlg_oetf)
    matrix = np.array(primaries_conversion(str(info.primaries), "bt2020"))
    light = cv2.transform(to_light(torch.from_numpy(rgb).clamp(min=0)).numpy(), matrix)
    codes: Float = to_codes(torch.from_numpy(light).clamp(min=0)).numpy()
    return codes
