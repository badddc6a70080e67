"""Run an experiment: `python -m experiments.run ENTRY [fit|validate|test|predict] [options]`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.markup import escape

from vitm.cli.options import frame_rate
from vitm.files import replace_when_whole
from vitm.runs.entries import Entry, entry_names, find_entry
from vitm.runs.folders import best_checkpoint, first_process, hold, newest_run, run_folder, run_tags

COMMANDS = ("fit", "validate", "test", "predict")
USAGE = """\
usage: python -m experiments.run ENTRY [fit|validate|test|predict] [options]
       python -m experiments.run --list

Without a command: fit, then test. Without --data.root or --data.pairs: demo data, made on the spot.

  --list                list the entries
  --resume [RUN]        go on with a run (its folder; default: the newest run of ENTRY)
  --name NAME           call the run's folder so (default: the time); the same command again goes on with it
  --checkpoint PATH     weights for validate, test and predict (default: the best of the newest run of ENTRY)
  --input PATH          predict: an SDR video or folder of frames (default: a demo clip)
  --output FOLDER       predict: where to write (default: the folder of the run)
  --assume TAGS         predict: what to assume of an input without colour tags (bt709)
  --fps RATE            predict: frames a second of a folder of frames (default: 24)
  --device NAME         predict: cpu, cuda, ... (default: cuda where there is one)
  --runs FOLDER         where runs are kept (default: runs)
  --config PATH         one more YAML file; it wins over those of ENTRY
  --model.KEY, --data.KEY, --trainer.KEY, --seed_everything
                        anything else; `ENTRY --help` lists them all

Errors are one line; VITM_TRACEBACK=1 shows where they come from.
"""
DEMO = "No data is configured (--data.root or --data.pairs): this run uses the [bold]demo data[/] and demo.yaml."
console = Console(width=None if sys.stdout.isatty() else 120)


class UsageError(Exception):
    """A command line that cannot be run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status, of a run that a signal stopped 128 and its number."""
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(args)
    except (UsageError, ValueError, yaml.YAMLError, FileNotFoundError, PermissionError, BlockingIOError) as error:
        return _explain(error, status=2)
    except OSError as error:
        return _explain(error, status=1)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # what Lightning makes of it
            return 128 + signal.SIGINT
        raise


def _explain(error: Exception, status: int) -> int:
    if os.environ.get("VITM_TRACEBACK"):
        raise error
    console.print("[bold red]error:[/]", escape(str(error)), highlight=False, soft_wrap=True)
    return status


def _run(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if args else 2
    if args[0] == "--list":
        _list()
        return 0
    entry = find_entry(args.pop(0))
    if "missing" in entry.about:
        raise UsageError(f"{entry.name} cannot be run: {entry.about['missing']}")
    command = args.pop(0) if args and args[0] in COMMANDS else None
    if args and not args[0].startswith("-"):
        raise UsageError(f"unknown command {args[0]!r}; expected one of {', '.join(COMMANDS)}, or an option")
    if "--help" in args or "-h" in args:
        print(USAGE)
    options, flags = _parse(args, predicting=command == "predict")
    if command == "predict":
        from vitm.runs.predict import predict

        if "--help" in flags:
            return 0
        if flags:
            raise UsageError(f"predict takes no {flags[0]!r}; the checkpoint knows its network")
        return predict(entry, options)
    return _train(entry, command, options, flags)


def _parse(args: list[str], predicting: bool) -> tuple[argparse.Namespace, list[str]]:
    """Our own options, and the rest, which belongs to LightningCLI."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    if predicting:
        parser.add_argument("--input", type=Path)
        parser.add_argument("--output", type=Path)
        parser.add_argument("--assume")
        parser.add_argument("--fps", type=frame_rate, default=Fraction(24))
        parser.add_argument("--device", type=_device, default="cuda" if torch.cuda.is_available() else "cpu")
    else:
        parser.add_argument("--resume", nargs="?", const="newest")
        parser.add_argument("--name")
    try:
        options, rest = parser.parse_known_args(args)
    except argparse.ArgumentError as error:
        raise UsageError(str(error)) from error
    if not predicting and (misplaced := {"--input", "--output", "--assume", "--fps", "--device"} & set(rest)):
        raise UsageError(f"{sorted(misplaced)[0]} belongs to predict (a device for training: --trainer.accelerator)")
    return options, rest


def _device(text: str) -> torch.device:
    try:
        device = torch.device(text)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return device


def _list() -> None:
    names = entry_names()
    width = max(map(len, names))
    for name in names:
        print(f"{name:{width}}  {find_entry(name).about['title']}")


def _train(entry: Entry, command: str | None, options: argparse.Namespace, flags: list[str]) -> int:
    import wandb
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from vitm.runs.overrides import save_overrides
    from vitm.runs.results import describe
    from vitm.runs.slurm import go_on_later
    from vitm.training.callbacks import StopWhenTold

    if options.resume and command not in (None, "fit"):
        raise UsageError(f"--resume continues a fit, and does not go with {command}")
    if options.name and (options.resume or Path(options.name).name != options.name):
        raise UsageError(f"--name {options.name} should be the name of a folder, without --resume")
    checkpoint = _checkpoint(entry, command, options)
    folder, resumed = run_folder(entry, command, options, flags)
    if resumed:
        configs = [folder / "config.yaml"]
        demo = "demo" in run_tags(folder)
    else:
        demo = not _names(flags, "data", {"root", "pairs"})
        configs = [entry.configs[0], *([entry.demo] if demo else []), *entry.configs[1:]]
    config_flags = [x for path in configs for x in ("--config", str(path))]
    if demo and not resumed and "--help" not in flags:
        if first_process():
            console.print(DEMO, soft_wrap=True)
        config_flags += ["--data.root", str(entry.load("data_module").demo_root())]

    if checkpoint:
        config_flags += _network_flags(checkpoint)
    elif not resumed and "--help" not in flags:
        config_flags += _earlier_stages(entry, options.runs, "demo" if demo else "data", flags)
    tags = ["demo"] if demo else ["data"]
    with ExitStack() as held, StopWhenTold() as stop:
        before = folder.is_dir()
        if before and first_process():
            held.enter_context(hold(folder))
        try:
            cli = _cli(entry, command, folder, tags, resumed, checkpoint, stop, [*config_flags, *flags])
        except SIGTERMException:
            return 128 + signal.SIGTERM
        if cli.trainer.is_global_zero:
            (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            if not before:
                held.enter_context(hold(folder))
            with replace_when_whole(folder / "tags") as part:
                part.write_text(" ".join(tags))
            save_overrides(folder / "overrides.yaml", cli.parser, entry, cli.config, demo=demo)
            with replace_when_whole(folder / "config.yaml") as part:  # a slower process may be reading it
                cli.parser.save(cli.config, part, overwrite=True, skip_unset=False)
            describe(console, entry, cli.model, cli.datamodule, folder)
        try:
            _work(cli, entry, command, folder, checkpoint, resumed=resumed, demo=demo)
        except SIGTERMException:
            wandb.finish()
            if not cli.trainer.is_global_zero:
                return 0  # the first process speaks; those that wait for all would kill it because of another's error
            if stop.at_limit and "SLURM_JOB_ID" in os.environ:
                return go_on_later(stop.trained, measuring=cli.trainer.state.fn != "fit")
            return 128 + (stop.number or signal.SIGTERM)
        finally:
            wandb.finish()
    return 0


def _work(
    cli: Any, entry: Entry, command: str | None, folder: Path, checkpoint: Path | None, *, resumed: bool, demo: bool
) -> None:
    """Fit, measure, write `metrics.json` and print the table."""
    from vitm.runs.results import Results
    from vitm.training.callbacks import LastCheckpoint

    started, earlier = time.monotonic(), 0.0
    if command in (None, "fit"):
        last = folder / "checkpoints" / "last.ckpt"
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=last if resumed else None)
        earlier = sum(c.earlier for c in cli.trainer.callbacks if isinstance(c, LastCheckpoint))
    fitted = time.monotonic() - started
    best = checkpoint or _best(cli.trainer)
    if command == "validate":
        cli.trainer.validate(cli.model, cli.datamodule, ckpt_path=best, verbose=False)
    elif command != "fit":
        cli.trainer.test(cli.model, cli.datamodule, ckpt_path=best, verbose=False)
    if cli.trainer.is_global_zero:
        measured = None if command == "fit" else best
        results = Results.collect(entry, cli.trainer, cli.model, demo=demo, checkpoint=measured)
        wall = time.monotonic() - started
        results.save(folder / "metrics.json", fit_seconds=earlier + fitted, wall_seconds=earlier + wall)
        results.print(console)
        console.print(f"Written to {folder}: config.yaml, metrics.json, checkpoints, previews, logs.", soft_wrap=True)


def _names(flags: list[str], section: str, keys: set[str]) -> bool:
    """Whether the command line gives one of the keys of a section, itself or in a --config file."""
    options = {f"--{section}", *(f"--{section}.{key}" for key in keys)}
    for i, flag in enumerate(flags):
        name, _, value = flag.partition("=")
        if name in options:
            return True
        if name == "--config":
            path = Path(value or "".join(flags[i + 1 : i + 2]))
            if path.is_file() and keys & set((yaml.safe_load(path.read_text()) or {}).get(section) or {}):
                return True
    return False


def _earlier_stages(entry: Entry, runs: Path, tag: str, flags: list[str]) -> list[str]:
    """Options that name the best checkpoint of the newest run, on the same kind of data, of what comes before."""
    found = []
    for option, earlier in entry.about.get("after", {}).items():
        section, _, key = option.partition(".")
        if not _names(flags, section, {key}):
            try:
                folder = newest_run(find_entry(earlier), runs, "checkpoints/*.ckpt", tag)
            except FileNotFoundError as error:
                kind = "the demo" if tag == "demo" else "your own"
                raise UsageError(
                    f"{entry.name} goes on from a trained {earlier}, and there is no run of it on {kind} data under "
                    f"{runs}: train that first, or give its checkpoint (--{option} PATH)"
                ) from error
            found += [f"--{option}", str(best_checkpoint(folder))]
    return found


def _checkpoint(entry: Entry, command: str | None, options: argparse.Namespace) -> Path | None:
    if command in (None, "fit"):
        if options.checkpoint:
            raise UsageError("--checkpoint belongs to validate, test and predict; a fit goes on with --resume")
        return None
    checkpoint = options.checkpoint or best_checkpoint(newest_run(entry, options.runs, "checkpoints/*.ckpt"))
    if not checkpoint.is_file():
        raise FileNotFoundError(f"no checkpoint at {checkpoint}")
    return checkpoint


def _best(trainer: Any) -> str | None:
    return trainer.checkpoint_callback.best_model_path or None


def _cli(
    entry: Entry,
    command: str | None,
    folder: Path,
    tags: list[str],
    resumed: bool,
    checkpoint: Path | None,
    stop: Any,
    args: list[str],
) -> Any:
    """The task, the data module and the trainer of an entry, built by LightningCLI from its signatures."""
    from lightning.pytorch import callbacks as pl
    from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    from vitm.runs.checks import check_network, check_trainer
    from vitm.runs.tracking import csv_logger, wandb_logger
    from vitm.training.callbacks import AnalyticBaselines, LastCheckpoint, Previews, Throughput, WholeCheckpointIO

    class ExperimentCLI(LightningCLI):
        def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
            parser.add_argument("--entry", type=dict, default={}, help="what the experiment is; not a setting")

        def instantiate_trainer(self, **kwargs: Any) -> Any:
            # bad input is an error before a run folder exists
            check_network(self.model, folder / "checkpoints" / "last.ckpt" if resumed else checkpoint)
            if first_process():
                self.datamodule.prepare_data()
                for stage in (command,) if command else ("fit", "test"):
                    self.datamodule.setup(stage)
            config = self.config_init["trainer"]
            check_trainer(self.model, config)
            checkpoints = folder / "checkpoints"
            monitor, mode = self.model.monitor
            ours = [
                pl.ModelCheckpoint(checkpoints, "best", monitor=monitor, mode=mode, enable_version_counter=False),
                LastCheckpoint(checkpoints),
                stop,
                *([] if config.logger is False else [pl.LearningRateMonitor("step")]),
                Throughput(),
                *([AnalyticBaselines()] if self.model.analytic else []),
                Previews(folder / "previews"),
            ]
            loggers = [
                csv_logger(folder, resumed),
                wandb_logger(entry, folder, command or "fit", tags, resumed, self.config),
            ]
            try:
                return super().instantiate_trainer(
                    callbacks=[*(config.callbacks or []), *ours],
                    plugins=[*(config.plugins or []), WholeCheckpointIO()],
                    logger=config.logger if config.logger not in (None, True) else loggers,
                    default_root_dir=str(folder),
                    use_distributed_sampler=False,  # the data modules shard by themselves, without duplicates
                    **kwargs,
                )
            except MisconfigurationException as error:
                raise UsageError(str(error)) from error

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    known = (
        "LightningCLI's args parameter",
        ".*isinstance.treespec",
        "The number of training batches",
        "Found .* eval mode",
        "Experiment logs directory",
        "It is recommended to use .*sync_dist",  # metrics sync themselves
    )
    for message in known:
        warnings.filterwarnings("ignore", message)  # known, and nothing that a user can act on
    return ExperimentCLI(
        entry.load("task"),
        entry.load("data_module"),
        run=False,
        args=args,
        save_config_callback=None,
        auto_configure_optimizers=False,
        seed_everything_default=0,
        parser_kwargs={"prog": f"python -m experiments.run {entry.name}", "description": entry.about["title"]},
    )


def _network_flags(checkpoint: Path) -> list[str]:
    """The network's arguments as options, from the file to be measured; what the user types comes later and wins."""
    from vitm.checkpoints import read_checkpoint

    arguments = read_checkpoint(checkpoint).get("vitm", {}).get("arguments", {})
    return [x for k, v in arguments.items() for x in (f"--model.{k}", v if isinstance(v, str) else json.dumps(v))]


if __name__ == "__main__":
    sys.exit(main())
