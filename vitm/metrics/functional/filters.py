"""The linear filters of HDR-VDP-3, on planes (N, H, W): glare, Gaussian, and any small kernel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vitm.metrics.functional.hdr_vdp3_observer import mtf

Array = NDArray[np.float64]

_FOURIER_SIGMA = 4.3  # from here on HDR-VDP-3 smooths in Fourier form, with other borders
_TAILS = 8  # standard deviations after which a Gaussian is 0 in fp64


@contextmanager
def _exact_convolutions(device: torch.device) -> Iterator[None]:
    """Compute convolutions in the precision of their input, whatever autocast, TF32 or bf16 the caller allows."""
    backends = torch.backends.cudnn.conv, torch.backends.mkldnn.conv  # type: ignore[attr-defined]
    saved = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, saved, strict=True):
            backend.fp32_precision = precision


def correlate(x: Tensor, kernel: Array, stride: int = 1, block: int = 16) -> Tensor:
    """Correlate planes with one kernel, wherever all of it fits.

    `block` neighbouring pixels of a row are read as channels, which costs no copy and gives the convolution library a
    shape that it is good at: 3 to 5 times more products than the plain form, in a tenth of its time.

    Args:
        x: (N, H, W), fp32 or fp64.
        kernel: (h, w), no larger than (H, W).
        stride: step between the samples that are kept, along both axes; it divides `block`.
        block: number of pixels that are read as channels.

    Returns:
        (N, (H - h) // stride + 1, (W - w) // stride + 1).
    """
    h, w = kernel.shape
    width = (x.shape[-1] - w) // stride + 1
    blocks, reach = -(-width * stride // block), -(-(block - stride + w) // block)
    weight = np.zeros((block // stride, block, h, reach))
    for start in range(0, block, stride):
        for tap in range(w):
            weight[start // stride, (start + tap) % block, :, (start + tap) // block] = kernel[:, tap]
    x = F.pad(x, (0, (blocks + reach - 1) * block - x.shape[-1]))  # more pixels than needed are dropped here
    channels = x.view(*x.shape[:2], -1, block).permute(0, 3, 1, 2)
    weights = torch.from_numpy(weight).to(x).contiguous(memory_format=torch.channels_last)
    with _exact_convolutions(x.device):
        y = F.conv2d(channels, weights, stride=(stride, 1)).permute(0, 2, 3, 1)
    return y.reshape(*y.shape[:2], -1)[..., :width]


def reflected(x: Tensor, kernel: Array, stride: int = 1) -> Tensor:
    """Correlate planes with an odd square kernel; borders mirror about the edge samples."""
    return correlate(F.pad(x, [len(kernel) // 2] * 4, mode="reflect"), kernel, stride)


def box3(x: Tensor) -> Tensor:
    """Return the mean over 3x3 pixels, with zeros beyond the borders."""
    x = F.pad(x, (1, 1, 1, 1))
    rows = x[..., :-2] + x[..., 1:-1] + x[..., 2:]
    return (rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :]) / 9


def _smooth_rows(x: Tensor, sigma: float) -> Tensor:
    """Filter (N, H, W) along W, and return it transposed, (N, W, H)."""
    size = x.shape[-1]
    fourier = sigma >= _FOURIER_SIGMA
    # In Fourier form the rows are continued by their last sample to twice their length, and then are periodic.
    reach = math.ceil(_TAILS * sigma) if fourier else math.floor(6 * sigma + 0.5) // 2
    position = torch.arange(reach, device=x.device)
    left, right = ((p % (2 * size) if fourier else p).clamp(0, size - 1) for p in (position - reach, position + size))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    continued = torch.cat((x[..., left], x, x[..., right]), dim=-1)
    return correlate(continued, taps[None] / taps.sum(), block=64).transpose(-1, -2)


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """Apply a Gaussian of standard deviation `sigma` pixels, with the borders of HDR-VDP-3."""
    return _smooth_rows(_smooth_rows(x, sigma), sigma)


@lru_cache(maxsize=4)
def _glare_tables(
    size: tuple[int, int], ppd: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return what `glare` needs: the order of rows, both twists, the transfers for a spectrum and its mirror image."""
    with torch.inference_mode(False):  # what is cached must serve graphs later
        H, W = size
        y, x = (torch.arange(n, dtype=torch.float64) for n in (H, W // 2 + 1))

        def transfer(y: Tensor, x: Tensor) -> Tensor:
            return mtf(ppd * torch.hypot(y[:, None] / (2 * H), x / (2 * W)))

        near, far = transfer(y, x), transfer(H - y, W - x)
        across, along = transfer(y, W - x), transfer(H - y, x)
        direct = torch.stack((near + far, across + along), dim=-1) / 2
        mirrored = torch.stack((near - far, across - along), dim=-1) / 2
        complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64
        twists = (torch.polar(torch.ones_like(f), -math.pi * f / (2 * n)) for f, n in ((y, H), (x, W)))
        twist_h, twist_w = (twist.to(device, complex_dtype) for twist in twists)
        order = torch.cat((torch.arange(0, H, 2), torch.arange(H - 1 - H % 2, 0, -2)))
        return order.to(device), twist_h[:, None], twist_w, direct.to(device, dtype), mirrored.to(device, dtype)


def glare(x: Tensor, ppd: float) -> Tensor:
    """Apply the eye's optics (MTF) to images that go on beyond their borders as in a mirror.

    Filtering a mirrored image of 2H x 2W multiplies its cosine transform (DCT-II) of H x W. That transform and its
    inverse come from one real Fourier transform of the reordered image (Makhoul 1980), and with V its twisted spectrum
    and M the transfer, both together are

        Re V' = (M(y, x) + M(H-y, W-x)) / 2 Re V + (M(y, x) - M(H-y, W-x)) / 2 Re V(-y, x)
        Im V' = (M(y, W-x) + M(H-y, x)) / 2 Im V + (M(y, W-x) - M(H-y, x)) / 2 Im V(-y, x).

    Args:
        x: (N, H, W), fp32 or fp64.
        ppd: pixels a degree of visual angle.

    Returns:
        The same shape.
    """
    H, W = x.shape[-2:]
    order, twist_h, twist_w, direct, mirrored = _glare_tables((H, W), ppd, x.dtype, x.device)
    x = x.index_select(-2, order)
    x = torch.cat((x[..., ::2], x[..., 1::2].flip(-1)), dim=-1)
    spectrum = torch.fft.rfft2(x).mul_(twist_w)
    mirror = torch.cat((spectrum[..., :1, :], spectrum[..., 1:, :].flip(-2)), dim=-2).mul_(twist_h.conj())
    spectrum = torch.view_as_real(spectrum.mul_(twist_h)).mul_(direct).addcmul_(torch.view_as_real(mirror), mirrored)
    filtered = torch.view_as_complex(spectrum).mul_(twist_h.conj()).mul_(twist_w.conj())
    x = torch.fft.irfft2(filtered, s=(H, W))
    y = torch.empty_like(x)
    y[..., ::2], y[..., 1::2] = x[..., : (W + 1) // 2], x[..., (W + 1) // 2 :].flip(-1)
    return y.index_select(-2, order.argsort())
