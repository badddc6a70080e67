"""Weights & Biases: one run there for one run folder here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger

from experiments.entries import Entry


def wandb_logger(entry: Entry, folder: Path, job_type: str, tags: list[str], resumed: bool, config: Any) -> WandbLogger:
    """A logger that is offline unless the user is logged in; the environment's WANDB_MODE decides over both.

    The run id is the name of the folder, so a resumed run goes on there too; the group is paper/table.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    logged_in = wandb.login(prompt=False, verify=False)
    mode = os.environ.get("WANDB_MODE", "online" if logged_in else "offline")
    return WandbLogger(
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
