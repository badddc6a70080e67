"""Metrics as `torchmetrics.Metric` classes, each with its protocol; `vitm.metrics.functional` has the functions."""

from vitm.metrics.clip import MABD, ClipMetric
from vitm.metrics.frame import PSNR, SSIM, DeltaEITP, FrameMetric
from vitm.metrics.protocol import PAPER, Protocol, compatible
from vitm.metrics.registry import METRICS, TABLES, build_metric, frame_metrics

__all__ = [
    "MABD",
    "METRICS",
    "PAPER",
    "PSNR",
    "SSIM",
    "TABLES",
    "ClipMetric",
    "DeltaEITP",
    "FrameMetric",
    "Protocol",
    "build_metric",
    "compatible",
    "frame_metrics",
]
