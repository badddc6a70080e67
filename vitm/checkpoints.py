"""Reading checkpoint files safely: the state and the constructor arguments of the network in them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class CheckpointError(ValueError):
    """A file is no checkpoint, or one of another network."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint file on the CPU, without running code from it.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: the file is truncated or no checkpoint.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        file = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is no checkpoint, or is damaged: {error}") from error
    if not isinstance(file, dict):
        raise CheckpointError(f"{path} is no checkpoint: it holds a {type(file).__name__}")
    return file


def network_state(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The state dict of the network inside one of our checkpoints."""
    prefix = "network."
    return {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
