"""The numbers of HDR-VDP-3: displays, receptors, optics, contrast sensitivity of an observer aged 24.

The matrices follow from the displays' spectra, the CIE 1931 observer and the cone fundamentals, and are those of the
HDR-VDP 3.0.7 release (Mantiuk, Hammou, Hanji 2023, arXiv:2304.13625; BSD-3-Clause).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Matrix = tuple[tuple[float, ...], ...]
Display = Literal["oled", "led-lcd-wcg", "led-lcd-srgb", "ccfl-lcd", "crt", "d65-luminance"]

# Linear BT.2020 to the display's own primaries: rows are the display's R, G, B. "d65-luminance" is colour-blind: it
# takes the luminance of BT.2020 as a light of D65's spectrum.
BT2020_TO_NATIVE: dict[str, Matrix] = {
    "oled": (
        (1.4329923896167136, -0.2827983838508394, -0.06666976431173198),
        (-0.07692614853504755, 1.0782196773715018, -0.014714985733105809),
        (0.0006579002733656426, -0.024000627054685735, 0.9229092511282555),
    ),
    "led-lcd-wcg": (
        (1.2369728671618396, -0.10257763129630405, -0.05852478911874983),
        (-0.04278767983178512, 1.0213243401832932, -0.004344523640622002),
        (-0.00316045202619423, -0.04688612150510503, 1.0485472982911432),
    ),
    "led-lcd-srgb": (
        (1.843728998030299, -0.6492975733107383, -0.07978295573486421),
        (-0.13260953692793712, 1.1111504430458181, -0.010078660280368282),
        (-0.014213538509088745, -0.08523049948780498, 1.1075967009776577),
    ),
    "ccfl-lcd": (
        (1.0652930367398985, -0.10646118919414675, -0.045832510040743554),
        (-0.04351628826995235, 1.0594270841265438, 0.0017970449398464995),
        (-0.005698015264920528, -0.09030851339238889, 1.3194344410007055),
    ),
    "crt": (
        (1.6872962967121188, -0.6388213926929656, -0.048177138823044516),
        (-0.2066643533230014, 1.2538728073973455, -0.047325055878423346),
        (-0.014275246135517249, -0.11134152183091586, 1.1256950251224713),
    ),
    "d65-luminance": ((0.2627, 0.6780, 0.0593),),
}

# Native light to the long, medium and short cones and the rods, by columns; the short cones take no part.
NATIVE_TO_LMSR: dict[str, Matrix] = {
    "oled": (
        (0.1838834712745044, 0.029570622147099886, 1.788104870398338e-05, 0.008674173459540838),
        (0.41198390214115826, 0.27579687296102273, 0.00041000457431416063, 0.5338006961187931),
        (0.051566730410851504, 0.04719840106536323, 0.008386477290333545, 0.444350154805327),
    ),
    "led-lcd-wcg": (
        (0.20150688202607306, 0.027354222724207247, 3.936508347506659e-05, 0.00864959076086728),
        (0.4049048047128243, 0.2869988242050807, 0.0005824463351041434, 0.6442324746456977),
        (0.040804183965458, 0.03843108236635678, 0.0073574818462168335, 0.3810119225556153),
    ),
    "led-lcd-srgb": (
        (0.1582537045824601, 0.0321684220938571, 0.00011344195578561926, 0.03795391950599899),
        (0.44757061515764274, 0.2814425390653604, 0.0008223321843938503, 0.6257346224708813),
        (0.041869609863841487, 0.03869510923683812, 0.006977076858858336, 0.3661734837479201),
    ),
    "ccfl-lcd": (
        (0.23413412198089883, 0.031754010561436966, 6.579226057532028e-05, 0.011895059514865351),
        (0.3956756125244256, 0.27883350928860845, 0.0007562242418737198, 0.7124681799401501),
        (0.030094131323974403, 0.029508614320655786, 0.006078885992107682, 0.31156850568706873),
    ),
    "crt": (
        (0.18838375005234317, 0.04428242254638849, 0.00017678034527543896, 0.047514556770337016),
        (0.4123623090005939, 0.25615079802456653, 0.0009179825025481764, 0.5436755204968845),
        (0.05207383123249538, 0.04674688914361255, 0.007513284106054661, 0.42085856179948117),
    ),
    "d65-luminance": ((0.6529314083502782, 0.3470685916497218, 0.009025359865073973, 1.01713006795393),),
}

LOG_LIGHT = 5.0  # tables reach over log10 of light from -5 to 5
RESPONSE_NODES, CSF_NODES = 2048, 256

_MTF_U, _MTF_V = 0.061466549455263, 0.9972737002377707
_MTF = (
    (0.426 * _MTF_V, 0.028),
    (0.574 * _MTF_V, 0.37),
    ((1 - _MTF_V) * _MTF_U, 37.0),
    ((1 - _MTF_V) * (1 - _MTF_U), 360.0),
)

_CSF_NODES = (0.0002, 0.002, 0.02, 0.2, 2.0, 20.0, 150.0)
_CSF = (
    (1.26181, 0.893585, 0.84864, 0.699243, 0.530826, 0.459297, 0.312626),
    (4.27832, 4.27832, 3.57253, 3.94545, 4.25337, 3.78765, 4.15264),
    (0.361902, 0.361902, 0.530355, 0.68608, 0.866916, 0.981028, 0.952367),
    (3.11914, 2.18938, 3.12486, 4.41846, 4.65117, 4.33546, 3.22389),
)


def mtf(rho: Tensor) -> Tensor:
    """Return the eye's optical transfer at `rho` cycles a degree."""
    return torch.stack([a * torch.exp(-b * rho) for a, b in _MTF]).sum(dim=0)


def csf(rho: Tensor, log_light: Tensor, with_mtf: bool) -> Tensor:
    """Return the contrast sensitivity at `rho` cycles a degree over log10 luminance; `with_mtf`: without the optics."""
    nodes, columns = (torch.tensor(x, dtype=rho.dtype, device=rho.device) for x in (_CSF_NODES, _CSF))
    nodes = nodes.log10()
    log_light = log_light.clamp(nodes[0], nodes[-1])
    index = torch.bucketize(log_light, nodes[1:-1])
    p1, p2, p3, p4 = torch.lerp(
        columns[:, index], columns[:, index + 1], (log_light - nodes[index]) / (nodes[index + 1] - nodes[index])
    )
    seen = rho.clamp(min=1e-4)
    falloff = -torch.expm1(-((seen / 7) ** 2))
    s = p4 / ((1 + (p1 * seen) ** p2) / falloff**p3).sqrt()
    return torch.where(rho <= 1e-4, 0.0, s / mtf(seen) if with_mtf else s)


@lru_cache(maxsize=4)
def response_table(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the responses of a cone class and of the rods over log10 light, (2, RESPONSE_NODES), in thresholds."""
    log_light = np.linspace(-LOG_LIGHT, LOG_LIGHT, RESPONSE_NODES)
    light = 10**log_light
    s_all = 315.98 * ((6.7977 / light) ** 1.6008 + 1) ** -0.25534
    distance = np.log10(light / 1.1732)
    falling = np.where(distance > 0, np.abs(distance) ** 2.9899 / 0.5547, np.abs(distance) ** 1.095 / 1.32)
    s_rod = 10**1.8 * np.exp(-falling)
    s_cone = 0.5 * np.interp(np.minimum(2 * light, 10**LOG_LIGHT), light, np.maximum(s_all - s_rod, 1e-3))
    slopes = np.stack((s_cone, s_rod)) * (np.log(10) * 10**0.203943775672)
    steps = (slopes[:, 1:] + slopes[:, :-1]) / 2 * np.diff(log_light)
    table = np.concatenate((np.zeros((2, 1)), np.cumsum(steps, axis=1)), axis=1)
    with torch.inference_mode(False):  # what is cached must serve graphs later
        return torch.from_numpy(table).to(device, dtype)
