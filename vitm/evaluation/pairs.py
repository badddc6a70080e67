"""Pairs of a prediction and its target, which must agree in everything but their pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitm.color import bt709_to_bt2020, pq_inverse_eotf
from vitm.files import read_rows
from vitm.video import FrameReader, StreamInfo, VideoTagError, probe
from vitm.video.images import SUFFIXES
from vitm.video.tags import Assume, fill_missing

AnyPath = str | PathLike[str]
Pairs = AnyPath | tuple[AnyPath, AnyPath] | Sequence[tuple[AnyPath, AnyPath]] | Mapping[str, tuple[AnyPath, AnyPath]]


class MismatchError(ValueError):
    """A prediction and its target are no pair."""


@dataclass(frozen=True)
class Pair:
    """Two readers of the same role, size and length.

    Attributes:
        name: name of the clip in tables.
        pred: reader of the prediction.
        target: reader of the truth.
        fps: frames a second.
        unit_nits: light of 1.0 in linear frames, in cd/m2; None for PQ codes.
    """

    name: str
    pred: FrameReader
    target: FrameReader
    fps: Fraction
    unit_nits: float | None = None

    def __len__(self) -> int:
        return len(self.target)

    def frames(self, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield both sides of each frame from number `first` on, (3, H, W) in PQ codes."""
        rest = range(first, len(self))
        for pred, target in zip(self.pred.read(rest), self.target.read(rest), strict=True):
            yield self._codes(pred.rgb, self.pred.info), self._codes(target.rgb, self.target.info)

    def _codes(self, rgb: object, info: StreamInfo) -> Tensor:
        frame = torch.as_tensor(rgb).permute(2, 0, 1)
        if self.unit_nits is None:
            return frame
        nits = frame * self.unit_nits
        return pq_inverse_eotf(bt709_to_bt2020(nits) if info.primaries == "bt709" else nits)


def list_pairs(pairs: Pairs) -> dict[str, tuple[Path, Path]]:
    """Return prediction and target of each clip by the clip's name, which is the prediction's unless another is given.

    Args:
        pairs: `(pred, target)`; a list of such pairs; a dictionary from names to pairs; or the path of a CSV file.

    Raises:
        FileNotFoundError: there is no such CSV file.
        ValueError: there is no pair, a pair is not two paths, or names are not unique.

    Example:
        >>> list_pairs([("out/a.mp4", "true/a.mp4"), ("out/b", "true/b")])["a"]
        (PosixPath('out/a.mp4'), PosixPath('true/a.mp4'))
    """
    if isinstance(pairs, str | PathLike):
        path = Path(pairs)
        if path.suffix.lower() != ".csv":
            raise ValueError(f"what is {path} to be compared with? Give a prediction and its target, or a CSV file")
        named = read_pair_list(path)
        advice = "add a column name"
    elif isinstance(pairs, Mapping):
        named = [(name, *_two_paths(sides)) for name, sides in pairs.items()]
        advice = ""
    else:
        one = len(pairs) == 2 and all(isinstance(side, str | PathLike) for side in pairs)
        listed = [_two_paths(sides) for sides in ([pairs] if one else pairs)]
        named = [(clip_name(pred), pred, target) for pred, target in listed]
        advice = "give a dictionary from names to pairs"
    if not named:
        raise ValueError("there is no pair to measure")
    names = [name for name, _, _ in named]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"clips must have different names, but {', '.join(twice)} is there twice; {advice}")
    return {name: (pred, target) for name, pred, target in named}


def read_pair_list(path: Path) -> list[tuple[str, Path, Path]]:
    """Return the rows of a list of pairs: a CSV file with the columns pred and target, and name if you like.

    Paths are relative to the list.

    Returns:
        (name, pred, target) of each row; the name is the prediction's where the list gives none.

    Raises:
        FileNotFoundError: there is no such list.
        ValueError: a column is missing, or the list is empty.
    """
    return [
        (row["name"] or Path(row["pred"]).stem, path.parent / row["pred"], path.parent / row["target"])
        for _, row in read_rows(path, "pred", "target", optional=["name"])
    ]


def clip_name(pred: Path) -> str:
    """Return the name of a clip: of a file without its suffix, of a folder all of it."""
    pred = pred.resolve()
    return pred.name if pred.is_dir() else pred.stem


def _two_paths(sides: Any) -> tuple[Path, Path]:
    if isinstance(sides, str | PathLike) or len(sides) != 2:
        raise ValueError(f"expected a pair of paths, a prediction and its target, got {sides!r}")
    pred, target = sides
    return Path(pred), Path(target)


def open_pair(
    name: str,
    pred: Path,
    target: Path,
    *,
    assume: Assume | None = None,
    fps: Fraction | None = None,
    unit_nits: float | None = None,
    mixed_depths: bool = False,
) -> Pair:
    """Open a prediction and its target, and check that they are a pair.

    Args:
        name: name of the clip.
        pred: HDR10 video, or 16-bit PNG or TIFF pictures with PQ BT.2020 codes, or linear EXR pictures, in a folder or
            alone; or a picture in AVIF, or JPEG with a gain map.
        target: the same kind of thing.
        assume: colour tags that videos without tags have, see `FrameReader`.
        fps: frame rate of folders (24 where neither this nor a video says it).
        unit_nits: light of 1.0 in cd/m2, for linear frames, which are then measured as PQ codes.
        mixed_depths: whether samples of different depth may meet (a 10-bit video and a 16-bit master).

    Raises:
        FileNotFoundError: a path does not exist.
        MismatchError: transfer tags, sizes, frame counts, rates or bit depths differ; names both files.
        VideoTagError: both are no HDR10, or tags are missing.
        VideoDecodeError: a file is damaged.
    """
    both = f"{pred} and {target}"
    kinds = [_transfer(path, assume) for path in (pred, target)]
    if kinds[0] != kinds[1]:
        raise MismatchError(f"{both} differ in transfer: {kinds[0]} against {kinds[1]}")
    linear = kinds[0] == "linear"
    if linear and unit_nits is None:
        raise MismatchError(f"{both} hold linear light: say what 1.0 is in cd/m2, such as unit_nits=100")
    if not linear and unit_nits is not None:
        raise MismatchError(f"unit_nits={unit_nits:g} is for linear frames, but {both} hold {kinds[0]} codes")
    pred_reader, target_reader = (
        FrameReader(
            path,
            expect="linear" if linear else "hdr10",
            assume=None if path.is_dir() else assume,
            fps=fps if path.is_dir() else None,
        )
        for path in (pred, target)
    )
    a, b = pred_reader.info, target_reader.info
    for info in (a, b):
        if linear and info.primaries not in ("bt709", "bt2020"):
            raise VideoTagError(f"{info.path}: {info.primaries} primaries; expected bt709 or bt2020")
    if (a.width, a.height) != (b.width, b.height):
        raise MismatchError(f"{both} differ in size: {a.width}x{a.height} against {b.width}x{b.height}")
    if a.n_frames != b.n_frames:
        raise MismatchError(f"{both} differ in length: {a.n_frames} against {b.n_frames} frames")
    if a.fps and b.fps and abs(a.fps / b.fps - 1) > 1e-3:
        raise MismatchError(f"{both} differ in frame rate: {float(a.fps):.3f} against {float(b.fps):.3f}")
    if a.bit_depth != b.bit_depth and not mixed_depths:
        raise MismatchError(
            f"{both} differ in bit depth: {a.bit_depth} against {b.bit_depth}; mixed_depths=True compares them anyway"
        )
    return Pair(name, pred_reader, target_reader, b.fps or a.fps or Fraction(24), unit_nits)


def _transfer(path: Path, assume: Assume | None) -> str:
    """Return the transfer of a file, or of its kind of frames: HDR10 for PNG and TIFF, linear for EXR and Radiance."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if path.is_dir():
        suffixes = {file.suffix.lower() for file in path.iterdir()}
        return "linear" if suffixes & {".exr", ".hdr"} else "pq"
    if path.suffix.lower() in SUFFIXES:
        return "linear" if path.suffix.lower() in (".exr", ".hdr") else "pq"
    info: StreamInfo = fill_missing(probe(path), assume)
    if info.transfer is None:
        raise VideoTagError(f"{path}: no transfer tag; if you know what it holds, say assume='bt2020-pq'")
    return info.transfer
