"""An interrupted evaluation: what it was asked to measure, and what it has measured."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from vitm.evaluation.measuring import ClipState
from vitm.evaluation.pairs import Pair
from vitm.files import replace_when_whole
from vitm.video.read.frames import list_frames

_SAVE_SECONDS = 10.0


class UnfinishedEvaluation:
    """The measurements so far, and the file in the output folder that lets the same evaluation go on with them.

    Args:
        output: folder of the results, made if it is missing; None: nothing is kept.
        metrics: names of the metrics.
        clips: pairs of files by name.
        reading: options by which files are read.

    Attributes:
        path: the file; None without an output folder.
        states: measurements of each clip, which grow.
    """

    def __init__(
        self, output: Path | None, metrics: Sequence[str], clips: Mapping[str, Pair], reading: Mapping[str, Any]
    ) -> None:
        self.path = None if output is None else output / ".partial.pt"
        self.states = {name: ClipState() for name in clips}
        self._job = _identity(metrics, clips, reading)
        self._saved = time.monotonic()
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
        if self.path is not None and self.path.is_file():
            before = torch.load(self.path, weights_only=True)
            if before["job"] == self._job:
                self.states = {name: ClipState(**state) for name, state in before["states"].items()}

    @property
    def frames(self) -> int:
        """The number of frames that are measured."""
        return sum(state.done for state in self.states.values())

    @contextmanager
    def saved(self) -> Iterator[None]:
        """Save the measurements if the block ends early."""
        try:
            yield
        except BaseException as error:
            self._save()
            if isinstance(error, KeyboardInterrupt):
                again = "; the same command goes on from there" if self.path else ""
                raise KeyboardInterrupt(f"after {self.frames} frames{again}") from None
            raise

    def save_at_times(self) -> None:
        """Save the measurements if the last time is more than a few seconds ago."""
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            self._save()
            self._saved = time.monotonic()

    def end(self) -> None:
        """Remove the file after success."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _save(self) -> None:
        if self.path is not None:
            with replace_when_whole(self.path) as part:
                states = {name: vars(state.settled()) for name, state in self.states.items()}
                torch.save({"job": self._job, "states": states}, part)


def _identity(metrics: Sequence[str], clips: Mapping[str, Pair], reading: Mapping[str, Any]) -> str:
    """Return what must be the same for an evaluation to go on: files, metrics, options, version."""

    def stamp(path: Path) -> str:
        stats = [file.stat() for file in (list_frames(path) if path.is_dir() else [path])]
        return f"{path.resolve()} {sum(s.st_size for s in stats)} {max(s.st_mtime_ns for s in stats)}"

    files = [f"{name} {stamp(pair.pred.info.path)} {stamp(pair.target.info.path)}" for name, pair in clips.items()]
    return "\n".join([version("vitm"), *metrics, *files, str(dict(reading))])
