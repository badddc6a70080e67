"""HDR-VQM as a metric of clips."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vitm.metrics.base import ClipMetric
from vitm.metrics.functional.hdr_vqm import BLOCKS, frame_statistics, pool_runs, run_length
from vitm.metrics.protocol import CLIPS
from vitm.metrics.values import MetricValue


class HDRVQM(ClipMetric):
    """Mean over clips of HDR-VQM, computed in fp32. See `functional.hdr_vqm`.

    The numbers of a frame are its similarity `hdr_vqm_image` and, for the clip's end, the spread in its blocks.

    Args:
        fps: frames a second; a run lasts 0.6 s. Clips of no more frames than that are one run.
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    values = (MetricValue("hdr_vqm", "HDR-VQM", "", "lower"),)
    columns = ("hdr_vqm_image", *(f"_{kind}_{i}" for kind in ("mean", "squares") for i in range(BLOCKS)))
    needs_fps = True

    def __init__(self, fps: float = 25.0, round_16bit: bool = True, **kwargs: Any) -> None:
        self.frames = run_length(fps, None)
        protocol = replace(CLIPS, variant=f"runs of {self.frames} frames", display="SIM2, 0.03-4500 cd/m2")
        super().__init__(round_16bit, protocol, **kwargs)

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the similarity of each frame, and its statistics over blocks."""
        blocks, images = frame_statistics(pred.float(), target.float())
        return torch.cat((images[:, None], blocks.flatten(1)), dim=1)

    def reduce(self, measured: Tensor) -> dict[str, Tensor]:
        """Return the clip's HDR-VQM."""
        return {self.names[0]: pool_runs(measured[:, 1:].reshape(-1, 2, BLOCKS), self.frames)}
