"""ColorVideoVDP as a metric of clips."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from torch import Tensor

from vitm.metrics.base import StreamMetric
from vitm.metrics.functional.color_video_vdp import color_video_vdp_stream, viewing
from vitm.metrics.protocol import CLIPS
from vitm.metrics.values import MetricValue


class ColorVideoVDP(StreamMetric):
    """Mean over clips of ColorVideoVDP in JOD. See `functional.color_video_vdp`.

    Not a `ClipMetric`: the package filters along time and must see a clip's frames one after the other.

    Args:
        fps: frames a second.
        display: name of one of cvvdp's PQ displays.
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.

    Raises:
        ImportError: if cvvdp is not installed; says how to install it.
        ValueError: for an unknown display or one that does not take PQ codes.
    """

    values = (MetricValue("color_video_vdp", "ColorVideoVDP", "JOD", "higher"),)
    needs_fps = True
    package = "cvvdp"

    def __init__(
        self, fps: float = 25.0, display: str = "standard_hdr_pq", round_16bit: bool = True, **kwargs: Any
    ) -> None:
        assumed = viewing(display)
        variant = f"cvvdp {assumed.version} at {fps:g} fps"
        super().__init__(replace(CLIPS, variant=variant, ppd=assumed.ppd, display=display), round_16bit, **kwargs)
        self.fps, self.display = fps, display

    def clip_value(self, pred: Iterable[Tensor], target: Iterable[Tensor], frames: int) -> Tensor:
        """Return the ColorVideoVDP of one clip."""
        return color_video_vdp_stream(pred, target, frames, self.fps, self.display)
