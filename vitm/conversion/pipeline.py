"""Frames on their way to a device and back: copying there, computing and copying back overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Upload = Callable[[Tensor], Tensor]
"""A function that brings a frame of the host to the device."""


def through_device(device: torch.device, convert: Callable[[Upload], Iterator[Tensor]]) -> Iterator[Tensor]:
    """Yield results of a device on the host.

    On a GPU all of the next result is under way, its frame's copy, its computation and its own copy, before the host
    waits for a result; and the three run at the same time, as far as they belong to different results.

    Args:
        device: the device.
        convert: function that is given a function that uploads a frame, and returns an iterator of results on the
            device, one size for all.

    Yields:
        The results, which are the caller's, in order.
    """
    if device.type != "cuda":
        for result in convert(lambda frame: frame.to(device)):
            yield result.cpu()
        return
    uploads, downloads = Lane(device), Lane(device)
    coming: Parcel | None = None
    for result in convert(uploads.upload):
        before, coming = coming, downloads.download(result)
        if before is not None:
            yield before.take()
    if coming is not None:
        yield coming.take()


class Lane:
    """Copies in one direction, on a stream of its own, through two buffers of pinned memory in turn.

    Args:
        device: a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._parcels = Parcel(), Parcel()

    def upload(self, frame: Tensor) -> Tensor:
        """Return a frame of the host on the device, which waits for the copy where it needs it; the host does not."""
        parcel = self._next(frame)
        parcel.buffer.copy_(frame)
        with torch.cuda.stream(self.stream):
            x = parcel.buffer.to(self.device, non_blocking=True)
            parcel.copied.record(self.stream)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_event(parcel.copied)
        x.record_stream(computing)
        return x

    def download(self, x: Tensor) -> Parcel:
        """Begin to copy a result to the host, once it is computed."""
        parcel = self._next(x)
        computed = torch.cuda.Event()  # type: ignore[no-untyped-call]
        computed.record(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            self.stream.wait_event(computed)
            parcel.buffer.copy_(x, non_blocking=True)
            parcel.copied.record(self.stream)
        x.record_stream(self.stream)
        return parcel

    def _next(self, x: Tensor) -> Parcel:
        """Return the buffer whose turn it is, for a tensor like `x`, once its earlier copy is over."""
        self._parcels = self._parcels[::-1]
        self._parcels[0].make_room(x)
        return self._parcels[0]


class Parcel:
    """A buffer of pinned memory, and the event that says that what was copied from it or into it is."""

    buffer: Tensor

    def __init__(self) -> None:
        self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._used = False

    def make_room(self, x: Tensor) -> None:
        """Wait for the earlier copy, and make a buffer of the size of `x` where there is none."""
        if self._used:
            self.copied.synchronize()
        if not self._used or self.buffer.shape != x.shape or self.buffer.dtype != x.dtype:
            self.buffer = torch.empty(x.shape, dtype=x.dtype).pin_memory()
        self._used = True

    def take(self) -> Tensor:
        """Wait for the copy; return what arrived, in memory of its own."""
        self.copied.synchronize()
        return self.buffer.clone()
