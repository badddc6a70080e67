"""Pairs of SDR and HDR10 videos -> samples on disk (KPN-MFI, IJCAI 2022, section 4.1): 3 frames every 2 seconds.

First both files are checked to show the same frames, in a window of ten seconds every minute; then the samples, of 1, 3
or more frames, are read and written. Each pair is kept in a folder of its own, named by what it was made from, which
appears when whole.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import cast, get_args
from uuid import uuid4

import cv2
import numpy as np
from numpy.typing import NDArray

from vitm.data.alignment import (
    SAME_MOTION,
    SAME_PICTURE,
    Thumbnails,
    has_cut,
    has_repeat,
    measure_offset,
    picture_correlation,
)
from vitm.data.layouts import Split
from vitm.video import Frame, FrameReader, write_image

Picture = tuple[slice, slice]  # rows and columns of a frame inside its black bars

_WINDOW_S, _EVERY_S, _SEARCH_S = 10, 60, 5  # how long, how often and how far offsets are looked for, in seconds
_THUMBNAIL = (64, 36)
_BLACK = 0.04  # luma code up to which a row is a black bar: 10 of 255, above the noise of coding
_LUMA = np.array([[0.2627, 0.6780, 0.0593]])  # BT.2020's weights; BT.709's differ too little to matter here


@dataclass(frozen=True, slots=True)
class VideoPair:
    """A row of the pairs file: frame t + `offset` of `sdr` shows what frame t of `hdr` shows."""

    sdr: Path
    hdr: Path
    split: Split
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Cutting:
    """How samples are taken.

    Args:
        interval_s: Seconds from one sample to the next.
        grid_crop: Side of the squares that frames are cut into, in pixels; None keeps whole frames.
        grid_stride: Pixels from one square to the next at most; None is `grid_crop`.
        frames: Of a sample.
    """

    interval_s: float = 2.0
    grid_crop: int | None = None
    grid_stride: int | None = None
    frames: int = 3


def read_pairs(path: Path) -> list[VideoPair]:
    """Reads a CSV file with columns sdr, hdr, split and optionally offset; paths are relative to the CSV file.

    Raises:
        FileNotFoundError: If it or a video is missing.
        ValueError: If a column is missing, or a split or an offset is not one.
    """
    with path.open(newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        if lacking := {"sdr", "hdr", "split"} - {*(reader.fieldnames or ())}:
            raise ValueError(
                f"{path} lacks the column {', '.join(sorted(lacking))}; expected sdr, hdr, split and perhaps offset"
            )
        rows = list(reader)
    pairs = []
    for line, row in enumerate(rows, start=2):
        if row["split"] not in get_args(Split):
            raise ValueError(f"{path}, line {line}: split is '{row['split']}'; expected {', '.join(get_args(Split))}")
        offset = row.get("offset") or "0"
        if not offset.lstrip("+-").isdigit():
            raise ValueError(f"{path}, line {line}: offset is '{offset}'; expected a whole number of frames")
        sdr, hdr = path.parent / row["sdr"], path.parent / row["hdr"]
        for video in (sdr, hdr):
            if not video.is_file():
                raise FileNotFoundError(f"{path}, line {line}: there is no video at {video}")
        pairs.append(VideoPair(sdr, hdr, cast(Split, row["split"]), int(offset)))
    return pairs


def extract_pairs(pairs: Path, root: Path, cutting: Cutting, *, write: bool = True) -> dict[Split, list[Path]]:
    """Extracts the samples of every pair in the pairs file, where that is not done yet.

    Args:
        pairs: The CSV file.
        root: Where the pairs' folders are kept; each holds `sdr/NAME_{1,2,3}.png` (single frames: `sdr/NAME.png`),
            `hdr/...` and `pair.json`.
        cutting: How samples are taken; the grid applies to the training split alone.
        write: False only looks, and raises FileNotFoundError for a pair that is not extracted.

    Returns:
        The folders of each split, in the order of the file.
    """
    folders: dict[Split, list[Path]] = {}
    for pair in read_pairs(pairs):
        how = cutting if pair.split == "train" else Cutting(cutting.interval_s, frames=cutting.frames)
        folder = root / f"{pair.sdr.stem}-{_key(pair, how)}"
        if not folder.is_dir():
            if not write:
                raise FileNotFoundError(f"the frames of {pair.sdr} are not in {root} yet: call prepare_data first")
            extract_pair(pair, folder, how)
        folders.setdefault(pair.split, []).append(folder)
    return folders


def _key(pair: VideoPair, cutting: Cutting) -> str:
    files = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in (pair.sdr, pair.hdr)]
    return hashlib.sha256(json.dumps([files, pair.offset, asdict(cutting)]).encode()).hexdigest()[:12]


def extract_pair(pair: VideoPair, folder: Path, cutting: Cutting) -> Counter[str]:
    """Checks a pair and writes its samples to `folder`, which must not exist and appears when it is whole.

    Samples with a scene cut, with a repeated frame, or whose SDR and HDR pictures differ are left out; black bars are
    cut off: rows and columns that stay black wherever the check looks. Files are named after the folder and the frame.
    The column a video is in says what its missing colour tags are: BT.709, or BT.2020 with PQ.

    Returns:
        How many samples are `written`, and left out for `scene cut`, `repeated frame` or `unlike pictures`; also in
        `pair.json` in the folder.

    Raises:
        ValueError: If the files differ in size, frame rate or number of frames, do not show the same frames, or no
            sample is left.
    """
    part = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}")
    n = cutting.frames
    with (
        FrameReader(pair.sdr, expect="sdr", assume="bt709") as sdr,
        FrameReader(pair.hdr, expect="hdr10", assume="bt2020-pq") as hdr,
    ):
        length, picture = _check_pair(pair, sdr, hdr, n)
        step = round(cutting.interval_s * float(sdr.info.fps or 0))
        if step < n:
            raise ValueError(
                f"interval_s is {cutting.interval_s} at {sdr.info.fps} frames/s; expected the duration of {n} or more "
                "frames"
            )
        starts = range(0, length - n + 1, step)
        tiles = _tiles(picture, cutting, pair)
        numbers = [""] if n == 1 else [f"_{t + 1}" for t in range(n)]
        counts: Counter[str] = Counter()
        try:
            for kind in ("sdr", "hdr"):
                (part / kind).mkdir(parents=True)
            for start, (s, h) in zip(starts, _read_samples(pair, sdr, hdr, starts, n), strict=True):
                fault = _fault(_thumbnails(s, picture), _thumbnails(h, picture))
                counts[fault or "written"] += 1
                for (name, tile), (t, number) in product(tiles.items() if not fault else (), enumerate(numbers)):
                    file = f"{folder.name}_{start:06d}{name}{number}.png"
                    write_image(part / "sdr" / file, s[t].rgb[tile], bits=8)
                    write_image(part / "hdr" / file, h[t].rgb[tile], bits=16)
            if not counts["written"]:
                raise ValueError(f"{_label(pair)}: no sample is left of {len(starts)} ({dict(counts)})")
            record = {"sdr": pair.sdr.name, "hdr": pair.hdr.name, "offset": pair.offset, **asdict(cutting), **counts}
            (part / "pair.json").write_text(json.dumps(record, indent=1))
            try:
                part.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another machine was faster
                    raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return counts


def _label(pair: VideoPair) -> str:
    return f"{pair.sdr.name} and {pair.hdr.name}"


def _starts(pair: VideoPair) -> tuple[int, int]:
    """The first matched frame of each file."""
    return max(pair.offset, 0), max(-pair.offset, 0)


def _check_pair(pair: VideoPair, sdr: FrameReader, hdr: FrameReader, frames: int) -> tuple[int, Picture]:
    """Returns the number of matched frames, and the picture inside the black bars."""
    for what, a, b in (
        ("size", f"{sdr.info.width}x{sdr.info.height}", f"{hdr.info.width}x{hdr.info.height}"),
        ("frame rate", sdr.info.fps, hdr.info.fps),
    ):
        if a != b:
            raise ValueError(f"{_label(pair)} differ in {what}: SDR {a}, HDR {b}; expected two versions of one film")
    s0, h0 = _starts(pair)
    lengths = len(sdr) - s0, len(hdr) - h0
    if min(lengths) < max(frames, 3):
        raise ValueError(
            f"{_label(pair)} have {len(sdr)} and {len(hdr)} frames; with offset {pair.offset} too few match"
        )
    fps = float(sdr.info.fps or 0)
    correlations: list[NDArray[np.float32]] = []
    bright = np.zeros(sdr.info.height, np.float32), np.zeros(sdr.info.width, np.float32)
    aligned_before = False
    for start in range(0, min(lengths) - 2, round(_EVERY_S * fps)):
        stops = (min(start + round(_WINDOW_S * fps), n) for n in lengths)
        s, h = (
            _survey(reader.read(range(first + start, first + stop)), bright)
            for reader, first, stop in zip((sdr, hdr), (s0, h0), stops, strict=True)
        )
        found = measure_offset(s, h, round(_SEARCH_S * fps))
        if found.correlation > SAME_MOTION:
            if found.frames:
                raise ValueError(_misaligned(pair, found.frames, start if aligned_before else None))
            aligned_before = True
        n = min(len(s), len(h))
        correlations.append(picture_correlation(s[:n], h[:n]))
    correlation = float(np.median(np.concatenate(correlations)))
    if correlation < SAME_PICTURE:
        raise ValueError(
            f"{_label(pair)} do not show the same pictures: the median correlation of matched frames is "
            f"{correlation:.2f}, expected more than {SAME_PICTURE}; give two versions of one film"
        )
    if not pair.offset and lengths[0] != lengths[1]:
        raise ValueError(
            f"{_label(pair)} differ in length: SDR {lengths[0]}, HDR {lengths[1]} frames; remove what only one has"
        )
    return min(lengths), _inside_bars(pair, *bright)


def _misaligned(pair: VideoPair, frames: int, since: int | None) -> str:
    if since is not None:
        return (
            f"{_label(pair)}: by frame {since} the files are {abs(frames)} frames apart, before they were not: a piece "
            "is missing or added in one of them; cut both there and give two pairs"
        )
    total = pair.offset + frames
    late, early = ("HDR", "SDR") if total > 0 else ("SDR", "HDR")
    return (
        f"{_label(pair)}: the {late} file starts {abs(total)} frames later than the {early} file, but offset is "
        f"{pair.offset}; align with offset={total} in the pairs file, or cut the first {abs(total)} frames off the "
        f"{early} file and leave offset out"
    )


def _survey(frames: Iterable[Frame], bright: tuple[NDArray[np.float32], NDArray[np.float32]]) -> Thumbnails:
    """Thumbnails of frames; raises `bright` to the brightest luma of each row and column."""
    thumbnails = []
    for frame in frames:
        luma = cv2.transform(frame.rgb, _LUMA)
        np.maximum(bright[0], luma.max(axis=1), out=bright[0])
        np.maximum(bright[1], luma.max(axis=0), out=bright[1])
        thumbnails.append(cv2.resize(luma, _THUMBNAIL, interpolation=cv2.INTER_AREA))
    return np.stack(thumbnails)


def _inside_bars(pair: VideoPair, rows: NDArray[np.float32], columns: NDArray[np.float32]) -> Picture:
    bright = [np.flatnonzero(side > _BLACK) for side in (rows, columns)]
    if not all(len(b) for b in bright):
        raise ValueError(f"{_label(pair)} are black throughout; give films with a picture")
    return slice(bright[0][0], bright[0][-1] + 1), slice(bright[1][0], bright[1][-1] + 1)


def _tiles(picture: Picture, cutting: Cutting, pair: VideoPair) -> dict[str, Picture]:
    """Name -> place of each square that a frame is cut into; evenly spread, no more than `grid_stride` apart."""
    crop = cutting.grid_crop
    if crop is None:
        return {"": picture}
    stride = cutting.grid_stride or crop
    sizes = [p.stop - p.start for p in picture]
    if crop < 1 or stride < 1 or crop > min(sizes):
        raise ValueError(
            f"{_label(pair)}: grid_crop {crop}, grid_stride {stride} do not fit the picture of {sizes[1]}x{sizes[0]}"
        )
    ys, xs = (
        p.start + np.linspace(0, size - crop, -(-(size - crop) // stride) + 1).round().astype(int)
        for p, size in zip(picture, sizes, strict=True)
    )
    return {f"_y{y}x{x}": (slice(y, y + crop), slice(x, x + crop)) for y, x in product(ys.tolist(), xs.tolist())}


def _read_samples(
    pair: VideoPair, sdr: FrameReader, hdr: FrameReader, starts: range, n: int
) -> Iterator[tuple[list[Frame], list[Frame]]]:
    readers = [
        r.read([first + t + i for t in starts for i in range(n)])
        for r, first in zip((sdr, hdr), _starts(pair), strict=True)
    ]
    for _ in starts:
        s, h = ([next(frames) for _ in range(n)] for frames in readers)
        yield s, h


def _thumbnails(frames: list[Frame], picture: Picture) -> Thumbnails:
    return np.stack(
        [cv2.resize(cv2.transform(f.rgb[picture], _LUMA), _THUMBNAIL, interpolation=cv2.INTER_AREA) for f in frames]
    )


def _fault(sdr: Thumbnails, hdr: Thumbnails) -> str | None:
    """Why a sample is left out, if it is."""
    if len(sdr) > 1 and has_cut(sdr):
        return "scene cut"
    if len(sdr) > 1 and (has_repeat(sdr) or has_repeat(hdr)):
        return "repeated frame"
    return "unlike pictures" if picture_correlation(sdr, hdr).min() < SAME_PICTURE else None
