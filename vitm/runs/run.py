"""Run an experiment: fit, measure, and write what came of it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.utilities.exceptions import SIGTERMException

from vitm.console import console
from vitm.files import replace_when_whole
from vitm.runs.changes import in_words
from vitm.runs.checks import check_config
from vitm.runs.command import Request
from vitm.runs.folders import first_process, hold
from vitm.runs.lightning_cli import ExperimentCLI, resolve
from vitm.runs.overrides import FILE, save_overrides
from vitm.runs.published import check_published, report_published
from vitm.runs.requeue import go_on_later
from vitm.runs.results import Results, describe
from vitm.runs.setup import Setup, set_up
from vitm.runs.tracking import SteadyWandbLogger, end_tracking
from vitm.training.callbacks import LastCheckpoint, StopWhenTold

NO_SHARED_MEMORY = (
    "the workers of the data loader have filled /dev/shm, through which they give batches: make it larger (docker run "
    "--shm-size 8g), or take fewer --data.num_workers; 0 needs none of it"
)


def run(request: Request) -> int:
    """Fit and measure; return the exit status: 0, or for a run that a signal stopped 128 and its number.

    Raises:
        ValueError: The request cannot be run; nothing was written.
        FileNotFoundError: The data, a run or a checkpoint is not there.
        LockedError: Another process writes to the run's folder.
        FloatingPointError: A loss, a weight or a prediction is no number.
        OSError: The machine lacks something: disk, shared memory.
    """
    setup = set_up(request)
    with ExitStack() as held, StopWhenTold() as stop:
        existed = setup.folder.is_dir()
        if existed and first_process():
            held.enter_context(hold(setup.folder))
        try:
            cli = ExperimentCLI(setup, stop)
        except SIGTERMException:
            return 128 + stop.number
        if cli.trainer.is_global_zero:
            setup.last.parent.mkdir(parents=True, exist_ok=True)
            if not existed:
                held.enter_context(hold(setup.folder))
            _write_configuration(cli, setup)
            describe(console(), request.entry, cli.model, cli.datamodule, setup.folder)
            for line in in_words(cli.history):
                console().print(line, soft_wrap=True, markup=False)
        try:
            _fit_and_measure(cli, setup)
        except SIGTERMException:
            end_tracking()
            return _stopped(cli, setup, stop)
        except RuntimeError as error:
            if "shared memory" in str(error):
                raise OSError(NO_SHARED_MEMORY) from error
            raise
        finally:
            end_tracking()
    return 0


def check(request: Request) -> None:
    """Raise what `run` would raise before it trains; write nothing but the demo data.

    Raises:
        ValueError: The request cannot be run.
        FileNotFoundError: The data, a run or a checkpoint is not there.
    """
    setup = set_up(request)
    config = resolve(request.entry, setup.arguments, setup.folder if setup.resumed else None)
    check_config(request.entry, config.as_dict())


def _write_configuration(cli: ExperimentCLI, setup: Setup) -> None:
    with replace_when_whole(setup.folder / "tags") as part:
        part.write_text(setup.tag)
    entry = setup.request.entry
    save_overrides(setup.folder / FILE, cli.parser, entry, cli.config, demo=setup.demo, history=cli.history)
    if cli.model.start and setup.request.trains:
        with replace_when_whole(setup.folder / "start.yaml") as part:
            part.write_text(yaml.safe_dump(asdict(cli.model.start), sort_keys=False))
    with replace_when_whole(setup.folder / "config.yaml") as part:  # a slower process may be reading it
        cli.parser.save(cli.config, part, overwrite=True, skip_unset=False)
        if cli.history:
            part.write_text("".join(f"# {line}\n" for line in in_words(cli.history)) + part.read_text())


def _fit_and_measure(cli: ExperimentCLI, setup: Setup) -> None:
    """Fit, measure, write `metrics.json` and print the table."""
    request, started, earlier = setup.request, time.monotonic(), 0.0
    trainer: Any = cli.trainer
    if cli.trains:
        trainer.fit(cli.model, cli.datamodule, ckpt_path=setup.last if setup.resumed else None)
        earlier = sum(c.earlier for c in trainer.callbacks if isinstance(c, LastCheckpoint))
    fitted = time.monotonic() - started
    measured = None
    if request.command != "fit":
        measured = setup.checkpoint or trainer.checkpoint_callback.best_model_path or None
        measure = trainer.validate if request.command == "validate" else trainer.test
        measure(cli.model, cli.datamodule, ckpt_path=None if setup.released else measured, verbose=False)
    if trainer.is_global_zero:
        results = Results.collect(request.entry, trainer, cli.model, demo=setup.demo, checkpoint=measured)
        wall = time.monotonic() - started
        results.save(setup.folder / "metrics.json", fit_seconds=earlier + fitted, wall_seconds=earlier + wall)
        for logger in trainer.loggers:
            if isinstance(logger, SteadyWandbLogger):
                logger.log_results(results)
        out = console()
        results.print(out, request.entry)
        if request.protocol and measured:
            check = check_published(request.entry, results.values, cli.datamodule, Path(measured))
            report_published(check, setup.folder, out)
        out.print(f"Written to {setup.folder}: config.yaml, metrics.json, checkpoints, previews, logs.", soft_wrap=True)


def _stopped(cli: ExperimentCLI, setup: Setup, stop: StopWhenTold) -> int:
    """Return the exit status of a run that a signal stopped; in a cluster's job, put it back into the queue."""
    if not cli.trainer.is_global_zero:
        return 0  # the first process speaks; launchers kill a run when any of its processes ends with an error
    if stop.at_limit and "SLURM_JOB_ID" in os.environ:
        return go_on_later(stop.trained, measuring=cli.trainer.state.fn != "fit")
    number = stop.number or signal.SIGTERM
    where = f"at step {cli.trainer.global_step}" if cli.trainer.state.fn == "fit" else "while it measured"
    more = f"; go on with vitm run {setup.request.entry.address} --resume {setup.folder}"
    text = f"Stopped by {signal.Signals(number).name} {where}{more if setup.last.is_file() else ''}"
    console().print(text, soft_wrap=True, highlight=False)
    return 128 + number
