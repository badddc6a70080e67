"""What a run measured: `metrics.json`, and a table with the paper's numbers beside ours."""

from __future__ import annotations

import platform
from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from vitm.checkpoints import CHOSEN_ON, read_checkpoint
from vitm.files import read_json, write_json
from vitm.metrics import compatible, value_info, value_order, value_protocols
from vitm.nets.complexity import count_parameters
from vitm.runs.entries import Entry
from vitm.runs.overrides import unreadable

PACKAGES = ("torch", "lightning", "torchmetrics", "kornia", "opencv-python", "opencv-python-headless", "av")


def describe(console: Console, entry: Entry, task: Any, data: Any, folder: Path) -> None:
    """Say in a few lines what will run, from which weights if not its own, on what, and where it goes."""
    console.print(f"[bold]{entry.name}[/]: {entry.title}")
    console.print(f"network: {count_parameters(task.network) / 1e6:.4f} M parameters; data: {data.root}")
    if task.start:
        console.print(f"weights: {task.start}", soft_wrap=True, markup=False)
    console.print(f"run folder: {folder}", soft_wrap=True)


@dataclass
class Results:
    """Numbers of one run, and what is needed to read them.

    Attributes:
        entry: name of the entry.
        about: the entry's own section: paper, table, row, the paper's numbers.
        demo: whether the data was the demo data; such numbers do not compare with the paper's.
        stage: `test` or `val`, or `fit` for a run that was not measured after training.
        values: metric name -> value of the network.
        baselines: name of an analytic operator or of another yardstick -> metric name -> value, on the same frames.
        protocol: name of a value -> how it was measured.
        unlike_paper: name of a value -> how the paper measured it, where that is known to differ.
        parameters: number of parameters.
        macs: multiply-adds a frame at 256 x 256; None: not counted.
        steps: optimiser steps of the weights that were measured or trained; None: those of a released file.
        checkpoint: the file that was measured; None: the weights as training left them.
        device: what it was measured on.
        fit_seconds: time of the training, before and after interruptions.
        wall_seconds: the same with what came after it.
        finished: date and time of the end.
        chosen_on_test: whether validation chose these weights, among others, on the frames that are measured.
    """

    entry: str
    about: dict[str, Any]
    demo: bool
    stage: str
    values: dict[str, float]
    baselines: dict[str, dict[str, float]]
    protocol: dict[str, str]
    unlike_paper: dict[str, str]
    parameters: int
    macs: int | None
    steps: int | None
    checkpoint: str | None
    device: str
    fit_seconds: float = 0.0
    wall_seconds: float = 0.0
    finished: str = ""
    chosen_on_test: bool = False

    @classmethod
    def collect(cls, entry: Entry, trainer: Any, task: Any, demo: bool, checkpoint: Any) -> Results:
        """Return the results of a trainer that is done."""
        from vitm.training.callbacks import AnalyticBaselines

        logged = {k: float(v) for k, v in trainer.callback_metrics.items()}
        stage = next((s for s in ("test", "val") if any(k.startswith(f"{s}/") for k in logged)), "fit")
        analytic = [c.results for c in trainer.callbacks if isinstance(c, AnalyticBaselines)]
        cpu = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
        protocols = value_protocols({**task.test_metrics, **task.masked_metrics()})
        of_paper = entry.protocols
        measured = read_checkpoint(checkpoint) if checkpoint else {}
        return cls(
            entry=entry.name,
            about=entry.about,
            demo=demo,
            stage=stage,
            values={k.removeprefix(f"{stage}/"): v for k, v in logged.items() if k.startswith(f"{stage}/")},
            baselines=_beside(*analytic, task.baselines()),
            protocol={name: ", ".join(filter(None, (str(p), task.light))) for name, p in protocols.items()},
            unlike_paper={
                name: str(of_paper[name])
                for name, protocol in protocols.items()
                if name in of_paper and not compatible(protocol, of_paper[name])
            },
            parameters=count_parameters(task.network),
            macs=task.macs_per_frame(),
            steps=measured.get("global_step") if checkpoint else trainer.global_step,
            checkpoint=str(checkpoint) if checkpoint else None,
            chosen_on_test=bool(checkpoint) and chosen_on(measured, Path(checkpoint), trainer.datamodule, stage),
            device=torch.cuda.get_device_name(task.device) if task.device.type == "cuda" else cpu,
        )

    @classmethod
    def read(cls, path: Path) -> Results:
        """Return the results in a `metrics.json`; what an older one lacks is empty.

        Raises:
            ValueError: the file is missing, or damaged; the message names it.
        """
        empty: dict[str, Any] = {
            "entry": "",
            "about": {},
            "demo": False,
            "baselines": {},
            "protocol": {},
            "unlike_paper": {},
        }
        empty |= {"parameters": 0, "macs": None, "steps": 0, "checkpoint": None, "device": ""}
        try:
            content = read_json(path)
            return cls(**empty | {field.name: content[field.name] for field in fields(cls) if field.name in content})
        except (OSError, ValueError, TypeError) as error:
            raise unreadable(path, error if isinstance(error, OSError) else ValueError("it is damaged")) from error

    def save(self, path: Path, fit_seconds: float, wall_seconds: float) -> None:
        """Write `metrics.json`: the results, times, versions and hardware.

        Args:
            path: file to write.
            fit_seconds: time of the training, before and after it was interrupted.
            wall_seconds: the same with what came after it.
        """
        self.fit_seconds, self.wall_seconds = round(fit_seconds, 1), round(wall_seconds, 1)
        self.finished = datetime.now(UTC).isoformat(timespec="seconds")
        content = asdict(self) | {"python": platform.python_version(), "versions": _versions()}
        write_json(path, content)

    def print(self, console: Console, entry: Entry) -> None:
        """Print every value of a run of an entry: ours, the paper's, and those of what needs no training."""
        if not self.values:
            console.print("Trained, not measured (test measures).")
            return
        # A number that was measured otherwise does not stand beside ours.
        paper = {name: number for name, number in entry.results.items() if name not in self.unlike_paper}
        table = Table(title=f"{self.entry}, {self.stage}", title_justify="left")
        table.add_column("")
        heading = Path(str(self.checkpoint)).name if self.steps is None else f"ours, {self.steps} steps"
        table.add_column(heading, justify="right", style="bold")
        if paper:
            table.add_column(f"paper, Table {entry.table}, {entry.row}", justify="right")
        if paper and not self.demo:
            table.add_column("ours - paper", justify="right")
        for name in self.baselines:
            table.add_column(name, justify="right")
        for name in value_order(self.values):
            ours, printed = self.values[name], paper.get(name)
            cells = [in_digits(ours)]
            if paper:
                cells.append("" if printed is None else str(printed))
            if paper and not self.demo:
                cells.append("" if printed is None else f"{ours - float(printed):+.4f}")
            cells += [in_digits(values[name]) if name in values else "" for values in self.baselines.values()]
            table.add_row(value_info(name).heading, *cells)
        console.print(table)
        for name, protocol in self.unlike_paper.items():
            if name in entry.results:
                console.print(
                    f"{name} of the paper, {entry.results[name]}, is not in the table: it was measured otherwise "
                    f"({protocol})"
                )
        for name, protocol in self.protocol.items():
            console.print(f"{name}: {protocol}", style="dim")
        macs = "" if self.macs is None else f", {self.macs / 1e9:.4f} GMAC a frame at 256 x 256"
        console.print(f"{self.parameters / 1e6:.4f} M parameters{macs}.")
        if self.chosen_on_test:
            console.print("The checkpoint was chosen on the frames that are measured: the numbers flatter it.")
        if self.demo:
            console.print("Demo data: these numbers do not compare with the paper's.")


def chosen_on(weights: Mapping[str, Any], file: Path, data: Any, stage: str) -> bool:
    """Return whether validation chose weights on pictures that a stage measured.

    Checkpoints say what chose them. Those of earlier versions do not: there the best one has the name of its file, and
    the data module says what would choose it now.

    Args:
        weights: content of the checkpoint.
        file: its path.
        data: data module, set up for the stage.
        stage: stage that measured them.
    """
    chosen = weights.get(CHOSEN_ON)
    if chosen is None and "vitm" in weights and file.stem == "best":
        chosen = data.pictures("val")
    return not {*(chosen or ())}.isdisjoint(data.pictures(stage))


def _beside(*measured: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return all values of each name."""
    names = dict.fromkeys(name for values in measured for name in values)
    return {name: dict(ChainMap(*(values.get(name, {}) for values in measured))) for name in names}


def in_digits(value: float, digits: int = 4, sign: str = "") -> str:
    """Return a number with digits behind the point, or with three digits in all where it is smaller than they show.

    Example:
        >>> in_digits(37.726), in_digits(3.2e-6), in_digits(0.5, 2, "+")
        ('37.7260', '3.20e-06', '+0.50')
    """
    return f"{value:{sign}.2e}" if 0 < abs(value) < 10.0 ** (1 - digits) else f"{value:{sign}.{digits}f}"


def printed_digits(numbers: Iterable[Decimal]) -> int:
    """Return how many digits behind the point the longest of a paper's numbers has.

    Example:
        >>> printed_digits([Decimal("37.7260"), Decimal("9")])
        4
    """
    return max((len(str(number).partition(".")[2]) for number in numbers), default=0)


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue  # one of the two builds of OpenCV
    return versions
