"""Runs that are told to stop do so between two steps, all their processes at the same step."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from typing import Any, Self

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from vitm.ops.copies import HostCopy
from vitm.training.lightning_internals import (
    SIGTERMException,
    ask_no_process_before_batches,
    kill_started_processes,
    stop_after_batch,
)
from vitm.training.processes import largest_of_all

LIMIT = getattr(signal, "SIGUSR1", signal.SIGTERM)
IMPATIENCE = 1.0  # seconds after which another Ctrl-C is one more, and not the same one passed on by a shell


class StopWhenTold(Callback):
    """End a fit after the optimiser step and the validation that are due, and other work at once, when told to.

    SIGTERM, SIGUSR1 and Ctrl-C tell it; a second Ctrl-C ends everything at once, and saves nothing.

    The exception that ends the fit is Lightning's, upon which `LastCheckpoint` saves. Lightning's own handlers speak
    to the other processes, or save, in the middle of a step, where those may be elsewhere: then all wait forever.
    Here a signal is noted, and after each step the processes agree whether one of them has received one. With several
    GPUs they read one step later what they agreed upon, so that none waits, and end the fit after that step.

    This is a context manager: it listens for signals inside the `with` block.

    Attributes:
        trained: whether this process has made a step.
        number: the signal that this or another process received; 0: none.
    """

    def __init__(self) -> None:
        self.trained = False
        self._told = self._agreed = self._steps = 0
        self._coming: HostCopy | None = None  # what the processes agree upon after the last step
        self._interrupted = math.inf
        self._ends = False
        self._trainer: Trainer | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Begin to listen for signals."""
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        """Put the earlier signal handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @property
    def number(self) -> int:
        """The signal received; of several the largest number, on Linux SIGTERM before SIGUSR1 before Ctrl-C."""
        return max(self._told, self._agreed)

    @property
    def at_limit(self) -> bool:
        """Whether SIGUSR1 told that a time limit is near, and no SIGTERM to stop for good."""
        return self.number == LIMIT

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remember the trainer; before this, all signals end the run at once but SIGUSR1, which waits for a step."""
        self._trainer = trainer

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's signal handlers."""
        self._listen()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's signal handlers, which it has set again, and its question before each batch."""
        self._listen()
        ask_no_process_before_batches(trainer)
        self._steps = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Agree with the other processes whether to stop, once a step is complete."""
        if trainer.global_step == self._steps:
            return
        self._steps, self.trained = trainer.global_step, True
        before, self._coming = self._coming, self._ask(trainer)
        late = trainer.world_size > 1 and trainer.strategy.root_device.type == "cuda"
        if coming := before if late else self._coming:
            self._agreed = max(self._agreed, int(coming.read()))
        stop_after_batch(trainer, self._agreed > 0)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish a validation that a fit has begun: half of one cannot be resumed."""
        self._listen()
        if trainer.state.fn == "fit":
            stop_after_batch(trainer, False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the fit end after its validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            stop_after_batch(trainer, self._agreed > 0)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop all processes before the test if one has received a signal, during the last validation say."""
        self._listen()
        self._agreed = int(self._ask(trainer).read())
        if self._agreed:
            self._end()

    def _ask(self, trainer: Trainer) -> HostCopy:
        """Begin to find out whether one of the processes has received a signal; one alone need not ask its device."""
        device = trainer.strategy.root_device if trainer.world_size > 1 else torch.device("cpu")
        return HostCopy(largest_of_all(trainer, torch.full((), self._told, device=device)))

    @property
    def _fits(self) -> bool:
        return self._trainer is not None and self._trainer.state.fn == "fit"

    def _listen(self) -> None:
        for number in {signal.SIGTERM, signal.SIGINT, LIMIT}:
            before = signal.signal(number, self._note)
            self._before.setdefault(number, before)

    def _note(self, number: int, _: object) -> None:
        self._told, now = max(self._told, number), time.monotonic()
        if number == signal.SIGINT:
            if now > self._interrupted + IMPATIENCE:
                raise KeyboardInterrupt
            if self._interrupted == math.inf and self._fits:
                os.write(sys.stderr.fileno(), b"\nStopping after this step. Ctrl-C again ends the run at once.\n")
            self._interrupted = min(self._interrupted, now)
        if self._trainer is None:
            if number != LIMIT:
                self._end()
        elif not self._fits:
            kill_started_processes(self._trainer, number)
            self._end()

    def _end(self) -> None:
        """End the work, once: a signal that comes again must not end what puts things away."""
        if not self._ends:
            self._ends = True
            raise SIGTERMException
