"""Metrics by the names that tables, configurations and `vitm evaluate` use; one name is one protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torchmetrics import MetricCollection

from vitm.metrics.clip import MABD, ClipMetric
from vitm.metrics.frame import PSNR, SSIM, DeltaEITP, FrameMetric

METRICS: dict[str, Callable[[], FrameMetric | ClipMetric]] = {
    "psnr": PSNR,
    "ssim": SSIM,
    "ssim_kpn": lambda: SSIM("kpn"),
    "delta_e_itp": DeltaEITP,
    "delta_e_itp_p95": lambda: DeltaEITP("p95"),
    "mabd": MABD,
}

# What the papers' tables list.
TABLES: dict[str, tuple[str, ...]] = {
    "kpn_mfi": ("psnr", "ssim_kpn", "delta_e_itp", "hdr_vdp3_kpn", "mabd"),
    "hdcfm": ("psnr", "ssim", "sr_sim", "delta_e_itp", "hdr_vdp3_hdrtvnet"),
    "dslnet": ("psnr", "sr_sim", "delta_e_itp"),
    "vitm_tc": ("hdr_vdp3", "hdr_vqm"),
}


def build_metric(name: str) -> FrameMetric | ClipMetric:
    """A metric by its name.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in METRICS:
        raise ValueError(f"unknown metric {name!r}: expected one of {', '.join(METRICS)}")
    return METRICS[name]()


def frame_metrics(names: Sequence[str] = ("psnr", "ssim", "delta_e_itp")) -> MetricCollection:
    """The named metrics as one collection, called with (pred, target).

    Args:
        names: of `METRICS`; those of clips (`ClipMetric`) take (B, T, 3, H, W) only.

    Returns:
        A collection whose `compute()` is a flat dictionary: a value under each name, and for metrics of clips one under
        each of their own names, as `mabd_pred`, `mabd_gt` and `mse_mabd` for "mabd".

    Raises:
        ValueError: for an unknown name.
    """
    # Compute groups merge metrics whose states agree after one update, as all do on a first batch of perfect frames.
    return MetricCollection({name: build_metric(name) for name in names}, compute_groups=False)
