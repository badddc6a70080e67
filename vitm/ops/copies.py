"""Copies between the host and a device that neither waits for."""

from __future__ import annotations

import torch
from torch import Tensor


def copied_to(device: torch.device, x: Tensor) -> Tensor:
    """Return a tensor of the host on a device; a GPU goes on with what it has, and so does the host.

    Args:
        device: device of the result.
        x: any tensor on the CPU.

    Example:
        >>> copied_to(torch.device("cpu"), torch.ones(2))
        tensor([1., 1.])
    """
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


class HostCopy:
    """A copy of a tensor to the host, begun now and read later.

    A host that reads a number of a GPU at once waits for all that the GPU has to do. Here it waits for what was given
    to the GPU before the copy, and no longer: nothing, if it reads late enough.

    Args:
        x: any tensor; one of the CPU is not copied.

    Example:
        >>> HostCopy(torch.ones(2)).read()
        tensor([1., 1.])
    """

    def __init__(self, x: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._x = x.detach()
        if x.device.type == "cuda":
            self._x = torch.empty(x.shape, dtype=x.dtype).pin_memory().copy_(self._x, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(x.device))

    def read(self) -> Tensor:
        """Return the tensor on the host, once it is there."""
        if self._event is not None:
            self._event.synchronize()
        return self._x
