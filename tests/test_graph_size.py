"""The graph that a compiler makes of a network does not grow with the height of the frames, and is made of few sizes.

In plain execution networks work in bands of rows; a compiler would unroll them. Counted are the operations that reach
the device, with shapes alone, as they are while a compiler traces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.test_fake_device import FRAMES, HOST_FLOW, ON_DEVICE, forget_what_is_kept
from vitm.nets.flow import ZeroFlow
from vitm.ops.padding import pad_to_multiple
from vitm.ops.resize import _matrices, resize_bicubic
from vitm.zoo import network_class


class Count(TorchDispatchMode):
    """Counts operations."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def no_tables_stay() -> Iterator[None]:
    """Forget tables of other tests, which are none of a fake mode's, and fake ones afterwards."""
    forget_what_is_kept()
    yield
    forget_what_is_kept()


def operations(name: str, network: nn.Module, height: int) -> int:
    frames = torch.empty(1, *([FRAMES[name]] if name in FRAMES else []), 3, height, 48, device="cpu")
    _matrices.cache_clear()  # copies of tables count
    with Count() as count:
        network(frames)
    return count.operations


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_DEVICE)
def test_the_graph_does_not_grow_with_the_height(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with FakeTensorMode(), torch.inference_mode():
        network = network_class(name)(**({"flow": ZeroFlow()} if name in HOST_FLOW else {})).eval()
        if name == "operator_map":
            network(torch.empty(1, 3, 48, 48))  # makes tables that are constants to a compiler
        assert operations(name, network, 576) == operations(name, network, 288)


@pytest.mark.slow
def test_tables_of_operators_are_constants_of_one_graph() -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    network, sdr = network_class("operator_map")().eval(), torch.rand(1, 3, 45, 64)
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(network, backend=counter)(sdr), network(sdr), atol=1e-4, rtol=0)
    assert counter.frame_count == 1
    assert counter.op_count < 600  # 52 inverses alone would be thousands


class Resized(nn.Module):
    """What some networks do first, each with tables or branches of the size."""

    def forward(self, sdr: Tensor) -> Tensor:
        return resize_bicubic(pad_to_multiple(sdr, 8), scale=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["csrnet", "adaint", "resized"])
def test_few_sizes_are_traced(name: str) -> None:
    """The first as numbers, then symbols: for padding below, on the right, both and none, or a library's alignment."""
    torch._dynamo.reset()
    counter = CompileCounter()
    network = Resized() if name == "resized" else network_class(name)()
    compiled = torch.compile(network.eval(), backend=counter)
    with torch.no_grad():
        for size in ((41, 51), (43, 61), (52, 73), (64, 83), (45, 96), (72, 104), (77, 85), (88, 120)):
            sdr = torch.rand(1, 3, *size)
            torch.testing.assert_close(compiled(sdr), network(sdr), atol=1e-5, rtol=0)
    assert counter.frame_count <= 4
