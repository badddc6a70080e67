"""HDCFM: hierarchical dynamic context feature mapping, one SDR frame to one HDR10 frame (ACM MM 2022, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vitm.nets.blocks import ColorBlock, Pointwise
from vitm.ops.tiling import needs_whole_maps
from vitm.papers.hdcfm.bands import run_in_bands
from vitm.papers.hdcfm.layers import CONDITIONS, DDF, ContextBlock, Modulation

WIDTH = 64
SMALLEST = 32  # five halvings


class Estimator(nn.Module):
    """The estimator HME (Figure 6): a global vector and a local map of conditions from the whole frame."""

    def __init__(self, use_global: bool, use_local: bool) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 128, 128)
        self.blocks = nn.Sequential(*(ColorBlock(widths[i], widths[i + 1], normalise=i < 4) for i in range(5)))
        self.dropout = nn.Dropout(0.5)
        self.global_head = Pointwise(widths[-1], CONDITIONS) if use_global else None
        self.local_head = Pointwise(widths[-1], CONDITIONS) if use_local else None

    def forward(self, sdr: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Predict the vector (B, 6, 1, 1) and the local map (B, 6, H, W) from sdr (B, 3, H, W)."""
        deep = self.blocks(sdr)
        vector = local = None
        if self.global_head is not None:
            vector = self.global_head(self.dropout(deep)).mean((2, 3), keepdim=True)
        if self.local_head is not None:
            if self.training:  # every pixel is dropped by itself
                local = self.local_head(self.dropout(F.interpolate(deep, size=sdr.shape[2:])))
            else:
                local = F.interpolate(self.local_head(deep), size=sdr.shape[2:])
            local = F.leaky_relu(F.avg_pool2d(local, 3, 1, 1), 0.2)
        return vector, local


class HDCFM(nn.Module):
    """SDR frame in, HDR10 frame out. The defaults are the released network.

    Convention: any height and width of at least 32. The output is not clamped. The network looks at averages over the
    whole frame, so crops of a frame do not give crops of the result. Without gradients it works in bands of rows with
    one feature map in memory.

    Args:
        global_mod: whether a global vector modulates (Table 2: M0).
        local_mod: whether a local map modulates (M3, M4).
        dyct: whether there are dynamic filters (M1).
        context: whether there are context blocks (M2).
        dyct_order: order in the first of the three stages. `"released"`: gate, filter; `"paper"`: filter, gate
            (equation 2).
        modulation: see `vitm.papers.hdcfm.layers.Modulation`.
        kernels: see `vitm.papers.hdcfm.layers.DDF`.
        pooling: see `vitm.papers.hdcfm.layers.ContextBlock`.
    """

    def __init__(
        self,
        global_mod: bool = True,
        local_mod: bool = True,
        dyct: bool = True,
        context: bool = True,
        dyct_order: Literal["released", "paper"] = "released",
        modulation: Literal["released", "paper"] = "released",
        kernels: Literal["released", "paper"] = "released",
        pooling: Literal["average", "attention"] = "average",
    ) -> None:
        super().__init__()
        for option, choices in (
            (pooling, ("average", "attention")),
            *((switch, ("released", "paper")) for switch in (dyct_order, modulation, kernels)),
        ):
            if option not in choices:
                raise ValueError(f"expected {choices[0]!r} or {choices[1]!r}, got {option!r}")

        def transform(filter_first: bool) -> list[nn.Module]:
            layers: list[nn.Module] = [DDF(WIDTH, kernels)] if dyct else []
            gates = [ContextBlock(WIDTH, pooling, kernels)] if context else []
            return [*layers, *gates] if filter_first else [*gates, *layers]

        first = dyct_order == "paper"
        self.estimator = Estimator(global_mod, local_mod) if global_mod or local_mod else None
        self.stages = nn.ModuleList(
            [
                nn.Sequential(Pointwise(3, WIDTH), *transform(first), *transform(first)),
                nn.Sequential(*transform(True), Pointwise(WIDTH, WIDTH)),
                nn.Sequential(*transform(True), *transform(True), Pointwise(WIDTH, 3)),
            ]
        )
        widths = (WIDTH, WIDTH, 3)
        self.global_mods = nn.ModuleList(Modulation(n, modulation) for n in widths if global_mod)
        self.local_mods = nn.ModuleList(Modulation(n, modulation) for n in widths[:2] if local_mod)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, sdr: Tensor) -> Tensor:
        """Convert frames.

        Args:
            sdr: (B, 3, H, W), BT.709 gamma code in [0, 1], H and W at least 32.

        Returns:
            hdr_pq (B, 3, H, W), BT.2020 PQ code, not clamped.

        Raises:
            ValueError: if the shape is not (B, 3, H, W), or the frame is smaller than 32 x 32.
        """
        if sdr.ndim != 4 or sdr.shape[1] != 3 or min(sdr.shape[2:]) < SMALLEST:
            raise ValueError(f"expected sdr of shape (B, 3, H, W) with H, W >= {SMALLEST}, got {tuple(sdr.shape)}")
        if needs_whole_maps(self, sdr):
            x = sdr
            for layer, condition in self._trunk(*self._estimate(sdr)):
                x = layer(x) if condition is None else layer(x, condition)
            return x
        with torch.no_grad(), torch.autocast(sdr.device.type, enabled=False):
            conditions = self._estimate(sdr)
            out = torch.empty_like(sdr)
            for i, frame in enumerate(sdr):
                vector, local = (None if c is None else c[i] for c in conditions)
                out[i] = run_in_bands(self._trunk(vector, local), frame)
        return out

    def _estimate(self, sdr: Tensor) -> tuple[Tensor | None, Tensor | None]:
        return (None, None) if self.estimator is None else self.estimator(sdr)

    def _trunk(self, vector: Tensor | None, local: Tensor | None) -> Iterator[tuple[nn.Module, Tensor | None]]:
        """Yield the trunk's layers in their order, modulations with their conditions (Figure 4)."""
        for i, stage in enumerate(self.stages):
            for layer in stage.children():
                yield layer, None
            if vector is not None:
                yield self.global_mods[i], vector
            if i < 2:
                if local is not None:
                    yield self.local_mods[i], local
                yield self.relu, None
