"""Finding samples of N frames on disk: four folder layouts, told apart by what is there and checked before any work.

A split (`train`, `val`, `test`) is a pair of folders, SDR and HDR, whose files carry the same names:

| layout | files in `<split>/{sdr,hdr}/` or `<split>_{sdr,hdr}/` | source |
| --- | --- | --- |
| sets | `NAME_1.png` to `NAME_N.png` | KPN-MFI's own, N = 3 |
| scenes | `SCENE_000012.png`, consecutive numbers of two or more digits | numbered frames of several scenes |
| clips | `CLIP/000000.png`, one folder a clip | whole clips |
| stills | `001.png`: frames that are not consecutive | HDRTV1K, as the HDRTVNet authors share it |

A single frame (N = 1) is a sample in any of them. A split may also be called as the authors of HDRTVNet do:
`training_set/train_{sdr,hdr}`, `test_set/test_{sdr,hdr}`; single frames are also looked for in `train_{sdr,hdr}_sub`,
the sub-images that their script cuts, where there is no `train_{sdr,hdr}`.

SDR files are 8-bit RGB (BT.709, gamma code), HDR files 16-bit RGB (BT.2020, PQ code; 65535 is 10,000 cd/m2), in PNG or
TIFF; or HDR files are EXR (linear light, see `vitm.data.paired.light`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Literal, Self

from vitm.data.paired.light import LINEAR, is_linear
from vitm.data.splits import Split
from vitm.video.images import image_header

FRAME_SUFFIXES = (".png", ".tif", ".tiff", LINEAR)

_SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training", "train_set", "training_set"),
    "val": ("val", "valid", "validation", "val_set", "validation_set"),
    "test": ("test", "testing", "test_set"),
}
_SAMPLES = {  # sample type, and what it has to be
    "SDR": ("uint8", "8-bit RGB, the BT.709 code"),
    "HDR": ("uint16", "16-bit RGB, the PQ code x 65535, which 8 bits would band, or EXR"),
}


@dataclass(frozen=True, slots=True)
class Window:
    """N consecutive frames on disk.

    Attributes:
        name: A name that is unique within the split.
        sdr: The paths of the SDR frames in temporal order.
        hdr: The paths of the HDR frames in temporal order.
        height: Rows that every frame of the sample has.
        width: Columns that every frame of the sample has.
        top: Row of the files at which the sample begins: not 0 for a tile of whole frames.
        left: Column of the files at which the sample begins.
    """

    name: str
    sdr: tuple[Path, ...]
    hdr: tuple[Path, ...]
    height: int
    width: int
    top: int = 0
    left: int = 0

    @classmethod
    def open(cls, name: str, sdr: Sequence[Path], hdr: Sequence[Path]) -> Self:
        """Return the sample of these files after a look at their headers.

        Raises:
            ValueError: A file has another sample type than its kind needs, or the sizes differ.
        """
        sizes = {
            path: _size(path, kind) for kind, paths in (("SDR", sdr), ("HDR", hdr)) for path in dict.fromkeys(paths)
        }
        if len({*sizes.values()}) > 1:
            listed = ", ".join(f"{path} is {width}x{height}" for path, (height, width) in sizes.items())
            raise ValueError(f"frames of one sample differ in size: {listed}; expected one size for all, SDR and HDR")
        height, width = next(iter(sizes.values()))
        return cls(name, tuple(sdr), tuple(hdr), height, width)


def _size(path: Path, kind: str) -> tuple[int, int]:
    """Return (height, width) of a file whose sample type is right."""
    sample, expected = _SAMPLES[kind]
    try:
        header = image_header(path)
    except ValueError as error:
        raise ValueError(f"{kind} file {error}; expected {expected}") from error
    if header.channels != 3:
        problem = f"not an 8- or 16-bit RGB {path.suffix[1:].upper()} (it has {header.channels} channels)"
        raise ValueError(f"{kind} file {path}: {problem}; expected {expected}")
    if header.sample != sample and not (kind == "HDR" and is_linear(path)):
        raise ValueError(f"{kind} file {path} has {header.sample} samples; expected {expected}")
    return header.height, header.width


def find_windows(
    root: Path,
    split: Split,
    frames: int = 3,
    *,
    clip_stride: int | None = None,
    still: Literal["error", "repeat"] = "error",
) -> list[Window]:
    """Find and check every sample of a split, in the order of their names; only headers are read.

    A sample's name is the path of its first file in the split's folder, a set's without its number, with `_` for `/`.

    Args:
        root: The data set's folder.
        split: The split; folders may be called `train`, `training`, `training_set`, `val`, `valid`, `validation`,
            `test`, `testing`, `test_set`, in any case, with `sdr` and `hdr` inside or as a suffix (`train_sdr`).
        frames: Number N of frames of a sample; with 1 every file is a sample.
        clip_stride: Scenes and clips only: frames from the start of one sample to the start of the next; None is N.
        still: What to do with frames that are not consecutive: refuse them, or repeat each one N times.

    Raises:
        FileNotFoundError: A folder is missing or holds no image.
        ValueError: Names or counts differ between SDR and HDR, a sample lacks a frame, sizes differ, or a file is not
            RGB of the right bit depth.
    """
    sdr, hdr = split_folders(root, split, ("", "_sub") if frames == 1 else ("",))
    stride = frames if clip_stride is None else clip_stride
    if stride < 1:
        raise ValueError(f"clip_stride is {stride}; expected 1 or more frames")
    sdr_files, hdr_files = _files(sdr), _files(hdr)
    _check_same_names(sdr, hdr, sdr_files, hdr_files)
    return [
        Window.open(name.replace("/", "_"), [sdr_files[stem] for stem in stems], [hdr_files[stem] for stem in stems])
        for name, stems in _group([*sdr_files], sdr, frames, stride, still)
    ]


def split_folders(root: Path, split: Split, suffixes: tuple[str, ...] = ("",)) -> tuple[Path, Path]:
    """Return the SDR and the HDR folder of a split, or raise FileNotFoundError that says what is there instead."""
    if not root.is_dir():
        raise FileNotFoundError(f"no data folder at {root}")
    names = _SPLIT_NAMES[split]
    prefixes = [f"{name}_" for name in names]
    top = _folders(root)
    places = [(_folders(top[name]), ["", *prefixes]) for name in names if name in top] + [(top, prefixes)]
    for suffix, (folders, starts) in product(suffixes, places):
        for prefix in starts:
            sdr, hdr = (folders.get(f"{prefix}{kind}{suffix}") for kind in ("sdr", "hdr"))
            if sdr and hdr:
                return sdr, hdr
    present = ", ".join(sorted(folder.name for folder in top.values())) or "no folder at all"
    raise FileNotFoundError(
        f"{root} has no '{split}' split: expected {split}/sdr and {split}/hdr (or {split}_sdr and {split}_hdr); "
        f"found {present}{'; to validate on another split: --data.val_split test' if split == 'val' else ''}"
    )


def _folders(parent: Path) -> dict[str, Path]:
    return {path.name.lower(): path for path in sorted(parent.iterdir()) if path.is_dir()}


def _files(folder: Path) -> dict[str, Path]:
    """Return stem -> file, sorted, of the images in a folder or, where there is none, of the clips in it."""
    paths = [p for p in folder.iterdir() if p.suffix.lower() in FRAME_SUFFIXES]
    paths = paths or [p for p in folder.glob("*/*") if p.suffix.lower() in FRAME_SUFFIXES]
    if not paths:
        suffixes = sorted({p.suffix for p in folder.rglob("*") if p.is_file()})
        raise FileNotFoundError(
            f"{folder} holds no EXR, and no PNG or TIFF file; found {', '.join(suffixes) or 'no file at all'}"
        )
    files: dict[str, Path] = {}
    for path in sorted(paths, key=lambda p: p.relative_to(folder).as_posix()):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in files:
            raise ValueError(f"{folder} holds {files[stem].name} and {path.name}; expected one file of a name")
        files[stem] = path
    return files


def _check_same_names(sdr: Path, hdr: Path, sdr_files: dict[str, Path], hdr_files: dict[str, Path]) -> None:
    if sdr_files.keys() == hdr_files.keys():
        return
    unpaired = [
        f"{folder / path.relative_to(other)} is missing"
        for folder, files, other, other_files in ((hdr, hdr_files, sdr, sdr_files), (sdr, sdr_files, hdr, hdr_files))
        for stem, path in other_files.items()
        if stem not in files
    ]
    more = f" and {len(unpaired) - 5} more" if len(unpaired) > 5 else ""
    raise ValueError(
        f"{sdr} has {len(sdr_files)} frames, {hdr} has {len(hdr_files)}; expected the same names in both: "
        + "; ".join(unpaired[:5])
        + more
    )


def _group(
    stems: list[str], sdr: Path, frames: int, stride: int, still: Literal["error", "repeat"]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (name, stems of the frames) for each sample among the sorted stems of a folder."""
    if frames == 1:
        yield from ((stem, (stem,)) for stem in stems)
        return
    numbers = [re.search(r"_([1-9]\d*)$", stem) for stem in stems]
    if all(number and int(number[1]) <= frames for number in numbers):
        yield from _sets(stems, sdr, frames)
        return
    windows = list(_consecutive(stems, frames, stride))
    if windows:
        yield from windows
    elif still == "repeat":
        yield from ((stem, (stem,) * frames) for stem in stems)
    else:
        raise ValueError(
            f"{sdr}: {stems[0]} and its like are single frames, not {frames} consecutive ones; expected NAME_1.png to "
            f"NAME_{frames}.png, or SCENE_000012.png with consecutive numbers, or CLIP/000000.png. To train on "
            f"still frames, each repeated {frames} times, set still='repeat' (nothing temporal can be learnt from them)"
        )


def _sets(stems: list[str], sdr: Path, frames: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the sets of files that are numbered from 1 to `frames`."""
    sets: dict[str, dict[int, str]] = defaultdict(dict)
    for stem in stems:
        start, _, number = stem.rpartition("_")
        sets[start][int(number)] = stem
    what = "triplet" if frames == 3 else f"set of {frames}"
    for start, members in sets.items():
        if missing := [f"{start}_{i}.png" for i in range(1, frames + 1) if i not in members]:
            raise ValueError(f"{sdr}: {what} {start} lacks {', '.join(missing)}; expected _1 to _{frames} of each")
        yield start, tuple(members[i] for i in range(1, frames + 1))


def _consecutive(stems: list[str], frames: int, stride: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield windows of consecutive numbers, every `stride` frames of each run; a bare number belongs to no scene."""
    scenes: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for stem in stems:
        if match := re.fullmatch(r"(.*?[^\d])(\d+)", stem):
            scenes[match[1]].append((int(match[2]), stem))
    for scene in scenes.values():
        scene.sort()
        breaks = [i + 1 for i, (a, b) in enumerate(pairwise(scene)) if b[0] != a[0] + 1]
        clip, is_clip, _ = scene[0][1].rpartition("/")
        if is_clip and (breaks or len(scene) < frames):
            fault = (
                f"jumps from {scene[breaks[0] - 1][1]} to {scene[breaks[0]][1]}"
                if breaks
                else f"has {len(scene)} frames"
            )
            raise ValueError(f"clip {clip} {fault}; expected {frames} or more frames of consecutive numbers")
        for start, stop in pairwise([0, *breaks, len(scene)]):
            for i in range(start, stop - frames + 1, stride):
                yield scene[i][1], tuple(stem for _, stem in scene[i : i + frames])
