"""A data set from pairs of videos: triplets (KPN-MFI), clips (DSLNet) or single frames (HDRTV1K)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from vitm.data.prepare.data_folder import DataFolder
from vitm.data.prepare.pair import prepare_pair
from vitm.data.prepare.record import Record
from vitm.data.prepare.runner import PreparationTask, run_tasks
from vitm.data.prepare.samples import Cutting
from vitm.data.prepare.sources import VideoPair, read_video_pairs, unique_names

SampleKind = Literal["triplets", "clips", "frames"]

_OFFSET_FRAMES = (
    "SDR frame t + offset_frames shows what HDR frame t shows (frames count from 0; where frame rates differ, "
    "SDR frame t x fps of SDR / fps of HDR + offset_frames)"
)
ENCODING = {
    "sdr": "8-bit RGB PNG: BT.709 primaries, gamma code, 255 is 1",
    "hdr": "16-bit RGB PNG: BT.2020 primaries, PQ code (SMPTE ST 2084), 65535 is 1 and 10,000 cd/m2",
}


def prepare_videos(
    kind: SampleKind,
    pairs: Path,
    out: Path,
    cutting: Cutting,
    *,
    whole_if_small: bool,
    resample: bool,
    test_share: float,
    workers: int,
    command: str,
    console: Console,
) -> dict[str, Record]:
    """Make a data set of video pairs, or go on with it, and write its manifest.

    Args:
        kind: Kind of the samples.
        pairs: The CSV file, see `read_video_pairs`.
        out: The data set's folder.
        cutting: The way samples are taken for training; frames of the other splits stay whole.
        whole_if_small: Keep pictures whole that are smaller than the tiles, instead of refusing them.
        resample: Match frames of videos of different frame rates by their times, instead of refusing them.
        test_share: Share of the videos without a split that becomes the test split.
        workers: Number of pairs at a time.
        command: Command line, for the manifest.
        console: Console for progress.

    Returns:
        The records of the pairs by their names; a rejected one has `rejected_because`.

    Raises:
        FileNotFoundError: The pairs file is missing.
        ValueError: The pairs file is wrong, or `out` holds something else.
        WriteError: There is no room, or no permission.
    """
    rows = read_video_pairs(pairs, test_share)
    for line, row in enumerate(rows, start=2):
        if (first := next(i for i, r in enumerate(rows, start=2) if (r.sdr, r.hdr) == (row.sdr, row.hdr))) != line:
            raise ValueError(f"{pairs}, line {line}: the pair of line {first} again; give each pair once")
    named = dict(zip(unique_names([pair.sdr for pair in rows]), rows, strict=True))
    heads = {name: _head(pair, pairs.parent) for name, pair in named.items()}
    sources = [{"name": name, **{k: v for k, v in head.items() if k != "stamp"}} for name, head in heads.items()]
    options = {**asdict(cutting), "whole_if_small": whole_if_small, "resample": resample, "test_share": test_share}
    folder = DataFolder(out, f"vitm prepare {kind}", {**options, "sources": sources})
    tasks = {
        name: _task(pair, name, out / pair.split, cutting, resample=resample, whole_if_small=whole_if_small)
        for name, pair in named.items()
    }
    records = run_tasks(folder, tasks, heads, workers, console)
    folder.close(records, {"command": command, "encoding": ENCODING, "offset_convention": _OFFSET_FRAMES})
    return records


def _head(pair: VideoPair, base: Path) -> Record:
    files = {"sdr": pair.sdr, "hdr": pair.hdr}
    return {
        "split": pair.split,
        "given_offset": pair.offset,
        "sdr_file": pair.sdr.relative_to(base).as_posix() if pair.sdr.is_relative_to(base) else str(pair.sdr),
        "hdr_file": pair.hdr.relative_to(base).as_posix() if pair.hdr.is_relative_to(base) else str(pair.hdr),
        "stamp": {kind: _stamp(path) if path.is_file() else None for kind, path in files.items()},
    }


def _stamp(path: Path) -> list[int]:
    """Return size and time of a file, which change with it."""
    return [path.stat().st_size, path.stat().st_mtime_ns]


def _task(pair: VideoPair, name: str, root: Path, cutting: Cutting, **how: Any) -> PreparationTask:
    chosen = cutting if pair.split == "train" else cutting.whole
    return lambda work, tell: prepare_pair(pair, name, root, work, chosen, **how, tell=tell)
