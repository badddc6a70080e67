"""Work of a call: against arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vitm.nets.flow import flow_estimator
from vitm.nets.work import Work, count_work
from vitm.ops.attention import softmax_attention
from vitm.ops.pixel_conv import pixel_conv
from vitm.ops.warp import warp


def test_products_and_activations() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1, stride=2)).eval()
    work = count_work(network, (1, 3, 10, 12))
    first, second = 120 * 8 * 27, 30 * 3 * 8
    assert work.products == first + second
    assert [macs for macs, _ in work.layers] == [first, second]
    assert work.layers[0][1] == 120 * 3 + 8 * 27 + 8 + 120 * 8  # input, weight, bias, output
    assert work.elementwise == 120 * 8
    assert work.ends == 120 * 3 + 30 * 3


class Filters(nn.Module):
    def forward(self, sdr: Tensor) -> Tensor:
        return pixel_conv(sdr, sdr.repeat(1, 9, 1, 1))


class Attention(nn.Module):
    def forward(self, sdr: Tensor) -> Tensor:
        x = sdr.repeat(1, 4, 1, 1)[:, :8].flatten(2)
        return softmax_attention(x, x, x)


def test_dynamic_filters_and_attention_count_for_any_height() -> None:
    """Nine taps for each value, in one piece however many bands of rows there would be."""
    for height in (20, 2000):
        assert count_work(Filters(), (1, 3, height, 24)).elementwise == 9 * 3 * height * 24
    assert count_work(Attention(), (1, 3, 4, 5)).products == 2 * 20 * 20 * 8


def test_the_least_time_is_each_layers_own() -> None:
    work = Work(products=300, elementwise=10, layers=[(200, 10), (100, 90)], ends=20)
    assert work.least_seconds(100.0, 10.0) == pytest.approx(2 + 9)
    assert Work(ends=50).least_seconds(100.0, 10.0) == pytest.approx(5)


def test_flow_of_the_host_counts_nothing() -> None:
    class Moved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flow, self.conv = flow_estimator("dis"), nn.Conv2d(3, 8, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.conv(warp(x, self.flow(x, x.flip(2))))
            return out

    assert count_work(Moved(), (1, 3, 32, 32)).products == 32 * 32 * 8 * 27


def test_values_are_refused() -> None:
    class Host(nn.Module):
        def forward(self, sdr: Tensor) -> Tensor:
            return sdr * float(sdr.mean())

    with pytest.raises(RuntimeError):
        count_work(Host(), (1, 3, 4, 4))
    assert not torch.compiler.is_compiling()
