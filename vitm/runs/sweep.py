"""Run all rows of a table: `vitm sweep`."""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal

import yaml
from rich.console import Console

from vitm.files import replace_when_whole
from vitm.runs import slurm, table
from vitm.runs.entries import Entry, find_entry
from vitm.runs.jobs import Job, plan
from vitm.runs.options import option_values

Where = Literal["here", "wandb", "slurm"]
AGENT = ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")  # what a W&B agent says to its run
RUN = (sys.executable, "-m", "vitm", "run")
TAIL = 12  # lines of a log that are shown
console = Console(width=None if sys.stdout.isatty() else 160)


def sweep(
    name: str,
    *,
    seeds: Sequence[int],
    row: str | None = None,
    where: Where = "here",
    cluster: slurm.Cluster | None = None,
    runs: Path = Path("runs"),
    passed: Sequence[str] = (),
) -> int:
    """Run the rows of a table; return the exit status: 0 if all runs are finished, 1 if not.

    Args:
        name: the table, such as `kpn_mfi/table3`.
        seeds: seeds of weights and dropout.
        row: the name of the only row to run; None: all.
        where: in this process, by W&B's agents, or on a cluster.
        cluster: what a run asks of Slurm, for `where="slurm"`.
        runs: folder where runs are kept.
        passed: options for `vitm run`.

    Raises:
        ValueError: there is no such table or row, an option is not for the rows to choose, or Slurm refuses a job.
    """
    tag = "data" if {"data.root", "data.pairs"} & option_values(passed).keys() else "demo"
    rows = table.collect(name, runs, tag)
    stems = {row.entry.name.rpartition("/")[2]: row for row in rows}
    if row and row not in stems:
        raise ValueError(f"no row {row!r} in {name}; there are {', '.join(stems)}")
    chosen = [stems[row]] if row else rows
    jobs = plan(chosen, seeds, passed, runs)
    for each in chosen:
        if reason := each.entry.about.get("missing"):
            console.print(f"{each.name} cannot be run: {reason}", markup=False, soft_wrap=True)
        elif each.entry.same_as != each.entry.name:
            console.print(f"{each.name} changes nothing: a run of {each.entry.same_as}", markup=False, soft_wrap=True)
    if where == "wandb":
        able = [stem for stem, each in stems.items() if each in chosen and "missing" not in each.entry.about]
        return _wandb(name, able, seeds, runs, passed)
    if where == "slurm":
        return _slurm(name, jobs, cluster or slurm.Cluster(), runs)

    status = _here(jobs)
    if status != 130:
        _times(name, jobs, runs)
    return status


def _here(jobs: Sequence[Job]) -> int:
    """Run the jobs one after another; 0 if all are finished, 1 if some failed, 130 after Ctrl-C or SIGTERM."""
    pending, failed = list(jobs), dict[Job, str]()
    before = signal.signal(signal.SIGTERM, _interrupt)
    waiting, seen = False, set[Job]()
    try:
        while pending:
            count = len(pending)
            for job in list(pending):
                earlier = [needed for _, needed in job.after]
                if lost := [needed for needed in earlier if needed in failed]:
                    failed[job] = f"it goes on from {lost[0]}, which failed"
                    console.print(f"{job}: not run, because {failed[job]}", style="red", soft_wrap=True)
                elif set(earlier) & set(pending):
                    continue
                else:
                    with _claim(job) as claim:
                        if claim is None:
                            continue
                        if not job.done() and (folder := job.running()):
                            if job not in seen:
                                console.print(f"{job}: runs already in {folder}", markup=False, soft_wrap=True)
                            seen.add(job)
                            continue
                        place = f"{len(jobs) - len(pending) + 1}/{len(jobs)}"
                        if error := _run(job, claim, place, alone=any(job in dict(j.after).values() for j in jobs)):
                            failed[job] = error
                pending.remove(job)
            if len(pending) == count:
                if not waiting:
                    console.print(f"waiting for another process, which runs {pending[0]}", soft_wrap=True)
                waiting = True
                time.sleep(2)
    except KeyboardInterrupt:
        console.print("Stopped. The same command goes on from here.", style="bold")
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    return 1 if failed else 0


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


@contextmanager
def _claim(job: Job) -> Iterator[IO[str] | None]:
    """The log of a job, which no other process writes while this one holds it; None: another one does."""
    log = job.runs / job.name / f"{job.tag}-seed{job.seed}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file


def _run(job: Job, log: IO[str], place: str, *, alone: bool) -> str | None:
    """Run a job that is not done; why it failed, if it did. `alone`: not as the run that a W&B agent asked for."""
    if folder := job.done():
        console.print(f"[{place}] {job}: finished before, {folder}", markup=False, soft_wrap=True)
        return None
    folder = job.interrupted()
    for option, earlier in job.after if not folder else ():
        console.print(f"{job}: goes on from {earlier} (--{option})", markup=False, soft_wrap=True)
    name, *arguments = job.arguments()
    ours = ["--runs", str(job.runs), "--trainer.enable_progress_bar", "false"]
    command = [*RUN, name, *ours, *arguments]
    verb = f"goes on in {folder}" if folder else "starts"
    console.print(
        f"[{place}] {job}: {verb} {datetime.now():%H:%M}, log {log.name}", markup=False, soft_wrap=True, highlight=False
    )
    print(f"\n$ {shlex.join(command)}", file=log, flush=True)
    start, since = log.tell(), time.monotonic()
    status = _wait(command, log, {k: v for k, v in os.environ.items() if not (alone and k in AGENT)})
    took = _span(time.monotonic() - since)
    if status == 0 and job.done():
        console.print(f"[{place}] {job}: finished, {took}", style="green", markup=False, soft_wrap=True)
        return None
    text = Path(log.name).read_bytes()[start:].decode(errors="replace")
    said = [line for line in text.splitlines() if line.strip()][-TAIL:]
    console.print(f"[{place}] {job}: failed (exit status {status}) after {took}", style="bold red", markup=False)
    for line in said:
        console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
    if saved := job.interrupted():
        hint = f"    the same command goes on in {saved}; if it fails again: remove {saved} to begin again"
        console.print(hint, markup=False, highlight=False, soft_wrap=True)
    return said[-1] if said else f"exit status {status}"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _wait(command: list[str], log: IO[str], env: dict[str, str]) -> int:
    """Run a command to its end; when interrupted, have it save itself first.

    It gets SIGTERM then, never the terminal's own interrupt, which can strike in the middle of a step. It holds the
    claim on its log even if this process is killed.
    """
    process = subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        pass_fds=[log.fileno()],
        start_new_session=True,
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        console.print("Stopping; the run saves itself first (once more: at once).", style="bold")
        process.terminate()
        try:
            process.wait()
        except KeyboardInterrupt:
            process.kill()
            process.wait()
        raise


def _times(name: str, jobs: Sequence[Job], runs: Path) -> None:
    """The table, and how long its runs took."""
    if not jobs:
        return

    def fits(entry: Entry, run: Mapping[str, Any]) -> bool:
        """Whether it is what the sweep asks for; of rows that it leaves out, any."""
        asked = [job for job in jobs if job.name == entry.same_as]
        return not asked or any(job.fits(run) for job in asked)

    tag = jobs[0].tag
    table.show(table.collect(name, runs, tag, fits), tag, runs / name)
    for job in jobs:
        if run := job.finished():
            console.print(
                f"{job}: {_span(run['wall_seconds'])}, {run['steps']} steps, {run['device']}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        else:
            console.print(f"{job}: not finished", style="red", markup=False, soft_wrap=True)


def wandb_config(
    name: str, rows: Sequence[str], seeds: Sequence[int], runs: Path, passed: Sequence[str]
) -> dict[str, Any]:
    """A W&B sweep over the rows and seeds of a table; its agents call this command, a row and a seed at a time."""
    monitor, mode = find_entry(f"{name}/{rows[0]}").load("task").monitor
    return {
        "name": name,
        "project": "vitm",
        "method": "grid",
        "metric": {"name": monitor, "goal": "maximize" if mode == "max" else "minimize"},
        "parameters": {"row": {"values": list(rows)}, "seed": {"values": list(seeds)}},
        "program": "vitm",
        "command": [
            *("${env}", "${interpreter}", "-m", "vitm", "sweep", name, "--runs", str(runs), "${args}"),
            *(("--", *passed) if passed else ()),
        ],
    }


def _wandb(name: str, rows: Sequence[str], seeds: Sequence[int], runs: Path, passed: Sequence[str]) -> int:
    """Make a W&B sweep, or without a login its file."""
    import wandb

    if not rows:
        return 0
    config = wandb_config(name, rows, seeds, runs, passed)
    if os.environ.get("WANDB_MODE", "online") == "online" and wandb.login(prompt=False, verify=False):
        try:
            made = wandb.sweep(config, project=config["project"])
        except wandb.Error as error:
            raise ValueError(f"W&B made no sweep: {error}") from error
        console.print(f"Start agents, here or on other machines with the same data: wandb agent vitm/{made}")
        return 0
    file = runs / name / "sweep.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    with replace_when_whole(file) as part:
        part.write_text(yaml.safe_dump(config, sort_keys=False))
    console.print(
        "W&B keeps sweeps on its server, and here is no login to it (wandb login; WANDB_MODE must not be offline).\n"
        f"Where there is one: wandb sweep {file}, then wandb agent vitm/ID (printed there).\n"
        "Without a server: --where here.",
        markup=False,
        soft_wrap=True,
    )
    return 2


def _slurm(name: str, jobs: Sequence[Job], cluster: slurm.Cluster, runs: Path) -> int:
    """Submit what is not finished: runs that wait for the same ones, or for none, are an array of jobs."""
    if queued := slurm_jobs(name):
        raise ValueError(f"{name} is in the queue already (job {', '.join(queued)}): wait, or scancel it")
    waiting = _idle([job for job in jobs if not job.done()])
    first = [job.arguments() for job in waiting if not {needed for _, needed in job.after} & set(waiting)]
    slurm.refuse(first, runs)
    trained: dict[Job, Path] = {}
    numbers: dict[Job, str] = {}  # as Slurm knows them: of an element of an array, 41_0
    while waiting:
        ready = [job for job in waiting if not {needed for _, needed in job.after} & set(waiting)]
        alike: dict[tuple[str, ...], list[Job]] = {}
        for job in ready:
            alike.setdefault(tuple(numbers[needed] for _, needed in job.after if needed in numbers), []).append(job)
        for after, group in alike.items():
            commands = [job.arguments(trained) for job in group]
            submitted = slurm.submit(commands, cluster, name=name, runs=runs, after=after)
            for i, (job, folder) in enumerate(zip(group, submitted.folders, strict=True)):
                numbers[job] = f"{submitted.job}_{i}" if len(group) > 1 else submitted.job
                trained[job] = folder / "checkpoints" / "best.ckpt"
                console.print(f"job {numbers[job]}: {job}, {folder}", markup=False, highlight=False, soft_wrap=True)
        waiting = [job for job in waiting if job not in ready]
    end = " --demo" if jobs and jobs[0].tag == "demo" else ""
    console.print(f"When they are done: vitm table {name} --runs {runs}{end}")
    return 0


def _idle(jobs: Sequence[Job]) -> list[Job]:
    """Those that no process is at work on, and none that they go on from; of the others it says so."""
    idle: list[Job] = []
    busy: set[Job] = set()
    for job in jobs:
        needed = next((earlier for _, earlier in job.after if earlier in busy), None)
        if needed or (folder := job.running()):
            why = f"it goes on from {needed}, which runs" if needed else f"it runs already in {folder}"
            console.print(f"{job}: not submitted, because {why}", markup=False, soft_wrap=True)
            busy.add(job)
        else:
            idle.append(job)
    return idle


def slurm_jobs(name: str) -> list[str]:
    """Numbers of the user's jobs in the queue that have a name; none where there is no Slurm."""
    if shutil.which("squeue") is None:
        return []
    asked = subprocess.run(
        ["squeue", "--me", "--noheader", "--format=%F", f"--name={name}"], capture_output=True, text=True
    )
    return sorted(set(asked.stdout.split()))
