"""The folder of a data set that is being prepared: whose it is, what is done already, and its manifest."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import av
import cv2
import numpy as np
import scenedetect

from vitm.data.prepare.record import Record
from vitm.data.prepare.writing import DONE, Done
from vitm.files import LockedError, WriteError, check_folder, lock, write_json

MANIFEST, WORK = "manifest.json", ".prepare"
REJECTED = "rejected_because"
_OLD_NAMES = {"grid_crop": "tile_size", "grid_stride": "tile_stride", "crops": "tiles"}  # in older manifests


class DataFolder:
    """A data set made of several sources, each with a record in the manifest, done one after the other or side by side.

    While it is unfinished, a hidden folder in it keeps what is done; then the manifest takes its place.

    Args:
        root: The data set's folder; made if it is missing.
        made_by: Command that makes it.
        job: Options and sources, which must be the same to go on.

    Raises:
        ValueError: The folder holds something else, or another command's data.
        WriteError: It cannot be made, or written to.
    """

    def __init__(self, root: Path, made_by: str, job: Record) -> None:
        self.root, self._work, self._begun = root, root / WORK, False
        self._about = {"made_by": made_by, "job": json.loads(json.dumps(job))}
        if root.exists() and not root.is_dir():
            raise ValueError(f"{root} is a file; give the name of a folder")
        self._manifest = _renamed(_read(root / MANIFEST))
        if self._manifest and _is_empty(self._manifest):
            self._manifest = None  # every source was rejected: begin anew
        before = self._manifest or _renamed(_read(self._work / "job.json"))
        if before is None and root.is_dir() and _others(root):
            raise ValueError(f"{root} holds other files; give a new or empty folder")
        if before is not None:
            self._check_same(before)
        if not root.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {root.parent}; create it first")

    def begin(self) -> None:
        """Make the folders, and note what is being made.

        Raises:
            WriteError: Another process is making the data set.
        """
        self._begun = True
        check_folder(self.root)
        check_folder(self._work)
        try:
            self._claim = lock(self._work / "lock")  # until this process ends
        except LockedError as error:
            raise WriteError(f"{self.root}: another run is making this data set") from error
        _write(self._work / "job.json", self._about)

    def _check_same(self, before: Record) -> None:
        made_by, job = before.get("made_by"), before.get("job")
        if not isinstance(made_by, str) or not isinstance(job, dict):
            raise ValueError(f"{self.root} holds another data set; give a new or empty folder")
        if made_by != self._about["made_by"]:
            raise ValueError(f"{self.root} was made by {made_by}, not {self._about['made_by']}; give a new folder")
        now: Record = self._about["job"]
        if changed := [key for key in now | job if now.get(key) != job.get(key)]:
            values = "; ".join(
                f"{key} was {json.dumps(job.get(key))}, is {json.dumps(now.get(key))}"
                if key != "sources"
                else "other sources"
                for key in changed
            )
            raise ValueError(f"{self.root} was made with other options ({values}); give the same ones, or a new folder")

    def work(self, name: str) -> Path:
        """Return the folder of a source's unfinished work."""
        return self._work / name

    def start(self, name: str, head: Record) -> Path:
        """Return the folder of a source's unfinished work; if the source has changed since, it begins anew."""
        work, stamp = self.work(name), head["stamp"]
        if work.is_dir() and _read(work / "stamp.json") != stamp:
            Done(work / DONE).remove(self.root / head["split"])
            shutil.rmtree(work)
        work.mkdir(exist_ok=True)
        _write(work / "stamp.json", stamp)
        return work

    def record(self, name: str, stamp: Record) -> Record | None:
        """Return what was noted of a source; None if it is not done, or was rejected and has changed since.

        Raises:
            ValueError: A source that gave samples has changed since, or samples are missing.
        """
        known = self._noted(name)
        if known is None or (known["stamp"] != stamp and REJECTED in known):
            return None
        if known["stamp"] != stamp:
            raise ValueError(f"the source {name} has changed since {self.root} was made; give a new folder")
        files = [f"{known['split']}/{file}" for file in known.get("files", ())]
        if missing := [file for file in files if not (self.root / file).is_file()]:
            raise ValueError(f"{self.root / missing[0]} and perhaps others are missing; give a new folder")
        return known

    def _noted(self, name: str) -> Record | None:
        if self._manifest is None:
            return _renamed(_read(self.work(name) / "record.json"))
        known: Record | None = self._manifest["sources"].get(name)
        if known is None or "files" not in known:
            return known
        start = f"{known['split']}/"
        files = list(self._manifest["files"].items())[known["first_file"] :][: known["files"]]
        return known | {"files": {file.removeprefix(start): digest for file, digest in files}}

    def note(self, name: str, record: Record) -> None:
        """Keep the record of a source that is done."""
        _write(self.work(name) / "record.json", record)

    def close(self, records: Mapping[str, Record], about: Record) -> None:
        """Write the manifest, unless nothing was to be done, and remove what was kept for going on."""
        if self._manifest is not None and not self._begun:
            return self._tidy()
        files: dict[str, str] = {}
        sources: dict[str, Record] = {}
        splits: dict[str, Counter[str]] = {}
        for name, record in records.items():
            sources[name] = record
            if REJECTED not in record:
                written = record["files"]
                sources[name] = record | {"first_file": len(files), "files": len(written)}
                files |= {f"{record['split']}/{file}": digest for file, digest in written.items()}
                count = splits.setdefault(record["split"], Counter())
                count.update(sources=1, samples=len(record["samples"]), files=len(written))
        manifest = {
            **self._about,
            **about,
            "versions": {
                "vitm": version("vitm"),
                "PyAV": av.__version__,
                "OpenCV": cv2.__version__,
                "NumPy": np.__version__,
                "PySceneDetect": scenedetect.__version__,
            },
            "splits": splits,
            "sources": sources,
            "rejected_sources": {name: r[REJECTED] for name, r in records.items() if REJECTED in r},
            "files": files,
        }
        _write(self._work / MANIFEST, manifest)  # beside it, a killed run would leave an unfinished one
        (self._work / MANIFEST).replace(self.root / MANIFEST)
        return self._tidy()

    def _tidy(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)


def _others(root: Path) -> list[Path]:
    """Return the files of a folder that this module did not write."""
    own = (root / MANIFEST, root / WORK)
    return [p for p in root.rglob("*") if p.is_file() and p not in own and root / WORK not in p.parents]


def _is_empty(manifest: Record) -> bool:
    return str(manifest.get("made_by")).startswith("vitm prepare") and not manifest.get("files")


def _renamed(content: Record | None) -> Record | None:
    """Return a manifest, a job or a record with today's names for what an older version wrote."""
    if content is None:
        return None
    renamed = {_OLD_NAMES.get(key, key): value for key, value in content.items()}
    if isinstance(job := renamed.get("job"), dict):
        renamed["job"] = _renamed(job)
    if isinstance(sources := renamed.get("sources"), dict):  # in a job they are a list
        renamed["sources"] = {name: _renamed(record) for name, record in sources.items()}
    return renamed


def _read(path: Path) -> Record | None:
    """Return a JSON object; None if there is no such file, an empty one if it is something else."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: Record) -> None:
    write_json(path, content)
