"""One thread, and the peak memory of a call."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch


def _status(key: str) -> float:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Bands are as many rows as the threads' caches hold; with one thread small images have several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def extra_peak() -> Callable[[Callable[[], object]], float]:
    """MiB of resident memory that a call needs beyond what is held before it, its result included (Linux)."""
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        pytest.skip("peak memory is read from Linux's /proc")

    def measure(fn: Callable[[], object]) -> float:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        try:
            reset.write_text("5")
        except PermissionError:
            pytest.skip("this machine does not let a process reset its peak memory")
        before = _status("VmRSS")
        result = fn()
        peak = _status("VmHWM") - before
        del result
        return peak

    return measure
