"""An interrupted conversion: its options, its level, and the frames that it has met."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

from vitm.conversion.level import Level, LevelControl
from vitm.files import WriteError, is_locked, one_at_a_time, replace_when_whole


class UnfinishedConversion:
    """Keep a file beside unfinished work, by which a conversion goes on with the same options and no others.

    Args:
        work: folder of unfinished work.
        identity: options, input and weights that must be the same.
        anew: whether to throw away the work of another conversion.
        shared: whether other processes may be at work in the folder that share the conversion.

    Attributes:
        level: level that the interrupted conversion has chosen; None for a new conversion.
        damaged: number and time of each frame that was replaced by the one before it, in interrupted runs too.
        graphics: first and last number of each run of frames that are graphics, in interrupted runs too.
        notes: what other processes found unusual about the source and settled, in words.

    Raises:
        ValueError: the folder holds the work of another conversion.
        WriteError: another conversion is at work in the folder.
    """

    def __init__(self, work: Path, identity: dict[str, Any], anew: bool, shared: bool = False) -> None:
        self._path, self._identity = work / "job.json", json.loads(json.dumps(identity, default=str))
        self.level: Level | None = None
        self.damaged: list[tuple[int, float]] = []
        self.graphics: list[list[int]] = []
        self.notes: list[str] = []
        busy = is_locked(work / "settings.json")
        if busy and not shared:
            raise WriteError(f"{work}: another run is using this folder")
        if not ((work / "settings.json").is_file() and self._path.is_file()):  # no frame was finished
            shutil.rmtree(work, ignore_errors=True)
            return
        before = json.loads(self._path.read_text())
        changed = sorted(k for k, v in self._identity.items() if before["identity"].get(k) != v)
        if changed and (busy or not anew):
            raise ValueError(
                f"{work} holds an interrupted conversion with another {', '.join(changed)}: "
                "give the same options to go on with it, or overwrite=True to begin anew"
            )
        if changed:
            shutil.rmtree(work)
            return
        self.level = Level(LevelControl(**before["level"]), before["midtone_white"], before["finds_graphics"])
        self._recall(before)

    def _recall(self, before: dict[str, Any]) -> None:
        self.graphics, self.notes = before["graphics"], before.get("notes", [])
        self.damaged = [(index, seconds) for index, seconds in before["damaged"]]

    def begin(self, level: Level) -> None:
        """Keep the identity and the level until `end`."""
        self.level = level
        self._save()

    def note(self, damaged: list[tuple[int, Fraction | None]], graphics: int | None) -> None:
        """Keep the damaged frames, and the number of a frame that is graphics.

        Args:
            damaged: number and time of each damaged frame so far.
            graphics: number of the frame; None where it is no graphics.
        """
        if graphics is not None and not any(first <= graphics <= last for first, last in self.graphics):
            self.graphics = joined(self.graphics, graphics)
            self._save()
        known = {index for index, _ in self.damaged}
        if new := [(index, float(seconds or 0)) for index, seconds in damaged if index not in known]:
            self.damaged += new
            self._save()

    def note_segment(
        self, damaged: list[tuple[int, Fraction | None]], graphics: Iterable[int], notes: Iterable[str]
    ) -> None:
        """Keep what was met in a segment, besides what other processes have kept since.

        Args:
            damaged: number and time of each damaged frame.
            graphics: numbers of frames that are graphics.
            notes: what is unusual about the source and was settled, in words.
        """
        with one_at_a_time(self._path.with_name(".job.lock")):
            self._recall(json.loads(self._path.read_text()))
            known = dict(self.damaged)
            self.damaged = sorted({**{index: float(seconds or 0) for index, seconds in damaged}, **known}.items())
            for number in graphics:
                self.graphics = joined(self.graphics, number)
            self.notes = list(dict.fromkeys([*self.notes, *notes]))
            self._save()

    def end(self) -> None:
        """Remove the file and its folder after success."""
        self._path.unlink()
        self._path.parent.rmdir()

    def _save(self) -> None:
        assert self.level is not None
        content = {
            "identity": self._identity,
            "level": asdict(self.level.control),
            "midtone_white": self.level.midtone_white,
            "finds_graphics": self.level.finds_graphics,
            "damaged": self.damaged,
            "graphics": self.graphics,
            "notes": self.notes,
        }
        with replace_when_whole(self._path) as part:
            part.write_text(json.dumps(content))


def joined(runs: list[list[int]], number: int) -> list[list[int]]:
    """Return runs of numbers, first and last of each, with one number more.

    Example:
        >>> joined([[0, 2], [4, 5], [8, 8]], 3)
        [[0, 5], [8, 8]]
    """
    result: list[list[int]] = []
    for first, last in sorted([*runs, [number, number]]):
        if result and first <= result[-1][1] + 1:
            result[-1][1] = max(last, result[-1][1])
        else:
            result.append([first, last])
    return result
