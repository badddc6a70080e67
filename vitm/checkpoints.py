"""Read checkpoint files safely, and rebuild the networks in them."""

from __future__ import annotations

import codecs
import inspect
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from zipfile import ZipFile

import numpy as np
import torch
from numpy.lib.format import read_array_header_1_0, read_array_header_2_0, read_magic
from torch import Tensor, nn

from vitm.files import digest, replace_when_whole

CHOSEN_ON = "chosen_on"
"""Key of our checkpoints that a validation chose: what identifies the pictures that it looked at."""

KeyMap = Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]
"""Regular expressions and what replaces their matches in a key, applied one after another."""


class CheckpointError(ValueError):
    """A file is no checkpoint, or one of another network."""


class Weights(NamedTuple):
    """The weights of a network in a file.

    Attributes:
        state: state dict of the network.
        arguments: arguments of its constructor; a plain state dict tells none of them.
        ours: whether a run wrote the file.
    """

    state: dict[str, Tensor]
    arguments: dict[str, Any]
    ours: bool = False


Published = Callable[[Mapping[str, Tensor]], Weights | None]
"""Read a published state dict, under the names here; None if the state dict is of another network."""


class Recorded(NamedTuple):
    """What one of our checkpoints says about its network.

    Attributes:
        network: name in the zoo, or import path of the class.
        arguments: all arguments of its constructor.
    """

    network: str
    arguments: dict[str, Any]


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Return the contents of a checkpoint file, on the CPU, without running code from it.

    Args:
        path: a local file; or a folder, where authors released a network in several files (`*.pth`): their keys then
            begin with the name of their file, as in `LE.conv_first.weight`. Of a list of arrays in an `.npz` file, as
            TensorLayer writes them, the keys are their places: `params.0`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is truncated or no checkpoint.
    """
    if files := checkpoint_files(path):
        return {f"{file.stem}.{key}": value for file in files for key, value in read_checkpoint(file).items()}
    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        if Path(path).suffix == ".npz":
            return _read_arrays(Path(path))
        file = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler meets damage in any of its steps
        raise CheckpointError(f"{path} is no checkpoint, or is damaged: {error}") from error
    if not isinstance(file, dict):
        raise CheckpointError(f"{path} is no checkpoint: it holds a {type(file).__name__}")
    return file


def _read_arrays(path: Path) -> dict[str, Any]:
    """Return the arrays of an `.npz` file, and those of its lists, which NumPy pickles, by their places."""
    arrays: dict[str, Any] = {}
    with ZipFile(path) as archive:
        for member in archive.namelist():
            name = member.removesuffix(".npy")
            with archive.open(member) as file:
                read_header = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}[read_magic(file)]
                if not read_header(file)[2].hasobject:
                    arrays[name] = torch.from_numpy(np.load(path)[name])
                    continue
                for place, array in enumerate(_Arrays(file, encoding="latin1").load().flat):
                    arrays[f"{name}.{place}"] = torch.from_numpy(np.ascontiguousarray(array))
    return arrays


class _Arrays(pickle.Unpickler):
    """Reads arrays, also of Python 2, and calls nothing else that a file names."""

    allowed: ClassVar[dict[str, Any]] = {
        "_reconstruct": np.empty(0).__reduce__()[0],
        "ndarray": np.ndarray,
        "dtype": np.dtype,
        "encode": codecs.encode,
    }

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] not in ("numpy", "_codecs") or name not in self.allowed:
            raise pickle.UnpicklingError(f"the file asks for {module}.{name}, which is no array")
        return self.allowed[name]


def checkpoint_files(folder: str | Path) -> list[Path]:
    """Return the files of a network that was released in several, in the order of their names; none: no such folder."""
    return sorted(Path(folder).glob("*.pth"))


def checkpoint_digest(path: Path) -> str:
    """Return the SHA-256 of a checkpoint file; of a folder, that of its files' names and SHA-256, one a line."""
    files = checkpoint_files(path)
    return digest("".join(f"{digest(file)}  {file.name}\n" for file in files) if files else path)


def recorded(checkpoint: Mapping[str, Any]) -> Recorded | None:
    """Return what one of our checkpoints says about its network; None for somebody else's file.

    Raises:
        CheckpointError: it is one of ours, and damaged.
    """
    about = checkpoint.get("vitm")
    if about is None:
        return None
    if not (isinstance(about, Mapping) and {"network", "arguments"} <= set(about)):
        raise CheckpointError("a damaged checkpoint: its entry 'vitm' does not name a network and its arguments")
    return Recorded(about["network"], about["arguments"])


def network_state(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the state dict of the network inside one of our checkpoints."""
    prefix = "network."
    return {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}


def constructor_arguments(network: type[nn.Module], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of a network's constructor: those given, and the defaults of the others."""
    bound = inspect.signature(network).bind(**given)
    bound.apply_defaults()
    return dict(bound.arguments)


def read_weights(path: str | Path, name: str | None = None, published: Published | None = None) -> Weights:
    """Read a network's weights from a file: one of our checkpoints, a published file, or a plain state dict.

    Args:
        path: a local file.
        name: what our checkpoints call the network; None: one of any name.
        published: reader of the authors' released file.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or holds another network.
    """
    file = read_checkpoint(path)
    try:
        if (about := recorded(file)) is not None:
            if name is not None and about.network != name:
                raise CheckpointError(f"{path} is a checkpoint of {about.network}, not of {name}")
            return Weights(network_state(file), about.arguments, ours=True)
        released = None if published is None else published(file)
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(f"{path} does not fit {name}: {error}") from error
    return Weights(file, {}) if released is None else released


def no_weights(path: str | Path, name: str, state: Mapping[str, Any]) -> CheckpointError:
    """Return the error to raise for a file that has no weight of a network."""
    first = ", ".join([*map(str, state)][:5])
    return CheckpointError(f"{path} holds no {name} that is known here; its first keys are: {first}")


def write_weights(checkpoint: str | Path, path: str | Path, **arguments: Any) -> None:
    """Write the network of one of our checkpoints alone, in half precision, as `rebuild_network` reads it.

    Args:
        checkpoint: checkpoint of a run.
        path: the new file.
        **arguments: arguments of the network's class that win over those that the checkpoint tells.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        CheckpointError: it is damaged, or not one of ours.
    """
    file = read_checkpoint(checkpoint)
    if (about := recorded(file)) is None:
        raise CheckpointError(f"{checkpoint} is no checkpoint of a run")
    state = {f"network.{k}": v.half() if v.is_floating_point() else v for k, v in network_state(file).items()}
    with replace_when_whole(path) as part:
        about = about._replace(arguments=about.arguments | arguments)
        torch.save({"vitm": about._asdict(), "state_dict": state}, part)


def rebuild_network(
    path: str | Path,
    name: str,
    network: Callable[..., nn.Module],
    published: Published | None = None,
    **options: Any,
) -> nn.Module:
    """Rebuild a network from a file: one of our checkpoints, a published file, or a plain state dict.

    Args:
        path: a local file.
        name: what our checkpoints call the network.
        network: its class. A plain state dict is loaded into it with its default arguments.
        published: reader of the authors' released file.
        **options: arguments of the class that win over those that the file tells.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, or holds another network.
    """
    weights = read_weights(path, name, published)
    try:
        rebuilt = network(**weights.arguments | options)
        if not weights.state.keys() & rebuilt.state_dict().keys():
            raise no_weights(path, name, weights.state)
        rebuilt.load_state_dict(weights.state)
        return rebuilt
    except (RuntimeError, TypeError) as error:
        raise CheckpointError(f"{path} does not fit {name}: {error}") from error


def rename_key(key: str, key_map: KeyMap) -> str:
    """Return the name here of a key in a published state dict."""
    for pattern, replacement in key_map:
        key = re.sub(pattern, replacement, key)
    return key
