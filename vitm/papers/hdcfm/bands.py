"""HDCFM's trunk without gradients: one feature map, changed in place in bands of rows. Exact up to rounding.

Every pass over the map does as much as it can before the next average over the whole frame is needed. One factor or one
addend for each channel (context gates, global modulation) is not applied to the map but carried along, and multiplied
into the weights of the next layer. Nothing asks a GPU for values: which factors there are follows from the layers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from vitm.nets.blocks import Pointwise
from vitm.ops.ddf import drop_wrapped_taps, filter_pixels, pixels_at_once
from vitm.ops.tiling import row_bands
from vitm.ops.workers import Share, workers
from vitm.papers.hdcfm.layers import DDF, ContextBlock, Modulation

# Takes consecutive pixels (C, n) and the index of the first, returns them (C', n), maybe in place.
Step = Callable[[Tensor, int], Tensor]


def run_in_bands(layers: Iterable[tuple[nn.Module, Tensor | None]], frame: Tensor) -> Tensor:
    """Send one frame through the trunk. Memory beyond the arguments: the widest feature map and a few bands.

    Args:
        layers: `Pointwise`, `DDF`, `ContextBlock`, `ReLU` and `Modulation` in their order, the first a `Pointwise`;
            beside a `Modulation` its conditions (6, 1, 1) or (6, H, W).
        frame: (C, H, W).

    Returns:
        The result of the layers one after another, (C', H, W).
    """
    with workers(frame) as share:
        features = _Features(frame, share)
        for layer, conditions in layers:
            if isinstance(layer, Pointwise):
                features.convolve(layer)
            elif isinstance(layer, DDF):
                features.filter(layer)
            elif isinstance(layer, ContextBlock):
                features.gate(layer)
            elif isinstance(layer, Modulation) and conditions is not None:
                features.modulate(layer, conditions.flatten(1))
            else:
                features.rectify()
        return features.result().view(-1, *frame.shape[1:])


class _Features:
    """Features x * scale + shift, for the x (C, H*W) that results once `filtering` and `steps` have passed over x."""

    def __init__(self, frame: Tensor, share: Share) -> None:
        self.share = share
        self.height, self.width = frame.shape[1:]
        self.x = frame.flatten(1)
        self._carry_nothing(len(frame))
        self.buffer: Tensor | None = None  # holds x and a gap, behind it or before it; None: x is the caller's
        self.filtering: Callable[[Tensor, int], None] | None = None  # fills pixels (C, n) from x, given their first
        self.steps: list[Step] = []
        self.copies = False  # whether a step returns other memory than it was given

    def convolve(self, layer: Pointwise) -> None:
        weight, bias = layer.affine
        scaled, shift = weight * self.scale.T, weight @ self.shift + bias
        self.steps.append(lambda pixels, start: scaled @ pixels)
        self.copies = True
        self._carry(torch.ones_like(shift), shift)

    def filter(self, layer: DDF) -> None:
        if self.shifted:  # zeros around the image are zeros of the features, not of x
            self._settle()
        averages = self._sweep() * self.scale
        x, scale, width = self.x, self.scale, self.width
        channel = layer.channel_filters(averages[None, ..., None])[0] * scale

        def filtering(out: Tensor, start: int) -> None:
            spatial = out.new_empty(9, out.shape[1] // width, width)

            def predict(rows: slice) -> Tensor:
                pixels = x[:, start + rows.start * width : start + rows.stop * width]
                spatial[:, rows] = layer.pixel_filters(pixels, scale).view(9, -1, width)
                return drop_wrapped_taps(spatial[:, rows])

            self.share(predict, spatial.shape[1])
            filter_pixels(out, x, spatial.flatten(1), channel, width, start, self.share)

        self.filtering = filtering
        self._carry_nothing(len(scale))

    def gate(self, layer: ContextBlock) -> None:
        self._settle()
        averages = self._sweep()[None, ..., None]
        if layer.attention is not None:
            averages = layer.pool(self.x.view(1, -1, self.height, self.width))
        self.scale, self.scaled = layer.gate(averages)[0, :, 0], True

    def modulate(self, layer: Modulation, conditions: Tensor) -> None:
        scale, shift = self.scale, self.shift
        if conditions.shape[1] == 1:
            self._carry(*layer.coefficients(conditions, scale, shift))
            return

        def step(pixels: Tensor, start: int) -> Tensor:
            factor, addend = layer.coefficients(conditions[:, start : start + pixels.shape[1]], scale, shift)
            return torch.addcmul(addend, pixels, factor, out=pixels)

        self.steps.append(step)
        self._carry_nothing(len(scale))

    def rectify(self) -> None:
        self._settle()
        self.steps.append(lambda pixels, start: pixels.relu_())

    def result(self) -> Tensor:
        self._settle()
        self._sweep()
        return self.x

    def _carry(self, scale: Tensor, shift: Tensor) -> None:
        self.scale, self.shift, self.scaled, self.shifted = scale, shift, True, True

    def _carry_nothing(self, channels: int) -> None:
        self.scale, self.shift = self.x.new_ones(channels, 1), self.x.new_zeros(channels, 1)
        self.scaled = self.shifted = False

    def _settle(self) -> None:
        """Apply to x what is carried along."""
        scale, shift = self.scale, self.shift
        if self.scaled or self.shifted:
            self.steps.append(lambda pixels, start: torch.addcmul(shift, pixels, scale, out=pixels))
            self._carry_nothing(len(scale))

    def _sweep(self) -> Tensor:
        """Bring x up to date; return its averages (C, 1)."""
        at_once = pixels_at_once(self.x.device)
        chunk = at_once // 16 if self.x.device.type == "cpu" else at_once  # all channels of it stay in the cache
        rows = min(self.height, max(1, at_once // self.width))
        bands = row_bands(self.height, rows)
        pixels, gap = self.height * self.width, (rows + 1) * self.width + 1
        x = self.x
        if self.filtering is not None:
            # A filtered band goes where no row is needed any more: into the gap, which so moves to the other end.
            assert self.buffer is not None, "the first layer is a Pointwise"
            upwards = x.storage_offset() == 0
            x = self.buffer[:, gap:] if upwards else self.buffer[:, :pixels]
            bands = bands[::-1] if upwards else bands
        out = x
        if self.buffer is None or len(self.buffer) != len(self.scale):
            self.buffer = x.new_empty(len(self.scale), pixels + gap)
            out = self.buffer[:, :pixels]

        def point_by_point(band: slice) -> Tensor:
            total, end = out.new_zeros(len(out), 1), start + band.stop
            for first in range(start + band.start, end, chunk):
                last = min(first + chunk, end)
                part = x[:, first:last]
                for step in self.steps:
                    part = step(part, first)
                total += part.sum(1, keepdim=True)
                if out is not x or self.copies:
                    out[:, first:last] = part
            return total

        sums = out.new_zeros(len(bands), len(out), 1)
        for band_sums, (top, bottom) in zip(sums, bands, strict=True):
            start = top * self.width
            if self.filtering is not None:
                self.filtering(x[:, start : bottom * self.width], start)
            for total in self.share(point_by_point, (bottom - top) * self.width):
                band_sums += total
        self.x, self.filtering, self.steps, self.copies = out, None, [], False
        return sums.sum(0) / pixels
