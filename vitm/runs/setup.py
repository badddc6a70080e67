"""From a request to a run that can start: its folder, its data, and the options that LightningCLI parses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from vitm.checkpoints import Weights, checkpoint_files, read_weights
from vitm.console import console
from vitm.runs.command import Request
from vitm.runs.entries import find_entry
from vitm.runs.folders import best_checkpoint, first_process, newest_run, run_folder, run_tags
from vitm.runs.old_options import read_config
from vitm.runs.options import as_flags
from vitm.runs.published import protocol_options

DEMO = "No data is configured (--data.root): this run uses the [bold]demo data[/] and demo.yaml."


@dataclass(frozen=True)
class Setup:
    """A run that can start.

    Attributes:
        request: What the user wants.
        folder: Where it writes.
        resumed: Whether it goes on with what an earlier process left in that folder.
        demo: Whether it uses the demo data.
        checkpoint: The weights that it measures; None: those that it trains.
        released: Those weights, where the file is not of a run.
        arguments: Options for LightningCLI; later ones win, and what the user typed comes last.
    """

    request: Request
    folder: Path
    resumed: bool
    demo: bool
    checkpoint: Path | None
    released: Weights | None
    arguments: tuple[str, ...]

    @property
    def tag(self) -> str:
        """The kind of its data: `demo` or `data`."""
        return "demo" if self.demo else "data"

    @property
    def last(self) -> Path:
        """The checkpoint from which it is resumed."""
        return self.folder / "checkpoints" / "last.ckpt"


def set_up(request: Request) -> Setup:
    """Choose the folder, the configuration files and the checkpoint; make the demo data if they are used.

    Raises:
        ValueError: An earlier stage was not trained, or there is nothing to train.
        FileNotFoundError: There is no such run or checkpoint.
    """
    entry = request.entry
    trains = entry.load_task().trains
    if request.command == "fit" and not trains:
        raise ValueError(f"{entry.name} has nothing to train: leave `fit` out, and the run is a test")
    checkpoint = None if request.trains or not trains else _measured_checkpoint(request)
    weights = read_weights(checkpoint, None, entry.load_task().published) if checkpoint else None
    folder, resumed = run_folder(request)
    if resumed:
        demo = "demo" in run_tags(folder)
        arguments = as_flags(read_config(folder))
    else:
        demo = entry.takes_demo_data({"data.root"} if request.gives("data.root") else ())
        arguments = as_flags({"entry": entry.about}, entry.config(demo=demo))
        if demo:
            if first_process():
                console().print(DEMO, soft_wrap=True)
            arguments += ["--data.root", str(entry.load_data_module().demo_root())]
        arguments += _network(weights) if weights else _earlier_stages(request, demo)
    arguments += protocol_options(entry) if request.protocol else []
    released = None if weights is None or weights.ours else weights
    return Setup(request, folder, resumed, demo, checkpoint, released, (*arguments, *request.options))


def _measured_checkpoint(request: Request) -> Path:
    checkpoint = request.checkpoint or best_checkpoint(newest_run(request.entry, request.runs, "checkpoints/*.ckpt"))
    if not (checkpoint.is_file() or checkpoint_files(checkpoint)):
        raise FileNotFoundError(f"no checkpoint at {checkpoint}")
    return checkpoint


def _network(weights: Weights) -> list[str]:
    """Return the network's arguments as options, from the file to be measured."""
    return [
        x for k, v in weights.arguments.items() for x in (f"--model.{k}", v if isinstance(v, str) else json.dumps(v))
    ]


def _earlier_stages(request: Request, demo: bool) -> list[str]:
    """Return options that name checkpoints of earlier stages: the best of the newest runs on the same kind of data."""
    options: list[str] = []
    for option, stage in request.entry.after.items():
        if request.gives(option) or request.gives("model.init_from"):
            continue
        try:
            folder = newest_run(find_entry(stage), request.runs, "checkpoints/*.ckpt", "demo" if demo else "data")
        except FileNotFoundError as error:
            raise ValueError(
                f"{request.entry.name} goes on from a trained {stage}, and there is no run of it on "
                f"{'the demo' if demo else 'your own'} data under {request.runs}: train that first, or give its "
                f"checkpoint (--{option} PATH)"
            ) from error
        options += [f"--{option}", str(best_checkpoint(folder))]
    return options
