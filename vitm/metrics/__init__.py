"""Metrics that describe themselves, as `torchmetrics.Metric` classes; `vitm.metrics.functional` has the functions.

The names here load torch when they are used: `from vitm.metrics import METRICS, PSNR` imports it for PSNR alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vitm.metrics.protocol import Protocol, compatible
from vitm.metrics.registry import (
    DEFAULT_METRICS,
    METRICS,
    TABLES,
    build_metric,
    frame_metrics,
    value_info,
    value_order,
    value_protocols,
)
from vitm.metrics.values import MetricValue

if TYPE_CHECKING:
    from vitm.metrics import functional
    from vitm.metrics.base import ClipMetric, FrameMetric, StreamMetric, VideoMetric

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "TABLES",
    "ClipMetric",
    "FrameMetric",
    "MetricValue",
    "Protocol",
    "StreamMetric",
    "VideoMetric",
    "build_metric",
    "compatible",
    "frame_metrics",
    "functional",
    "value_info",
    "value_order",
    "value_protocols",
]

_BASES = ("ClipMetric", "FrameMetric", "StreamMetric", "VideoMetric")
_CLASSES = {line.path.rpartition(".")[2]: line.path.rpartition(".")[0] for line in METRICS.values()}


def __getattr__(name: str) -> Any:
    """Import a base class, a metric's class of `METRICS`, or the functions."""
    if name == "functional":
        return import_module("vitm.metrics.functional")
    module = "vitm.metrics.base" if name in _BASES else _CLASSES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_CLASSES})
