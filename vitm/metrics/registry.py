"""Metrics by the names that tables, configurations and `vitm evaluate` use; one name is one protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torchmetrics import MetricCollection

from vitm.metrics.clip import MABD, ClipMetric
from vitm.metrics.frame import PSNR, SSIM, DeltaEITP, FrameMetric
from vitm.metrics.protocol import Protocol
from vitm.metrics.similarity import PU21PSNR, PU21SSIM, SRSIM, HDRVolume
from vitm.metrics.temporal import HDRVQM, TOF, ColorVideoVDP, Flicker, HighlightStability, WarpingError
from vitm.metrics.vdp import HDRVDP3

AnyMetric = FrameMetric | ClipMetric | ColorVideoVDP

METRICS: dict[str, Callable[[], AnyMetric]] = {
    "psnr": PSNR,
    "ssim": SSIM,
    "ssim_kpn": lambda: SSIM("kpn"),
    "sr_sim": SRSIM,
    "sr_sim_kpn": lambda: SRSIM(1),
    "delta_e_itp": DeltaEITP,
    "delta_e_itp_p95": lambda: DeltaEITP("p95"),
    "hdr_vdp3": HDRVDP3,
    "hdr_vdp3_hdrtvnet": lambda: HDRVDP3("hdrtvnet", "q"),
    "hdr_vdp3_kpn": lambda: HDRVDP3("kpn_mfi", "q"),
    "hdr_vdp3_hdrtvdm": lambda: HDRVDP3("hdrtvdm", "q"),
    "pu21_psnr": PU21PSNR,
    "pu21_psnr_y": lambda: PU21PSNR("y"),
    "pu21_ssim": PU21SSIM,
    "hdr_volume": HDRVolume,
    "hdr_vqm": HDRVQM,
    "mabd": MABD,
    "warping_error": WarpingError,
    "tof": TOF,
    "flicker": Flicker,
    "highlight_stability": HighlightStability,
    "color_video_vdp": ColorVideoVDP,
}

# What the papers' tables list.
TABLES: dict[str, tuple[str, ...]] = {
    "kpn_mfi": ("psnr", "ssim_kpn", "delta_e_itp", "hdr_vdp3_kpn", "mabd"),
    "hdcfm": ("psnr", "ssim", "sr_sim", "delta_e_itp", "hdr_vdp3_hdrtvnet"),
    "dslnet": ("psnr", "sr_sim", "delta_e_itp"),
    "vitm_tc": ("hdr_vdp3", "hdr_vqm"),
}

_OF_TIME: dict[str, Callable[[float], AnyMetric]] = {
    "hdr_vqm": HDRVQM,
    "color_video_vdp": ColorVideoVDP,
}


def build_metric(name: str, fps: float | None = None) -> AnyMetric:
    """A metric by its name.

    Args:
        name: of `METRICS`.
        fps: frames a second, for the metrics whose value depends on it; None is their default, 25.

    Raises:
        ValueError: for an unknown name.
        ImportError: for "color_video_vdp" where its package is not installed.
    """
    if name not in METRICS:
        raise ValueError(f"unknown metric {name!r}: expected one of {', '.join(METRICS)}")
    return METRICS[name]() if fps is None or name not in _OF_TIME else _OF_TIME[name](fps)


def value_protocols(metrics: Mapping[str, AnyMetric]) -> dict[str, Protocol]:
    """Name of a value, as `compute` of `frame_metrics` gives them -> how it is measured."""
    return {
        value: metric.protocol
        for name, metric in metrics.items()
        for value in (metric.values if isinstance(metric, ClipMetric) else (name,))
    }


def frame_metrics(names: Sequence[str] = ("psnr", "ssim", "delta_e_itp")) -> MetricCollection:
    """The named metrics as one collection, called with (pred, target).

    Args:
        names: of `METRICS`; those of clips take (B, T, 3, H, W) only.

    Returns:
        A collection whose `compute()` is a flat dictionary: a value under each name, and for a `ClipMetric` one under
        each of its own names, as `mabd_pred`, `mabd_gt` and `mse_mabd` for "mabd".

    Raises:
        ValueError: for an unknown name.
    """
    # Compute groups merge metrics whose states agree after one update, as all do on a first batch of perfect frames.
    return MetricCollection({name: build_metric(name) for name in names}, compute_groups=False)
