"""SDR as it is really produced from HDR: not by one curve, but by a family of curves, exposures, grades and defects.

A network that learns from one production knows that production alone. `random_production` draws from the family;
`PRODUCTIONS` are fixed members of it, so that a number can be repeated. A production is a few numbers, and `produce`
applies it on the device of the frames, the same way to all frames of a clip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from vitm.color import bt1886_eotf, bt2020_to_bt709, luminance, pq_inverse_eotf, tone_map
from vitm.color.curves import CURVES, ENCODINGS, Curve, Encoding

ToneCurve = Curve | Literal["bt2446a", "bt2446c"]
Signal = Literal["luminance", "channel", "maximum"]
ExposureRule = Literal["white", "key", "percentile"]
_DARK = 1e-6  # keeps denominators and logarithms away from zero


@dataclass(frozen=True)
class Production:
    """How an SDR picture was made of HDR light. The default is plain clipping at diffuse white.

    Attributes:
        curve: tone curve; the methods of BT.2446 take absolute light, all others light relative to the exposure.
        signal: what the curve is applied to: luminance or the largest channel, whose gain all channels share, or each
            channel by itself. The methods of BT.2446 bring their own.
        exposure: what `level` means. `white`: the luminance that becomes 1, in cd/m2. `key`: where the log-average of
            the clip goes. `percentile`: the share of pixels below 1.
        level: see `exposure`.
        bend: shape of the curve: where Mobius leaves the straight line (0 to 1), the exponent of the sigmoid, the
            scale of the logarithm, the gain before the filmic curve, SDR white over 203 cd/m2 for BT.2390.
        peak: brightest light that the curve keeps, as a share of the mastering peak.
        base_contrast: local operator before the curve: factor on the contrast of large areas; 1 for none.
        base_width: its width, as a share of the picture's.
        white_balance: gains of R, G and B in BT.709.
        saturation: factor on colour differences after the curve.
        compress_gamut: whether colours outside BT.709 are drawn to grey instead of clipped.
        encoding: curve of the SDR code.
        gamma: exponent of a grade on the code; 1 for none.
        contrast: share of an S-curve in a grade on the code; negative values flatten it.
        lift: code of black.
        noise: standard deviation of white noise on the code.
    """

    curve: ToneCurve = "clip"
    signal: Signal = "channel"
    exposure: ExposureRule = "white"
    level: float = 203.0
    bend: float = 1.0
    peak: float = 1.0
    base_contrast: float = 1.0
    base_width: float = 0.05
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    saturation: float = 1.0
    compress_gamut: bool = False
    encoding: Encoding = "bt1886"
    gamma: float = 1.0
    contrast: float = 0.0
    lift: float = 0.0
    noise: float = 0.0


PRODUCTIONS: Mapping[str, Production] = MappingProxyType(
    {
        "clip": Production(),
        "mobius": Production("mobius", "maximum", level=100, bend=0.3, encoding="bt709"),  # FFmpeg's tonemap
        "hable": Production("hable", "maximum", level=100, encoding="bt709"),  # the same, `hable`
        "bt2390": Production("bt2390", "maximum", level=203),
        "filmic": Production("filmic", "channel", "key", level=0.18, encoding="srgb"),
        "reinhard": Production("reinhard", "luminance", "key", level=0.2, encoding="gamma22"),
        "bt2446a": Production("bt2446a"),
        "bt2446c": Production("bt2446c"),
        "local": Production("sigmoid", "channel", "key", level=0.2, bend=1.2, base_contrast=0.65, encoding="srgb"),
    }
)
"""Productions of the open benchmark, by the names that its tables use."""


def produce(
    nits: Tensor, production: Production, peak_nits: float = 1000.0, generator: torch.Generator | None = None
) -> Tensor:
    """Make the SDR code of HDR light.

    Args:
        nits: (..., 3, H, W), linear BT.2020 in cd/m2. All leading dimensions are frames of one clip: they share the
            exposure.
        production: how.
        peak_nits: mastering peak of the clip.
        generator: random numbers of the noise, on the device of `nits`.

    Returns:
        The same shape, BT.709 code in [0, 1], rounded to 8 bits.

    Example:
        >>> nits = torch.full((3, 4, 4), 203.0)
        >>> float(produce(nits, PRODUCTIONS["clip"]).min())
        1.0
    """
    light = nits
    if production.base_contrast != 1:
        light = _flatten_base(light, production.base_contrast, production.base_width)
    rgb = bt2020_to_bt709(light)
    if production.white_balance != (1.0, 1.0, 1.0):
        gains = zip(production.white_balance, rgb.unbind(-3), strict=True)
        rgb = torch.stack([gain * plane for gain, plane in gains], -3)
    if production.curve in ("bt2446a", "bt2446c"):
        peak = max(peak_nits * production.peak, 250.0)
        code = tone_map(pq_inverse_eotf(light.clamp(0, peak)), production.curve, peak_nits=peak)
        display = bt1886_eotf(code.clamp(0, 1))
    else:
        scale = _scale(rgb, production)
        top = ((peak_nits * scale).double() * production.peak).clamp(min=1.02)
        display = _apply(rgb.clamp(min=0) * scale, production, top)
    grey = luminance(display, "bt709")
    display = grey + production.saturation * (display - grey)
    if production.compress_gamut:
        display = _compress(display)
    code = ENCODINGS[production.encoding](display.clamp(0, 1))
    code = code**production.gamma
    code = code + production.contrast * (code * code * (3 - 2 * code) - code)
    code = production.lift + (1 - production.lift) * code
    if production.noise:
        code = code + production.noise * torch.randn(
            code.shape, generator=generator, device=code.device, dtype=code.dtype
        )
    return (code.clamp(0, 1) * 255).round() / 255


def random_production(generator: torch.Generator) -> Production:
    """Draw a production: a third are plain (a curve and an encoding), the others also graded.

    Args:
        generator: on the CPU; the same state gives the same production.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    def chance(probability: float) -> bool:
        return uniform(0, 1) < probability

    def normal(deviation: float) -> float:
        return deviation * float(torch.randn((), generator=generator))

    curve: ToneCurve = _choose(generator, (*CURVES, "bt2446a", "bt2446c"))
    bends = {"mobius": (0.2, 0.8), "filmic": (0.6, 1.4), "sigmoid": (0.8, 1.6), "log": (0.3, 3), "bt2390": (0.5, 1.2)}
    exposure: ExposureRule = _choose(generator, ("white", "key", "percentile"))
    graded = not chance(0.35)
    if exposure == "white":
        level = uniform(80, 260) if graded else _choose(generator, (100.0, 203.0, 100.0, 203.0, 150.0))
    else:
        level = uniform(0.07, 0.3) if exposure == "key" else uniform(0.795, 0.995)
    return Production(
        curve=curve,
        signal=_choose(generator, ("luminance", "channel", "channel", "maximum")),
        exposure=exposure,
        level=level,
        bend=uniform(*bends.get(curve, (1.0, 1.0))),
        peak=uniform(0.3, 1) if chance(0.3) else 1.0,
        base_contrast=uniform(0.45, 0.95) if chance(0.15) else 1.0,
        base_width=uniform(0.02, 0.12),
        white_balance=tuple(2 ** normal(0.07) for _ in range(3)) if graded else (1.0, 1.0, 1.0),  # type: ignore[arg-type]
        saturation=uniform(0.8, 1.35) if graded else 1.0,
        compress_gamut=chance(0.3),
        encoding=_choose(generator, tuple(ENCODINGS)),
        gamma=2 ** normal(0.2) if graded else 1.0,
        contrast=uniform(-0.25, 0.5) if graded else 0.0,
        lift=uniform(0, 0.03) if graded and chance(0.4) else 0.0,
        noise=uniform(0, 0.012) if chance(0.4) else 0.0,
    )


_T = TypeVar("_T")


def _choose(generator: torch.Generator, options: Sequence[_T]) -> _T:
    return options[int(torch.randint(len(options), (), generator=generator))]


def _scale(rgb: Tensor, production: Production) -> Tensor:
    """Return the factor from cd/m2 to light relative to the exposure."""
    if production.exposure == "white":
        return rgb.new_full((), 1 / production.level)
    grey = luminance(rgb, "bt709").clamp(min=1e-4)
    if production.exposure == "key":
        return production.level / grey.log().mean().exp()
    order = grey.flatten()
    index = min(int(production.level * order.numel()), order.numel() - 1)
    return 1 / order.kthvalue(index + 1).values


def _apply(light: Tensor, production: Production, top: Tensor) -> Tensor:
    """Apply the curve to relative light in BT.709, not above `top`."""
    curve = CURVES[cast("Curve", production.curve)]  # the methods of BT.2446 are not applied here
    if production.signal == "channel":
        return curve(light.clamp(max=top), top, production.bend)
    signal = luminance(light, "bt709") if production.signal == "luminance" else light.amax(-3, keepdim=True)
    signal = signal.clamp(min=_DARK)
    return light * (curve(signal.clamp(max=top), top, production.bend) / signal)


def _flatten_base(light: Tensor, contrast: float, width: float) -> Tensor:
    """Scale the contrast of the large areas around the clip's mean, and keep the detail."""
    frames = light.reshape(-1, *light.shape[-3:])
    stops = luminance(frames).clamp(min=1e-3).log2()
    height, full = stops.shape[-2:]
    step = max(1, int(width * full))
    small = F.interpolate(stops, size=(max(2, height // step), max(2, full // step)), mode="area")
    base = F.interpolate(small, size=(height, full), mode="bicubic", align_corners=False)
    return (frames * torch.exp2((contrast - 1) * (base - base.mean()))).reshape(light.shape)


def _compress(display: Tensor) -> Tensor:
    """Draw colours whose largest channel is above 1 towards their own grey until it is 1."""
    grey = luminance(display, "bt709").clamp(0, 1)
    largest = display.amax(-3, keepdim=True)
    keep = ((1 - grey) / (largest - grey).clamp(min=_DARK)).clamp(0, 1)
    return torch.where(largest > 1, grey + keep * (display - grey), display)
