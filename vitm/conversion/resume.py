"""What an unfinished conversion was asked to do."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

from vitm.conversion.level import LevelControl
from vitm.files import replace_when_whole


class Job:
    """Kept beside the work of an unfinished conversion: it goes on with the same options only.

    Args:
        work: folder of unfinished work.
        identity: what must be the same.
        anew: whether the work of another job is thrown away.

    Attributes:
        level: what `begin` was given in the interrupted run; None if there is none.
        damaged: number and time of the frames that were repeated, those of interrupted runs too.

    Raises:
        ValueError: the work there is another job's.
    """

    def __init__(self, work: Path, identity: dict[str, Any], anew: bool) -> None:
        self._path, self._identity = work / "job.json", json.loads(json.dumps(identity, default=str))
        self.level: tuple[LevelControl, float | None] | None = None
        self.damaged: list[tuple[int, float]] = []
        if not ((work / "settings.json").is_file() and self._path.is_file()):  # no frame was finished
            shutil.rmtree(work, ignore_errors=True)
            return
        before = json.loads(self._path.read_text())
        changed = sorted(k for k, v in self._identity.items() if before["identity"].get(k) != v)
        if changed and not anew:
            raise ValueError(
                f"{work} holds an interrupted conversion with another {', '.join(changed)}: "
                "give the same options to go on with it, or --overwrite to begin anew"
            )
        if changed:
            shutil.rmtree(work)
            return
        self.level = LevelControl(**before["level"]), before["midtone_white"]
        self.damaged = [(index, at) for index, at in before["damaged"]]

    def begin(self, level: LevelControl, found: float | None) -> None:
        """Keep the identity, the level controls and the white that the model's own mid-tones tell, until `end`."""
        self.level = level, found
        self._save()

    def note(self, damaged: list[tuple[int, Fraction | None]]) -> None:
        """Keep which frames were repeated."""
        known = {index for index, _ in self.damaged}
        if new := [(index, float(at or 0)) for index, at in damaged if index not in known]:
            self.damaged += new
            self._save()

    def end(self) -> None:
        """The output is there."""
        self._path.unlink()
        self._path.parent.rmdir()

    def _save(self) -> None:
        assert self.level is not None
        content = {"identity": self._identity, "level": asdict(self.level[0]), "midtone_white": self.level[1]}
        with replace_when_whole(self._path) as part:
            part.write_text(json.dumps({**content, "damaged": self.damaged}))
