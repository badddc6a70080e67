"""Metrics as `torchmetrics.Metric` classes, each with its protocol; `vitm.metrics.functional` has the functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torchmetrics import Metric, MetricCollection

from vitm.metrics.clip import MABD
from vitm.metrics.frame import PSNR, SSIM, DeltaEITP, FrameMetric
from vitm.metrics.protocol import PAPER, Protocol, compatible

__all__ = [
    "MABD",
    "PAPER",
    "PSNR",
    "SSIM",
    "DeltaEITP",
    "FrameMetric",
    "Protocol",
    "compatible",
    "frame_metrics",
]

_METRICS: dict[str, Callable[[], Metric]] = {
    "psnr": PSNR,
    "ssim": SSIM,
    "ssim_kpn": lambda: SSIM("kpn"),
    "delta_e_itp": DeltaEITP,
    "mabd": MABD,
}


def frame_metrics(names: Sequence[str] = ("psnr", "ssim", "delta_e_itp")) -> MetricCollection:
    """The named metrics as one collection, called with (pred, target).

    Args:
        names: of "psnr", "ssim", "ssim_kpn", "delta_e_itp", and "mabd", which takes clips (B, T, 3, H, W) only.

    Returns:
        A collection whose `compute()` is a flat dictionary: a value under each name, and for "mabd" `mabd_pred`,
        `mabd_gt` and `mse_mabd`.

    Raises:
        ValueError: for an unknown name.
    """
    unknown = [name for name in names if name not in _METRICS]
    if unknown:
        raise ValueError(f"unknown metrics {unknown}: expected some of {', '.join(_METRICS)}")
    # Compute groups merge metrics whose states agree after one update, as all do on a first batch of perfect frames.
    return MetricCollection({name: _METRICS[name]() for name in names}, compute_groups=False)
