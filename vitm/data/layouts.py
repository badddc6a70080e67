"""Finding triplets on disk: four folder layouts, told apart by what is there and checked before any work.

A split (`train`, `val`, `test`) is a pair of folders, SDR and HDR, whose files carry the same names:

| layout | files in `<split>/{sdr,hdr}/` or `<split>_{sdr,hdr}/` | source |
| --- | --- | --- |
| triplets | `NAME_1.png`, `NAME_2.png`, `NAME_3.png` | KPN-MFI's own |
| scenes | `SCENE_000012.png`, consecutive numbers of two or more digits | numbered frames of several scenes |
| clips | `CLIP/000000.png`, one folder a clip | whole clips |
| stills | `001.png`: frames that are not consecutive | HDRTV1K, as the HDRTVNet authors share it |

SDR files are 8-bit RGB PNG (BT.709, gamma code), HDR files 16-bit RGB PNG (BT.2020, PQ code; 65535 is 10,000 cd/m2).
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

Split = Literal["train", "val", "test"]
Still = Literal["error", "repeat"]

_SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_IHDR = struct.Struct(
    ">8sI4sIIBB"
)  # ISO/IEC 15948 (PNG) 5.2, 11.2.2: signature, length, type, width, height, depth, colour type
_SIGNATURE, _RGB = b"\x89PNG\r\n\x1a\n", 2


@dataclass(frozen=True, slots=True)
class Triplet:
    """Three consecutive frames on disk.

    Args:
        name: Unique within the split; the file's path in its folder without its number, `_` for `/`.
        sdr: The paths of frames t-1, t, t+1, SDR.
        hdr: The same, HDR.
        height: Of all six files, in pixels.
        width: Of all six files, in pixels.
    """

    name: str
    sdr: tuple[Path, Path, Path]
    hdr: tuple[Path, Path, Path]
    height: int
    width: int


def find_triplets(root: Path, split: Split, *, clip_stride: int = 3, still: Still = "error") -> list[Triplet]:
    """Finds and checks every triplet of a split, in the order of their names; reads PNG headers only.

    Args:
        root: The data set's folder.
        split: Which split; folders may be called `train`, `training`, `val`, `valid`, `validation`, `test`, `testing`,
            in any case, with `sdr` and `hdr` inside or as a suffix (`train_sdr`).
        clip_stride: Scenes and clips only: frames from the start of one triplet to the start of the next.
        still: What to do with frames that are not consecutive: refuse them, or repeat each one three times.

    Raises:
        FileNotFoundError: If a folder is missing or holds no PNG file.
        ValueError: If names or counts differ between SDR and HDR, a triplet lacks a frame, sizes differ, or a file is
            not an RGB PNG of the right bit depth.
    """
    sdr, hdr = split_folders(root, split)
    return pair_folders(sdr, hdr, clip_stride=clip_stride, still=still)


def split_folders(root: Path, split: Split) -> tuple[Path, Path]:
    """Returns the SDR and the HDR folder of a split, or raises FileNotFoundError that says what is there instead."""
    if not root.is_dir():
        raise FileNotFoundError(f"no data folder at {root}")
    top = {p.name.lower(): p for p in sorted(root.iterdir()) if p.is_dir()}
    for name in _SPLIT_NAMES[split]:
        inside = {p.name.lower(): p for p in sorted(top[name].iterdir()) if p.is_dir()} if name in top else {}
        for folders, prefixes in ((inside, ("", f"{name}_")), (top, (f"{name}_",))):
            for prefix in prefixes:
                if f"{prefix}sdr" in folders and f"{prefix}hdr" in folders:
                    return folders[f"{prefix}sdr"], folders[f"{prefix}hdr"]
    there = ", ".join(sorted(p.name for p in top.values())) or "no folder at all"
    raise FileNotFoundError(
        f"{root} has no '{split}' split: expected {split}/sdr and {split}/hdr (or {split}_sdr and {split}_hdr); "
        f"found {there}"
    )


def pair_folders(sdr: Path, hdr: Path, *, clip_stride: int = 3, still: Still = "error") -> list[Triplet]:
    """`find_triplets` for one SDR and one HDR folder."""
    if clip_stride < 1:
        raise ValueError(f"clip_stride is {clip_stride}; expected 1 or more frames")
    names = _names(sdr)
    _same_names(sdr, hdr, names, _names(hdr))
    found = []
    for name, frames in _group(names, sdr, clip_stride, still):
        a, b, c = frames
        height, width = _check_headers(sdr, hdr, frames)
        found.append(
            Triplet(
                Path(name).as_posix().replace("/", "_"),
                (sdr / a, sdr / b, sdr / c),
                (hdr / a, hdr / b, hdr / c),
                height,
                width,
            )
        )
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


def _group(names: list[str], sdr: Path, stride: int, still: Still) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Yields (name, three file names) for each triplet among the sorted names of a folder."""
    stems = [str(Path(n).with_suffix("")) for n in names]
    if all(re.search(r"_[123]$", s) for s in stems):
        yield from _numbered_123(names, stems, sdr)
        return
    found = list(_consecutive(names, stems, stride))
    if found:
        yield from found
    elif still == "repeat":
        yield from ((stem, (name, name, name)) for name, stem in zip(names, stems, strict=True))
    else:
        raise ValueError(
            f"{sdr}: {names[0]} and its like are single frames, not three consecutive ones; expected NAME_1.png, "
            "NAME_2.png, NAME_3.png, or SCENE_000012.png with consecutive numbers, or CLIP/000000.png. To train on "
            "still frames, each repeated three times, set still='repeat' (nothing temporal can be learnt from them)"
        )


def _numbered_123(names: list[str], stems: list[str], sdr: Path) -> Iterator[tuple[str, tuple[str, str, str]]]:
    triplets: dict[str, dict[str, str]] = defaultdict(dict)
    for name, stem in zip(names, stems, strict=True):
        triplets[stem[:-2]][stem[-1]] = name
    for stem, frames in triplets.items():
        if lacking := [f"{stem}_{i}.png" for i in "123" if i not in frames]:
            raise ValueError(f"{sdr}: triplet {stem} lacks {', '.join(lacking)}; expected _1, _2 and _3 of each")
        yield stem, (frames["1"], frames["2"], frames["3"])


def _consecutive(names: list[str], stems: list[str], stride: int) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Windows of three consecutive numbers, every `stride` frames of each run; a bare number belongs to no scene."""
    scenes: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
    for name, stem in zip(names, stems, strict=True):
        if match := re.fullmatch(r"(.*?[^\d])(\d+)", stem):
            scenes[match[1]].append((int(match[2]), name, stem))
    for frames in scenes.values():
        frames.sort()
        breaks = [i + 1 for i, (a, b) in enumerate(pairwise(frames)) if b[0] != a[0] + 1]
        if "/" in Path(frames[0][1]).as_posix() and (breaks or len(frames) < 3):
            gap = (
                f"jumps from {frames[breaks[0] - 1][1]} to {frames[breaks[0]][1]}"
                if breaks
                else f"has {len(frames)} frames"
            )
            raise ValueError(
                f"clip {Path(frames[0][1]).parent} {gap}; expected three or more frames of consecutive numbers"
            )
        for start, stop in pairwise([0, *breaks, len(frames)]):
            for i in range(start, stop - 2, stride):
                yield frames[i][2], (frames[i][1], frames[i + 1][1], frames[i + 2][1])


def _check_headers(sdr: Path, hdr: Path, frames: tuple[str, str, str]) -> tuple[int, int]:
    """Checks the six files' headers and returns their common (height, width)."""
    sizes = {}
    for folder, depth, kind in ((sdr, 8, "SDR"), (hdr, 16, "HDR")):
        for name in dict.fromkeys(frames):
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
        raise ValueError(f"frames of one triplet differ in size: {listed}; expected one size for all, SDR and HDR")
    return next(iter(sizes.values()))


def png_header(path: Path) -> tuple[int, int, int, int]:
    """Reads (width, height, bit depth, colour type) from the first 26 bytes of a PNG file; ValueError if it is none."""
    with path.open("rb") as file:
        head = file.read(_IHDR.size)
    if len(head) < _IHDR.size or not head.startswith(_SIGNATURE):
        raise ValueError(f"{path} is not a PNG file, or only its beginning; write it again")
    _, _, _, width, height, bits, colour = _IHDR.unpack(head)
    return width, height, bits, colour
