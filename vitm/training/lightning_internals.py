"""All that this project takes of Lightning beyond its documented interface.

Each function says what it is for. A name that a new version no longer has is an error that says so, here and in the
test of this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from operator import or_
from typing import Any, get_args

import lightning
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

__all__ = [
    "CHECKED_WITH",
    "PATHS",
    "SIGTERMException",
    "ask_no_process_before_batches",
    "begin_new_epoch_if_over",
    "between_batches",
    "kill_started_processes",
    "logged_step",
    "loss_scale",
    "number_steps_as_trainer",
    "step_uncounted",
    "stop_after_batch",
    "whole_numbers_first",
]

CHECKED_WITH = ("2.5.0", "2.5.6", "2.6.1", "2.6.6")
"""Versions of Lightning whose source was read for these names, and whose resumed runs were compared bit by bit."""

PATHS = {
    "fit_loop.restarting": "whether a fit goes on from a checkpoint",
    "fit_loop.epoch_progress.current.ready": "epochs begun",
    "fit_loop.epoch_progress.current.processed": "epochs ended",
    "fit_loop.epoch_loop": "asks the other processes before each batch, from 2.6 on",
    "fit_loop.epoch_loop.restarting": "whether an epoch goes on from a checkpoint",
    "fit_loop.epoch_loop.update_restart_stage": "derives how it goes on",
    "fit_loop.epoch_loop._batches_that_stepped": "step numbers of the loggers",
    "fit_loop.epoch_loop.batch_progress.current.ready": "batches begun in this epoch",
    "fit_loop.epoch_loop.batch_progress.total.ready": "batches begun",
    "fit_loop.epoch_loop.batch_progress.total.processed": "batches trained on; vitm/data/module.py reads it",
    "fit_loop.epoch_loop.batch_progress.is_last_batch": "whether the batch that was begun ends the epoch",
    "_signal_connector.received_sigterm": "read after each batch; ends the fit by SIGTERMException",
    "strategy.launcher": "what started the other processes of this machine",
    "strategy.optimizer_step": "a step that is not counted as the trainer's",
    "precision_plugin": "holds the scaler of fp16",
}
"""Attributes of a trainer that are used here, and what they are."""


def _get(trainer: Trainer, path: str) -> Any:
    """Return the attribute of a trainer at a path of `PATHS`."""
    try:
        return reduce(getattr, path.split("."), trainer)
    except AttributeError as error:
        raise RuntimeError(
            f"lightning {lightning.__version__} has no trainer.{path} ({PATHS[path]}); vitm was checked with lightning "
            f"{', '.join(CHECKED_WITH)}: install one of these"
        ) from error


def begin_new_epoch_if_over(trainer: Trainer) -> None:
    """Begin an epoch where the checkpoint ended one.

    With `max_steps` Lightning would go on with the epoch that is over: by one more batch, which then makes a step
    alone, whatever `accumulate_grad_batches` says, or, where a validation is due, by counting the epoch twice.
    """
    epochs_begun = _get(trainer, "fit_loop.epoch_progress.current.ready")
    epochs_ended = _get(trainer, "fit_loop.epoch_progress.current.processed")
    if _get(trainer, "fit_loop.restarting") and epochs_begun == epochs_ended:
        update = _get(trainer, "fit_loop.epoch_loop.update_restart_stage")
        trainer.fit_loop.epoch_loop.restarting = False
        update()


@contextmanager
def between_batches(trainer: Trainer) -> Iterator[None]:
    """Let the trainer's counters stand as before the batch that has just begun, as they do after a validation.

    A run that goes on from a checkpoint saved inside begins with that batch.
    """
    for name in ("current.ready", "total.ready", "is_last_batch"):
        _get(trainer, f"fit_loop.epoch_loop.batch_progress.{name}")
    progress = trainer.fit_loop.epoch_loop.batch_progress
    is_last = progress.is_last_batch
    progress.current.ready, progress.total.ready = progress.current.ready - 1, progress.total.ready - 1
    progress.is_last_batch = False
    try:
        yield
    finally:
        progress.current.ready, progress.total.ready = progress.current.ready + 1, progress.total.ready + 1
        progress.is_last_batch = is_last


def number_steps_as_trainer(trainer: Trainer) -> None:
    """Number the steps in logs as the trainer does: after some restarts Lightning's other count is one ahead."""
    _get(trainer, "fit_loop.epoch_loop._batches_that_stepped")
    trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step


def logged_step(trainer: Trainer) -> int:
    """Return the number of the step under which the trainer logs now."""
    return int(_get(trainer, "fit_loop.epoch_loop._batches_that_stepped"))


def stop_after_batch(trainer: Trainer, stop: bool) -> None:
    """Let the fit end by a `SIGTERMException` after the batch and its validation; or not, whatever was said before."""
    _get(trainer, "_signal_connector.received_sigterm")
    trainer._signal_connector.received_sigterm = stop


def ask_no_process_before_batches(trainer: Trainer) -> None:
    """Leave out that the processes ask the first one before each batch whether it was told to stop.

    The host waits for its GPU there. Versions before 2.6 do not ask, and a `StopWhenTold` asks all processes.
    """
    _get(trainer, "fit_loop.epoch_loop")
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]


def kill_started_processes(trainer: Trainer, number: int) -> None:
    """Send a signal to the processes that this one started on its machine."""
    launcher = _get(trainer, "strategy.launcher")
    if launcher is not None:
        launcher.kill(number)


def whole_numbers_first() -> None:
    """Let the trainer's options that may be a whole number or a fraction take 1 for the whole number, one batch say.

    Where a library with `Optional[Union[float, int]]`, such as Kornia, was imported shortly before, Python takes that
    from its cache for Lightning's `Optional[Union[int, float]]`, and a parser of options makes 1.0 of 1: all batches.
    """
    hints = Trainer.__init__.__annotations__
    for name, hint in hints.items():
        kinds = get_args(hint)
        if float in kinds and int in kinds[kinds.index(float) :]:
            hints[name] = reduce(or_, (int, *(kind for kind in kinds if kind is not int)))


def loss_scale(trainer: Trainer) -> float:
    """Return the factor on losses and gradients under fp16; 1 otherwise."""
    plugin = _get(trainer, "precision_plugin")
    scaler = getattr(plugin, "scaler", None)  # only mixed precision has the attribute
    return float(scaler.get_scale()) if scaler is not None else 1.0


def step_uncounted(trainer: Trainer, optimizer: Any) -> None:
    """Step an optimiser, as `optimizers()` gives it, without counting a step of the trainer."""
    _get(trainer, "strategy.optimizer_step")(optimizer.optimizer, closure=lambda: None)
