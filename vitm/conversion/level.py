"""The level of a conversion: how bright diffuse white is, how high highlights go, how strong and colourful it all is.

SDR does not say how bright the scene was, so networks learn their data's habit: the picture is right and its level is
not. These controls are constant over a clip: they cannot flicker.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vitm.color import (
    DIFFUSE_WHITE_NITS,
    bt1886_inverse_eotf,
    ictcp_to_rgb2020,
    pq_eotf,
    pq_inverse_eotf,
    rgb2020_to_ictcp,
)
from vitm.color.midtones import midtone_stops
from vitm.conversion.graphics import ramp
from vitm.conversion.stream import convert_clip, network_device
from vitm.nets.analytic import Analytic, Gain
from vitm.nets.interface import SurveyingNetwork
from vitm.ops.copies import copied_to
from vitm.ops.tiling import map_rows
from vitm.video import FrameReader
from vitm.video.read.stretch import StretchReader

DiffuseWhite = float | Literal["auto", "keep"]
Graphics = Literal["auto", "keep"]

_KNEE = 0.95  # of the peak's PQ code: highlights roll off from here
_MID_GREY = 0.18  # of SDR white, in light: where the level of an operator is taken
_ANCHOR = 0.06  # SDR code above which black is the model's own
_SAMPLES = 12  # frames of a clip that are looked at before its conversion


@dataclass(frozen=True)
class LevelControl:
    """Change every frame of a conversion by these controls, in this order; the default changes nothing.

    Args:
        gain: factor on light.
        anchor_black: whether SDR black is black: below the code 0.06 the result turns into plain SDR, so that letterbox
            bars and dark corners do not glow.
        strength: 1 for the conversion, 0 for plain SDR in an HDR container with white at `white_nits`, a number between
            for a blend of the PQ codes; above 1, the conversion is exaggerated.
        white_nits: luminance of SDR white in plain SDR, cd/m2.
        saturation: factor on the chroma Ct, Cp of ICtCp.
        peak_nits: luminance below which highlights roll off at constant hue, cd/m2; None to leave them.

    Raises:
        ValueError: a factor is negative or not finite, or a luminance not within (0, 10000].
    """

    gain: float = 1.0
    anchor_black: bool = False
    strength: float = 1.0
    white_nits: float = DIFFUSE_WHITE_NITS
    saturation: float = 1.0
    peak_nits: float | None = None

    def __post_init__(self) -> None:
        for name in ("gain", "strength", "saturation"):
            if not (math.isfinite(value := getattr(self, name)) and value >= 0):
                raise ValueError(f"{name}={value:g}: expected 0 or more")
        for name in ("white_nits", "peak_nits"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 10_000:
                raise ValueError(f"{name}={value:g}: expected more than 0 and at most 10000 cd/m2")

    def __call__(self, hdr_pq: Tensor, sdr: Tensor, graphics: float = 0.0, letters: Tensor | None = None) -> Tensor:
        """Apply the controls.

        Args:
            hdr_pq: (..., 3, H, W), BT.2020 PQ code.
            sdr: source of the conversion, the same shape, BT.709 gamma code in [0, 1], or above it for super-white.
            graphics: share of graphics in the frame, 0 to 1: `strength` is less by this share.
            letters: (1, H, W) on the host, 1 where letters are burned in, which become plain SDR, and 0 elsewhere; None
                for none.

        Returns:
            The same shape, BT.2020 PQ code; `hdr_pq` itself where there is nothing to do.
        """
        if letters is not None:
            picture, plain = self(hdr_pq, sdr, graphics), replace(self, strength=0.0)
            rows = letters.amax(dim=(0, 2)).nonzero()
            band = (..., slice(int(rows.min()), int(rows.max()) + 1), slice(None))
            picture = picture.clone()
            picture[band] = picture[band].lerp(plain(hdr_pq[band], sdr[band]), copied_to(hdr_pq.device, letters[band]))
            return picture
        if graphics:
            return replace(self, strength=self.strength * (1 - graphics))(hdr_pq, sdr)
        if self == LevelControl(white_nits=self.white_nits):
            return hdr_pq
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._apply(hdr_pq, sdr)
        return map_rows(self._apply, [hdr_pq, sdr], halo=0)

    @property
    def needs_sdr(self) -> bool:
        """Whether the result depends on the SDR frames, without graphics among them."""
        return self.anchor_black or self.strength != 1

    def _apply(self, hdr_pq: Tensor, sdr: Tensor) -> Tensor:
        if self.gain != 1:
            hdr_pq = pq_inverse_eotf(self.gain * pq_eotf(hdr_pq))
        if self.needs_sdr:
            plain = Gain(self.white_nits)(sdr)
            strength: float | Tensor = self.strength
            if self.anchor_black:
                strength = self.strength * ramp(sdr.amax(dim=-3, keepdim=True), 0.0, _ANCHOR)
            hdr_pq = (plain + strength * (hdr_pq - plain)).clamp(0, 1)
        if self.saturation != 1:
            scale = torch.tensor([1.0, self.saturation, self.saturation], dtype=hdr_pq.dtype).view(3, 1, 1)
            scale = copied_to(hdr_pq.device, scale)
            hdr_pq = pq_inverse_eotf(ictcp_to_rgb2020(scale * rgb2020_to_ictcp(pq_eotf(hdr_pq))))
        return hdr_pq if self.peak_nits is None else _roll_off(hdr_pq, self.peak_nits)


@dataclass(frozen=True)
class Level:
    """The level of one conversion.

    Attributes:
        control: the controls, constant over the clip.
        midtone_white: luminance of white at which plain SDR has mid-tones as bright as the model has them, cd/m2; None
            where it was not measured, or the clip has no mid-tones.
        finds_graphics: whether frames of graphics, and letters burned in, become plain SDR.
    """

    control: LevelControl
    midtone_white: float | None = None
    finds_graphics: bool = False

    def __str__(self) -> str:
        control = self.control
        words = [f"gain {control.gain:.3f}"]
        if self.midtone_white is not None:
            words.append(f"the model places diffuse white at about {self.midtone_white:.0f} cd/m2")
        if control.anchor_black:
            words.append("black stays black")
        if control.strength != 1:
            words.append(f"strength {control.strength:g}")
        if control.saturation != 1:
            words.append(f"saturation {control.saturation:g}")
        if control.peak_nits is not None:
            words.append(f"peak {control.peak_nits:g} cd/m2")
        return "level: " + ", ".join(words)


def check_words(diffuse_white: DiffuseWhite, graphics: Graphics) -> None:
    """Raise a ValueError if one of the two is a word that `choose_level` does not know."""
    if graphics not in get_args(Graphics):
        raise ValueError(f"graphics={graphics!r}: expected {' or '.join(get_args(Graphics))}")
    if isinstance(diffuse_white, str) and diffuse_white not in ("auto", "keep"):
        raise ValueError(f"diffuse_white={diffuse_white!r}: expected cd/m2, 'auto' or 'keep'")


def choose_level(
    network: nn.Module,
    frames: Iterable[Tensor] | None,
    control: LevelControl,
    diffuse_white: DiffuseWhite = "auto",
    graphics: Graphics = "auto",
) -> Level:
    """Choose the level of a conversion.

    The level of a network is measured on some frames of the clip, that of an analytic operator on mid-grey.

    Args:
        network: network of `convert_clip`.
        frames: what `sample_frames` gives; None where there is no clip, for an analytic operator or a network's own
            picture.
        control: other controls.
        diffuse_white: luminance of diffuse white in cd/m2; "auto" for 203 with an analytic operator, and with a network
            for where it puts white, but within 203 to 406; "keep" for the model's own picture: its level, its black,
            and graphics as it makes them.
        graphics: "auto" to find frames of graphics and letters burned in, whose white is no highlight, and make them
            plain SDR; "keep" to leave them to the model.

    Raises:
        ValueError: `diffuse_white` is neither a luminance nor one of the two words, or `graphics` no word; or there is
            no clip to measure a network's level on.
    """
    check_words(diffuse_white, graphics)
    if diffuse_white == "keep":
        return Level(control)
    analytic = isinstance(network, Analytic)
    if diffuse_white != "auto":
        control = replace(control, white_nits=float(diffuse_white))
    control = replace(control, anchor_black=not analytic)  # operators make black of black
    if analytic:
        white: float | None = operator_white(network)
    elif frames is not None:
        white = midtone_white((hdr_pq, sdr) for sdr in frames for hdr_pq in convert_clip(network, [sdr]))
    else:
        raise ValueError(
            f"diffuse_white={diffuse_white!r}: a network's level is measured on frames: give a clip, or "
            "diffuse_white='keep'"
        )
    if white is not None:
        usual = diffuse_white == "auto" and not analytic
        wanted = usual_white(white) if usual else control.white_nits
        control = replace(control, gain=round(wanted / white, 6))
    return Level(control, white, finds_graphics=graphics == "auto")


def operator_white(operator: nn.Module) -> float:
    """Return the luminance of white at which plain SDR has mid-grey as bright as an operator has it, in cd/m2.

    Args:
        operator: network that converts each pixel by itself.
    """
    grey = bt1886_inverse_eotf(torch.full((1, 3, 1, 1), _MID_GREY, dtype=torch.float64))
    with torch.inference_mode():
        return float(pq_eotf(operator(grey)).mean()) / _MID_GREY


def with_gain(network: nn.Module, control: LevelControl) -> tuple[nn.Module, LevelControl]:
    """Return a network and controls of the same result: an operator multiplies light itself, before it makes codes."""
    if not isinstance(network, Analytic):
        return network, control
    return Analytic(network.method, network.peak_nits, network.gain * control.gain), replace(control, gain=1.0)


def sample_frames(reader: FrameReader | StretchReader, scene: range | None = None) -> Iterator[Tensor]:
    """Give sdr (3, H, W) of twelve frames spread over a clip, or a scene of it, small: a level needs no details."""
    return map(_small, _spread_frames(reader, range(len(reader)) if scene is None else scene))


@contextmanager
def surveyed(network: nn.Module, reader: FrameReader | StretchReader) -> Iterator[Iterable[Tensor]]:
    """Let a `SurveyingNetwork` know a clip for as long as the context lasts, and give what `sample_frames` gives.

    The network sees the frames at full size.
    """
    if not isinstance(network, SurveyingNetwork) or len(reader) == 1:
        yield sample_frames(reader)
        return
    device, samples = network_device(network), list[Tensor]()

    def frames() -> Iterator[Tensor]:
        for sdr in _spread_frames(reader, range(len(reader))):
            samples.append(_small(sdr))
            yield sdr[None].to(device)

    try:
        with torch.inference_mode():
            network.survey(frames())
        yield samples
    finally:
        network.survey(())


def _spread_frames(reader: FrameReader | StretchReader, numbers: range) -> Iterator[Tensor]:
    indices = {numbers[(2 * i + 1) * len(numbers) // (2 * _SAMPLES)] for i in range(_SAMPLES)}
    for frame in reader.read(sorted(indices)):
        yield torch.from_numpy(frame.rgb).permute(2, 0, 1).clamp(0, 1)


def _small(sdr: Tensor) -> Tensor:
    factor = min(1.0, 540 / min(sdr.shape[1:]))
    return sdr if factor == 1 else nn.functional.interpolate(sdr[None], scale_factor=factor, mode="area")[0]


def _roll_off(hdr_pq: Tensor, peak_nits: float) -> Tensor:
    """Bend highlights below a peak: the largest of R, G, B bends above the knee, and the others keep their ratio.

    Args:
        hdr_pq: (..., 3, H, W), BT.2020 PQ code.
        peak_nits: peak in cd/m2, which is approached and not reached.
    """
    peak = float(pq_inverse_eotf(torch.tensor(float(peak_nits))))
    knee = _KNEE * peak
    largest = hdr_pq.amax(dim=-3, keepdim=True).clamp(0, 1)
    bent = knee + (peak - knee) * torch.tanh((largest - knee) / (peak - knee))
    ratio = pq_eotf(bent) / pq_eotf(largest).clamp(min=1e-4)
    return torch.where(largest > knee, pq_inverse_eotf(ratio * pq_eotf(hdr_pq)), hdr_pq)


def midtone_white(pairs: Iterable[tuple[Tensor, Tensor]]) -> float | None:
    """Return the luminance of white at which plain SDR has mid-tones as bright as a conversion has them, in cd/m2.

    It is measured on the median pixel of all frames.

    Args:
        pairs: (hdr_pq, sdr) of some frames of the clip, (..., 3, H, W) each.

    Returns:
        The luminance; None where no frame has mid-tones.
    """
    ratios = torch.cat([midtone_stops(hdr_pq, sdr) for hdr_pq, sdr in pairs])
    return DIFFUSE_WHITE_NITS * math.exp2(float(ratios.median())) if len(ratios) else None


def usual_white(white_nits: float) -> float:
    """Return the nearest white that graded HDR has: 203 cd/m2 (BT.2408) to 406, a stop more.

    Colourists place mid-tones within this range, and SDR does not tell where.

    Example:
        >>> usual_white(100), usual_white(300), usual_white(1000)
        (203.0, 300, 406.0)
    """
    return min(max(white_nits, DIFFUSE_WHITE_NITS), 2 * DIFFUSE_WHITE_NITS)
