"""Data loaders whose workers leave it to the main process to be told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader

STOPS = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}


class SteadyLoader(DataLoader[Any]):
    """A `DataLoader` whose workers obey SIGTERM of the main process alone.

    Slurm, `timeout` and Ctrl-C tell all processes of a job to stop. The main process still needs its workers then: it
    ends its step, saves itself, and ends them.

    Args:
        *args: Positional arguments of `DataLoader`.
        **options: Options of `DataLoader`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"worker_init_fn": _obey_parent} | options)

    def __iter__(self) -> Any:
        with _blocked():  # workers start with what is blocked here, each of their threads
            return super().__iter__()


@contextmanager
def _blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _obey_parent(worker: int) -> None:
    """Start a thread that ends this worker at SIGTERM of its parent; on Linux, as elsewhere the sender is unknown."""
    if sys.platform != "linux":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        return
    parent = os.getppid()

    def obey() -> None:
        while True:
            received = signal.sigwaitinfo(STOPS)
            if (received.si_signo, received.si_pid) == (signal.SIGTERM, parent):
                os._exit(0)  # as torch's own handler does

    threading.Thread(target=obey, daemon=True).start()
