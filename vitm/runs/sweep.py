"""Run all rows of a table: `vitm sweep TABLE [options] [-- options of run]`."""

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

from vitm.console import console as new_console
from vitm.files import replace_when_whole
from vitm.runs import slurm
from vitm.runs.entries import Entry, PaperTable, find_table
from vitm.runs.finished import FinishedRun
from vitm.runs.plans import PlannedRun, plan
from vitm.runs.table import collect, show

Where = Literal["here", "wandb", "slurm"]
AGENT = ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")  # what a W&B agent says to its run
RUN = (sys.executable, "-m", "vitm", "run")
TAIL = 12  # lines of a log that are shown
console = new_console()


def sweep(
    name: str,
    *,
    seeds: Sequence[int] = (0,),
    row: str | None = None,
    where: Where = "here",
    cluster: slurm.Cluster | None = None,
    runs: Path = Path("runs"),
    passed: Sequence[str] = (),
) -> int:
    """Run the rows of a table; return 0 if all runs are finished, 1 if not, 2 if there is no way to, 130 if stopped.

    Args:
        name: name of a table, such as `kpn_mfi/table3`, or path of a YAML file.
        seeds: seeds of weights and of dropout, a run each.
        row: the only row to run, by its name in the file, such as `no_mfi`; default: all.
        where: run here, by W&B's agents, or as jobs of Slurm.
        cluster: what a job asks of Slurm.
        runs: folder of all runs.
        passed: options for `vitm run`, as typed.

    Raises:
        ValueError: there is no such table or row, or an option is wrong.
    """
    table = find_table(name)
    rows = {entry.name.rpartition("/")[2]: entry for entry in table.rows}
    if row and row not in rows:
        raise ValueError(f"no row {row!r} in {name}; there are {', '.join(rows)}")
    chosen = {row: rows[row]} if row else rows
    planned = plan(list(chosen.values()), seeds, passed, runs)
    for entry in chosen.values():
        if entry.missing:
            console.print(f"{entry.row} cannot be run: {entry.missing}", markup=False, soft_wrap=True)
        elif entry.shared:
            console.print(f"{entry.row} changes nothing: a run of {entry.runs.name}", markup=False, soft_wrap=True)
    if where == "wandb":
        able = {stem: entry for stem, entry in chosen.items() if not entry.missing}
        return _wandb(table, able, seeds, passed, runs)
    if where == "slurm":
        return _slurm(table, planned, cluster or slurm.Cluster(), runs)
    status = _here(planned)
    if status != 130 and planned:
        _summary(table, planned, runs)
    return status


def _here(planned: Sequence[PlannedRun]) -> int:
    """Run one after another; return 0 if all are finished, 1 if some failed, 130 after Ctrl-C or SIGTERM."""
    pending, failed = list(planned), dict[PlannedRun, str]()
    before = signal.signal(signal.SIGTERM, _interrupt)
    waiting, seen = False, set[PlannedRun]()
    try:
        while pending:
            count = len(pending)
            for run in list(pending):
                earlier = [needed for _, needed in run.after]
                if lost := [needed for needed in earlier if needed in failed]:
                    failed[run] = f"it goes on from {lost[0]}, which failed"
                    console.print(f"{run}: not run, because {failed[run]}", style="red", soft_wrap=True)
                elif set(earlier) & set(pending):
                    continue
                else:
                    with _claim(run) as claim:
                        if claim is None:
                            continue
                        if not run.done() and (folder := run.running()):
                            if run not in seen:
                                console.print(f"{run}: runs already in {folder}", markup=False, soft_wrap=True)
                            seen.add(run)
                            continue
                        place = f"{len(planned) - len(pending) + 1}/{len(planned)}"
                        needed_later = any(run in dict(other.after).values() for other in planned)
                        if error := _run(run, claim, place, of_agent=not needed_later):
                            failed[run] = error
                pending.remove(run)
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
def _claim(run: PlannedRun) -> Iterator[IO[str] | None]:
    """Give the log of a run, which no other process writes while this one holds it; None: another one does."""
    log = run.runs / run.name / f"{'demo' if run.demo else 'data'}-seed{run.seed}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file


def _run(run: PlannedRun, log: IO[str], place: str, *, of_agent: bool) -> str | None:
    """Run what is not done; return why it failed, if it did. `of_agent`: it is the run that a W&B agent asked for."""
    if folder := run.done():
        console.print(f"[{place}] {run}: finished before, {folder}", markup=False, soft_wrap=True)
        return None
    folder = run.interrupted()
    for option, earlier in run.after if not folder else ():
        console.print(f"{run}: goes on from {earlier} (--{option})", markup=False, soft_wrap=True)
    address, *arguments = run.arguments()
    command = [*RUN, address, "--runs", str(run.runs), "--trainer.enable_progress_bar", "false", *arguments]
    verb = f"goes on in {folder}" if folder else "starts"
    console.print(
        f"[{place}] {run}: {verb} {datetime.now():%H:%M}, log {log.name}", markup=False, soft_wrap=True, highlight=False
    )
    print(f"\n$ {shlex.join(command)}", file=log, flush=True)
    start, since = log.tell(), time.monotonic()
    status = _wait(command, log, {k: v for k, v in os.environ.items() if of_agent or k not in AGENT})
    took = _span(time.monotonic() - since)
    if status == 0 and run.done():
        console.print(f"[{place}] {run}: finished, {took}", style="green", markup=False, soft_wrap=True)
        return None
    text = Path(log.name).read_bytes()[start:].decode(errors="replace")
    ending = [line for line in text.splitlines() if line.strip()][-TAIL:]
    console.print(f"[{place}] {run}: failed (exit status {status}) after {took}", style="bold red", markup=False)
    for line in ending:
        console.print(f"    {line}", markup=False, highlight=False, soft_wrap=True)
    if saved := run.interrupted():
        hint = f"    the same command goes on in {saved}; if it fails again: remove {saved} to begin again"
        console.print(hint, markup=False, highlight=False, soft_wrap=True)
    return ending[-1] if ending else f"exit status {status}"


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


def _summary(table: PaperTable, planned: Sequence[PlannedRun], runs: Path) -> None:
    """Print the table, and how long its runs took."""

    def fits(entry: Entry, run: FinishedRun) -> bool:
        """Return whether it is what the sweep asks for; of rows that it leaves out, any."""
        asked = [other for other in planned if other.name == entry.runs.name]
        return not asked or any(other.fits(run) for other in asked)

    demo = planned[-1].demo
    show(table, collect(table, runs, demo=demo, fits=fits), runs / table.name, demo=demo)
    for run in planned:
        if done := run.finished():
            results = done.results
            line = f"{run}: {_span(results.wall_seconds)}, {results.steps} steps, {results.device}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            console.print(f"{run}: not finished", style="red", markup=False, soft_wrap=True)


def wandb_config(
    table: PaperTable, rows: Mapping[str, Entry], seeds: Sequence[int], options: Sequence[str], runs: Path
) -> dict[str, Any]:
    """Return a W&B sweep over rows and seeds of a table; its agents call this command, a row and a seed at a time."""
    monitor, mode = next(iter(rows.values())).load_task().monitor
    return {
        "name": table.name,
        "project": "vitm",
        "method": "grid",
        "metric": {"name": monitor, "goal": "maximize" if mode == "max" else "minimize"},
        "parameters": {"row": {"values": list(rows)}, "seed": {"values": list(seeds)}},
        "program": "vitm",
        "command": [
            *("${env}", "${interpreter}", "-m", "vitm", "sweep", table.address, "--runs", str(runs), "${args}"),
            *(("--", *options) if options else ()),
        ],
    }


def _wandb(
    table: PaperTable, rows: Mapping[str, Entry], seeds: Sequence[int], options: Sequence[str], runs: Path
) -> int:
    """Make a W&B sweep, or without a login its file."""
    import wandb

    if not rows:
        return 0
    config = wandb_config(table, rows, seeds, options, runs)
    if os.environ.get("WANDB_MODE", "online") == "online" and wandb.login(prompt=False, verify=False):
        try:
            sweep_id = wandb.sweep(config, project=config["project"])
        except wandb.Error as error:
            raise ValueError(f"W&B made no sweep: {error}") from error
        console.print(f"Start agents, here or on other machines with the same data: wandb agent vitm/{sweep_id}")
        return 0
    file = runs / table.name / "sweep.yaml"
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


def _slurm(table: PaperTable, planned: Sequence[PlannedRun], cluster: slurm.Cluster, runs: Path) -> int:
    """Submit what is not finished: runs that wait for the same ones, or for none, are an array of jobs."""
    if queued := slurm_jobs(table.name):
        raise ValueError(f"{table.name} is in the queue already (job {', '.join(queued)}): wait, or scancel it")
    waiting = _idle([run for run in planned if not run.done()])
    first = [run.arguments() for run in waiting if not {needed for _, needed in run.after} & set(waiting)]
    slurm.refuse(first, runs)
    trained: dict[PlannedRun, Path] = {}
    numbers: dict[PlannedRun, str] = {}  # as Slurm knows them: of an element of an array, 41_0
    while waiting:
        ready = [run for run in waiting if not {needed for _, needed in run.after} & set(waiting)]
        alike: dict[tuple[str, ...], list[PlannedRun]] = {}
        for run in ready:
            alike.setdefault(tuple(numbers[needed] for _, needed in run.after if needed in numbers), []).append(run)
        for after, group in alike.items():
            commands = [run.arguments(trained) for run in group]
            submitted = slurm.submit(commands, cluster, name=table.name, runs=runs, after=after)
            for i, (run, folder) in enumerate(zip(group, submitted.folders, strict=True)):
                numbers[run] = f"{submitted.job}_{i}" if len(group) > 1 else submitted.job
                trained[run] = folder / "checkpoints" / "best.ckpt"
                console.print(f"job {numbers[run]}: {run}, {folder}", markup=False, highlight=False, soft_wrap=True)
        waiting = [run for run in waiting if run not in ready]
    end = " --demo" if planned and planned[-1].demo else ""
    console.print(f"When they are done: vitm table {table.address} --runs {runs}{end}")
    return 0


def _idle(planned: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Return those that no process is at work on, and none that they go on from; say so of the others."""
    idle: list[PlannedRun] = []
    busy: set[PlannedRun] = set()
    for run in planned:
        needed = next((earlier for _, earlier in run.after if earlier in busy), None)
        if needed or (folder := run.running()):
            why = f"it goes on from {needed}, which runs" if needed else f"it runs already in {folder}"
            console.print(f"{run}: not submitted, because {why}", markup=False, soft_wrap=True)
            busy.add(run)
        else:
            idle.append(run)
    return idle


def slurm_jobs(name: str) -> list[str]:
    """Return the numbers of the user's jobs in the queue that have a name; none where there is no Slurm."""
    if shutil.which("squeue") is None:
        return []
    asked = subprocess.run(
        ["squeue", "--me", "--noheader", "--format=%F", f"--name={name}"], capture_output=True, text=True
    )
    return sorted(set(asked.stdout.split()))
