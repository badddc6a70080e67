"""Metrics as pure functions: (pred, target) -> one value for each frame or clip."""

from vitm.metrics.functional.code import quantize_16bit
from vitm.metrics.functional.color_video_vdp import color_video_vdp, color_video_vdp_stream
from vitm.metrics.functional.delta_e_itp import delta_e_itp
from vitm.metrics.functional.endpoint_error import endpoint_error
from vitm.metrics.functional.flicker import flicker
from vitm.metrics.functional.hdr_vdp3 import HDRVDP3Config, hdr_vdp3
from vitm.metrics.functional.hdr_volume import ehl, fhlp
from vitm.metrics.functional.hdr_vqm import hdr_vqm, hdr_vqm_image
from vitm.metrics.functional.highlight_stability import highlight_stability
from vitm.metrics.functional.mabd import MABDValues, mabd
from vitm.metrics.functional.masked_l1 import masked_l1
from vitm.metrics.functional.masked_psnr import masked_psnr
from vitm.metrics.functional.psnr import psnr
from vitm.metrics.functional.pu21 import pu21_encode
from vitm.metrics.functional.pu21_psnr import pu21_psnr
from vitm.metrics.functional.pu21_ssim import pu21_ssim
from vitm.metrics.functional.sr_sim import sr_sim
from vitm.metrics.functional.ssim import ssim
from vitm.metrics.functional.tof import tof
from vitm.metrics.functional.warping_error import warping_error

__all__ = [
    "HDRVDP3Config",
    "MABDValues",
    "color_video_vdp",
    "color_video_vdp_stream",
    "delta_e_itp",
    "ehl",
    "endpoint_error",
    "fhlp",
    "flicker",
    "hdr_vdp3",
    "hdr_vqm",
    "hdr_vqm_image",
    "highlight_stability",
    "mabd",
    "masked_l1",
    "masked_psnr",
    "psnr",
    "pu21_encode",
    "pu21_psnr",
    "pu21_ssim",
    "quantize_16bit",
    "sr_sim",
    "ssim",
    "tof",
    "warping_error",
]
