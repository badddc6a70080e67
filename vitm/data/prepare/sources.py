"""The pairs file: the SDR video of each HDR video, and the split that they belong to."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from vitm.data.splits import Split
from vitm.files import digest, read_rows


@dataclass(frozen=True, slots=True)
class VideoPair:
    """A row of the pairs file.

    Attributes:
        sdr: The SDR video.
        hdr: The HDR video.
        split: Split of all its samples.
        offset: Number of the SDR frame that shows what HDR frame 0 shows; None: it is to be found.
    """

    sdr: Path
    hdr: Path
    split: Split
    offset: int | None = None

    def __str__(self) -> str:
        return f"{self.sdr.name} and {self.hdr.name}"


def read_video_pairs(path: Path, test_share: float | None = None) -> list[VideoPair]:
    """Read a CSV file with columns sdr, hdr, split and perhaps offset; paths are relative to the CSV file.

    Args:
        path: The CSV file.
        test_share: Share of unassigned videos that becomes the test split, see `share_out`; rows that share a video
            are one, and no video may be in two splits. None: every row must have its split.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A column is missing, there is no row, a split or an offset is not one, or (with `test_share`) one
            video is in two splits.
    """
    needed, optional = ["sdr", "hdr"], ["split", "offset"]
    if test_share is None:
        needed.append(optional.pop(0))
    rows = read_rows(path, *needed, optional=optional)
    for number, row in rows:
        _check_row(f"{path}, line {number}", row)
    splits = [cast(Split, row["split"]) for _, row in rows] if test_share is None else _splits(path, rows, test_share)
    return [
        VideoPair(
            path.parent / row["sdr"], path.parent / row["hdr"], split, int(row["offset"]) if row["offset"] else None
        )
        for (_, row), split in zip(rows, splits, strict=True)
    ]


def _check_row(place: str, row: dict[str, str]) -> None:
    if (split := row["split"]) and split not in get_args(Split):
        raise ValueError(f"{place}: split is '{split}'; expected {', '.join(get_args(Split))}")
    if (offset := row["offset"]) and not re.fullmatch(r"[+-]?\d+", offset):
        raise ValueError(f"{place}: offset is '{offset}'; expected a whole number of frames")


def _splits(path: Path, rows: list[tuple[int, dict[str, str]]], test_share: float) -> list[Split]:
    """Return the split of each row: the column's, or by the share."""
    groups = _groups([(str(path.parent / r["sdr"]), str(path.parent / r["hdr"])) for _, r in rows])
    given: dict[int, str] = {}
    for (line, row), group in zip(rows, groups, strict=True):
        if (split := row["split"]) and given.setdefault(group, split) != split:
            raise ValueError(
                f"{path}, line {line}: {row['sdr']} or {row['hdr']} is in the splits {given[group]} and {split}; "
                "expected one split for all samples of a video"
            )
    free = sorted({*groups} - {*given})
    shared = share_out([rows[group][1]["sdr"] for group in free], test_share)
    chosen: dict[int, str] = {**given, **dict(zip(free, shared, strict=True))}
    return [cast(Split, chosen[group]) for group in groups]


def share_out(names: list[str], test_share: float) -> list[Split]:
    """Return the splits of sources: the share whose names have the smallest SHA-256 is `test`, the others `train`.

    The share is rounded, but one of two or more is `test` unless the share is 0.
    """
    n_test = max(round(test_share * len(names)), int(test_share > 0 and len(names) > 1))
    test = sorted(range(len(names)), key=lambda i: digest(names[i]))[:n_test]
    return ["test" if i in test else "train" for i in range(len(names))]


def _groups(rows: list[tuple[str, str]]) -> list[int]:
    """Return the number of the first row that each row shares a video with, directly or over other rows."""
    groups = list(range(len(rows)))
    for i, videos in enumerate(rows):
        for j in range(i):
            if {*videos} & {*rows[j]} and groups[i] != groups[j]:
                low, high = sorted((groups[i], groups[j]))
                groups = [low if g == high else g for g in groups]
    return groups


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each source that is unique and fit for files: its file's, numbered where it is not unique."""
    names: list[str] = []
    for path in paths:
        stem = re.sub(r"[^\w.-]+", "_", path.stem) or "video"
        tries = (f"{stem}-{k}" if k > 1 else stem for k in itertools.count(1))
        names.append(next(name for name in tries if name.lower() not in [n.lower() for n in names]))
    return names
