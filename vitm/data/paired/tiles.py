"""Training frames cut once into overlapping tiles on disk: a 4K PNG takes too long to decode for each crop.

The places are those of the HDRTVNet authors' script (480 pixels, every 240): a grid from the top left corner, and one
more row or column at the far edge where the grid leaves more than 48 pixels.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from itertools import product
from pathlib import Path

from vitm.console import console, progress
from vitm.data.paired.layouts import Window
from vitm.data.paired.light import LinearLight
from vitm.data.paired.packed import check_place
from vitm.files import WriteError, digest, folder_when_whole, one_at_a_time
from vitm.video import read_image, write_image

EDGE_PX = 48  # what the grid may leave uncovered at the far edges


def tile_starts(side: int, size: int, stride: int) -> list[int]:
    """Return where the tiles of `size` start along a frame's `side`, all in pixels; `side` is at least `size`.

    Example:
        >>> tile_starts(1080, 480, 240)
        [0, 240, 480, 600]
    """
    starts = list(range(0, side - size + 1, stride))
    return [*starts, side - size] if side - size - starts[-1] > EDGE_PX else starts


def tile_places(height: int, width: int, size: int, stride: int | None = None) -> list[tuple[int, int]]:
    """Return the tops and left sides of a frame's tiles, row by row; the stride is half of `size` unless given."""
    stride = stride or half(size)
    return [*product(tile_starts(height, size, stride), tile_starts(width, size, stride))]


def half(size: int) -> int:
    """Return the stride of tiles where none is given: half of their side, rounded up."""
    return -(-size // 2)


def tiles_of(windows: Sequence[Window], size: int, stride: int | None = None) -> list[Window]:
    """Return the tiles of samples as parts of their files, sample by sample, row by row; nothing is written.

    Raises:
        ValueError: A frame is smaller than a tile.
    """
    _check_sizes(windows, size)
    return [
        replace(window, name=f"{window.name}_y{y}x{x}", height=size, width=size, top=y, left=x)
        for window in windows
        for y, x in tile_places(window.height, window.width, size, stride)
    ]


def cut_tiles(
    windows: Sequence[Window],
    root: Path,
    size: int,
    stride: int | None = None,
    *,
    cache_dir: Path | None = None,
    light: LinearLight = LinearLight(),  # noqa: B008  # frozen
    write: bool = True,
) -> list[Window]:
    """Return the tiles of samples, written where that is not done yet, each frame of a sample cut at the same places.

    They are kept in `cache_dir/tiles_SIZE_STRIDE_KEY/train/{sdr,hdr}/SAMPLE/yYxX.png` (`yYxX_1.png` to `yYxX_N.png` for
    samples of N frames); KEY is derived from the names, sizes and times of the files, so that changed data are cut
    anew. The folder appears when it is whole. It is a data set of its own, with a `train` split.

    Args:
        windows: The samples.
        root: The data folder, from which files are named.
        size: Side of a tile, in pixels.
        stride: Pixels from one tile to the next; None is half of `size`.
        cache_dir: Folder that holds the folder of the tiles; None is `root`.
        light: What the values of EXR files mean; their tiles are PNG as all others.
        write: False only looks, and raises FileNotFoundError if the tiles are not there.

    Returns:
        The tiles, sample by sample, row by row.

    Raises:
        ValueError: A frame is smaller than a tile, or cannot be decoded.
        WriteError: There is no room for them, or no permission.
    """
    stride, cache_dir = stride or half(size), cache_dir or root
    _check_sizes(windows, size)
    folder = cache_dir / f"tiles_{size}_{stride}_{_key(windows, root, light)}"
    if not folder.is_dir():
        if not write:
            raise FileNotFoundError(f"there are no tiles at {folder} yet: call prepare_data first")
        check_place(cache_dir, "tiles")
        with one_at_a_time(folder.with_name(f".{folder.name}.lock")):
            if not folder.is_dir():  # else another process has cut them meanwhile
                _check_room(windows, cache_dir, size, stride)
                _write(windows, folder, size, stride, light)
    return [tile for w in windows for tile, _, _ in _tiles(w, folder, size, stride)]


def _tiles(window: Window, folder: Path, size: int, stride: int) -> list[tuple[Window, int, int]]:
    """Return the tiles of a sample with their tops and left sides."""
    n = len(window.sdr)
    numbers = [""] if n == 1 else [f"_{t + 1}" for t in range(n)]
    tiles = []
    for y, x in tile_places(window.height, window.width, size, stride):
        sdr, hdr = (
            tuple(folder / "train" / kind / window.name / f"y{y}x{x}{number}.png" for number in numbers)
            for kind in ("sdr", "hdr")
        )
        tiles.append((Window(f"{window.name}_y{y}x{x}", sdr, hdr, size, size), y, x))
    return tiles


def _key(windows: Sequence[Window], root: Path, light: LinearLight) -> str:
    files = [
        (os.path.relpath(p, root), (stat := p.stat()).st_size, stat.st_mtime_ns, *light.key(p))
        for w in windows
        for p in w.sdr + w.hdr
    ]
    return digest(json.dumps(files))[:12]


def _check_sizes(windows: Sequence[Window], size: int) -> None:
    for window in windows:
        if min(window.height, window.width) < size:
            raise ValueError(
                f"tile_size is {size}, but {window.sdr[0]} is {window.width}x{window.height}; choose a tile_size of at "
                f"most {min(window.height, window.width)}, or none for frames that are already cut"
            )


def _check_room(windows: Sequence[Window], cache_dir: Path, size: int, stride: int) -> None:
    needed = 0.0  # if a tile takes its share of the file it is cut from
    for w in windows:
        tiles = len(tile_places(w.height, w.width, size, stride))
        needed += tiles * size**2 / (w.height * w.width) * sum(p.stat().st_size for p in w.sdr + w.hdr)
    free = shutil.disk_usage(cache_dir).free
    if needed > free:
        raise WriteError(
            f"the tiles of {len(windows)} samples take about {needed / 1e9:.1f} GB, but {cache_dir} has "
            f"{free / 1e9:.1f} GB left; free some, choose a larger tile_stride or another cache_dir, or no "
            "tile_size"
        )


def _write(windows: Sequence[Window], folder: Path, size: int, stride: int, light: LinearLight) -> None:
    with (
        folder_when_whole(folder) as part,
        ThreadPoolExecutor() as pool,  # OpenCV and zlib are outside Python's lock
        progress(console()) as bar,
    ):
        jobs = [pool.submit(_cut, w, part, size, stride, light) for w in windows]
        try:
            for job in bar.track(as_completed(jobs), len(jobs), description=f"Cutting tiles of {size}x{size}"):
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _cut(window: Window, folder: Path, size: int, stride: int, light: LinearLight) -> None:
    """Write the tiles of one sample, frame by frame."""
    tiles = _tiles(window, folder, size, stride)
    for kind in ("sdr", "hdr"):
        (folder / "train" / kind / window.name).mkdir(parents=True)
    for t in range(len(window.sdr)):
        sdr, hdr = read_image(window.sdr[t]), light.codes(read_image(window.hdr[t]), window.hdr[t])
        for tile, y, x in tiles:
            place = slice(y, y + size), slice(x, x + size)
            write_image(tile.sdr[t], sdr[place], bits=8)
            write_image(tile.hdr[t], hdr[place], bits=16)
