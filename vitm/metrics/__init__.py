"""Metrics as `torchmetrics.Metric` classes, each with its protocol; `vitm.metrics.functional` has the functions."""

from vitm.metrics.clip import MABD, ClipMetric
from vitm.metrics.frame import PSNR, SSIM, DeltaEITP, FrameMetric
from vitm.metrics.protocol import PAPER, Protocol, compatible
from vitm.metrics.registry import METRICS, TABLES, build_metric, frame_metrics, value_protocols
from vitm.metrics.similarity import PU21PSNR, PU21SSIM, SRSIM, HDRVolume
from vitm.metrics.temporal import HDRVQM, TOF, ColorVideoVDP, Flicker, HighlightStability, WarpingError
from vitm.metrics.values import MetricValue, value_info, value_order
from vitm.metrics.vdp import HDRVDP3

__all__ = [
    "HDRVDP3",
    "HDRVQM",
    "MABD",
    "METRICS",
    "PAPER",
    "PSNR",
    "PU21PSNR",
    "PU21SSIM",
    "SRSIM",
    "SSIM",
    "TABLES",
    "TOF",
    "ClipMetric",
    "ColorVideoVDP",
    "DeltaEITP",
    "Flicker",
    "FrameMetric",
    "HDRVolume",
    "HighlightStability",
    "MetricValue",
    "Protocol",
    "WarpingError",
    "build_metric",
    "compatible",
    "frame_metrics",
    "value_info",
    "value_order",
    "value_protocols",
]
