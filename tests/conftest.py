"""Fixtures that all tests share."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

# A test run that a shell started in the background ignores Ctrl-C, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Reference material that is never part of the project: released weights, goldens, real HDR files.
SHARED = Path(os.environ.get("VITM_SHARED", Path(__file__).resolve().parents[2] / "shared"))

os.environ.setdefault("WANDB_MODE", "offline")
torch.set_num_threads(1)  # two processes test at a time, and threads that wait for each other cost more than they bring


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material (`VITM_SHARED`, or `shared` beside the checkout); the test skips without it."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference material at {SHARED} (set VITM_SHARED)")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what is made once and kept (demo data, yardsticks) out of the user's cache."""
    os.environ["VITM_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def rng() -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(0)


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
