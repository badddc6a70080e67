"""Checks of a configuration and of a checkpoint before a run starts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vitm.checkpoints import CheckpointError, no_weights, read_weights
from vitm.runs.entries import Entry
from vitm.training.adversarial import AdversarialTask
from vitm.training.start import different_arguments

WITHOUT_FP32 = {  # precision of the trainer -> the one to take instead
    "bf16-true": "bf16-mixed",
    "16-true": "16-mixed",
    "transformer-engine": "bf16-mixed",
    "transformer-engine-float16": "16-mixed",
}


def check_config(entry: Entry, config: dict[str, Any]) -> None:
    """Check what a configuration alone tells: that its data exist, and that its trainer suits its task.

    Raises:
        FileNotFoundError: There is no such folder of data.
        ValueError: An option of the trainer does not go with the task, see `check_trainer`.
    """
    data = config["data"]
    roots = data["root"]
    for root in roots if isinstance(roots, list) else [roots]:
        if not Path(root).exists():
            raise FileNotFoundError(f"there is no {root}: expected the data (--data.root)")
    automatic = not issubclass(entry.load_task(), AdversarialTask)
    check_trainer(SimpleNamespace(automatic_optimization=automatic), SimpleNamespace(**config["trainer"]))


def check_trainer(task: Any, trainer: Any) -> None:
    """Check that a run can keep its promises with the options of a trainer.

    Raises:
        ValueError: It would leave no checkpoint or log; or the task steps its optimisers by itself, and an option needs
            Lightning's own steps.
    """
    if trainer.barebones or trainer.enable_checkpointing is False:
        option = "barebones true" if trainer.barebones else "enable_checkpointing false"
        raise ValueError(
            f"--trainer.{option} does not go with a run, which keeps its checkpoints and logs; for a quick look take "
            "--trainer.max_steps 10 --trainer.limit_val_batches 1"
        )
    if trainer.precision in WITHOUT_FP32:
        raise ValueError(
            f"--trainer.precision {trainer.precision} leaves nothing in fp32, which colours, losses and measurements "
            f"need: take {WITHOUT_FP32[trainer.precision]}"
        )
    if task.automatic_optimization:
        return
    if trainer.accumulate_grad_batches != 1:
        raise ValueError(
            "this stage steps two optimisers by itself, so --trainer.accumulate_grad_batches does not go with it; for "
            "less memory take --model.accumulate, which computes a batch in pieces"
        )
    if trainer.gradient_clip_val:
        raise ValueError(
            "this stage steps two optimisers by itself, so --trainer.gradient_clip_val does not go with it; "
            "--model.clip_norm and --model.clip_value clip the gradients of both"
        )


def check_network(task: Any, checkpoint: Path | None) -> None:
    """Check that a checkpoint, or a released file, is of the task's network, with the same arguments.

    Raises:
        CheckpointError: It is not, or it is damaged.
    """
    if checkpoint is None:
        return
    weights = read_weights(checkpoint, task.name, task.published)
    if not weights.ours and not weights.state.keys() & task.network.state_dict().keys():
        raise no_weights(checkpoint, task.name, weights.state)
    if weights.arguments and (different := different_arguments(weights.arguments, task.arguments)):
        raise CheckpointError(
            f"{checkpoint} was trained with other network arguments ({'; '.join(different)}); "
            "give the same --model options"
        )
