"""Runs that are told to stop do so between two steps, and all their processes at the same one."""

from __future__ import annotations

import signal
from typing import Any, Self

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import distributed

LIMIT = getattr(signal, "SIGUSR1", signal.SIGTERM)


class StopWhenTold(Callback):
    """On SIGTERM or SIGUSR1, end a fit after the optimiser step and the validation that are due; other work at once.

    The exception that ends it is Lightning's, upon which `LastCheckpoint` saves. Lightning's own handlers speak to the
    other processes, or save, in the midst of a step, where those may be elsewhere: then all wait forever.
    Here a signal is noted, and after each step the processes agree whether one of them was told.

    A context, within which it listens.

    Attributes:
        trained: whether this process has made a step.
        number: the signal that it, or another process, was told by; 0: none.
    """

    def __init__(self) -> None:
        self.trained = False
        self._told = self._agreed = self._steps = 0
        self._trainer: Trainer | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Listen from now on."""
        self._listen()
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @property
    def number(self) -> int:
        """SIGTERM where there was that one too: it is the larger number on Linux."""
        return max(self._told, self._agreed)

    @property
    def at_limit(self) -> bool:
        """Whether it was told by SIGUSR1 that a time limit is near, and not by SIGTERM to stop for good."""
        return self.number == LIMIT

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Whom to stop: until now, SIGTERM ends the process, and SIGUSR1 waits for the first step."""
        self._trainer = trainer

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the place of Lightning's handlers."""
        self._listen()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Likewise."""
        self._listen()
        self._steps = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Agree, unless the step takes more batches."""
        if trainer.global_step == self._steps:
            return
        self._steps, self.trained = trainer.global_step, True
        self._agree(trainer)
        self._stop_after_batch(trainer, self._agreed > 0)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A validation during a fit is finished first: what is left of one cannot be gone on with."""
        self._listen()
        if trainer.state.fn == "fit":
            self._stop_after_batch(trainer, False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """And then the fit is over."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._stop_after_batch(trainer, self._agreed > 0)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A test is not begun by any process after a signal to one, during the last validation say."""
        self._listen()
        self._agree(trainer)
        if self._agreed:
            raise SIGTERMException

    def _agree(self, trainer: Trainer) -> None:
        """Whether one of the processes was told; one alone need not ask its device, which would wait for that."""
        self._agreed = self._told
        if trainer.world_size > 1:
            told = torch.tensor(self._told, device=trainer.strategy.root_device)
            distributed.all_reduce(told, distributed.ReduceOp.MAX)
            self._agreed = int(told)

    def _listen(self) -> None:
        for number in {signal.SIGTERM, LIMIT}:
            before = signal.signal(number, self._note)
            self._before.setdefault(number, before)

    def _note(self, number: int, _: object) -> None:
        self._told = max(self._told, number)
        trainer = self._trainer
        if trainer is None:
            if number != LIMIT:
                raise SIGTERMException
        elif trainer.state.fn != "fit":
            if trainer.strategy.launcher is not None:
                trainer.strategy.launcher.kill(number)  # processes that this one started
            raise SIGTERMException

    @staticmethod
    def _stop_after_batch(trainer: Trainer, stop: bool) -> None:
        """Lightning looks at this after each batch and its validation, and in evaluation after each batch."""
        trainer._signal_connector.received_sigterm = stop
