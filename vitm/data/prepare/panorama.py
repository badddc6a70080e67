"""Clips of SDR and HDR10 frames from HDR panoramas, filmed by a virtual camera that turns slowly."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from einops import rearrange
from rich.console import Console

from vitm.data.filming.camera import CameraPath, FilmedClip, Pose, film
from vitm.data.filming.panorama import Panorama
from vitm.data.prepare.data_folder import DataFolder
from vitm.data.prepare.record import Record, Tell
from vitm.data.prepare.runner import PreparationTask, run_tasks
from vitm.data.prepare.sources import share_out, unique_names
from vitm.data.prepare.videos import ENCODING
from vitm.data.prepare.writing import DONE, Done, frame_file, publish, tidy
from vitm.files import digest, folder_beside
from vitm.video import write_image


@dataclass(frozen=True, slots=True)
class Filming:
    """The way a panorama is filmed.

    Attributes:
        clips: Clips of each panorama; together they look all around.
        frames: Frames of a clip, 24 a second.
        width: Columns of a frame.
        height: Rows of a frame.
        grey_nits: Log-average luminance around the horizon; 30 has diffuse white near 203 cd/m2.
        peak_nits: Mastering peak, 1000 to 10,000 cd/m2; brighter light is bent below it.
        seed: Seed of the camera's ways.
    """

    clips: int = 8
    frames: int = 10
    width: int = 960
    height: int = 540
    grey_nits: float = 30.0
    peak_nits: float = 2000.0
    seed: int = 0

    def path(self, clip: int) -> CameraPath:
        """Return the camera of a clip."""
        rng = np.random.default_rng((self.seed, clip))
        yaw = 360 * (clip + float(rng.uniform(0, 0.5))) / self.clips
        pose = Pose(yaw, float(rng.uniform(-8, 8)), 0.0, float(rng.uniform(48, 66)))
        return CameraPath(pose, seed=int(rng.integers(2**31)))


def prepare_panoramas(
    panoramas: list[Path],
    out: Path,
    filming: Filming,
    *,
    test_share: float,
    workers: int,
    command: str,
    console: Console,
) -> dict[str, Record]:
    """Make a data set of clips, `out/{train,test}/{sdr,hdr}/CLIP/000000.png`, or go on with it.

    Args:
        panoramas: Equirectangular .exr or .hdr files, linear BT.709.
        out: The data set's folder.
        filming: The way they are filmed.
        test_share: Share of the panoramas, by their names, that becomes the test split; see `share_out`.
        workers: Number of panoramas at a time.
        command: Command line, for the manifest.
        console: Console for progress.

    Returns:
        The records of the panoramas by their names; a rejected one has `rejected_because`.

    Raises:
        ValueError: `out` holds something else, or a panorama is given twice.
        WriteError: There is no room, or no permission.
    """
    if twice := [p for i, p in enumerate(panoramas) if p.resolve() in [q.resolve() for q in panoramas[:i]]]:
        raise ValueError(f"{twice[0]} is given twice")
    splits = share_out([path.name for path in panoramas], test_share)
    heads: dict[str, Record] = {
        name: {
            "split": split,
            "file": os.fspath(path),
            "stamp": {"bytes": path.stat().st_size if path.is_file() else None},
        }
        for name, path, split in zip(unique_names(panoramas), panoramas, splits, strict=True)
    }
    sources = [{"name": name, **{k: v for k, v in head.items() if k != "stamp"}} for name, head in heads.items()]
    folder = DataFolder(out, "vitm prepare panorama", {**asdict(filming), "test_share": test_share, "sources": sources})
    tasks = {
        name: _task(path, name, out / head["split"], filming)
        for (name, head), path in zip(heads.items(), panoramas, strict=True)
    }
    records = run_tasks(folder, tasks, heads, workers, console)
    folder.close(records, {"command": command, "encoding": ENCODING})
    return records


def _task(path: Path, name: str, root: Path, filming: Filming) -> PreparationTask:
    return lambda work, tell: film_panorama(path, name, root, work, filming, tell)


def film_panorama(path: Path, name: str, root: Path, work: Path, filming: Filming, tell: Tell) -> Record:
    """Write the clips of one panorama; interrupted, the same call goes on where it stopped.

    Args:
        path: The panorama.
        name: Beginning of the clips' names.
        root: Folder of the clips, which go to `root/sdr` and `root/hdr`.
        work: Folder for unfinished work on the same disk; made if it is missing.
        filming: The way it is filmed.
        tell: Function that is called as the work goes on; an error that it raises ends the work.

    Returns:
        Its record in the manifest.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no panorama.
    """
    try:
        world = Panorama.open(path, filming.grey_nits, filming.peak_nits)
    except RuntimeError as error:  # of the OpenEXR library
        raise ValueError(f"{path} cannot be read ({error}); expected a whole .exr or .hdr panorama") from error
    work.mkdir(parents=True, exist_ok=True)
    tidy(work)
    done = Done(work / DONE)
    for take in range(filming.clips):
        tell("filming", take, filming.clips)
        if take not in done.files:
            clip = film(world, filming.path(take), filming.frames, (filming.height, filming.width))
            done.add(take, _write(clip, f"{name}_{take:03d}", root, work))
    return {
        "bytes": path.stat().st_size,
        "sha256": digest(path),
        "read_as": {"primaries": "bt709", "transfer": "linear"},
        "panorama_pixels_per_degree": round(world.pixels_per_degree, 3),
        "samples": [*range(filming.clips)],
        "cameras": [_way(filming.path(take), filming.frames) for take in range(filming.clips)],
        "rejected": [],
        "files": {file: digest for take in range(filming.clips) for file, digest in done.files[take].items()},
    }


def _write(clip: FilmedClip, name: str, root: Path, work: Path) -> dict[str, str]:
    part, checksums = folder_beside(work / "sample"), {}
    for kind, frames in (("sdr", clip.sdr), ("hdr", clip.hdr_pq)):
        for t, frame in enumerate(frames):
            file = f"{kind}/{frame_file(name, t, len(frames))}"
            (part / file).parent.mkdir(parents=True, exist_ok=True)
            write_image(part / file, rearrange(frame, "c h w -> h w c").numpy(), bits=8 if kind == "sdr" else 16)
            checksums[file] = digest(part / file)
    publish(part, root)
    return checksums


def _way(path: CameraPath, frames: int) -> list[dict[str, Any]]:
    """Return the poses of the first and the last frame."""
    return [{k: round(v, 3) for k, v in asdict(path(t)).items()} for t in (0, frames - 1)]
