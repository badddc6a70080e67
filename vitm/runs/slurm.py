"""Run an entry or a table on a cluster: jobs for Slurm."""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from vitm.runs.command import parse
from vitm.runs.entries import find_entries, find_entry
from vitm.runs.run import check as check_run


@dataclass(frozen=True)
class Cluster:
    """What a run asks of Slurm.

    Attributes:
        nodes: Number of machines.
        gpus: GPUs of a node, with one process each; 0 where there are `tasks`.
        tasks: Processes of a node that train on its CPUs.
        cpus: Cores of a process; data loading takes its share of them.
        time: Time limit, in any of Slurm's forms.
        margin: Minutes before the limit at which a run saves itself and goes back to the queue.
        at_once: Largest number of an array's elements that run at a time; None: any number.
        partition: Partition of the cluster; None: its default.
        sbatch: More options of sbatch, `key=value` or `key`; they win over those above.

    Raises:
        ValueError: Slurm would refuse a value, or take it for another.
    """

    nodes: int = 1
    gpus: int = 1
    tasks: int = 0
    cpus: int = 4
    time: str = "24:00:00"
    margin: int = 5
    at_once: int | None = None
    partition: str | None = None
    sbatch: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.gpus) == bool(self.tasks):
            raise ValueError(f"expected gpus or tasks, got gpus={self.gpus} and tasks={self.tasks}: say which")
        for name in ("nodes", "cpus", "margin", "at_once"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; expected 1 or more")
        if min(self.gpus, self.tasks) < 0:
            raise ValueError(f"expected a number of devices, got gpus={self.gpus} and tasks={self.tasks}")
        if (limit := seconds(self.time)) < 60 * (self.margin + 2):  # Slurm may say so a minute early
            raise ValueError(
                f"a time limit of {self.time} is {limit / 60:g} min, and runs stop {self.margin} min before it: give a "
                "longer one (24:00:00), or a smaller margin"
            )

    @property
    def devices(self) -> int:
        """Number of processes of a node."""
        return self.gpus or self.tasks

    @property
    def trainer(self) -> list[str]:
        """Options of `vitm run` for these devices."""
        kind = "gpu" if self.gpus else "cpu"
        return [
            *("--trainer.accelerator", kind, "--trainer.devices", str(self.devices)),
            *("--trainer.num_nodes", str(self.nodes), "--trainer.enable_progress_bar", "false"),
        ]

    def directives(self, name: str, log: Path, elements: int, tell_script: bool = False) -> dict[str, str | None]:
        """Return options of sbatch, without their dashes -> value; None for those that take no value.

        Args:
            name: Name of the job.
            log: Pattern of its log files.
            elements: Number of elements of its array; 1 for no array.
            tell_script: Whether the script hears before the time limit, instead of its processes.
        """
        array = f"0-{elements - 1}" + (f"%{self.at_once}" if self.at_once else "")
        options: dict[str, str | None] = {
            "job-name": name,
            "nodes": str(self.nodes),
            "ntasks-per-node": str(self.devices),
            "cpus-per-task": str(self.cpus),
            **({"gres": f"gpu:{self.gpus}"} if self.gpus else {}),
            "time": self.time,
            **({"partition": self.partition} if self.partition else {}),
            **({"array": array} if elements > 1 else {}),
            "signal": f"{'B:' if tell_script else ''}USR1@{60 * self.margin}",
            "requeue": None,
            "open-mode": "append",
            "chdir": str(Path.cwd()),
            "output": str(log),
        }
        for option in self.sbatch:
            key, equals, value = option.lstrip("-").partition("=")
            options[key] = value if equals else None
        return options


@dataclass(frozen=True)
class Submitted:
    """A job in the queue.

    Attributes:
        job: Its number.
        script: The file that was submitted.
        log: Pattern of its log files.
        folders: Folders of its runs, in the order of their commands.
    """

    job: str
    script: Path
    log: Path
    folders: tuple[Path, ...]


def seconds(time: str) -> int:
    """Return the seconds of a time limit in any of Slurm's forms: minutes, m:s, h:m:s, d-h, d-h:m, d-h:m:s.

    Raises:
        ValueError: It has another form.

    Example:
        >>> seconds("90"), seconds("12:00:00"), seconds("1-12")
        (5400, 43200, 129600)
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time)
    if match is None:
        raise ValueError(f"the time limit is {time!r}; expected minutes, hours:minutes:seconds or days-hours:minutes")
    days, a, b, c = (None if part is None else int(part) for part in match.groups())
    if days is not None:
        return 86400 * days + 3600 * (a or 0) + 60 * (b or 0) + (c or 0)
    if c is not None:
        return 3600 * (a or 0) + 60 * (b or 0) + c
    return 60 * (a or 0) + (b or 0)


def script(commands: Sequence[Sequence[str]], cluster: Cluster, *, name: str, folder: Path) -> str:
    """Return the text of a job.

    Args:
        commands: Arguments of `vitm run`, for one run each; more than one are elements of an array.
        cluster: Nodes, devices and time of each run.
        name: Name of the job.
        folder: Folder of the log.
    """
    directives = cluster.directives(name, log_pattern(folder, len(commands)), len(commands))
    lines = [
        *heading(directives),
        "",
        "export WANDB_MODE=${WANDB_MODE:-offline}  # compute nodes see no internet: wandb sync sends it later",
        f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{cluster.cpus}}}",
    ]
    quoted = [shlex.join(command) for command in commands]
    if len(commands) > 1:
        lines += ["case $SLURM_ARRAY_TASK_ID in"]
        lines += [f"  {i}) run=({arguments}) ;;" for i, arguments in enumerate(quoted)]
        lines += ["esac"]
    else:
        lines += [f"run=({quoted[0]})"]
    launch = f"srun --kill-on-bad-exit=1 --cpus-per-task={cluster.cpus}"
    python = f'{shlex.quote(sys.executable)} -m vitm run "${{run[@]}}"'
    lines += [f"{launch} {python} \\", f"  {shlex.join(cluster.trainer)}"]
    return "\n".join(lines) + "\n"


def log_pattern(folder: Path, elements: int) -> Path:
    """Return the log of a job in a folder, as sbatch takes it: one for each element of an array."""
    return folder.absolute() / ("%a.log" if elements > 1 else "slurm.log")


def heading(directives: Mapping[str, str | None]) -> list[str]:
    """Return the first lines of a job: what runs it, and what it asks of Slurm."""
    asked = [f"#SBATCH --{k}" + ("" if v is None else f"={shlex.quote(v)}") for k, v in directives.items()]
    return ["#!/bin/bash", *asked]


def submit(
    commands: Sequence[Sequence[str]], cluster: Cluster, *, name: str, runs: Path, after: Sequence[str] = ()
) -> Submitted:
    """Write the job of some runs beside them and submit it.

    Args:
        commands: Arguments of `vitm run`, for one run each; one that has a `--resume FOLDER` goes on there, the
            others get folders of their own.
        cluster: Nodes, devices and time of each run.
        name: Name of the job: the entry or table.
        runs: Folder where runs are kept.
        after: Numbers of jobs that must have succeeded before. They are not in the script, so that it can be submitted
            again when they are long gone.

    Raises:
        FileNotFoundError: There is no Slurm here.
        ValueError: Slurm refused the job; the message is its own.
    """
    needs_sbatch()
    folder, named, folders = place(commands, name, runs)
    return hand_over(script(named, cluster, name=name, folder=folder), folder, len(commands), folders, after)


def hand_over(
    text: str, folder: Path, elements: int, folders: tuple[Path, ...] = (), after: Sequence[str] = ()
) -> Submitted:
    """Write a job into its folder, which is made, and submit it.

    Args:
        text: The job.
        folder: Its folder.
        elements: Number of elements of its array; 1 for no array.
        folders: Folders of its runs.
        after: Numbers of jobs that must have succeeded before.

    Raises:
        ValueError: Slurm refused the job; the message is its own, and the folder is gone again.
    """
    new_folders = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True)
    path = folder / "job.sh"
    path.write_text(text)
    behind = [f"--dependency=afterok:{':'.join(after)}", "--kill-on-invalid-dep=yes"] if after else []
    done = subprocess.run(["sbatch", "--parsable", *behind, str(path)], capture_output=True, text=True)
    if done.returncode:
        path.unlink()
        with contextlib.suppress(OSError):  # another process may have found a use for it
            for empty in new_folders:
                empty.rmdir()
        raise ValueError(f"Slurm refused the job: {done.stderr.strip()}")
    job = done.stdout.strip().partition(";")[0]
    return Submitted(job, path, folder / (f"{'*' if elements > 1 else 'slurm'}.log"), folders)


def needs_sbatch() -> None:
    """Raise FileNotFoundError where there is no Slurm."""
    if shutil.which("sbatch") is None:
        raise FileNotFoundError("there is no sbatch on this machine: submit from a login node of the cluster")


def new_stamp() -> str:
    """Return a name for a folder that no other one has: the time, and four digits by chance."""
    return f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def place(commands: Sequence[Sequence[str]], name: str, runs: Path) -> tuple[Path, list[list[str]], tuple[Path, ...]]:
    """Return the folder of a job, its commands with a name for each run, and the folders of the runs.

    A single run is in the folder of its job; each run has a name that no other one has, since W&B knows it by that.
    """
    stamp, runs = new_stamp(), runs.absolute()
    named, folders = [], []
    for i, command in enumerate(commands):
        unique = stamp if len(commands) == 1 else f"{stamp}-{i}"
        if "--resume" in command:
            folder, own = Path(command[command.index("--resume") + 1]).absolute(), []
        else:
            folder, own = runs / find_entry(command[0]).name / unique, ["--name", unique]
        named.append([*command, "--runs", str(runs), *own])
        folders.append(folder)
    return runs / name / stamp, named, tuple(folders)


def dry_run(
    name: str, *, cluster: Cluster, seeds: int | None = None, runs: Path = Path("runs"), passed: Sequence[str] = ()
) -> str:
    """Return the text of the job that `launch` would submit; needs no Slurm.

    Args:
        name: An entry, or a table, whose rows are the elements of an array.
        cluster: Nodes, devices and time of each run.
        seeds: Number of seeds; None: the entry's own.
        runs: Folder where runs are kept.
        passed: Options for `vitm run`.

    Raises:
        ValueError: `vitm run` would refuse one of the commands.
    """
    job, commands = _job(name, seeds, passed)
    refuse(commands, runs)
    folder, named, _ = place(commands, job, runs)
    return script(named, cluster, name=job, folder=folder)


def launch(
    name: str, *, cluster: Cluster, seeds: int | None = None, runs: Path = Path("runs"), passed: Sequence[str] = ()
) -> Submitted:
    """Submit an entry, or a table as an array; for the arguments see `dry_run`.

    Raises:
        ValueError: `vitm run` would refuse one of the commands, or Slurm refuses the job.
        FileNotFoundError: There is no Slurm here.
    """
    job, commands = _job(name, seeds, passed)
    needs_sbatch()
    refuse(commands, runs)
    return submit(commands, cluster, name=job, runs=runs)


def _job(name: str, seeds: int | None, passed: Sequence[str]) -> tuple[str, list[list[str]]]:
    """Return the name of a job, and the runs of an entry or of a table's rows.

    A row that is a run of another entry is that one, once.
    """
    given = {option.partition("=")[0] for option in passed}
    if mine := given & {"predict", "--runs", "--name"}:
        raise ValueError(f"{min(mine)} does not go behind --; it takes fit, validate or test, and their options")
    entries = find_entries(name)
    if "--resume" in given and (seeds or passed[-1] == "--resume" or entries[0].address != name):
        raise ValueError("--resume on a cluster takes one entry and the folder of its run")
    if seeds is not None and (seeds < 1 or "--seed_everything" in given):
        raise ValueError(f"expected 1 or more seeds, or --seed_everything SEED behind --; got {seeds} seeds")
    if all(entry.missing for entry in entries):
        raise ValueError(f"{name} cannot be run: {entries[0].missing}")
    job = entries[0].name if entries[0].address == name else entries[0].name.rpartition("/")[0]
    return job, [
        [entry, *passed, *(() if seed is None else ("--seed_everything", str(seed)))]
        for entry in dict.fromkeys(entry.runs.address for entry in entries if not entry.missing)
        for seed in (range(seeds) if seeds else (None,))
    ]


def refuse(commands: Sequence[Sequence[str]], runs: Path) -> None:
    """Raise the error that `vitm run` would have for a command, now rather than after a night in the queue.

    It also makes the demo data where a run needs them, once.

    Raises:
        ValueError: A command cannot be run.
    """
    for command in {command[0]: command for command in commands}.values():
        check_run(parse([*command, "--runs", str(runs)]))
