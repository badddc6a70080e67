"""Logs: a CSV file in the run folder, and one run on Weights & Biases for it."""

from __future__ import annotations

import csv
import math
import os
import re
import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import wandb
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_warn
from wandb.sdk.lib.module import unset_globals

from vitm.checkpoints import read_checkpoint
from vitm.metrics import value_info
from vitm.runs.entries import Entry
from vitm.runs.folders import first_process
from vitm.runs.results import Results

ARTIFACTS: dict[str, Literal["all"] | bool] = {"false": False, "end": True, "checkpoint": "all"}
"""Values of `WANDB_LOG_MODEL`, and which checkpoints Lightning's logger sends then."""


class SteadyWandbLogger(WandbLogger):
    """A logger that does not end a run to whose processes a signal was sent, as Slurm does: to every one of them.

    W&B's service is a process of its own. At SIGUSR1 it goes on, as it starts with that signal blocked. At SIGTERM it
    ends, whatever is blocked; the run, which saves itself then, is logged to the CSV file alone from there on.
    """

    _lost = False

    def __init__(self, best: Mapping[str, float] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.best = dict(best or {})

    @property
    def experiment(self) -> Any:
        """The run on W&B; if it does not exist yet, its service starts with that signal blocked."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        try:
            return super().experiment
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log, as long as the service is there; pictures come by here as well. With `val/psnr` goes `best/psnr`.

        So summaries and sweeps see the value of the checkpoint that is kept, and not the last one.
        """
        self.best = best_values(metrics, self.best)
        measured = {f"best/{name}": value for name, value in self.best.items() if f"val/{name}" in metrics}
        with self._while_served():
            super().log_metrics({**metrics, **measured}, step)

    def log_results(self, results: Results) -> None:
        """Put into the summary what `metrics.json` has beside the network's values: its size, and the yardsticks."""
        sizes = {"parameters": results.parameters, "macs": results.macs, "steps": results.steps}
        yardsticks = {
            f"baselines/{name}/{metric}": value
            for name, values in results.baselines.items()
            for metric, value in values.items()
        }
        with self._while_served():
            self.experiment.summary.update({k: v for k, v in (sizes | yardsticks).items() if v is not None})

    def finalize(self, status: str) -> None:
        """End the log of a fit or a test."""
        with self._while_served():
            super().finalize(status)

    @contextmanager
    def _while_served(self) -> Iterator[None]:
        try:
            yield
        except ConnectionError:
            if not self._lost:
                self._lost = True
                rank_zero_warn("W&B's service has ended: from here on the run is logged to csv/metrics.csv alone")


def best_values(metrics: Mapping[str, Any], before: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return the best value of each metric of validation that has a better side, of these and of those before.

    Example:
        >>> best_values({"val/psnr": 30.0, "val/delta_e_itp": 9.0, "train/loss": 1.0}, {"psnr": 31.0})
        {'psnr': 31.0, 'delta_e_itp': 9.0}
    """
    best = dict(before or {})
    for key, value in metrics.items():
        name = key.removeprefix("val/")
        direction = value_info(name).direction
        if name != key and direction != "none" and math.isfinite(value):
            best[name] = (max if direction == "higher" else min)(best.get(name, value), value)
    return best


def end_tracking() -> None:
    """End the run on W&B, with what was not yet written or sent."""
    try:
        wandb.finish()
    except ConnectionError:
        with suppress(ConnectionError):
            wandb.teardown()  # else it tries again when Python exits, and prints that it cannot
        unset_globals()  # else the next run of this process would be taken for this one


def wandb_logger(
    entry: Entry, folder: Path, job_type: str, tags: list[str], resumed: bool, config: dict[str, Any]
) -> WandbLogger:
    """Return a logger that is offline unless the user is logged in; the environment's WANDB_MODE decides over both.

    The id is another for each folder, and the same when the run of a folder is resumed; the group is paper/table.
    `WANDB_LOG_MODEL` asks for checkpoints as artifacts with the aliases `best` and `latest`: `end`, when the run ends,
    or `checkpoint`, each time.

    Raises:
        ValueError: artifacts are asked for, and the run is offline; or `WANDB_LOG_MODEL` has another value.
    """
    asked = os.environ.get("WANDB_LOG_MODEL", "false").lower()
    if asked not in ARTIFACTS:
        raise ValueError(f"WANDB_LOG_MODEL is {asked!r}; expected one of {', '.join(ARTIFACTS)}")
    os.environ.setdefault("WANDB_SILENT", "true")
    logged_in = wandb.login(prompt=False, verify=False)
    mode = os.environ.get("WANDB_MODE", "online" if logged_in else "offline")
    if asked != "false" and mode == "offline":
        raise ValueError(
            f"WANDB_LOG_MODEL={asked} sends checkpoints to W&B, and this run is offline: log in (wandb login, "
            "WANDB_MODE=online), or leave it out"
        )
    return SteadyWandbLogger(
        best=_best_so_far(folder) if resumed else None,
        log_model=ARTIFACTS[asked],
        project="vitm",
        name=f"{entry.name} {folder.name}",
        id=run_id(entry, folder),
        group=entry.group,
        job_type=job_type,
        tags=tags,
        save_dir=folder,
        offline=mode == "offline",
        mode=mode,
        resume="allow" if resumed else None,
        config=config,
    )


def run_id(entry: Entry, folder: Path) -> str:
    """Return the id on W&B of the run in a folder: that of its earlier parts, or a new one that no other run has.

    Equal names in two entries, or in two folders of all runs, are two runs.
    """
    parts = sorted((folder / "wandb").glob("*run-*-*"))
    earlier = re.fullmatch(r"(?:offline-)?run-\d+_\d+-(.+)", parts[-1].name) if parts else None
    return earlier[1] if earlier else f"{secrets.token_hex(3)}-{entry.name.replace('/', '-')}-{folder.name}"


def _best_so_far(folder: Path) -> dict[str, float]:
    """Return the best values of the validations that the CSV log of a run has."""
    best: dict[str, float] = {}
    file = folder / "csv" / "metrics.csv"
    if file.is_file():
        with file.open(newline="") as opened:
            for row in csv.DictReader(opened):
                best = best_values({k: float(v) for k, v in row.items() if k.startswith("val/") and v}, best)
    return best


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
