"""The open benchmark: views of HDR panoramas that are free to use and to pass on, split by place."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from vitm.color import luminance
from vitm.console import console as default_console
from vitm.data.arrays import Floats
from vitm.data.filming.camera import Pose, frame
from vitm.data.filming.panorama import Panorama, read_radiance
from vitm.data.prepare.data_folder import DataFolder
from vitm.data.prepare.photographs import photograph_view
from vitm.data.prepare.record import Record, Tell
from vitm.data.prepare.runner import PreparationTask, run_tasks
from vitm.data.prepare.sources import share_out
from vitm.data.prepare.writing import publish
from vitm.files import digest, folder_beside, replace_when_whole
from vitm.video import FrameReader, write_image

ATTRIBUTION = "ATTRIBUTION.md"
SAME_PLACE = {"night": "moonless_golf", "sunrise": "spruit_sunrise", "sunset": "venice_sunset"}
"""Panoramas that are coarser copies of another one."""
_FREE = ("CC0", "CC-BY", "public domain", "MIT", "Apache")
_PHOTOGRAPHS = (".jpg", ".jpeg", ".png")
_SDR_PEAK = 4.0  # a panorama whose peak is less than this many times its median is SDR in truth


@dataclass(frozen=True, slots=True)
class Views:
    """How a place is looked at.

    Args:
        count: number of views of a place.
        width: width of a view in pixels.
        height: height of a view in pixels.
        grey_nits: log-average luminance around the horizon, in cd/m2.
        peak_nits: mastering peak; brighter light is bent below it.
        seed: seed of where the camera looks.
    """

    count: int = 116
    width: int = 160
    height: int = 90
    grey_nits: float = 30.0
    peak_nits: float = 10_000.0
    seed: int = 0

    def pose(self, place: str, view: int) -> Pose:
        """Return where the camera looks: mostly ahead; above the horizon where the sky is mirrored below it."""
        rng = np.random.default_rng((self.seed, view, int(digest(place)[:8], 16)))
        pitch = abs(rng.normal(22, 9)) if "puresky" in place else rng.normal(0, 12)
        return Pose(float(rng.uniform(0, 360)), float(pitch), float(rng.normal(0, 3)), float(rng.uniform(35, 85)))


@dataclass(frozen=True)
class Place:
    """A panorama or a photograph, and what may be done with it.

    Attributes:
        name: name of the place.
        file: equirectangular .exr or .hdr file, linear BT.709; or an SDR photograph.
        split: `train` or `test`.
        licence: its licence, as "CC0"; empty if nobody states one.
        source: whom to credit.
    """

    name: str
    file: Path
    split: str
    licence: str
    source: str


def find_places(sources: Sequence[Path], test_share: float = 0.2) -> list[Place]:
    """Find the panoramas of folders and files, with their splits and licences.

    The package knows the places of the open benchmark. Of others, the licence and the source are taken from a
    `manifest.json` beside them or in the folder above: a list of entries with `file`, `licence` and `source`.

    Args:
        sources: folders of panoramas, and panoramas.
        test_share: share of the places that the package does not know that is for the test.

    Raises:
        FileNotFoundError: a source does not exist, or there is no panorama.
    """
    panoramas: dict[str, Path] = {}
    for source in sources:
        if not source.exists():
            raise FileNotFoundError(f"there is no {source}: expected .exr or .hdr panoramas, or their folder")
        paths = [source] if source.is_file() else sorted(p for e in ("*.exr", "*.hdr") for p in source.rglob(e))
        for path in paths:
            if SAME_PLACE.get(path.stem) not in panoramas:
                panoramas.setdefault(path.stem.removesuffix("_1k").removesuffix("_2k").removesuffix("_4k"), path)
    for copy, original in SAME_PLACE.items():
        if original in panoramas:
            panoramas.pop(copy, None)
    if not panoramas:
        raise FileNotFoundError(f"no .exr or .hdr panorama in {', '.join(map(str, sources))}")
    known = _known_places()
    unknown = [name for name in panoramas if name not in known]
    shared = dict(zip(unknown, share_out(unknown, test_share), strict=True))
    places = []
    for name, path in panoramas.items():
        if name in known:
            row = known[name]
            places.append(Place(name, path, row["split"], row["licence"], row["source"]))
        else:
            about = _about(path)
            places.append(Place(name, path, shared[name], about.get("licence", ""), about.get("source", "")))
    return places


def find_photographs(sources: Sequence[Path]) -> list[Place]:
    """Find the SDR photographs of folders and files, all for training, with their licences.

    The package knows those that the default's training has seen, by their content; of others a manifest tells, as for
    `find_places`.

    Raises:
        FileNotFoundError: a source does not exist or has no photograph.
    """
    photographs = []
    for source in sources:
        paths = sorted(source.glob("*")) if source.is_dir() else [source]
        paths = [path for path in paths if path.is_file() and path.suffix.lower() in _PHOTOGRAPHS]
        if not paths:
            raise FileNotFoundError(f"no photograph in {source}: expected {', '.join(_PHOTOGRAPHS)} files")
        for path in paths:
            about = _known_photographs().get(digest(path)) or _about(path)
            photographs.append(Place(path.stem, path, "train", about.get("licence", ""), about.get("source", "")))
    return photographs


def prepare_open(
    sources: Sequence[Path],
    out: Path,
    views: Views | None = None,
    *,
    photographs: Sequence[Path] = (),
    test_share: float = 0.2,
    workers: int = 1,
    command: str = "",
    console: Console | None = None,
) -> dict[str, Record]:
    """Make the views of the open benchmark, `out/{train,test}/hdr/PLACE_000.png`, or go on with it.

    Args:
        sources: folders of panoramas, and panoramas.
        out: the data set's folder.
        views: how places are looked at; default: `Views()`.
        photographs: folders of SDR photographs, and photographs: each gives half as many views as a place, for training
            alone, which are made HDR, see `vitm.data.prepare.photographs`.
        test_share: see `find_places`.
        workers: number of places at a time.
        command: command line for the manifest.
        console: where progress is shown.

    Returns:
        The records of the places by their names; a rejected one has `rejected_because`.

    Raises:
        FileNotFoundError: there is no panorama, or no photograph where some are asked for.
        ValueError: `out` holds something else, or two sources have one name.
        WriteError: there is no room, or no permission.
    """
    views = views or Views()
    places = find_places(sources, test_share) + find_photographs(photographs)
    if twice := sorted({p.name for p in places if [q.name for q in places].count(p.name) > 1}):
        raise ValueError(f"several sources are named {', '.join(twice)}, and so would be their views: rename one")
    heads: dict[str, Record] = {
        place.name: {
            "split": place.split,
            "file": os.fspath(place.file),
            "licence": place.licence,
            "source": place.source,
            "stamp": {"bytes": place.file.stat().st_size},
        }
        for place in places
    }
    job = {**asdict(views), "places": {name: head["split"] for name, head in heads.items()}}
    folder = DataFolder(out, "vitm prepare open", job)
    tasks = {place.name: _task(place, out / place.split, views) for place in places}
    records = run_tasks(folder, tasks, heads, workers, console or default_console())
    folder.close(records, {"command": command, "encoding": {"hdr": "16-bit PNG, PQ code, BT.2020"}})
    if any("files" in record for record in records.values()):
        with replace_when_whole(out / ATTRIBUTION) as part:
            part.write_text(attribution(records))
    return records


def attribution(records: Mapping[str, Record]) -> str:
    """Return the credits of a data set, as Markdown: a line for each place that it shows."""
    lines = ["# Attribution", "", "The views in this folder were made from these panoramas and photographs.", ""]
    lines += ["| place | source | licence |", "|---|---|---|"]
    used = sorted((name, r) for name, r in records.items() if "files" in r)
    return "\n".join([*lines, *(f"| {name} | {r['source']} | {r['licence']} |" for name, r in used)]) + "\n"


def write_demo_views(root: Path) -> None:
    """Write views of the demo's rooms, as `prepare_open` does: a small set that needs no data."""
    from vitm.data.demo.panoramas import write_demo_panoramas

    scratch = root.with_name(f".{root.name}.rooms")
    write_demo_panoramas(scratch)
    root.mkdir(parents=True, exist_ok=True)
    views = Views(count=12)
    for split, folder in (("train", "train"), ("test", "val")):
        for file in sorted((scratch / folder).glob("*.exr")):
            place = Place(file.stem, file, split, "CC0", "vitm")
            _write_views(place, root / split, root, _of_panorama, views.count, views)


def _task(place: Place, root: Path, views: Views) -> PreparationTask:
    def work(scratch: Path, tell: Tell) -> Record:
        if not any(free.lower() in place.licence.lower() for free in _FREE):
            stated = f"its licence is {place.licence!r}" if place.licence else "nobody states its licence"
            raise ValueError(
                f"{stated}: this data set is free to pass on; state a free licence in a manifest.json beside the file"
            )
        photograph = place.file.suffix.lower() in _PHOTOGRAPHS
        count = views.count // 2 if photograph else views.count
        tell("looking around", 0, count)
        checksums = _write_views(place, root, scratch, _of_photograph if photograph else _of_panorama, count, views)
        return {
            "bytes": place.file.stat().st_size,
            "sha256": digest(place.file),
            "read_as": {"primaries": "bt709", "transfer": "gamma" if photograph else "linear"},
            "samples": [*range(count)],
            "rejected": [],
            "files": checksums,
        }

    return work


_Looks = Callable[[Place, Views], Callable[[int], Floats]]  # what opens a place, and gives its views by their number


def _write_views(place: Place, root: Path, scratch: Path, looks: _Looks, count: int, views: Views) -> dict[str, str]:
    view = looks(place, views)
    part, checksums = folder_beside(scratch / "sample"), {}
    (part / "sdr").mkdir()
    (part / "hdr").mkdir()
    for i in range(count):
        name = f"hdr/{place.name}_{i:03d}.png"
        write_image(part / name, view(i), bits=16)
        checksums[name] = digest(part / name)
    publish(part, root)
    return checksums


def _of_panorama(place: Place, views: Views) -> Callable[[int], Floats]:
    try:
        light = luminance(torch.from_numpy(read_radiance(place.file)).permute(2, 0, 1), "bt709")
    except RuntimeError as error:  # of the OpenEXR library
        raise ValueError(f"{place.file} cannot be read ({error}); expected a whole .exr or .hdr panorama") from error
    if float(light.max()) < _SDR_PEAK * float(light.median()):
        raise ValueError(f"{place.file} is SDR in truth: its peak is less than {_SDR_PEAK:g} times its median")
    world = Panorama.open(place.file, views.grey_nits, views.peak_nits)
    return lambda i: frame(world, views.pose(place.name, i), (views.height, views.width))


def _of_photograph(place: Place, views: Views) -> Callable[[int], Floats]:
    with FrameReader(place.file, expect="sdr") as reader:
        code = next(iter(reader)).rgb
    if min(code.shape[:2]) < views.height:
        raise ValueError(f"{place.file} has {code.shape[1]}x{code.shape[0]} pixels: smaller than a view")

    def view(i: int) -> Floats:
        rng = np.random.default_rng((views.seed, i, int(digest(place.name)[:8], 16)))
        return photograph_view(code, (views.height, views.width), views.grey_nits, rng)

    return view


def _about(path: Path) -> dict[str, str]:
    """Return what a manifest beside a file, or above its folder, says of it."""
    for manifest in (path.parent / "manifest.json", path.parent.parent / "manifest.json"):
        if manifest.is_file():
            try:
                entries = json.loads(manifest.read_bytes())
            except ValueError:
                continue
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, dict) and Path(str(entry.get("file"))).name == path.name:
                    return {key: str(entry.get(key) or "") for key in ("licence", "source")}
    return {}


def places_to_download() -> list[str]:
    """Return the places of the benchmark that Poly Haven has under the same name."""
    return [
        name
        for name, row in _known_places().items()
        if row["source"].startswith("Poly Haven,") and not name.startswith("pmndrs_")
    ]


@cache
def _known_places() -> dict[str, dict[str, str]]:
    with (files("vitm.data.prepare") / "places.csv").open(encoding="utf-8") as file:
        return {row["place"]: row for row in csv.DictReader(file)}


@cache
def _known_photographs() -> dict[str, dict[str, str]]:
    """Return licence and source of photographs, by the SHA-256 of their files: names as `flower` tell nothing."""
    with (files("vitm.data.prepare") / "photographs.csv").open(encoding="utf-8") as file:
        return {row["sha256"]: row for row in csv.DictReader(file)}
