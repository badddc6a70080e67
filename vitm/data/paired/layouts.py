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

SDR files are 8-bit RGB PNG (BT.709, gamma code), HDR files 16-bit RGB PNG (BT.2020, PQ code; 65535 is 10,000 cd/m2).
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Literal

Split = Literal["train", "val", "test"]
Still = Literal["error", "repeat"]

_SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training", "train_set", "training_set"),
    "val": ("val", "valid", "validation", "val_set", "validation_set"),
    "test": ("test", "testing", "test_set"),
}
_IHDR = struct.Struct(
    ">8sI4sIIBB"
)  # ISO/IEC 15948 (PNG) 5.2, 11.2.2: signature, length, type, width, height, depth, colour type
_SIGNATURE, _RGB = b"\x89PNG\r\n\x1a\n", 2


@dataclass(frozen=True, slots=True)
class Window:
    """N consecutive frames on disk.

    Args:
        name: Unique within the split; the first file's path in its folder, a set's without its number, `_` for `/`.
        sdr: The paths of the frames in temporal order, SDR.
        hdr: The same, HDR.
        height: Of all 2 N files, in pixels.
        width: Of all 2 N files, in pixels.
    """

    name: str
    sdr: tuple[Path, ...]
    hdr: tuple[Path, ...]
    height: int
    width: int


def find_windows(
    root: Path, split: Split, frames: int = 3, *, clip_stride: int | None = None, still: Still = "error"
) -> list[Window]:
    """Finds and checks every sample of a split, in the order of their names; reads PNG headers only.

    Args:
        root: The data set's folder.
        split: Which split; folders may be called `train`, `training`, `training_set`, `val`, `valid`, `validation`,
            `test`, `testing`, `test_set`, in any case, with `sdr` and `hdr` inside or as a suffix (`train_sdr`).
        frames: Of a sample, N; with 1 every file is a sample.
        clip_stride: Scenes and clips only: frames from the start of one sample to the start of the next; None is N.
        still: What to do with frames that are not consecutive: refuse them, or repeat each one N times.

    Raises:
        FileNotFoundError: If a folder is missing or holds no PNG file.
        ValueError: If names or counts differ between SDR and HDR, a sample lacks a frame, sizes differ, or a file is
            not an RGB PNG of the right bit depth.
    """
    sdr, hdr = split_folders(root, split, ("", "_sub") if frames == 1 else ("",))
    return pair_folders(sdr, hdr, frames, clip_stride=clip_stride, still=still)


def split_folders(root: Path, split: Split, suffixes: tuple[str, ...] = ("",)) -> tuple[Path, Path]:
    """Returns the SDR and the HDR folder of a split, or raises FileNotFoundError that says what is there instead."""
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
    there = ", ".join(sorted(p.name for p in top.values())) or "no folder at all"
    raise FileNotFoundError(
        f"{root} has no '{split}' split: expected {split}/sdr and {split}/hdr (or {split}_sdr and {split}_hdr); "
        f"found {there}{'; to validate on another split: --data.val_split test' if split == 'val' else ''}"
    )


def _folders(parent: Path) -> dict[str, Path]:
    return {p.name.lower(): p for p in sorted(parent.iterdir()) if p.is_dir()}


def pair_folders(
    sdr: Path, hdr: Path, frames: int = 3, *, clip_stride: int | None = None, still: Still = "error"
) -> list[Window]:
    """`find_windows` for one SDR and one HDR folder."""
    stride = frames if clip_stride is None else clip_stride
    if stride < 1:
        raise ValueError(f"clip_stride is {stride}; expected 1 or more frames")
    names = _names(sdr)
    _same_names(sdr, hdr, names, _names(hdr))
    found = []
    for name, files in _group(names, sdr, frames, stride, still):
        height, width = _check_headers(sdr, hdr, files)
        paths = [tuple(folder / file for file in files) for folder in (sdr, hdr)]
        found.append(Window(Path(name).as_posix().replace("/", "_"), paths[0], paths[1], height, width))
    return found


def _names(folder: Path) -> list[str]:
    """The PNG files of a folder or, where there is none, of the clips in it, relative to the folder and sorted."""
    names = sorted(p.name for p in folder.iterdir() if p.suffix.lower() == ".png")
    names = names or sorted(str(p.relative_to(folder)) for p in folder.glob("*/*") if p.suffix.lower() == ".png")
    if not names:
        suffixes = sorted({p.suffix for p in folder.rglob("*") if p.is_file()})
        raise FileNotFoundError(f"{folder} holds no PNG file; found {', '.join(suffixes) or 'no file at all'}")
    return names


def _same_names(sdr: Path, hdr: Path, sdr_names: list[str], hdr_names: list[str]) -> None:
    if sdr_names == hdr_names:
        return
    alone = [f"{hdr / n} is missing" for n in sorted({*sdr_names} - {*hdr_names})]
    alone += [f"{sdr / n} is missing" for n in sorted({*hdr_names} - {*sdr_names})]
    more = f" and {len(alone) - 5} more" if len(alone) > 5 else ""
    raise ValueError(
        f"{sdr} has {len(sdr_names)} frames, {hdr} has {len(hdr_names)}; expected the same names in both: "
        + "; ".join(alone[:5])
        + more
    )


def _group(
    names: list[str], sdr: Path, frames: int, stride: int, still: Still
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields (name, file names) for each sample among the sorted names of a folder."""
    stems = [str(Path(n).with_suffix("")) for n in names]
    if frames == 1:
        yield from ((stem, (name,)) for name, stem in zip(names, stems, strict=True))
        return
    numbers = [re.search(r"_([1-9]\d*)$", s) for s in stems]
    if all(n and int(n[1]) <= frames for n in numbers):
        yield from _sets(names, stems, sdr, frames)
        return
    found = list(_consecutive(names, stems, frames, stride))
    if found:
        yield from found
    elif still == "repeat":
        yield from ((stem, (name,) * frames) for name, stem in zip(names, stems, strict=True))
    else:
        raise ValueError(
            f"{sdr}: {names[0]} and its like are single frames, not {frames} consecutive ones; expected NAME_1.png to "
            f"NAME_{frames}.png, or SCENE_000012.png with consecutive numbers, or CLIP/000000.png. To train on "
            f"still frames, each repeated {frames} times, set still='repeat' (nothing temporal can be learnt from them)"
        )


def _sets(names: list[str], stems: list[str], sdr: Path, frames: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Sets of files that are numbered from 1 to `frames`."""
    sets: dict[str, dict[int, str]] = defaultdict(dict)
    for name, stem in zip(names, stems, strict=True):
        start, _, number = stem.rpartition("_")
        sets[start][int(number)] = name
    what = "triplet" if frames == 3 else f"set of {frames}"
    for stem, files in sets.items():
        if lacking := [f"{stem}_{i}.png" for i in range(1, frames + 1) if i not in files]:
            raise ValueError(f"{sdr}: {what} {stem} lacks {', '.join(lacking)}; expected _1 to _{frames} of each")
        yield stem, tuple(files[i] for i in range(1, frames + 1))


def _consecutive(names: list[str], stems: list[str], frames: int, stride: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Windows of consecutive numbers, every `stride` frames of each run; a bare number belongs to no scene."""
    scenes: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for name, stem in zip(names, stems, strict=True):
        if match := re.fullmatch(r"(.*?[^\d])(\d+)", stem):
            scenes[match[1]].append((int(match[2]), name, stem))
    for scene in scenes.values():
        scene.sort()
        breaks = [i + 1 for i, (a, b) in enumerate(pairwise(scene)) if b[0] != a[0] + 1]
        if "/" in Path(scene[0][1]).as_posix() and (breaks or len(scene) < frames):
            gap = (
                f"jumps from {scene[breaks[0] - 1][1]} to {scene[breaks[0]][1]}"
                if breaks
                else f"has {len(scene)} frames"
            )
            raise ValueError(
                f"clip {Path(scene[0][1]).parent} {gap}; expected {frames} or more frames of consecutive numbers"
            )
        for start, stop in pairwise([0, *breaks, len(scene)]):
            for i in range(start, stop - frames + 1, stride):
                yield scene[i][2], tuple(name for _, name, _ in scene[i : i + frames])


def _check_headers(sdr: Path, hdr: Path, files: tuple[str, ...]) -> tuple[int, int]:
    """Checks the headers of a sample's files and returns their common (height, width)."""
    sizes = {}
    for folder, depth, kind in ((sdr, 8, "SDR"), (hdr, 16, "HDR")):
        for name in dict.fromkeys(files):
            path = folder / name
            width, height, bits, colour = png_header(path)
            if bits != depth or colour != _RGB:
                raise ValueError(
                    f"{kind} file {path} is a {bits}-bit PNG of colour type {colour}; expected {depth}-bit RGB (colour "
                    f"type 2): {'the BT.709 code' if depth == 8 else 'the PQ code x 65535, which 8 bits would band'}"
                )
            sizes[path] = (height, width)
    if len({*sizes.values()}) > 1:
        listed = ", ".join(f"{p} is {w}x{h}" for p, (h, w) in sizes.items())
        raise ValueError(f"frames of one sample differ in size: {listed}; expected one size for all, SDR and HDR")
    return next(iter(sizes.values()))


def png_header(path: Path) -> tuple[int, int, int, int]:
    """Reads (width, height, bit depth, colour type) from the first 26 bytes of a PNG file; ValueError if it is none."""
    with path.open("rb") as file:
        head = file.read(_IHDR.size)
    if len(head) < _IHDR.size or not head.startswith(_SIGNATURE):
        raise ValueError(f"{path} is not a PNG file, or only its beginning; write it again")
    _, _, _, width, height, bits, colour = _IHDR.unpack(head)
    return width, height, bits, colour
