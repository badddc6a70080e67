"""The motion that metrics of time follow: two flows for each pair of frames, estimated or given."""

from __future__ import annotations

import torch
from torch import Tensor

from vitm.nets.flow import FlowEstimator, FlowName, flow_estimator

Flow = FlowName | FlowEstimator | tuple[Tensor, Tensor]
"""An estimator's name, an estimator (from `flow_estimator`), or exact flows, which each metric explains."""


class PairFlows:
    """Two flows for each pair of frames, from an estimator (both in one batch) or from the tensors given.

    Args:
        flow: source of the flows.
        clips: (B, T, 3, H, W), for the sizes.

    Raises:
        ValueError: for exact flows of other shapes, and for an unknown estimator.
    """

    def __init__(self, flow: Flow, clips: Tensor) -> None:
        self._exact: tuple[Tensor, Tensor] | None = None
        if isinstance(flow, tuple):
            batch, length, _, height, width = clips.shape
            expected = (batch, length - 1, 2, height, width)
            if len(flow) != 2 or any(not f.is_floating_point() or f.shape != expected for f in flow):
                shapes = ", ".join(f"{f.dtype} {tuple(f.shape)}" for f in flow)
                raise ValueError(f"exact flows must be two floating-point tensors {expected}, got {shapes}")
            self._exact = flow
        else:
            self._estimate = flow_estimator(flow) if isinstance(flow, str) else flow

    def __call__(self, clip: int, pair: int, sources: Tensor, targets: Tensor) -> Tensor:
        """Return (2, 2, H, W) in fp64, from `sources` (2, 3, H, W) to `targets`."""
        if self._exact is not None:
            return torch.stack([f[clip, pair] for f in self._exact]).double()
        return self._estimate(sources.detach(), targets.detach()).double()
