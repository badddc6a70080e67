"""Which kind of long clips a folder holds, and which clips a split has.

| source | what `root` holds | motion |
| --- | --- | --- |
| `reds` | `train/train_sharp/000/00000000.png`, `val/val_sharp/...` (or `train_sharp/...`), 8-bit | as filmed |
| `sice` | `Dataset_Part1/1/1.JPG`, ... and `Dataset_Part2/...`: stacks of exposures | random perspective, exact |
| `exr` | a folder a clip of numbered .exr frames, linear light | as filmed |
| `panoramas` | equirectangular .exr or .hdr files, linear light | a turning camera, exact |

`exr` and `panoramas` may have folders `train`, `val` and `test` in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from vitm.data.sequences.panoramas import PanoramaFile
from vitm.data.sequences.sice import MERGED, find_stacks, merge_all
from vitm.data.sequences.source import Source
from vitm.data.sequences.videos import Video
from vitm.data.splits import SPLITS, Split

Kind = Literal["auto", "reds", "sice", "panoramas", "exr"]
_LIGHT = (".exr", ".hdr")


def kind_of(root: Path, kind: Kind = "auto") -> Kind:
    """Return what a folder holds: what `kind` says, or with `auto` what is found.

    Raises:
        FileNotFoundError: There is no such folder, or nothing known in it.
        ValueError: The kind is unknown.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"source is '{kind}'; expected one of {', '.join(get_args(Kind))}")
    if not root.is_dir():
        raise FileNotFoundError(f"no data folder at {root}")
    if kind != "auto":
        return kind
    if _sharp(root, "train") or _sharp(root, "val"):
        return "reds"
    if _is_sice(root):
        return "sice"
    for place in _places(root):
        if any(_files(folder, ".exr") for folder in _folders(place)):
            return "exr"
        if _files(place, *_LIGHT):
            return "panoramas"
    present = ", ".join(sorted(p.name for p in root.iterdir())[:6]) or "nothing"
    raise FileNotFoundError(
        f"{root} holds no known data: expected train/train_sharp (REDS), Dataset_Part1 (SICE), folders of .exr frames, "
        f"or .exr and .hdr panoramas; found {present}"
    )


def merge_stills(root: Path, kind: Kind, workers: int = 2) -> None:
    """Merge the stacks of SICE, where that is not done yet; other kinds need no preparation."""
    if kind == "sice" or (kind == "auto" and root.is_dir() and _is_sice(root)):
        merge_all(find_stacks(root), workers)


def _is_sice(root: Path) -> bool:
    names = {path.name.lower() for path in root.iterdir() if path.is_dir()}
    return bool(names & {"dataset_part1", "dataset_part2"} or ("label" in names and any(n.isdigit() for n in names)))


def find_clips(root: Path, split: Split, kind: Kind, val_clips: int) -> list[Source]:
    """Return the checked clips of a split, in the order of their names.

    Where `root` has no folder of its own for validation, `val_clips` clips, evenly spread, are held out of training.
    With such a folder, validation takes as many of it, evenly spread; the test takes `test`, or all of `val` (REDS).

    Args:
        root: The data folder; see the module.
        split: The split.
        kind: The kind that `kind_of` returned.
        val_clips: Number of clips to validate on.

    Raises:
        FileNotFoundError: There is no clip.
        ValueError: A clip is damaged (see `Video.open`, `find_stacks`, `PanoramaFile.open`), or none is left to train
            on.
    """
    val, test = _split_folder(root, "val", kind), _split_folder(root, "test", kind)
    own = {"val": val or test, "test": test or val}
    if split != "train" and (folder := own[split]):
        clips = _clips(folder, kind)
        return _evenly(clips, val_clips) if split == "val" else clips
    clips = _clips(_split_folder(root, "train", kind) or root, kind)
    if own["val"]:
        return clips
    held = _evenly(clips, val_clips)
    if split != "train":
        return held if split == "val" or held else clips
    if len(held) == len(clips):
        raise ValueError(
            f"{root} has {len(clips)} clip(s) and no folder for validation; val_clips is {val_clips}, which leaves "
            "none to train on: choose a smaller val_clips (0 holds none out)"
        )
    return [clip for clip in clips if clip not in held]


def _clips(folder: Path, kind: Kind) -> list[Source]:
    clips: Sequence[Source]
    if kind in ("reds", "exr"):
        suffix = ".png" if kind == "reds" else ".exr"
        clips = [Video.open(f"{kind}_{p.name}", p, suffix) for p in _folders(folder)]
    elif kind == "sice":
        clips = merge_all(find_stacks(folder))
    else:
        clips = [PanoramaFile.open(f"panorama_{p.stem}", p) for p in _files(folder, *_LIGHT)]
    if not clips:
        raise FileNotFoundError(f"{folder} holds no clip of the source '{kind}'")
    return list(clips)


def _split_folder(root: Path, split: Split, kind: Kind) -> Path | None:
    if kind == "reds":
        return _sharp(root, split)
    return root / split if kind != "sice" and (root / split).is_dir() else None


def _sharp(root: Path, split: Split) -> Path | None:
    """Return REDS's folder of sharp frames: the archives unpack to `train/train_sharp` and `val/val_sharp`."""
    places = (root / split / f"{split}_sharp", root / f"{split}_sharp")
    return next((place for place in places if place.is_dir()), None)


def _places(root: Path) -> list[Path]:
    return [p for p in (*(root / split for split in SPLITS), root) if p.is_dir()]


def _folders(parent: Path) -> list[Path]:
    return sorted(p for p in parent.iterdir() if p.is_dir() and not p.name.startswith(".") and p.name != MERGED)


def _files(parent: Path, *suffixes: str) -> list[Path]:
    return sorted(
        p for p in parent.iterdir() if p.is_file() and p.suffix.lower() in suffixes and not p.name.startswith(".")
    )


def _evenly(clips: list[Source], n: int) -> list[Source]:
    """Return the clips, or n of them, evenly spread."""
    n = min(n, len(clips))
    return [clips[(2 * k + 1) * len(clips) // (2 * n)] for k in range(n)]
