"""Decoded frames as NumPy files that all processes map into memory: a crop reads the pages that it lies on.

A 4K pair takes 75 MB on disk, and a crop of it some milliseconds. The files are shared by worker processes, by the
processes of a run and by runs, and none of them holds a copy; the system's page cache keeps what fits.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitm.console import console, progress
from vitm.data.paired.layouts import Window
from vitm.data.paired.light import LinearLight, is_linear
from vitm.files import WriteError, digest, one_at_a_time, replace_when_whole
from vitm.video.images import image_header, read_image

FOLDER = "packed"


class PackedFrames:
    """Packed files by the paths of the frames that they hold; it is small, and goes to worker processes as it is."""

    def __init__(self, files: Mapping[Path, Path]) -> None:
        self.files = dict(files)

    def __call__(self, path: Path) -> NDArray[Any]:
        """Return a frame (H, W, 3), mapped into memory; ValueError names a file that is damaged."""
        try:
            frame: NDArray[Any] = np.load(self.files[path], mmap_mode="r")
        except (ValueError, EOFError) as error:
            raise ValueError(f"{self.files[path]} is damaged ({error}): remove it, and it is made again") from error
        return frame


def pack_frames(
    windows: Iterable[Window],
    root: Path,
    cache_dir: Path,
    *,
    light: LinearLight = LinearLight(),  # noqa: B008  # frozen
    write: bool = True,
) -> PackedFrames:
    """Return the packed frames of samples, which are written to `cache_dir/packed` where that is not done yet.

    A file's name is derived from the name, size and time of the frame's file, so that a changed frame is packed anew.

    Args:
        windows: The samples.
        root: The data folder, from which files are named.
        cache_dir: Folder that holds the folder of the packed frames.
        light: What the values of EXR files mean; their codes are packed.
        write: False only looks, and raises FileNotFoundError if a frame is not packed.

    Raises:
        ValueError: A frame cannot be decoded.
        WriteError: There is no room for them, or no permission.
    """
    sizes = {path: (w.height, w.width) for w in windows for path in (*w.sdr, *w.hdr)}
    folder = cache_dir / FOLDER
    packed = PackedFrames({path: folder / f"{_key(path, root, light)}.npy" for path in sizes})
    if not (missing := _missing(packed)):
        return packed
    if not write:
        raise FileNotFoundError(f"{missing[0]} is not packed in {folder} yet: call prepare_data first")
    check_place(cache_dir, "packed frames")
    with one_at_a_time(cache_dir / f".{FOLDER}.lock"):
        missing = _missing(packed)  # another process may have done it
        needed = sum(prod(sizes[path]) * 3 * _bytes(path) for path in missing)
        if needed > (free := shutil.disk_usage(cache_dir).free):
            raise WriteError(
                f"{len(missing)} packed frames take {needed / 1e9:.1f} GB, but {cache_dir} has {free / 1e9:.1f} GB "
                "left; free some, give another --data.cache_dir, or leave out --data.cache"
            )
        folder.mkdir(exist_ok=True)
        with ThreadPoolExecutor() as pool, progress(console()) as bar:
            jobs = [pool.submit(_pack, path, packed.files[path], light) for path in missing]
            try:
                for job in bar.track(as_completed(jobs), len(jobs), description="Packing frames"):
                    job.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return packed


def check_place(folder: Path, what: str) -> None:
    """Raise WriteError if files cannot be written into a folder, which is made if it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"cannot make {folder} for {what}: {error.strerror}; give another --data.cache_dir") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteError(
            f"cannot write {what} into {folder}: no permission; give a folder of your own for them "
            "(--data.cache_dir FOLDER)"
        )


def _missing(packed: PackedFrames) -> list[Path]:
    return [path for path, file in packed.files.items() if not file.is_file()]


def _key(path: Path, root: Path, light: LinearLight) -> str:
    stat = path.stat()
    return digest(json.dumps([os.path.relpath(path, root), stat.st_size, stat.st_mtime_ns, *light.key(path)]))[:20]


def _bytes(path: Path) -> int:
    """Return the bytes of a sample of a frame: it has 8 or 16 bits."""
    return 2 if is_linear(path) else np.dtype(image_header(path).sample).itemsize


def _pack(path: Path, file: Path, light: LinearLight) -> None:
    with replace_when_whole(file) as part, part.open("wb") as opened:
        np.save(opened, light.codes(read_image(path), path))
