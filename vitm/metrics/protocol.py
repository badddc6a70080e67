"""How a number was measured. Printed with each number, because the papers' numbers differ in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType


@dataclass(frozen=True)
class Protocol:
    """What must agree before two values of a metric may be compared.

    Args:
        domain: signal and primaries, as "PQ BT.2020".
        peak_nits: the light of code 1 in cd/m2.
        rounding: what happens to the prediction first: "16-bit" or "unrounded".
        crop: which part of the frame counts, as "full frame".
        reduction: how frames or clips become one number, as "mean of frames".
        variant: the metric's own definition where there are several, as "gauss11".
        ppd: pixels a degree of visual angle, for metrics that ask.
        display: the assumed display, for metrics that ask.
    """

    domain: str
    peak_nits: float
    rounding: str
    crop: str
    reduction: str
    variant: str = ""
    ppd: float | None = None
    display: str | None = None

    def __str__(self) -> str:
        ppd = "" if self.ppd is None else f"{self.ppd:g} ppd"
        parts = (self.variant, self.domain, self.rounding, self.crop, self.reduction, ppd, self.display)
        return ", ".join(part for part in parts if part)


def compatible(a: Protocol, b: Protocol) -> bool:
    """Whether two values measured so may stand side by side: all fields agree, `ppd` to 0.1 %."""
    same_ppd = a.ppd == b.ppd or (a.ppd is not None and b.ppd is not None and math.isclose(a.ppd, b.ppd, rel_tol=1e-3))
    return same_ppd and replace(a, ppd=None) == replace(b, ppd=None)


FRAMES = Protocol("PQ BT.2020", 10_000.0, "16-bit", "full frame", "mean of frames")
CLIPS = replace(FRAMES, reduction="mean of clips")

# What the papers' tables hold, by paper and metric name.
PAPER: Mapping[str, Mapping[str, Protocol]] = MappingProxyType(
    {
        "kpn_mfi": MappingProxyType(
            {
                "psnr": FRAMES,
                "ssim_kpn": replace(FRAMES, variant="kpn"),
                "delta_e_itp": FRAMES,
                "hdr_vdp3_kpn": replace(FRAMES, variant="Q", ppd=16.9238, display="led-lcd-wcg"),
                "mabd_pred": CLIPS,
            }
        ),
        # Its rows are HDRTVNet's own. SSIM's definition was not published; SR-SIM's scale is inferred from its values,
        # here and in DSLNet, which measures as HDRTVNet does.
        "hdcfm": MappingProxyType(
            {
                "psnr": FRAMES,
                "ssim": replace(FRAMES, variant="gauss11"),
                "sr_sim": replace(FRAMES, variant="0..255"),
                "delta_e_itp": FRAMES,
                "hdr_vdp3_hdrtvnet": replace(FRAMES, variant="Q", ppd=50.0, display="led-lcd-wcg"),
            }
        ),
        "dslnet": MappingProxyType(
            {
                "psnr": FRAMES,
                "sr_sim": replace(FRAMES, variant="0..255"),
                "delta_e_itp": FRAMES,
            }
        ),
        # How its relative light became absolute is not stated; here the truth's 99.9th percentile is at 1000 cd/m2.
        "vitm_tc": MappingProxyType(
            {
                "hdr_vdp3": replace(FRAMES, variant="Q_JOD", ppd=60.0, display="oled"),
                "hdr_vqm": replace(CLIPS, variant="runs of 15 frames", display="SIM2, 0.03-4500 cd/m2"),
            }
        ),
    }
)
