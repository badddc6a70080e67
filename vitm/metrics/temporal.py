"""Metrics of clips: HDR-VQM, ColorVideoVDP, and steadiness in time."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from vitm.metrics.clip import ClipMetric
from vitm.metrics.functional.code import quantize_16bit
from vitm.metrics.functional.color_video_vdp import color_video_vdp, viewing
from vitm.metrics.functional.hdr_vqm import BLOCKS, frame_statistics, pool_runs, run_length
from vitm.metrics.functional.temporal import (
    PairFlows,
    deviation,
    highlight_nits,
    mean_luma,
    mean_seen,
    tof_steps,
    variation,
    warping_steps,
)
from vitm.metrics.protocol import CLIPS
from vitm.nets.flow import FlowEstimator, FlowName, flow_estimator


class HDRVQM(ClipMetric):
    """Mean over clips of HDR-VQM, computed in fp32. See `functional.hdr_vqm`.

    Each frame is measured as its similarity `hdr_vqm_image`, and for the clip's end as the spread in its blocks.

    Args:
        fps: frames a second; a run lasts 0.6 s. Clips of no more frames than that are one run.
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    higher_is_better = False
    columns = ("hdr_vqm_image", *(f"_{kind}_{i}" for kind in ("mean", "squares") for i in range(BLOCKS)))
    values = ("hdr_vqm",)

    def __init__(self, fps: float = 25.0, round_16bit: bool = True, **kwargs: Any) -> None:
        self.frames = run_length(fps, None)
        protocol = replace(CLIPS, variant=f"runs of {self.frames} frames", display="SIM2, 0.03-4500 cd/m2")
        super().__init__(round_16bit, protocol, **kwargs)

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """The similarity of each frame, and its statistics over blocks."""
        blocks, images = frame_statistics(pred.float(), target.float())
        return torch.cat((images[:, None], blocks.flatten(1)), dim=1)

    def reduce(self, measured: Tensor) -> dict[str, Tensor]:
        """The clip's HDR-VQM."""
        return {"hdr_vqm": pool_runs(measured[:, 1:].reshape(-1, 2, BLOCKS), self.frames)}


class _FlowMetric(ClipMetric):
    """A clip metric along the motion.

    Args:
        flow: an estimator, or its name. It sees PQ codes.
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.
    """

    higher_is_better = False
    context = 1

    def __init__(self, flow: FlowName | FlowEstimator = "dis", round_16bit: bool = True, **kwargs: Any) -> None:
        name = flow if isinstance(flow, str) else type(flow).__name__
        self.flow = flow_estimator(flow) if isinstance(flow, str) else flow
        super().__init__(round_16bit, replace(CLIPS, variant=f"flow {name}"), **kwargs)


class WarpingError(_FlowMetric):
    """Mean over clips of the warping error, and of the target's own beside it. See `functional.warping_error`.

    `higher_is_better` speaks of `warping_error`, which blur alone lowers: compare it with `warping_error_gt`. Clips of
    which no pair of frames has a visible pixel make the mean nan.
    """

    columns = ("warping_error", "warping_error_gt", "visible_share")
    values = ("warping_error", "warping_error_gt")

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """The errors of each pair of frames, and how much of it they cover."""
        flows = PairFlows(self.flow, target[None])
        errors, shares = warping_steps(torch.stack((pred, target)).double(), target, flows)
        return torch.cat((errors, shares[:, None]), dim=1)

    def reduce(self, measured: Tensor) -> dict[str, Tensor]:
        """Their means over the pairs with visible pixels."""
        return dict(zip(self.values, mean_seen(measured[:, :2], measured[:, 2]).unbind(), strict=True))


class TOF(_FlowMetric):
    """Mean over clips of tOF. See `functional.tof`."""

    columns = values = ("tof",)

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """The tOF of each pair of frames."""
        return tof_steps(pred, target, PairFlows(self.flow, target[None]))[:, None]

    def reduce(self, measured: Tensor) -> dict[str, Tensor]:
        """Their mean."""
        return {"tof": measured.mean()}


class _SeriesMetric(ClipMetric):
    """A clip metric of how two numbers of each frame, the prediction's and the target's, vary over time."""

    least = 2

    def reduce(self, measured: Tensor) -> dict[str, Tensor]:
        """The variation over time."""
        return self.vary(*measured.unbind(dim=1))

    @abstractmethod
    def vary(self, pred: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The values from two series (N,)."""


class HighlightStability(_SeriesMetric):
    """Mean over clips of the variation of highlights, of prediction and target. See `functional.highlight_stability`.

    Scenes vary by themselves, so neither value is a quality alone: they should agree.
    """

    columns = ("highlight_nits_pred", "highlight_nits_gt")
    values = ("highlight_cv_pred", "highlight_cv_gt")

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """The highlights of each frame in cd/m2."""
        return torch.stack((highlight_nits(pred), highlight_nits(target)), dim=1)

    def vary(self, pred: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The coefficients of variation."""
        return dict(zip(self.values, variation(torch.stack((pred, target))).unbind(), strict=True))


class Flicker(_SeriesMetric):
    """Mean over clips of flicker. See `functional.flicker`."""

    higher_is_better = False
    columns = ("luma_pred", "luma_gt")
    values = ("flicker",)

    def measure(self, pred: Tensor, target: Tensor) -> Tensor:
        """The mean PQ luma of each frame."""
        return torch.stack((mean_luma(pred), mean_luma(target)), dim=1).double()

    def vary(self, pred: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The deviation of the difference."""
        return {"flicker": deviation(pred - target)}


class ColorVideoVDP(Metric):
    """Mean over clips of ColorVideoVDP in JOD. See `functional.color_video_vdp`.

    Not a `ClipMetric`: the package filters along time and must see a clip's frames one after the other. For clips that
    memory does not hold, `add` what `functional.color_video_vdp_stream` gives.

    Args:
        fps: frames a second.
        display: the name of one of cvvdp's PQ displays.
        round_16bit: whether to clip and round to 16 bit first.
        kwargs: options of `torchmetrics.Metric`.

    Raises:
        ImportError: if cvvdp is not installed; says how to install it.
        ValueError: for an unknown display or one that does not take PQ codes.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    total: Tensor
    count: Tensor

    def __init__(
        self, fps: float = 25.0, display: str = "standard_hdr_pq", round_16bit: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        assumed = viewing(display)
        self.fps, self.display, self.round_16bit = fps, display, round_16bit
        self.protocol = replace(
            CLIPS,
            rounding=CLIPS.rounding if round_16bit else "unrounded",
            variant=f"cvvdp {assumed.version} at {fps:g} fps",
            ppd=assumed.ppd,
            display=display,
        )
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Adds clips.

        Args:
            pred: (B, T, 3, H, W), BT.2020 PQ codes, fp32 or fp64, T >= 2.
            target: the same shape.
        """
        if self.round_16bit:
            pred, target = quantize_16bit(pred), quantize_16bit(target)
        self.add(color_video_vdp(pred, target, self.fps, self.display))

    def add(self, values: Tensor) -> None:
        """Adds values of clips to the state."""
        self.total += values.sum()
        self.count += values.numel()

    def compute(self) -> Tensor:
        """The mean over clips; nan before the first."""
        return self.total / self.count
