"""What a call of a network has to compute and to move, counted with shapes alone, at any size in a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from vitm.nets.flow import DISFlow, ZeroFlow

_MOVES = """
    view _unsafe_view view_as _reshape_alias expand permute transpose t slice select split split_with_sizes unbind
    squeeze unsqueeze as_strided detach alias lift_fresh empty empty_like zeros zeros_like new_zeros ones full arange
    zero_ cat stack repeat clone copy_ _to_copy constant_pad_nd reflection_pad2d replication_pad2d pixel_shuffle
    pixel_unshuffle index gather
"""  # numbers, or look at them otherwise, and compute none
_UNCOUNTED = frozenset(_MOVES.split())
_FLOPS = {  # PyTorch 2.9 does not know those of attention on a CPU
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[
        torch.ops.aten._scaled_dot_product_flash_attention
    ],
    **flop_registry,
}


@dataclass
class Work:
    """What a call has to compute and to move.

    Attributes:
        products: multiply-adds of convolutions and matrix products, attention and correlation included.
        elementwise: results of all other operations: dynamic filters, modulation, activations, interpolation.
        layers: multiply-adds of each convolution and product, and how many numbers it reads and writes at least.
        ends: how many numbers the input and the output have.
    """

    products: int = 0
    elementwise: int = 0
    layers: list[tuple[int, int]] = field(default_factory=list)
    ends: int = 0

    def least_seconds(self, macs_per_second: float, numbers_per_second: float) -> float:
        """Return the least time on a machine: each layer's own, if all else is fused into the layers."""
        layers = sum(max(macs / macs_per_second, numbers / numbers_per_second) for macs, numbers in self.layers)
        others = self.elementwise / macs_per_second
        return max(layers, others, self.ends / numbers_per_second)


def count_work(network: nn.Module, shape: tuple[int, ...]) -> Work:
    """Count a call of a network without gradients, on whole maps, as a compiler sees it.

    Optical flow that OpenCV estimates on the host counts nothing: nothing moves.

    Args:
        network: network on any device; its parameters are not read.
        shape: shape of the input.

    Raises:
        RuntimeError: a step asks for values, which shapes alone do not have.

    Example:
        >>> work = count_work(nn.Conv2d(3, 8, 3, padding=1, bias=False), (1, 3, 10, 10))
        >>> work.products, work.layers == [(21600, 300 + 216 + 800)]
        (21600, True)
    """
    counter = _Counter()
    still = patch.object(DISFlow, "_estimate", ZeroFlow._estimate)  # OpenCV needs values
    with FakeTensorMode(allow_non_fake_inputs=True), whole_maps(), still, torch.no_grad():
        x = torch.empty(shape)
        with counter:
            output = network(x)
    counter.work.ends = x.numel() + output.numel()
    return counter.work


@contextmanager
def whole_maps() -> Iterator[None]:
    """Let networks compute whole maps by plain operations, as they do for a compiler, without bands of rows."""
    with patch.object(torch.compiler, "is_compiling", lambda: True):
        yield


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work = Work()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.partition("::")[2]
        if func._overloadpacket in _FLOPS:
            flops = _FLOPS[func._overloadpacket](*args, **(kwargs or {}), out_val=result)
            numbers = sum(t.numel() for t in tree_leaves((args, result)) if isinstance(t, Tensor))
            self.work.products += int(flops) // 2
            self.work.layers.append((int(flops) // 2, numbers))
        elif name not in _UNCOUNTED:
            self.work.elementwise += sum(t.numel() for t in tree_leaves(result) if isinstance(t, Tensor))
        return result
