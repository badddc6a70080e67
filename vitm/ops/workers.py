"""Several Python threads for long runs of small tensor operations on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

Share = Callable[[Callable[[slice], Tensor], int], list[Tensor]]


@contextmanager
def workers(like: Tensor) -> Iterator[Share]:
    """Give as many threads as torch uses, in each of which torch works by itself.

    torch's own threads meet at the end of every operation. Where operations are small and many (to keep their data in
    the cache), that costs as much as the operations, and many times more when other programs use the processor. These
    threads meet at the end of `share` alone.

    Args:
        like: a tensor on the device of the work and of its size: there is one thread for less than 2**18 values, and
            on devices other than CPUs.

    Yields:
        `share(fn, n)`, which calls `fn` with slices that make up `range(n)`, without gradients and in the caller's
        inference mode, and returns the results in order.
    """
    threads = torch.get_num_threads() if like.device.type == "cpu" and like.numel() >= 2**18 else 1
    inference = torch.is_inference_mode_enabled()

    def share(fn: Callable[[slice], Tensor], n: int) -> list[Tensor]:
        def call(part: slice) -> Tensor:
            with torch.inference_mode(inference), torch.no_grad():  # modes are a thread's own
                return fn(part)

        parts = min(threads, n)
        slices = [slice(n * i // parts, n * (i + 1) // parts) for i in range(parts)]
        return [call(slices[0])] if parts == 1 else list(pool.map(call, slices))

    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            yield share
        finally:
            if threads > 1:
                torch.set_num_threads(threads)  # of threads that start later
