"""What must be right before a run begins."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vitm.checkpoints import CheckpointError, read_checkpoint
from vitm.runs.entries import Entry
from vitm.training.adversarial import AdversarialTask


def check_config(entry: Entry, config: dict[str, Any]) -> None:
    """What is seen from a run's configuration alone: its data must be there, and its trainer fit its task.

    Raises:
        FileNotFoundError: there is no folder or file of that name.
        ValueError: see `check_trainer`.
    """
    data = config["data"]
    roots = data["root"]
    for root in roots if isinstance(roots, list) else [roots]:
        if not Path(root).exists():
            raise FileNotFoundError(f"there is no {root}: expected the data (--data.root)")
    automatic = not issubclass(entry.load_task(), AdversarialTask)
    check_trainer(SimpleNamespace(automatic_optimization=automatic), SimpleNamespace(**config["trainer"]))


def check_trainer(task: Any, trainer: Any) -> None:
    """Options that only Lightning's own optimiser steps heed are an error where a task makes steps by itself.

    Raises:
        ValueError: it does, and the trainer's configuration has one of them.
    """
    if task.automatic_optimization:
        return
    if trainer.accumulate_grad_batches != 1:
        raise ValueError(
            "this stage steps two optimisers by itself, so --trainer.accumulate_grad_batches does not go with it; for "
            "less memory take a smaller --data.batch_size and more devices, or where there is one --model.accumulate, "
            "which computes a batch in pieces"
        )
    if trainer.gradient_clip_val:
        raise ValueError(
            "this stage steps two optimisers by itself, so --trainer.gradient_clip_val does not go with it; where "
            "there is one, --model.clip_value clips gradients"
        )


def check_network(task: Any, checkpoint: Path | None) -> None:
    """A checkpoint must be of the task's network, with the same arguments.

    Raises:
        CheckpointError: it is not, or is damaged.
    """
    if checkpoint is None:
        return
    identity = read_checkpoint(checkpoint).get("vitm")
    if identity is None:
        raise CheckpointError(f"{checkpoint} was not written by experiments.run")
    if identity["network"] != task.name:
        raise CheckpointError(f"{checkpoint} is a checkpoint of {identity['network']}, not of {task.name}")
    theirs, ours = identity["arguments"], task.arguments
    different = [
        f"{k}: {theirs.get(k)} there, {v} here" for k, v in ours.items() if json.dumps(theirs.get(k)) != json.dumps(v)
    ]
    if different:
        raise CheckpointError(
            f"{checkpoint} was trained with other network arguments ({'; '.join(different)}); "
            "give the same --model options"
        )
