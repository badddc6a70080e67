"""The SDR picture that a camera makes of HDR light: exposure, a film curve, BT.709."""

from __future__ import annotations

import torch
from torch import Tensor

from vitm.color import DIFFUSE_WHITE_NITS, bt1886_inverse_eotf, bt2020_to_bt709, luminance

GREY_NITS = 30.0  # log-average luminance of a normal exposure with diffuse white at 203 cd/m2 (BT.2408)
_GAMMA = 1.2  # of camera and display together: the OOTF of BT.709 with BT.1886 (BT.2390)
_SLOPE = 1.1  # light 1 before the shoulder: grey of 18 % lands at code 0.43
_SHOULDER = 0.45  # display light at which the shoulder begins
_CLIP = 1.8  # scene light, relative to diffuse white, at which the picture is white
_TOE = 0.004  # scene light at which black has lost half


def film_curve(x: Tensor) -> Tensor:
    """Convert light relative to diffuse white to display light in [0, 1]: a toe, a power, a shoulder, and a clip.

    The shoulder is a power of the distance to the clip; it meets the lower part with its slope and ends flat. What is
    brighter than the clip is lost.
    """
    x = x.clamp(0, _CLIP)
    y = _SLOPE * x**_GAMMA * x / (x + _TOE)
    end = _SLOPE * _CLIP**_GAMMA * _CLIP / (_CLIP + _TOE)
    rest = ((end - y) / (end - _SHOULDER)).clamp(0, 1)
    shoulder = 1 - (1 - _SHOULDER) * rest ** ((end - _SHOULDER) / (1 - _SHOULDER))
    return torch.where(y < _SHOULDER, y, shoulder)


def auto_exposure(nits: Tensor, adaptation: float = 0.15, smoothing: float = 8.0) -> Tensor:
    """Return the exposure of each frame: the log-average luminance moves slowly, part of the way to a normal exposure.

    Args:
        nits: Linear BT.2020 light (T, 3, H, W) in cd/m2.
        adaptation: 0 for a fixed exposure, 1 for one that makes every frame equally bright.
        smoothing: Standard deviation in time, in frames.

    Returns:
        (T,) gains, between half and double.
    """
    stops = torch.log2(luminance(nits).clamp_min(0.01)).double().mean((1, 2, 3)).float()
    gain = adaptation * (torch.log2(torch.tensor(GREY_NITS)) - stops)
    t = torch.arange(len(gain), dtype=gain.dtype, device=gain.device)
    weight = torch.softmax(-0.5 * ((t[:, None] - t[None]) / smoothing) ** 2, dim=1)
    return 2 ** (weight @ gain).clamp(-1, 1)


def develop(nits: Tensor) -> tuple[Tensor, Tensor]:
    """Return SDR frames as a camera makes them of HDR light.

    Args:
        nits: Linear BT.2020 light (T, 3, H, W) in cd/m2.

    Returns:
        BT.709 frames (T, 3, H, W), gamma 2.4 code in [0, 1]; and the gains (T,) of `auto_exposure`. Colours outside
        BT.709 are clipped, and light above 1.8 times the diffuse white.
    """
    gain = auto_exposure(nits)
    relative = bt2020_to_bt709(nits) * (gain / DIFFUSE_WHITE_NITS)[:, None, None, None]
    return bt1886_inverse_eotf(film_curve(relative)), gain
