"""One thread, and the peak memory of a call."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest
import torch
from torch.profiler import ProfilerActivity, profile


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Bands are as many rows as the threads' caches hold; with one thread small images have several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def extra_peak() -> Callable[[Callable[[], object]], float]:
    """MiB of tensors that a call holds at most beyond those before it, its result included.

    Counted from torch's own allocator: resident memory also holds what other tests and libraries left behind.
    """

    def measure(fn: Callable[[], object]) -> float:
        gc.collect()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            result = fn()
        del result
        held = peak = 0
        for event in recorded.profiler.kineto_results.events():
            if event.name() == "[memory]":
                held += event.nbytes()
                peak = max(peak, held)
        assert peak > 0
        return peak / 2**20

    return measure
