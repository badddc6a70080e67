"""Spectral residual based similarity."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.metrics.functional.code import code_pair
from vitm.ops.resize import resize_bicubic

SRSIMScale = Literal[255, 1]

_C1, _C2, _ALPHA = 0.40, 225.0, 0.5  # of saliency, of gradients (on 0..255), and their exponent
_SMALLEST = 16
_SILENCE = 1e-12  # of the largest amplitude; below it a spectrum is rounding error, whose phase means nothing
_TINY = 1e-30


def _luma(code: Tensor, scale: float) -> Tensor:
    """Return luma (N, h, w) on 0..scale of (N, 3, H, W), box filtered and decimated to a shorter side of about 256."""
    r, g, b = code.unbind(dim=-3)
    y = scale * (0.299 * r + 0.587 * g + 0.114 * b)
    factor = max(1, math.floor(min(y.shape[-2:]) / 256 + 0.5))  # MATLAB's round: halves go up
    before, after = (factor - 1) // 2, factor // 2
    return F.avg_pool2d(F.pad(y, (before, after, before, after)), factor) if factor > 1 else y


def _blur(x: Tensor) -> Tensor:
    """Apply a Gaussian 10x10, sigma 3.8, zero padded, offsets -4..5; by taps, as autocast would round a convolution."""
    taps = [math.exp(-((i - 4.5) ** 2) / (2 * 3.8**2)) for i in range(10)]
    for dim, pad in ((-1, (4, 5, 0, 0)), (-2, (0, 0, 4, 5))):
        size = x.shape[dim]
        padded = F.pad(x, pad)
        x = torch.stack([tap / sum(taps) * padded.narrow(dim, i, size) for i, tap in enumerate(taps)]).sum(dim=0)
    return x


def _saliency(y: Tensor) -> Tensor:
    """Return the saliency in [0, 1], same shape: spectral residual of a quarter-size copy (Hou & Zhang, CVPR 2007)."""
    spectrum = torch.fft.fft2(resize_bicubic(y, scale=0.25))
    amplitude = spectrum.abs()
    silence = _SILENCE * amplitude.amax(dim=(-2, -1), keepdim=True) + _TINY
    log = (amplitude + silence).log()
    mean = F.avg_pool2d(F.pad(log.unsqueeze(1), (1, 1, 1, 1), mode="replicate"), 3, stride=1).squeeze(1)
    unit = spectrum / (amplitude + silence)  # exp(i phase)
    saliency = _blur(torch.view_as_real(torch.fft.ifft2((log - mean).exp() * unit)).square().sum(dim=-1))
    low, high = saliency.amin(dim=(-2, -1), keepdim=True), saliency.amax(dim=(-2, -1), keepdim=True)
    saliency = (saliency - low) / (high - low).clamp(min=_TINY)
    return resize_bicubic(saliency, size=(y.shape[-2], y.shape[-1]))


def _gradient(y: Tensor) -> Tensor:
    """Return the magnitude of Scharr's derivatives, (3, 10, 3) / 16, zero padded; where it is 0, so is its slope."""
    padded = F.pad(y, (1, 1, 1, 1))

    def derivative(x: Tensor, along: int, across: int) -> Tensor:
        n, m = x.shape[along] - 2, x.shape[across] - 2
        step = x.narrow(along, 2, n) - x.narrow(along, 0, n)
        return (3 * (step.narrow(across, 0, m) + step.narrow(across, 2, m)) + 10 * step.narrow(across, 1, m)) / 16

    both = torch.stack((derivative(padded, -1, -2), derivative(padded, -2, -1)))
    magnitude: Tensor = torch.linalg.vector_norm(both, dim=0)
    return magnitude


def sr_sim(pred: Tensor, target: Tensor, scale: SRSIMScale = 255) -> Tensor:
    """Return the SR-SIM of each frame (Zhang & Li, ICIP 2012): likeness of gradients, weighted by spectral saliency.

    Convention: PQ luma by the BT.601 weights. Frames are box filtered and decimated by round(shorter side / 256),
    halves up, as MATLAB rounds; from there on all is in fp64. The saliency is scaled to [0, 1] frame by frame.

    Args:
        pred: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], fp32 or fp64, at least 16x16.
        target: the same shape.
        scale: number that stands for code 1. 255 is what the constants are made for; 1 is what the code of KPN-MFI
            takes: gradients then hardly count and everything reads 0.999, so compare it with that paper only.

    Returns:
        (B,) or (B, T) in fp64; higher is better, 1 where the frames are identical. Flat frames, for which the published
        code gives nan, have a finite value.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for another scale, shapes that differ or are not of that form, or frames that are too small.

    Example:
        >>> import torch
        >>> frame = torch.linspace(0, 1, 3072, dtype=torch.float64).view(1, 3, 32, 32)
        >>> sr_sim(frame, frame).item()
        1.0
    """
    if scale not in (255, 1):
        raise ValueError(f"unknown SR-SIM scale {scale!r}: expected 255 or 1")
    pred, target = code_pair(pred, target, keep_dtype=True)
    if min(pred.shape[-2:]) < _SMALLEST:
        raise ValueError(f"SR-SIM needs frames of at least {_SMALLEST}x{_SMALLEST}, got {tuple(pred.shape[-2:])}")
    y1, y2 = (_luma(x.flatten(0, -4), scale).double() for x in (pred, target))
    v1, v2, g1, g2 = _saliency(y1), _saliency(y2), _gradient(y1), _gradient(y2)
    similarity = (2 * v1 * v2 + _C1) / (v1.square() + v2.square() + _C1)
    similarity = similarity * ((2 * g1 * g2 + _C2) / (g1.square() + g2.square() + _C2)) ** _ALPHA
    weight = torch.maximum(v1, v2)
    value = ((similarity * weight).sum(dim=(-2, -1)) + _TINY) / (weight.sum(dim=(-2, -1)) + _TINY)
    return value.view(pred.shape[:-3])
