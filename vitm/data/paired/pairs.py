"""Pairs of videos as data modules read them: extracted once, by the code of `vitm prepare`, a folder for each pair."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from vitm.data.paired.layouts import Split
from vitm.data.prepare.pair import prepare_pair
from vitm.data.prepare.samples import Cutting
from vitm.data.prepare.sources import VideoPair, read_pairs
from vitm.files import digest, folder_when_whole

__all__ = ["Cutting", "VideoPair", "extract_pair", "extract_pairs", "read_pairs"]


def extract_pairs(pairs: Path, root: Path, cutting: Cutting, *, write: bool = True) -> dict[Split, list[Path]]:
    """Extracts the samples of every pair in the pairs file, where that is not done yet.

    Args:
        pairs: The CSV file.
        root: Where the pairs' folders are kept; each holds `sdr/...` and `hdr/...`, see `Cutting`, and `pair.json`.
        cutting: How samples are taken; the grid applies to the training split alone.
        write: False only looks, and raises FileNotFoundError for a pair that is not extracted.

    Returns:
        The folders of each split, in the order of the file.
    """
    folders: dict[Split, list[Path]] = {}
    for pair in read_pairs(pairs):
        for video in (pair.sdr, pair.hdr):
            if not video.is_file():
                raise FileNotFoundError(f"{pairs}: there is no video at {video}")
        how = cutting if pair.split == "train" else cutting.whole
        folder = root / f"{pair.sdr.stem}-{_key(pair, how)}"
        if not folder.is_dir():
            if not write:
                raise FileNotFoundError(f"the frames of {pair.sdr} are not in {root} yet: call prepare_data first")
            extract_pair(pair, folder, how)
        folders.setdefault(pair.split, []).append(folder)
    return folders


def _key(pair: VideoPair, cutting: Cutting) -> str:
    files = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in (pair.sdr, pair.hdr)]
    return digest(json.dumps([files, pair.offset, asdict(cutting)]))[:12]


def extract_pair(pair: VideoPair, folder: Path, cutting: Cutting) -> Counter[str]:
    """Checks a pair and writes its samples to `folder`, which must not exist and appears when it is whole.

    What `prepare_pair` says holds here; its record is `pair.json` in the folder.

    Returns:
        How many samples are `written`, and left out for a `scene cut`, as a `static scene` and so on.

    Raises:
        ValueError: As `prepare_pair`, naming the pair.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_when_whole(folder) as part:
        try:
            record = prepare_pair(pair, folder.name, part, part / "work", cutting)
        except ValueError as error:
            raise ValueError(f"{pair}: {error}") from error
        shutil.rmtree(part / "work")
        (part / "pair.json").write_text(json.dumps({"split": pair.split, **record}, indent=1))
    left_out = Counter(sample["reason"].partition(":")[0] for sample in record["rejected"])
    return Counter(written=len(record["samples"])) + left_out
