"""The model that a conversion is asked for: a name, weights, or a network."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import torch
from torch import nn

from vitm.checkpoints import CheckpointError, read_checkpoint
from vitm.zoo import NETWORKS, OPERATORS, SHIPPED, load_network, needs_no_weights, network_class


def check_model(
    model: str | nn.Module | None, checkpoint: Path | None, flow_weights: str | PathLike[str] | None
) -> None:
    """Raise if the name of a model or a file of its weights cannot be right; nothing is read.

    Args:
        model: as for `choose_model`, and so are the others.
        checkpoint: its weights.
        flow_weights: weights of its optical flow.

    Raises:
        ValueError: the name is unknown, or weights are missing or not taken.
        FileNotFoundError: there is no such file of weights.
    """
    if isinstance(model, nn.Module):
        if checkpoint is not None or flow_weights is not None:
            raise ValueError("a network given as an object has its weights: give no checkpoint and no flow_weights")
        return
    if model is not None and model not in SHIPPED and model not in OPERATORS:
        network_class(model)
        if checkpoint is None and model in NETWORKS and NETWORKS[model].learned:
            raise ValueError(_needs_weights(model))
    for path in (checkpoint, flow_weights):
        if path is not None and not Path(path).exists():
            raise FileNotFoundError(f"no checkpoint at {path}")


def choose_model(
    model: str | nn.Module | None,
    checkpoint: Path | None,
    flow_weights: str | PathLike[str] | None,
    device: str | torch.device | None,
) -> tuple[str, nn.Module]:
    """Return the name of a model, and its network in eval mode on its device.

    Args:
        model: name of a network of `vitm.zoo` or of an analytic operator, or a network; None: what `checkpoint` names,
            or without one the network that comes with its weights.
        checkpoint: weights: a checkpoint of a run, or a published file.
        flow_weights: weights of the network's optical flow.
        device: where the network runs; None for the first GPU, or the CPU if there is none. A network that is given
            stays where it is.

    Raises:
        ValueError: the name is unknown, or weights are missing or not taken.
        FileNotFoundError: there is no such file of weights.
        CheckpointError: the weights are damaged, another network's, or name none.
    """
    check_model(model, checkpoint, flow_weights)
    if isinstance(model, nn.Module):
        return type(model).__name__, (model if device is None else model.to(device)).eval()
    if model is None and checkpoint is None:
        model = "default"
    if model is None:
        assert checkpoint is not None
        facts = read_checkpoint(checkpoint).get("vitm")
        if facts is None:
            raise CheckpointError(f"{checkpoint} is no checkpoint of a run and names no network: give model=NAME too")
        model = str(facts["network"])
    network = load_network(model, checkpoint, None if flow_weights is None else Path(flow_weights))
    if model not in SHIPPED and checkpoint is None and network.state_dict():
        raise ValueError(_needs_weights(model))
    return model, network.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _needs_weights(model: str) -> str:
    return f"{model} needs weights: give checkpoint=FILE (models that need none: {', '.join(needs_no_weights())})"
