"""The model that a conversion is asked for: a name, weights, or a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vitm.checkpoints import CheckpointError, read_checkpoint
from vitm.nets.flow import check_flow_name
from vitm.zoo import NETWORKS, OPERATORS, SHIPPED, check_options, load_network, needs_no_weights, network_class


def check_model(
    model: str | nn.Module | None, checkpoint: Path | None, options: Mapping[str, Any] | None = None
) -> None:
    """Raise if the name of a model, a file of its weights or an option cannot be right; nothing is read.

    Args:
        model: as for `choose_model`, and so are the others.
        checkpoint: its weights.
        options: arguments of its network.

    Raises:
        ValueError: the name is unknown, or weights are missing, or they or an option are not taken.
        FileNotFoundError: there is no such file of weights.
    """
    given = {option: value for option, value in (options or {}).items() if value is not None}
    if isinstance(model, nn.Module):
        if checkpoint is not None or given:
            words = " and ".join(f"no {option}" for option in ("checkpoint", *(options or {})))
            raise ValueError(f"a network given as an object has its weights: give {words}")
        return
    if model is not None and model not in SHIPPED and model not in OPERATORS:
        network_class(model)
        if checkpoint is None and model in NETWORKS and NETWORKS[model].learned:
            raise ValueError(_needs_weights(model))
    if model is not None or checkpoint is None:  # else the checkpoint tells
        check_options(model or "default", given)
    if "flow" in given:
        check_flow_name(given["flow"])
    for path in (checkpoint, given.get("flow_weights")):
        if path is not None and not Path(path).exists():
            raise FileNotFoundError(f"no checkpoint at {path}")


def choose_model(
    model: str | nn.Module | None,
    checkpoint: Path | None,
    options: Mapping[str, Any] | None,
    device: str | torch.device | None,
) -> tuple[str, nn.Module]:
    """Return the name of a model, and its network in eval mode on its device.

    Args:
        model: name of a network of `vitm.zoo` or of an analytic operator, or a network; None: what `checkpoint` names,
            or without one the network that comes with its weights.
        checkpoint: weights: a checkpoint of a run, or a published file.
        options: arguments of its network that win over the checkpoint's, such as `flow`; None is not given.
        device: where the network runs; None for the first GPU, or the CPU if there is none. A network that is given
            stays where it is.

    Raises:
        ValueError: the name is unknown, or weights are missing, or they or an option are not taken.
        FileNotFoundError: there is no such file of weights.
        CheckpointError: the weights are damaged, another network's, or name none.
    """
    check_model(model, checkpoint, options)
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
    network = load_network(model, checkpoint, **(options or {}))
    if model not in SHIPPED and checkpoint is None and network.state_dict():
        raise ValueError(_needs_weights(model))
    return model, network.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _needs_weights(model: str) -> str:
    return f"{model} needs weights: give checkpoint=FILE (models that need none: {', '.join(needs_no_weights())})"
