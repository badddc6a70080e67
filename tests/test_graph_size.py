"""The graph that a compiler makes of a network does not grow with the height of the frames.

In plain execution networks work in bands of rows; a compiler would unroll them. Counted are the operations that reach
the device, with shapes alone, as they are while a compiler traces.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.test_fake_device import FRAMES, HOST_FLOW, ON_DEVICE
from vitm.nets.flow import ZeroFlow
from vitm.ops.resize import _matrices
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
def no_fakes_stay() -> Iterator[None]:
    """Forget the fake tables."""
    yield
    _matrices.cache_clear()


def operations(name: str, network: nn.Module, height: int) -> int:
    frames = torch.empty(1, *([FRAMES[name]] if name in FRAMES else []), 3, height, 48, device="cpu")
    _matrices.cache_clear()  # copies of tables count
    with Count() as count:
        network(frames)
    return count.operations


@pytest.mark.parametrize("name", ON_DEVICE)
def test_the_graph_does_not_grow_with_the_height(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with FakeTensorMode(), torch.inference_mode():
        network = network_class(name)(**({"flow": ZeroFlow()} if name in HOST_FLOW else {})).eval()
        assert operations(name, network, 576) == operations(name, network, 288)
