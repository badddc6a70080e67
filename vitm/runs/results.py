"""What a run found: `metrics.json`, and a table with the paper's numbers beside ours."""

from __future__ import annotations

import json
import platform
from collections import ChainMap
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from vitm.files import replace_when_whole
from vitm.metrics import PAPER, compatible, value_protocols
from vitm.nets.complexity import count_parameters
from vitm.runs.entries import Entry
from vitm.training.callbacks import AnalyticBaselines

COLUMNS = {
    "psnr": "PSNR dB",
    "ssim": "SSIM",
    "ssim_kpn": "SSIM (KPN)",
    "sr_sim": "SR-SIM",
    "delta_e_itp": "dE_ITP",
    "hdr_vdp3": "VDP3 JOD",
    "hdr_vdp3_kpn": "VDP3 Q (KPN)",
    "hdr_vdp3_hdrtvnet": "VDP3 Q (HDRTVNet)",
    "hdr_vqm": "HDR-VQM",
    "pu21_psnr": "PU21-PSNR dB",
    "warping_error": "warping error",
    "over_exposed": "L1 over-exposed",
    "mabd_pred": "MABD",
    "mabd_gt": "MABD (GT)",
}
PACKAGES = ("torch", "lightning", "torchmetrics", "kornia", "opencv-python-headless", "av")


def describe(console: Console, entry: Entry, task: Any, data: Any, folder: Path) -> None:
    """Say in three lines what will run, on what, and where it goes."""
    console.print(f"[bold]{entry.name}[/]: {entry.about['title']}")
    console.print(f"network: {count_parameters(task.network) / 1e6:.4f} M parameters; data: {data.root}")
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
        steps: optimiser steps of the weights that were measured or trained.
        checkpoint: the file that was measured; None: the weights as training left them.
        device: what it was measured on.
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
    steps: int
    checkpoint: str | None
    device: str

    @classmethod
    def collect(cls, entry: Entry, trainer: Any, task: Any, demo: bool, checkpoint: Any) -> Results:
        """Read the results off a trainer that is done."""
        logged = {k: float(v) for k, v in trainer.callback_metrics.items()}
        stage = next((s for s in ("test", "val") if any(k.startswith(f"{s}/") for k in logged)), "fit")
        analytic = [c.results for c in trainer.callbacks if isinstance(c, AnalyticBaselines)]
        cpu = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
        protocols = value_protocols(task.test_metrics)
        theirs = PAPER.get(entry.name.split("/")[0], {})
        measured = torch.load(checkpoint, map_location="cpu", weights_only=True) if checkpoint else None
        return cls(
            entry=entry.name,
            about=entry.about,
            demo=demo,
            stage=stage,
            values={k.removeprefix(f"{stage}/"): v for k, v in logged.items() if k.startswith(f"{stage}/")},
            baselines=dict(ChainMap(task.baselines(), *analytic)),
            protocol={name: ", ".join(filter(None, (str(p), task.light))) for name, p in protocols.items()},
            unlike_paper={
                name: str(theirs[name])
                for name, protocol in protocols.items()
                if name in theirs and not compatible(protocol, theirs[name])
            },
            parameters=count_parameters(task.network),
            macs=task.macs_per_frame(),
            steps=measured["global_step"] if measured else trainer.global_step,
            checkpoint=str(checkpoint) if checkpoint else None,
            device=torch.cuda.get_device_name(task.device) if task.device.type == "cuda" else cpu,
        )

    def save(self, path: Path, fit_seconds: float, wall_seconds: float) -> None:
        """Write `metrics.json`: the results, times, versions and hardware.

        Args:
            path: the file.
            fit_seconds: of the training, before and after it was interrupted.
            wall_seconds: of that and of what came after it.
        """
        content = asdict(self) | {
            "fit_seconds": round(fit_seconds, 1),
            "wall_seconds": round(wall_seconds, 1),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "versions": {name: version(name) for name in PACKAGES},
        }
        with replace_when_whole(path) as part:
            part.write_text(json.dumps(content, indent=2))

    def print(self, console: Console) -> None:
        """Print the table: ours, the analytic operators, the paper."""
        if not self.values:
            console.print("Trained, not measured (test measures).")
            return
        columns = {k: title for k, title in COLUMNS.items() if k in self.values}
        table = Table(title=f"{self.entry}, {self.stage}", title_justify="left")
        table.add_column("", no_wrap=True)
        for title in columns.values():
            table.add_column(title, justify="right")

        def row(name: str, values: dict[str, float], style: str = "") -> None:
            cells = [f"{values[k]:.4f}" if k in values else "" for k in columns]
            table.add_row(name, *cells, style=style)

        row(f"ours, {self.steps} steps", self.values, "bold")
        for name, values in self.baselines.items():
            row(name, values)
        table.add_section()
        # A number that was measured otherwise does not stand in the same column.
        paper = {k: v for k, v in self.about.get("results", {}).items() if k not in self.unlike_paper}
        if paper:
            row(f"paper, Table {self.about['table']}, {self.about['row']}", paper)
        if paper and not self.demo:
            row("ours - paper", {k: self.values[k] - v for k, v in paper.items() if k in self.values})
        console.print(table)
        for name, protocol in self.unlike_paper.items():
            value = self.about.get("results", {}).get(name)
            console.print(f"{name} of the paper, {value}, is not in the table: it was measured otherwise ({protocol})")
        for name, protocol in self.protocol.items():
            console.print(f"{name}: {protocol}", style="dim")
        macs = "" if self.macs is None else f", {self.macs / 1e9:.4f} GMAC a frame at 256 x 256"
        console.print(f"{self.parameters / 1e6:.4f} M parameters{macs}.")
        if self.demo:
            console.print("Demo data: these numbers do not compare with the paper's.")
