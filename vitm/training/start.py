"""How a training starts: the weights to begin from, and the parameters that do not learn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import filter as matching
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from vitm.checkpoints import CheckpointError, Published, no_weights, read_weights
from vitm.weights import SHIPPED, shipped_weights


@dataclass(frozen=True)
class Start:
    """What a network took from a file.

    Attributes:
        source: the file, or the name of weights that the package ships.
        taken: names of the tensors that were taken.
        kept: names of the tensors that the file lacks, or has in another shape; they stay as they were.
        unused: names of the tensors of the file that the network lacks, or has in another shape.
    """

    source: str
    taken: list[str]
    kept: list[str]
    unused: list[str]

    def __str__(self) -> str:
        rest = f" (not {_few(self.kept)})" if self.kept else ""
        return f"{len(self.taken)} of {len(self.taken) + len(self.kept)} tensors of {self.source}{rest}"


def start_from(
    network: nn.Module,
    source: str,
    name: str,
    arguments: Mapping[str, Any],
    published: Published | None = None,
    *,
    strict: bool = True,
) -> Start:
    """Load the weights of a file into a network.

    Args:
        network: the network, which is changed.
        source: a checkpoint of a run, a published file, a plain state dict, or a name of `vitm.weights.SHIPPED`.
        name: what our checkpoints call the network.
        arguments: arguments of its constructor, for the message where it does not fit.
        published: reader of the authors' released file.
        strict: whether all tensors of file and network must be the same, by name and shape; else those that are, are
            taken, also from a checkpoint of another network.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or does not fit.
    """
    path = shipped_weights(source) if source in SHIPPED else Path(source)
    weights = read_weights(path, name if strict else None, published)
    here = network.state_dict()
    fitting = {
        key: value
        for key, value in weights.state.items()
        if isinstance(value, Tensor) and key in here and value.shape == here[key].shape
    }
    kept, unused = ([str(key) for key in state if key not in fitting] for state in (here, weights.state))
    start = Start(source, [*fitting], kept, unused)
    if not fitting:
        raise no_weights(path, name, weights.state)
    if strict and (start.kept or start.unused):
        different = different_arguments(weights.arguments, arguments) if weights.arguments else []
        why = f"other arguments ({'; '.join(different)})" if different else f"not {_few(start.kept or start.unused)}"
        raise CheckpointError(
            f"{source} does not fit {name}: {len(start.taken)} of {len(here)} tensors are in both, {why}; give the "
            "same --model options, or take what fits (--model.init_strict false)"
        )
    network.load_state_dict(fitting, strict=False)
    return start


def freeze(network: nn.Module, patterns: Sequence[str]) -> None:
    """Take the gradients from the parameters of a network whose names fit one of the patterns, such as `stages.0.*`.

    Raises:
        ValueError: a pattern fits no parameter, or no parameter is left to learn.
    """
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        if not matching(names, pattern):
            raise ValueError(f"freeze: {pattern!r} fits none of the {len(names)} parameters, such as {_few(names)}")
        for name in matching(names, pattern):
            network.get_parameter(name).requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError(f"freeze: {', '.join(patterns)} leaves no parameter to learn")


def different_arguments(saved: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Return the arguments of a constructor that a file has otherwise than a network, as texts."""
    return [
        f"{name}: {saved.get(name)} there, {value} here"
        for name, value in here.items()
        if json.dumps(saved.get(name)) != json.dumps(value)
    ]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
