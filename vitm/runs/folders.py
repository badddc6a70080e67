"""Folders of runs: which one a run writes, and what earlier ones left."""

from __future__ import annotations

import os
import secrets
from datetime import datetime
from pathlib import Path
from typing import IO

from vitm.files import LockedError, digest, lock
from vitm.runs.command import Request
from vitm.runs.entries import Entry


def newest_run(entry: Entry, runs: Path, file: str, tag: str | None = None) -> Path:
    """Return the run folder of an entry, or of the one whose runs it shares, with the newest file of a pattern.

    Args:
        entry: Entry whose runs are asked for.
        runs: Folder of all runs.
        file: Pattern of the file.
        tag: `demo` or `data`; None: either.

    Raises:
        FileNotFoundError: There is none.
    """
    folders = [folder for name in entry.folders for folder in (runs / name).glob("*/")]
    dated = {path.stat().st_mtime: folder for folder in folders for path in folder.glob(file)}
    if tag:
        dated = {when: folder for when, folder in dated.items() if tag in run_tags(folder)}
    if not dated:
        raise FileNotFoundError(f"no run of {entry.name} with {file} under {runs}; fit first, or name a checkpoint")
    return dated[max(dated)]


def run_tags(folder: Path) -> list[str]:
    """Return `demo` or `data`, the kind of data of a run; nothing where the folder holds no run, or not yet."""
    file = folder / "tags"
    return file.read_text().split() if file.is_file() else []


def best_checkpoint(folder: Path) -> Path:
    """Return the best checkpoint of a run folder, or the last one where none was best."""
    return next(folder.glob("checkpoints/best*.ckpt"), folder / "checkpoints" / "last.ckpt")


def run_folder(request: Request) -> tuple[Path, bool]:
    """Return the folder of a run, and whether it goes on with an earlier one.

    Raises:
        FileNotFoundError: There is no run to resume.
    """
    entry = request.entry
    if request.resume:
        pattern = "checkpoints/last.ckpt"
        folder = newest_run(entry, request.runs, pattern) if request.resume == "newest" else Path(request.resume)
        for file in (pattern, "config.yaml", "tags"):
            if not (folder / file).is_file():
                raise FileNotFoundError(f"nothing to resume: {folder / file} does not exist")
        return folder, True
    last = Path("checkpoints/last.ckpt")
    if request.name:
        folder = request.runs / entry.name / request.name
        return folder, request.trains and (folder / last).is_file()
    task = "SLURM_PROCID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
    job = os.environ.get("SLURM_JOB_ID") if task else None  # in a session at a terminal, runs are runs as anywhere
    unique = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    if job:  # the same for all processes of a job, also after a requeue; runs of one job differ in their options
        unique = f"slurm-{job}-{request.command or 'run'}-{digest(' '.join(request.options))[:6]}"
    if "LOCAL_RANK" in os.environ:  # a process that Lightning started for one more device: the first one chose
        unique = os.environ.get("VITM_RUN_ID", unique)
    os.environ["VITM_RUN_ID"] = unique
    folder = request.runs / entry.name / unique
    requeued = int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0 and request.trains
    return folder, requeued and (folder / last).is_file()


def first_process() -> bool:
    """Return whether this is the process that speaks for the others, also those of other machines."""
    local = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_PROCID", "0"))
    return {local, *(os.environ.get(rank, "0") for rank in ("RANK", "NODE_RANK", "GROUP_RANK"))} == {"0"}


def hold(folder: Path) -> IO[str]:
    """Take a run folder for this process alone, until the result is closed.

    Raises:
        LockedError: Another process holds it.
    """
    try:
        return lock(folder / "lock")
    except LockedError as error:
        raise LockedError(
            f"{folder} is in use by another process: wait for it, or choose another folder with --name"
        ) from error
