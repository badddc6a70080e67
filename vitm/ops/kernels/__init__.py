"""Operators as Triton kernels, for what a compiler does not fuse: each beside its plain form, which is its reference.

A kernel is chosen when it can run: on a GPU, outside of compilers, exports and fake tensors, where Triton works. The
plain form is what runs everywhere else. `TRITON_INTERPRET=1`, set before this is imported, runs kernels on a CPU.
"""

from __future__ import annotations

import functools
import warnings
from importlib.util import find_spec

import torch
from torch import Tensor, nn


def can_run(*tensors: Tensor) -> bool:
    """Return whether kernels can run on these tensors.

    That is so for tensors with memory on one GPU on which Triton works, and while nothing traces the operations.
    """
    device = tensors[0].device
    return (
        device.type == "cuda"
        and not (torch.compiler.is_compiling() or torch.compiler.is_exporting())
        and torch._C._get_tracing_state() is None
        and torch._C._functorch.peek_interpreter_stack() is None
        and all(t.device == device and type(t) in (Tensor, nn.Parameter) for t in tensors)  # neither fake nor wrapped
        and _works(device)
    )


@functools.cache
def _works(device: torch.device) -> bool:
    """Return whether Triton is there, and builds and runs a kernel on a GPU; the first kernel takes seconds."""
    if find_spec("triton") is None:
        return False
    try:
        from vitm.ops.kernels.color_table import look_up

        table = torch.zeros(1, 1, 2, 2, 2, device=device)
        return float(look_up(table.new_ones(1, 3, 1, 1), table + 1)) == 1
    except Exception as error:  # no C compiler, an old driver, a GPU that Triton does not know
        warnings.warn(f"Triton does not work on {device}, plain operations are used: {error}", stacklevel=3)
        return False
