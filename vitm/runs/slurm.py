"""Run an entry or a table on a cluster: `python -m experiments.slurm ENTRY|TABLE [options] [-- options of run]`."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml
from rich.console import Console

from vitm.runs.entries import Entry, entry_names, find_entry
from vitm.runs.options import parser_before_dashes, split

USAGE = """\
Write a job for Slurm and submit it: one process a device, DDP over all of them. A table is a job array.

Shortly before its time limit a run saves itself and goes back to the queue; it then goes on in the same folder, as the
same run on W&B, also after `scontrol requeue` or a preemption. Nodes must share the working directory and the data.
"""
EXAMPLES = """\
python -m experiments.slurm kpn_mfi --nodes 2 --gpus 4 --time 12:00:00 -- --data.root DATA
python -m experiments.slurm kpn_mfi/table3 --seeds 3 --at-once 4 -- --data.root DATA      a row and a seed an element
python -m experiments.slurm --gpus 2 --partition gpu --sbatch account=hdr --sbatch gres=gpu:a100:2 dslnet
python -m experiments.slurm hdcfm --tasks 8 --dry-run                                     on CPUs; shows the script
"""
console = Console(width=None if sys.stdout.isatty() else 160)


@dataclass(frozen=True)
class Cluster:
    """What a run asks of Slurm.

    Attributes:
        nodes: machines.
        gpus: of a node, a process each; 0 where there are `tasks`.
        tasks: processes of a node that train on its CPUs.
        cpus: cores of a process, of which data loading takes its share.
        time: limit, in any of Slurm's forms.
        margin: minutes before the limit at which a run saves itself and goes back to the queue.
        at_once: how many elements of an array may run at a time; None: any number.
        partition: where; None: the cluster's default.
        sbatch: more options of sbatch, `key=value` or `key`; they win over those above.

    Raises:
        ValueError: a value that Slurm would take, or refuse without saying why.
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
        """Processes of a node."""
        return self.gpus or self.tasks

    @property
    def trainer(self) -> list[str]:
        """The options of `experiments.run` that go with it."""
        kind = "gpu" if self.gpus else "cpu"
        return [
            *("--trainer.accelerator", kind, "--trainer.devices", str(self.devices)),
            *("--trainer.num_nodes", str(self.nodes), "--trainer.enable_progress_bar", "false"),
        ]

    def directives(self, name: str, log: Path, elements: int) -> dict[str, str | None]:
        """Options of sbatch, without their dashes -> value; None: it takes none."""
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
            "signal": f"USR1@{60 * self.margin}",
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
        job: its number.
        script: what was submitted.
        log: pattern of its log files.
        folders: where the runs go, in the order of their commands.
    """

    job: str
    script: Path
    log: Path
    folders: tuple[Path, ...]


def seconds(time: str) -> int:
    """A time limit in any of Slurm's forms: minutes, m:s, h:m:s, d-h, d-h:m, d-h:m:s.

    Raises:
        ValueError: it has another form.
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
    """The text of the job.

    Args:
        commands: arguments of `experiments.run`, of one run each; more than one are elements of an array.
        cluster: what each of them asks for.
        name: of the job.
        folder: where the log goes.
    """
    log = folder.absolute() / ("%a.log" if len(commands) > 1 else "slurm.log")
    directives = cluster.directives(name, log, len(commands))
    lines = ["#!/bin/bash"]
    lines += [f"#SBATCH --{k}" + ("" if v is None else f"={shlex.quote(v)}") for k, v in directives.items()]
    lines += [
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
    python = f'{shlex.quote(sys.executable)} -m experiments.run "${{run[@]}}"'
    lines += [f"{launch} {python} \\", f"  {shlex.join(cluster.trainer)}"]
    return "\n".join(lines) + "\n"


def submit(
    commands: Sequence[Sequence[str]], cluster: Cluster, *, name: str, runs: Path, after: Sequence[str] = ()
) -> Submitted:
    """Write the job of some runs beside them and submit it.

    Args:
        commands: arguments of `experiments.run`, of one run each; one that has a `--resume FOLDER` goes on there, the
            others get folders of their own.
        cluster: what each of them asks for.
        name: of the job: the entry or table.
        runs: where runs are kept.
        after: numbers of jobs that must have succeeded before. They are not in the script, so that it can be submitted
            again when they are long gone.

    Raises:
        FileNotFoundError: there is no Slurm here.
        ValueError: Slurm refused the job; the message is its own.
    """
    _needs_sbatch()
    folder, named, folders = place(commands, name, runs)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True)
    path = folder / "job.sh"
    path.write_text(script(named, cluster, name=name, folder=folder))
    behind = [f"--dependency=afterok:{':'.join(after)}", "--kill-on-invalid-dep=yes"] if after else []
    done = subprocess.run(["sbatch", "--parsable", *behind, str(path)], capture_output=True, text=True)
    if done.returncode:
        path.unlink()
        with contextlib.suppress(OSError):  # another process may have found a use for it
            for empty in made:
                empty.rmdir()
        raise ValueError(f"Slurm refused the job: {done.stderr.strip()}")
    job = done.stdout.strip().partition(";")[0]
    log = folder / (f"{'*' if len(commands) > 1 else 'slurm'}.log")
    return Submitted(job, path, log, folders)


def _needs_sbatch() -> None:
    if shutil.which("sbatch") is None:
        raise FileNotFoundError("there is no sbatch on this machine: submit from a login node of the cluster")


def place(commands: Sequence[Sequence[str]], name: str, runs: Path) -> tuple[Path, list[list[str]], tuple[Path, ...]]:
    """The folder of a job, its commands with a name for each run, and the folders of the runs.

    A single run is in the folder of its job; each run has a name that no other one has, since W&B knows it by that.
    """
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    runs = runs.absolute()
    named, folders = [], []
    for i, command in enumerate(commands):
        unique = stamp if len(commands) == 1 else f"{stamp}-{i}"
        if "--resume" in command:
            folder, own = Path(command[command.index("--resume") + 1]).absolute(), []
        else:
            folder, own = runs / command[0] / unique, ["--name", unique]
        named.append([*command, "--runs", str(runs), *own])
        folders.append(folder)
    return runs / name / stamp, named, tuple(folders)


def go_on_later(trained: bool, measuring: bool = False) -> int:
    """Put this job, or this element of an array, back into the queue; returns an exit status.

    Args:
        trained: whether this process has made a step: a job that comes no nearer to its end must not begin again.
        measuring: whether it was past its training.

    Raises:
        ValueError: Slurm refused.
    """
    if not trained:
        early = "the measurement, which begins anew each time, was not done" if measuring else "no step was made"
        console.print(
            f"error: {early} within the job's time limit; give it a longer one", style="bold red", soft_wrap=True
        )
        return 1
    element = [os.environ[k] for k in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID") if k in os.environ]
    job = "_".join(element) if len(element) == 2 else os.environ["SLURM_JOB_ID"]
    console.print("The time limit is near: the run is saved and goes back to the queue.")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which Slurm ends this process when it obeys
    done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"scontrol requeue {job} failed: {done.stderr.strip()}; submit the same script to go on")
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `Cluster`."""
    group = parser.add_argument_group("cluster")
    kind = group.add_mutually_exclusive_group()
    kind.add_argument("--gpus", type=int, default=1, help="GPUs of a node, a process each (1)")
    kind.add_argument("--tasks", type=int, default=0, help="instead: processes of a node, on CPUs")
    group.add_argument("--nodes", type=int, default=1, help="machines (1)")
    group.add_argument("--cpus", type=int, default=4, help="cores of a process (4)")
    group.add_argument("--time", default="24:00:00", help="limit of a job (24:00:00); longer runs go on after it")
    group.add_argument("--margin", type=int, default=5, help="minutes before the limit at which a run is saved (5)")
    group.add_argument("--at-once", type=int, metavar="N", help="elements of an array that run at a time (any number)")
    group.add_argument("--partition", help="(the cluster's default)")
    group.add_argument(
        "--sbatch", action="append", default=[], metavar="KEY=VALUE", help="one more option of sbatch; repeatable"
    )


def cluster(options: argparse.Namespace) -> Cluster:
    """What the options of `add_options` say."""
    given = {name: getattr(options, name) for name in Cluster.__dataclass_fields__}
    return Cluster(**given | {"sbatch": tuple(options.sbatch), "gpus": 0 if options.tasks else options.gpus})


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status."""
    mine, passed = split(argv)
    parser = parser_before_dashes("experiments.slurm", "ENTRY|TABLE", USAGE, EXAMPLES)
    parser.add_argument("name", metavar="ENTRY|TABLE", help="such as kpn_mfi or kpn_mfi/table3")
    parser.add_argument("--seeds", type=int, help="how many: 0, 1, ... (the entry's own)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept (runs)")
    parser.add_argument("--dry-run", action="store_true", help="check and print the script; needs no Slurm")
    add_options(parser)
    options = parser.parse_args(mine)
    try:
        asked = cluster(options)
        commands = _commands(options.name, options.seeds, passed)
        if error := refused(commands, options.runs, dry_run=options.dry_run):
            print(error, end="")
            return 2
        if options.dry_run:
            folder, named, _ = place(commands, options.name, options.runs)
            print(script(named, asked, name=options.name, folder=folder), end="")
            return 0
        submitted = submit(commands, asked, name=options.name, runs=options.runs)
    except (ValueError, FileNotFoundError, PermissionError) as error:
        console.print(f"error: {error}", style="bold red", markup=False, soft_wrap=True)
        return 2
    console.print(f"job {submitted.job}: {submitted.script}, log {submitted.log}", highlight=False, soft_wrap=True)
    for run in submitted.folders:
        console.print(f"run folder: {run}", highlight=False, soft_wrap=True)
    return 0


def _commands(name: str, seeds: int | None, passed: list[str]) -> list[list[str]]:
    """The runs of an entry or of a table's rows; a row that is a run of another entry is that one, once."""
    given = {option.partition("=")[0] for option in passed}
    if mine := given & {"predict", "--runs", "--name"}:
        raise ValueError(f"{min(mine)} does not go behind --; it takes fit, validate or test, and their options")
    if "--resume" in given and (seeds or passed[-1] == "--resume" or name not in entry_names()):
        raise ValueError("--resume on a cluster takes one entry and the folder of its run")
    if seeds is not None and (seeds < 1 or "--seed_everything" in given):
        raise ValueError(f"expected 1 or more seeds, or --seed_everything SEED behind --; got {seeds} seeds")
    entries = [find_entry(name)] if name in entry_names() else _rows(name)
    if all("missing" in entry.about for entry in entries):
        raise ValueError(f"{name} cannot be run: {entries[0].about['missing']}")
    return [
        [entry, *passed, *(() if seed is None else ("--seed_everything", str(seed)))]
        for entry in dict.fromkeys(entry.same_as for entry in entries if "missing" not in entry.about)
        for seed in (range(seeds) if seeds else (None,))
    ]


def _rows(table: str) -> list[Entry]:
    rows = [find_entry(name) for name in entry_names() if "/table" in table and name.rpartition("/")[0] == table]
    if not rows:
        tables = sorted({name.rpartition("/")[0] for name in entry_names() if "/table" in name})
        raise ValueError(
            f"no entry or table {table!r}; the tables are {', '.join(tables)}; experiments.run --list has the entries"
        )
    return rows


def refused(commands: Sequence[Sequence[str]], runs: Path, dry_run: bool = False) -> str:
    """What `experiments.run` has against a command, found here rather than after a night in the queue.

    It also makes the demo data where a run needs them, once.

    Raises:
        FileNotFoundError: there is no Slurm here, and this is no `dry_run`.
    """
    from vitm.runs.checks import check_config
    from vitm.runs.run import main as run

    if not dry_run:
        _needs_sbatch()
    for command in {command[0]: command for command in commands}.values():
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                status: object = run([*command, "--runs", str(runs), "--print_config"])
        except SystemExit as stop:
            status = stop.code
        if status:
            return said.getvalue() or f"{shlex.join(command)} cannot be run"
        printed = said.getvalue()
        try:
            check_config(find_entry(command[0]), yaml.safe_load(printed[printed.index("# lightning.pytorch") :]))
        except (ValueError, FileNotFoundError) as error:
            return f"error: {error}\n"
    return ""


if __name__ == "__main__":
    sys.exit(main())
