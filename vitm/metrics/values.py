"""What the numbers of metrics are called, in which unit they are, and which way is better. Loads nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower", "none"]


@dataclass(frozen=True)
class MetricValue:
    """One number that a metric gives, described for tables, plots and charts.

    Args:
        name: key of the number in files and in `compute`, such as "delta_e_itp".
        title: short name for people.
        unit: unit of the number; empty where it has none.
        direction: what is better, "higher" or "lower"; "none" for statistics, which should be near the target's.

    Example:
        >>> MetricValue("psnr", "PSNR", "dB", "higher").heading
        'PSNR dB'
    """

    name: str
    title: str
    unit: str = ""
    direction: Direction = "none"

    @property
    def heading(self) -> str:
        """The title with the unit, for the head of a column."""
        return f"{self.title} {self.unit}".rstrip()


VALUES = {
    value.name: value
    for value in (
        MetricValue("psnr", "PSNR", "dB", "higher"),
        MetricValue("ssim", "SSIM", "", "higher"),
        MetricValue("ssim_kpn", "SSIM (KPN)", "", "higher"),
        MetricValue("sr_sim", "SR-SIM", "", "higher"),
        MetricValue("sr_sim_kpn", "SR-SIM (KPN)", "", "higher"),
        MetricValue("delta_e_itp", "dE_ITP", "", "lower"),
        MetricValue("delta_e_itp_p95", "dE_ITP 95%", "", "lower"),
        MetricValue("hdr_vdp3", "VDP3", "JOD", "higher"),
        MetricValue("hdr_vdp3_kpn", "VDP3 Q (KPN)", "", "higher"),
        MetricValue("hdr_vdp3_hdrtvnet", "VDP3 Q (HDRTVNet)", "", "higher"),
        MetricValue("hdr_vdp3_hdrtvdm", "VDP3 Q (HDRTVDM)", "", "higher"),
        MetricValue("hdr_vqm", "HDR-VQM", "", "lower"),
        MetricValue("color_video_vdp", "ColorVideoVDP", "JOD", "higher"),
        MetricValue("pu21_psnr", "PU21-PSNR", "dB", "higher"),
        MetricValue("pu21_psnr_y", "PU21-PSNR Y", "dB", "higher"),
        MetricValue("pu21_ssim", "PU21-SSIM", "", "higher"),
        MetricValue("over_exposed", "L1 over-exposed", "", "lower"),
        MetricValue("mabd_pred", "MABD"),
        MetricValue("mabd_gt", "MABD (GT)"),
        MetricValue("mse_mabd", "MSE of MABD", "", "lower"),
        MetricValue("warping_error", "warping error", "", "lower"),
        MetricValue("warping_error_gt", "warping error (GT)"),
        MetricValue("tof", "tOF", "px", "lower"),
        MetricValue("flicker", "flicker", "", "lower"),
        MetricValue("highlight_cv_pred", "highlight variation"),
        MetricValue("highlight_cv_gt", "highlight variation (GT)"),
        MetricValue("fhlp_pred", "FHLP"),
        MetricValue("fhlp_gt", "FHLP (GT)"),
        MetricValue("ehl_pred", "EHL"),
        MetricValue("ehl_gt", "EHL (GT)"),
    )
}


def value_info(name: str) -> MetricValue:
    """Return the description of a value by its name; an unknown name is its own title.

    Example:
        >>> value_info("delta_e_itp").direction
        'lower'
    """
    return VALUES.get(name, MetricValue(name, name))


def value_order(names: Iterable[str]) -> list[str]:
    """Return names of values in the order in which people read them; unknown names come last, by the alphabet.

    Example:
        >>> value_order(["mabd_pred", "mine", "psnr"])
        ['psnr', 'mabd_pred', 'mine']
    """
    places = {name: place for place, name in enumerate(VALUES)}
    return sorted(names, key=lambda name: (places.get(name, len(places)), name))
