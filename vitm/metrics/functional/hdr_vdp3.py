"""HDR-VDP-3: how visible the difference of two HDR images is to a person in front of a display."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Literal, get_args

import torch
from torch import Tensor

from vitm.color import pq_eotf
from vitm.metrics.functional.code import code_pair
from vitm.metrics.functional.filters import box3, gaussian, glare
from vitm.metrics.functional.hdr_vdp3_observer import (
    BT2020_TO_NATIVE,
    CSF_NODES,
    LOG_LIGHT,
    NATIVE_TO_LMSR,
    RESPONSE_NODES,
    Display,
    Matrix,
    csf,
    response_table,
)
from vitm.metrics.functional.steerable import decompose
from vitm.ops.resize import resize_bicubic

HDRVDP3Quantity = Literal["q_jod", "q"]

_SMALLEST = 13  # the width of the low-pass filter that every level of the pyramid must hold
_COARSEST_PPD = 4.0
_SEEN = 0.001  # smallest relative difference of light that counts
_MASKING_P, _MASKING_Q = 10**0.3424, 10**0.108934275615
_MASKING_SELF, _MASKING_NEIGHBOUR = 10**1.41846291721, 10**0.136877512403
_POOLING = 0.8
_SLAB = 2**17  # pixels that a CPU works on at a time where each stands alone: they stay in its cache


@dataclass(frozen=True)
class HDRVDP3Config:
    """The conditions of viewing: two values of HDR-VDP-3 may be compared only if these agree.

    Args:
        ppd: pixels a degree of visual angle, more than 4.
        display: display whose spectra are assumed; "d65-luminance" is blind to colour and takes the luminance.
        mtf: whether the eye scatters light (its optical transfer function).

    Raises:
        ValueError: for an unknown display or another `ppd`.
    """

    ppd: float = 60.0
    display: Display = "oled"
    mtf: bool = True

    def __post_init__(self) -> None:
        if self.display not in get_args(Display):
            raise ValueError(f"unknown display {self.display!r}: expected one of {', '.join(get_args(Display))}")
        if not _COARSEST_PPD < self.ppd < math.inf:
            raise ValueError(f"expected more than {_COARSEST_PPD:g} pixels a degree, got {self.ppd}")


HDR_VDP3_CONFIGS: Mapping[str, HDRVDP3Config] = MappingProxyType(
    {
        "default": HDRVDP3Config(),
        "hdrtvnet": HDRVDP3Config(50.0, "led-lcd-wcg"),  # HDRTVNet, HDRTVNet++, HDCFM
        "kpn_mfi": HDRVDP3Config(16.923811984784, "led-lcd-wcg"),  # 50 inches, 1920x1080, from half a metre
        "hdrtvdm": HDRVDP3Config(60.0, "oled"),
    }
)


def hdr_vdp3_config(config: str | HDRVDP3Config) -> HDRVDP3Config:
    """Return a configuration by its name of `HDR_VDP3_CONFIGS`, or the one that is given.

    Raises:
        ValueError: for an unknown name.
    """
    if isinstance(config, HDRVDP3Config):
        return config
    if config not in HDR_VDP3_CONFIGS:
        raise ValueError(f"unknown configuration {config!r}: expected one of {', '.join(HDR_VDP3_CONFIGS)}")
    return HDR_VDP3_CONFIGS[config]


def _mix(planes: Tensor, matrix: Matrix) -> Tensor:
    """Apply a matrix to the planes of (C, H, W), as sums: autocast and TF32 would round a product."""
    mixed = []
    for first, *others in matrix:
        row = planes[0] * first
        for plane, weight in zip(planes[1:], others, strict=True):
            row = row.add_(plane, alpha=weight)
        mixed.append(row)
    return torch.stack(mixed)


def _by_rows(function: Callable[..., Tensor], *planes: Tensor) -> list[Tensor]:
    """Apply `function` to the planes (..., H, W), a few rows at a time."""
    height, width = planes[0].shape[-2:]
    rows = max(1, _SLAB // width) if planes[0].device.type == "cpu" else height
    return [function(*(p[..., y : y + rows, :] for p in planes)) for y in range(0, height, rows)]


def _interpolate(table: Tensor, position: Tensor) -> Tensor:
    """Read `table` (n,) at fractional positions, linearly, with the end values beyond its ends."""
    position = position.clamp(0, len(table) - 1)
    index = position.detach().int().clamp_(0, len(table) - 2)  # 0 also for nan, which then comes from `position`
    flat = index.flatten()
    low, slope = (values.index_select(0, flat).view_as(position) for values in (table, table.diff()))
    return torch.addcmul(low, slope, position - index)


def _pupil_mm(age: int, scene: Tensor) -> Tensor:
    """Return the diameter of the pupil for a scene in cd/m2 times square degrees."""
    s = (scene / 846) ** 0.41
    d = 7.75 - 5.75 * s / (s + 2)
    return d + (age - 28.58) * (0.02132 - 0.009562 * d)


def _see(native: Tensor, config: HDRVDP3Config) -> tuple[Tensor, Tensor]:
    """Return the response (H, W) of the receptors in thresholds, and the log of adapting light, from native light."""
    H, W = native.shape[-2:]
    receptors = tuple(tuple(row[i] for row in NATIVE_TO_LMSR[config.display]) for i in (0, 1, 3))  # L, M, rods

    def receive(native: Tensor) -> Tensor:
        """Return logarithms: of L + M to base e, and of L, M and the rods to base 10."""
        received = _mix(native.clamp(1e-5, 1e10) if config.mtf else native, receptors).clamp_(1e-8, 1e10)
        luminance = (received[:1] + received[1:2]).clamp_(min=1e-6)
        return torch.cat((luminance.log(), received.log10()))

    logs = torch.cat(_by_rows(receive, glare(native, config.ppd) if config.mtf else native), dim=-2)
    adapting = gaussian(logs[:1], 10**-0.781367 * config.ppd).squeeze(0)
    scene = adapting.mean(dtype=torch.float64).exp() * (H * W / config.ppd**2)
    log_gain = 2 * (_pupil_mm(24, scene) / _pupil_mm(28, scene)).log10()
    offset = (log_gain + LOG_LIGHT).to(logs)
    cone, rod = response_table(logs.dtype, logs.device)

    def respond(logs: Tensor) -> Tensor:
        position = (logs + offset) * ((RESPONSE_NODES - 1) / (2 * LOG_LIGHT))
        return _interpolate(cone, position[0]) + _interpolate(cone, position[1]) + _interpolate(rod, position[2])

    return torch.cat(_by_rows(respond, logs[1:])), adapting


@lru_cache(maxsize=64)
def _csf_table(rho: float, with_mtf: bool, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the contrast sensitivity over log10 luminance, (CSF_NODES,)."""
    with torch.inference_mode(False):  # what is cached must serve graphs later
        nodes = torch.linspace(-LOG_LIGHT, LOG_LIGHT, CSF_NODES, dtype=torch.float64)
        return csf(torch.tensor(rho, dtype=torch.float64), nodes, with_mtf).to(device, dtype)


def _strongest_frequency(x: Tensor, ppd: float) -> Tensor:
    """Return the cycles a degree of the largest Fourier coefficient of (H, W), without the mean; 0 if there is none."""
    amplitude = torch.fft.rfft2(x.detach()).abs()
    amplitude[0, 0] = 0
    fy = torch.fft.fftfreq(x.shape[0], dtype=torch.float64, device=x.device)
    fx = torch.fft.rfftfreq(x.shape[1], dtype=torch.float64, device=x.device)
    return ppd * torch.hypot(fy[:, None], fx).take(amplitude.argmax())


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return x if x.shape == like.shape else resize_bicubic(x, size=(like.shape[0], like.shape[1]))


def _visible(band: Tensor, sensitivity: Tensor, changed: Tensor, mask: Tensor, *neighbours: Tensor) -> Tensor:
    """Return the sum of |D|^0.8, D = |difference|^p / sqrt(S^-2p + N^2), so that S = 0 and no difference give 0."""
    neighbour = torch.stack(neighbours).clamp(min=0).sum(dim=0)
    noise = _MASKING_SELF * mask**_MASKING_Q + _MASKING_NEIGHBOUR * neighbour**_MASKING_Q
    seen = ((band[0] - band[1]).abs() * sensitivity) ** (_POOLING * _MASKING_P)
    masked = (1 + (noise * sensitivity**_MASKING_P).square()) ** (-_POOLING / 2)
    return (seen * masked * changed.abs() ** _POOLING).sum()


def _pool(bands: list[Tensor], log_light: Tensor, changed: Tensor, config: HDRVDP3Config) -> Tensor:
    """Return the visible difference over all bands, a scalar in fp64.

    Args:
        bands: bands of the two responses, (2, h, w) each.
        log_light: (H, W), log10 of the light that the eyes adapt to.
        changed: (H, W), 1 where the images differ, 0 elsewhere.
        config: display and viewing distance.
    """
    masks = [box3(torch.minimum(band[0].abs(), band[1].abs())) for band in bands]
    last, errors = len(bands) - 1, []
    for b, (band, mask) in enumerate(zip(bands, masks, strict=True)):
        rho = config.ppd / 2 ** (b + 1)
        if b < last:
            table = _csf_table(rho, config.mtf, band.dtype, band.device)
            position = (_resize(log_light, mask) + LOG_LIGHT) * ((CSF_NODES - 1) / (2 * LOG_LIGHT))
            sensitivity = torch.cat(_by_rows(partial(_interpolate, table), position))
        else:
            strongest = _strongest_frequency(band[0] - band[1], 4 * rho)
            sensitivity = csf(strongest, log_light.mean(dtype=torch.float64)[None], config.mtf).to(band).expand_as(mask)
        neighbours = [_resize(masks[n], mask) for n in (b - 1, b + 1) if 0 <= n < last]
        sums = _by_rows(_visible, band, sensitivity, _resize(changed, mask), mask, *neighbours)
        errors.append((torch.stack(sums).sum(dtype=torch.float64) / mask.numel()) ** (1 / _POOLING))
    return torch.stack(errors).mean()


def _visible_difference(pred: Tensor, target: Tensor, config: HDRVDP3Config) -> Tensor:
    """Return the pooled error of one pair (3, H, W), a scalar in fp64."""

    def display(code: Tensor) -> Tensor:
        return _mix(pq_eotf(code), BT2020_TO_NATIVE[config.display]).clamp_(min=1e-6)

    def change(pred: Tensor, target: Tensor) -> Tensor:
        return ((pred - target).abs() / target > _SEEN).any(dim=0).to(pred.dtype)

    def adapt(log_pred: Tensor, log_target: Tensor) -> Tensor:
        return ((log_pred.exp() + log_target.exp()) / 2).clamp(10**-LOG_LIGHT, 10**LOG_LIGHT).log10()

    native_p, native_t = (torch.cat(_by_rows(display, x), dim=-2) for x in (pred, target))
    changed = torch.cat(_by_rows(change, native_p.detach(), native_t.detach()))
    (response_p, adapting_p), (response_t, adapting_t) = _see(native_p, config), _see(native_t, config)
    halvings = math.floor(math.log2(min(changed.shape) / _SMALLEST)) + 1
    height = min(math.ceil(math.log2(config.ppd)) - 2, halvings)
    bands = decompose(torch.stack((response_p, response_t)), height)
    bands[-1] = bands[-1] - bands[-1].mean(dim=(-2, -1), keepdim=True)
    return _pool(bands, torch.cat(_by_rows(adapt, adapting_p, adapting_t)), changed, config)


def hdr_vdp3(
    pred: Tensor,
    target: Tensor,
    config: str | HDRVDP3Config = "default",
    quantity: HDRVDP3Quantity = "q_jod",
) -> Tensor:
    """Return HDR-VDP-3 of each frame (Mantiuk, Hammou, Hanji 2023, arXiv:2304.13625), release 3.0.7, observer aged 24.

    Tasks "quality" and "side-by-side" of the release are the same number. It is blind to colour and to a gain of the
    whole frame: report it beside PSNR or Delta E ITP, never alone.

    Args:
        pred: (B, 3, H, W) or (B, T, 3, H, W), BT.2020 PQ codes in [0, 1], fp32 or fp64, at least 13x13. fp32 is
            computed in fp32, which moves the result by less than 1e-4.
        target: the same shape.
        config: display and viewing distance, or a name of `HDR_VDP3_CONFIGS`.
        quantity: "q_jod" for just objectionable differences, "q" for the release's Q (HDRTVNet's and KPN-MFI's).

    Returns:
        (B,) or (B, T) in fp64; higher is better, 10 for identical frames. Differentiable, but for where frames differ
        (by more than 0.1 %) and the frequency of the coarsest band, which count as constants.

    Raises:
        TypeError: for integers and half precision.
        ValueError: for an unknown configuration or quantity, for shapes that differ or are not of that form, and for
            frames smaller than 13x13.

    Example:
        >>> import torch
        >>> frame = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> hdr_vdp3(frame, frame).item()
        10.0
    """
    config = hdr_vdp3_config(config)
    if quantity not in get_args(HDRVDP3Quantity):
        raise ValueError(f"unknown quantity {quantity!r}: expected one of {', '.join(get_args(HDRVDP3Quantity))}")
    pred, target = code_pair(pred, target, keep_dtype=True)
    if min(pred.shape[-2:]) < _SMALLEST:
        raise ValueError(f"HDR-VDP-3 needs frames of at least {_SMALLEST}x{_SMALLEST}, got {tuple(pred.shape[-2:])}")
    dtype = torch.promote_types(pred.dtype, target.dtype)
    frames = zip(pred.to(dtype).flatten(0, -4), target.to(dtype).flatten(0, -4), strict=True)
    errors = [_visible_difference(x, y, config) for x, y in frames]
    lost = torch.log1p(math.exp(4) * torch.stack(errors)).view(pred.shape[:-3])  # 10 - Q
    return 10 - (lost if quantity == "q" else 0.52 * lost**1.2812)
