"""Colour in pure torch: transfer functions, primaries, Y'CbCr, ICtCp and tone operators.

Everything is differentiable and computed in fp32, or in fp64 where the input is.
"""

from vitm.color.gamut import bt709_to_bt2020, bt2020_to_bt709, luminance
from vitm.color.ictcp import ictcp_to_rgb2020, rgb2020_to_ictcp
from vitm.color.tone import DIFFUSE_WHITE_NITS, METHODS, inverse_tone_map, tone_map
from vitm.color.transfer import (
    bt709_inverse_oetf,
    bt709_oetf,
    bt1886_eotf,
    bt1886_inverse_eotf,
    gamma22_eotf,
    gamma22_inverse_eotf,
    hlg_inverse_oetf,
    hlg_inverse_ootf,
    hlg_oetf,
    hlg_ootf,
    pq_eotf,
    pq_inverse_eotf,
    srgb_eotf,
    srgb_inverse_eotf,
)
from vitm.color.ycbcr import rgb_to_ycbcr, ycbcr_to_rgb

__all__ = [
    "DIFFUSE_WHITE_NITS",
    "METHODS",
    "bt709_inverse_oetf",
    "bt709_oetf",
    "bt709_to_bt2020",
    "bt1886_eotf",
    "bt1886_inverse_eotf",
    "bt2020_to_bt709",
    "gamma22_eotf",
    "gamma22_inverse_eotf",
    "hlg_inverse_oetf",
    "hlg_inverse_ootf",
    "hlg_oetf",
    "hlg_ootf",
    "ictcp_to_rgb2020",
    "inverse_tone_map",
    "luminance",
    "pq_eotf",
    "pq_inverse_eotf",
    "rgb2020_to_ictcp",
    "rgb_to_ycbcr",
    "srgb_eotf",
    "srgb_inverse_eotf",
    "tone_map",
    "ycbcr_to_rgb",
]
