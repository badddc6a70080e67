"""Logs: a CSV file in the run folder, and one run on Weights & Biases for it."""

from __future__ import annotations

import csv
import os
import signal
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import CSVLogger, WandbLogger

from vitm.checkpoints import read_checkpoint
from vitm.runs.entries import Entry
from vitm.runs.folders import first_process


class SteadyWandbLogger(WandbLogger):
    """A logger whose service survives SIGUSR1, at which a run saves itself: Slurm may send it to every process."""

    @property
    def experiment(self) -> Any:
        """The run on W&B; if it does not exist yet, its service starts with that signal blocked."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        try:
            return super().experiment
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wandb_logger(entry: Entry, folder: Path, job_type: str, tags: list[str], resumed: bool, config: Any) -> WandbLogger:
    """Return a logger that is offline unless the user is logged in; the environment's WANDB_MODE decides over both.

    The run id is the name of the folder, so that a resumed run goes on as the same run; the group is paper/table.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    logged_in = wandb.login(prompt=False, verify=False)
    mode = os.environ.get("WANDB_MODE", "online" if logged_in else "offline")
    return SteadyWandbLogger(
        project="vitm",
        name=f"{entry.name} {folder.name}",
        id=folder.name,
        group=entry.group,
        job_type=job_type,
        tags=tags,
        save_dir=folder,
        offline=mode == "offline",
        mode=mode,
        resume="allow" if resumed else None,
        config=config.as_dict() if hasattr(config, "as_dict") else dict(config),
    )


def csv_logger(folder: Path, resumed: bool) -> CSVLogger:
    """Return a logger to `csv/metrics.csv`; in a resumed run it keeps the rows from before the checkpoint's step."""
    logger = CSVLogger(folder, name="", version="csv", flush_logs_every_n_steps=1)
    file = folder / "csv" / "metrics.csv"
    if resumed and file.is_file() and first_process():
        steps = read_checkpoint(folder / "checkpoints" / "last.ckpt")["global_step"]
        with file.open(newline="") as opened:
            rows = [row for row in csv.DictReader(opened) if int(row["step"]) < steps]
        writer: Any = logger.experiment  # Lightning's would delete the file
        writer.metrics = rows
        writer.save()
    return logger
