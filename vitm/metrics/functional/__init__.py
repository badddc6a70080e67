"""Metrics as pure functions: (pred, target) -> one value a frame or clip, computed in fp64, differentiable."""

from vitm.metrics.functional.code import quantize_16bit
from vitm.metrics.functional.delta_e_itp import delta_e_itp
from vitm.metrics.functional.mabd import MABDValues, mabd
from vitm.metrics.functional.psnr import psnr
from vitm.metrics.functional.ssim import ssim

__all__ = ["MABDValues", "delta_e_itp", "mabd", "psnr", "quantize_16bit", "ssim"]
