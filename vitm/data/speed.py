"""How fast a data module delivers training batches."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from vitm.data.module import ResumableDataModule


@dataclass(frozen=True)
class LoadingSpeed:
    """Speed of a training loader.

    Attributes:
        workers: Number of worker processes; with 0 the process itself loads.
        batch_size: Samples in a batch.
        samples_per_second: Samples delivered in a second of wall time.
        cpu_seconds: CPU time of a sample, in seconds; None with workers, whose time is their own.
        preparation_seconds: Wall time of checking, cutting and decoding before the first batch.
    """

    workers: int
    batch_size: int
    samples_per_second: float
    cpu_seconds: float | None
    preparation_seconds: float


def measure_loading(data: ResumableDataModule, seconds: float = 5.0) -> LoadingSpeed:
    """Load training batches for some seconds, after as many as the workers hold ready.

    Args:
        data: A data module that is not set up yet.
        seconds: Least time to measure; at least two batches are loaded.
    """
    started = time.perf_counter()
    data.prepare_data()
    data.setup("fit")
    preparation = time.perf_counter() - started
    batches = iter(data.train_dataloader())
    for _ in range(1 + 3 * data.num_workers):  # those that were loaded ahead would count as fast
        next(batches)
    started, cpu, count = time.perf_counter(), time.process_time(), 0
    while count < 2 or time.perf_counter() - started < seconds:
        next(batches)
        count += 1
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    samples = count * data.batch_size
    return LoadingSpeed(
        data.num_workers, data.batch_size, samples / wall, None if data.num_workers else cpu / samples, preparation
    )


def workers_needed(cpu_seconds: float, batch_size: int, steps_per_second: float) -> int:
    """Return how many worker processes, each on a core of its own, keep a rate of steps busy.

    Example:
        >>> workers_needed(0.02, batch_size=8, steps_per_second=10)
        2
    """
    return math.ceil(round(cpu_seconds * batch_size * steps_per_second, 6))
