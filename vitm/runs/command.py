"""The command line of a run: `ENTRY [fit|validate|test] [options]`, parsed into a request."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

import yaml

from vitm.runs.entries import Entry, find_entry

Command = Literal["fit", "validate", "test"]
PREVIEW_SIDE = 1280  # pixels of the longest side of a picture, unless asked otherwise
PARTIAL = ("trainer.limit_test_batches", "trainer.fast_dev_run")  # options that leave samples out of a test
PREDICT = ("--input", "--output", "--assume", "--fps", "--device")  # options that only `predict` has


@dataclass(frozen=True)
class Request:
    """What a user wants of an entry.

    Attributes:
        entry: What to run.
        command: None: fit, then test.
        options: Options of the task, the data and the trainer, as typed; LightningCLI parses them.
        runs: Folder where runs are kept.
        checkpoint: Weights to measure; None: the best ones of the newest run.
        resume: Folder of the run to resume, or `"newest"`.
        name: Name of the run's folder; None: the time.
        preview_side: Longest side of the four pictures of a preview, in pixels; None: that of the frames.
        protocol: `"paper"`: measure what the paper prints, and say how far off that is.

    Raises:
        ValueError: These do not go together, or the entry cannot be run.
    """

    entry: Entry
    command: Command | None = None
    options: tuple[str, ...] = ()
    runs: Path = Path("runs")
    checkpoint: Path | None = None
    resume: str | None = None
    name: str | None = None
    preview_side: int | None = PREVIEW_SIDE
    protocol: str | None = None

    def __post_init__(self) -> None:
        if self.entry.missing:
            raise ValueError(f"{self.entry.name} cannot be run: {self.entry.missing}")
        if self.resume and not self.trains:
            raise ValueError(f"--resume continues a fit, and does not go with {self.command}")
        if self.name and (self.resume or Path(self.name).name != self.name):
            raise ValueError(f"--name {self.name} should be the name of a folder, without --resume")
        if self.checkpoint and self.trains:
            raise ValueError("--checkpoint belongs to validate, test and predict; a fit goes on with --resume")
        if self.protocol and (self.command != "test" or not self.gives("data.root")):
            raise ValueError("--protocol paper belongs to test, on the paper's data (--data.root DATA)")
        if self.protocol and (part := [o for o in PARTIAL if self.gives(o)]):
            raise ValueError(f"--protocol paper measures every sample of the split: leave out --{part[0]}")

    @property
    def trains(self) -> bool:
        """Whether a fit is part of it."""
        return self.command in (None, "fit")

    def gives(self, option: str) -> bool:
        """Return whether an option such as `model.lr` is among those typed, or in a --config file among them."""
        section, _, key = option.partition(".")
        return any(
            name in (f"--{section}", f"--{option}")
            or (name == "--config" and key in (_content(Path(value)).get(section) or {}))
            for name, value in self._named()
        )

    def _named(self) -> Iterator[tuple[str, str]]:
        """Yield (`--model.lr`, `1e-4`) and so on; the value of a flag without one is whatever stands behind it."""
        for text, after in pairwise((*self.options, "")):
            name, equals, value = text.partition("=")
            yield name, value if equals else after


def _side(text: str) -> int | None:
    if text == "full":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of pixels or full, got {text}")
    return int(text)


def _content(config: Path) -> dict[str, dict[str, object] | None]:
    content = yaml.safe_load(config.read_text()) if config.is_file() else None  # a missing one is LightningCLI's error
    return content if isinstance(content, dict) else {}


def parse(arguments: Sequence[str]) -> Request:
    """Parse the arguments of `vitm run`, other than those of `predict`.

    Raises:
        ValueError: They are no request.
    """
    name, *rest = arguments
    entry = find_entry(name)
    commands: tuple[Command, ...] = get_args(Command)
    command = next((command for command in commands if rest[:1] == [command]), None)
    rest = rest[1:] if command else rest
    if rest and not rest[0].startswith("-"):
        raise ValueError(f"unknown command {rest[0]!r}; expected one of {', '.join(commands)}, predict, or an option")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--resume", nargs="?", const="newest")
    parser.add_argument("--name")
    parser.add_argument("--previews", dest="preview_side", type=_side, default=PREVIEW_SIDE)
    parser.add_argument("--protocol", choices=["paper"])
    try:
        ours, options = parser.parse_known_args(rest)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from error
    if misplaced := sorted({*PREDICT} & {*options}):
        raise ValueError(f"{misplaced[0]} belongs to predict (a device for training: --trainer.accelerator)")
    return Request(entry, command, tuple(options), **vars(ours))
