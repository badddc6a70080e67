"""Lightning's command line for an entry: task, data module and trainer, built from their signatures."""

from __future__ import annotations

import difflib
import logging
import re
import warnings
from argparse import ArgumentError
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch import callbacks as pl
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger

from vitm.runs.changes import History, check_changes, in_words
from vitm.runs.checks import check_network, check_trainer
from vitm.runs.entries import Entry
from vitm.runs.folders import first_process
from vitm.runs.histograms import FILE as HISTOGRAMS
from vitm.runs.setup import Setup
from vitm.runs.tracking import csv_logger, wandb_logger
from vitm.training.callbacks import (
    AnalyticBaselines,
    BestCheckpoint,
    EpochBar,
    Histograms,
    LastCheckpoint,
    Previews,
    StopAtNonFinite,
    StopWhenTold,
    Throughput,
    WholeCheckpointIO,
)
from vitm.training.lightning_internals import whole_numbers_first

KNOWN = (  # warnings that a user can do nothing about
    "LightningCLI's args parameter",
    ".*isinstance.treespec",
    "The number of training batches",
    "Found .* eval mode",
    "Experiment logs directory",
    "The `srun` command is available",  # on a machine that has a Slurm, whose jobs are made by vitm slurm
    "It is recommended to use .*sync_dist",  # metrics sync themselves
)


class EntryCLI(LightningCLI):
    """The options of an entry, parsed; nothing is built from them.

    Args:
        entry: Its task and data module give the options.
        arguments: Options; later ones win.

    Raises:
        ValueError: An option does not exist, or has a wrong value.
    """

    def __init__(self, entry: Entry, arguments: Sequence[str]) -> None:
        self.entry = entry
        whole_numbers_first()
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
        for message in KNOWN:
            warnings.filterwarnings("ignore", message)
        super().__init__(
            entry.load_task(),
            entry.load_data_module(),
            run=False,
            args=list(arguments),
            save_config_callback=None,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            parser_kwargs={
                "prog": f"vitm run {entry.name}",
                "description": entry.title,
                "exit_on_error": False,
                "allow_abbrev": False,
            },
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Let configuration files have an `entry` section."""
        parser.add_argument("--entry", type=dict, default={}, help="what the experiment is; not a setting")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and put errors in one line."""
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            options = [name for action in parser._actions for name in action.option_strings]
            raise ValueError(f"{_one_line(str(error), options)} (vitm run {self.entry.name} --help)") from error

    def instantiate_classes(self) -> None:
        """Build nothing."""


class ExperimentCLI(EntryCLI):
    """The task, the data module and the trainer of a run.

    Args:
        setup: The run.
        stop: What notes the signals that stop it.

    Raises:
        ValueError: An option, the data or the checkpoint is wrong.
    """

    def __init__(self, setup: Setup, stop: StopWhenTold) -> None:
        self.setup, self.stop = setup, stop
        self.history: History = {}
        super().__init__(setup.request.entry, setup.arguments)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and find out what a resumed run has otherwise than before."""
        super().parse_arguments(parser, args)
        if self.setup.resumed:
            self.history = check_changes(self.setup.folder, parser, self.entry, self.config)

    def instantiate_classes(self) -> None:
        """Build task, data module and trainer, as Lightning does."""
        LightningCLI.instantiate_classes(self)

    @property
    def trains(self) -> bool:
        """Whether the run begins with a fit."""
        return self.setup.request.trains and bool(self.model.trains)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Check task, data and options, so that bad input is an error before a run folder exists; build the trainer."""
        setup, command, config = self.setup, self.setup.request.command, self.config_init["trainer"]
        check_network(self.model, setup.last if setup.resumed else setup.checkpoint)
        if setup.released:
            self.model.start_from(str(setup.checkpoint))
        if self.trains:
            self.model.prepare_fit(setup.resumed)
        if first_process():
            self.datamodule.prepare_data()
            for stage in (command,) if command else ("fit", "test") if self.trains else ("test",):
                self.datamodule.setup(stage)
        check_trainer(self.model, config)
        try:
            return super().instantiate_trainer(
                callbacks=self._callbacks(config),
                plugins=[*(config.plugins or []), WholeCheckpointIO()],
                logger=self._loggers(config.logger),
                default_root_dir=str(setup.folder),
                enable_model_summary=config.enable_model_summary or False,  # its FLOPs are 0; metrics.json has them
                use_distributed_sampler=False,  # the data modules shard by themselves, without duplicates
                **kwargs,
            )
        except MisconfigurationException as error:
            raise ValueError(_one_line(str(error))) from error

    def _callbacks(self, config: Namespace) -> list[pl.Callback]:
        folder = self.setup.folder
        own = config.callbacks if isinstance(config.callbacks, list) else [config.callbacks] if config.callbacks else []
        bar = config.enable_progress_bar is not False and not any(isinstance(x, pl.ProgressBar) for x in own)
        monitor, mode = self.model.monitor
        return [
            *own,
            BestCheckpoint(folder / "checkpoints", "best", monitor=monitor, mode=mode, enable_version_counter=False),
            LastCheckpoint(folder / "checkpoints"),
            StopAtNonFinite(),
            self.stop,
            *([pl.LearningRateMonitor("step")] if config.logger is not False else []),
            Throughput(),
            *([AnalyticBaselines()] if self.model.analytic else []),
            *([EpochBar()] if bar else []),
            Previews(folder / "previews", self.setup.request.preview_side),
            Histograms(folder / HISTOGRAMS),
        ]

    def _loggers(self, given: Any) -> list[Logger]:
        """Return the CSV log, and W&B's or those that the user gives; nothing where `--trainer.logger` is false."""
        if given is False:
            return []
        if given not in (None, True):
            return [csv_logger(self.setup.folder, self.setup.resumed), *(given if isinstance(given, list) else [given])]
        setup, job_type = self.setup, self.setup.request.command or "fit"
        config = self.config.as_dict() | ({"changes": in_words(self.history)} if self.history else {})
        return [
            csv_logger(setup.folder, setup.resumed),
            wandb_logger(self.entry, setup.folder, job_type, [setup.tag], setup.resumed, config),
        ]


def resolve(entry: Entry, arguments: Sequence[str], resumed: Path | None = None) -> Namespace:
    """Return the configuration that options give.

    Args:
        entry: Entry whose options they are.
        arguments: Options; later ones win.
        resumed: Folder of the run that would go on with them.

    Raises:
        ValueError: An option does not exist, has a wrong value, or cannot change in that run.
    """
    cli = EntryCLI(entry, arguments)
    if resumed:
        check_changes(resumed, cli.parser, entry, cli.config)
    config: Namespace = cli.config
    return config


def _one_line(message: str, options: Iterable[str] = ()) -> str:
    """Return an error of jsonargparse or Lightning in one line; for an option that does not exist, with the nearest."""
    message = re.sub(r"\s+", " ", message).strip()
    unknown = re.match(r"unrecognized arguments: (-*[\w.]+)", message) or re.match(
        r"Group '(?P<group>[\w.]+)' does not accept option '(?P<key>[\w.]+)'|Option '(?P<option>[\w.]+)' is not",
        message,
    )
    if unknown:
        parts = unknown.groupdict()
        name = parts.get("option") or (f"{parts['group']}.{parts['key']}" if parts else unknown[1])
        name = f"--{name.lstrip('-')}" if parts or name.startswith("-") else name
        near = _nearest(name, options)
        return f"there is no option {name}{f'; did you mean {near}?' if near else ''}"
    message = re.sub(r'Parser key "([\w.]+)":', r"--\1:", message)
    if union := re.match(r"(--[\w.]+): .*Subtypes: \[(.*)\] Errors: .*Given value: (.*)", message):
        callables = r"[\w.]*Callable\[\[.*?\]\]?, [\w.]*\]"  # such as an optimiser's
        kinds = re.sub(callables, "the path of a class", union[2])
        kinds = re.sub(r"<class '(?:\w+\.)*(\w+)'>|typing\.\w+|(?:\w+\.)+", r"\1", kinds.replace("NoneType", "null"))
        names = dict.fromkeys(name.strip(" '") for name in re.split(r"[\[\],]+", kinds))
        return f"{union[1]}: {union[3]} does not fit; expected one of {', '.join(filter(None, names))}"
    message = re.sub(r"<class '([\w.]+)'>", r"\1", message)
    message = re.sub(r"Expected a typing.Literal\[(.*?)\]", r"expected one of \1", message)
    return re.sub(r"<([\w.]+) object at 0x[0-9a-f]+>", r"\1", message).replace(": Expected a", ": expected a")


def _nearest(name: str, options: Iterable[str]) -> str | None:
    """Return the option that an unknown one stands for: of its own section first, by its letters or its initials."""
    section, key = name.lstrip("-").rpartition(".")[::2]
    known = [(*option.lstrip("-").rpartition(".")[::2], option) for option in options]
    initials = "".join(word[0] for word in key.split("_") if word)
    for candidates in ({k: o for s, k, o in known if s == section}, {k: o for _, k, o in known}):
        for near in (initials if "_" in key else key, *difflib.get_close_matches(key, candidates, n=1)):
            if near in candidates:
                return candidates[near]
    return None
