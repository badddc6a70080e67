"""Writing numbered frames: 16-bit PNG or TIFF of PQ codes, or EXR of linear light."""

from __future__ import annotations

import json
import re
import shutil
from os import PathLike
from pathlib import Path
from typing import Literal, get_args

import torch

from vitm.color.transfer import pq_eotf
from vitm.files import WriteError, check_writable, folder_beside, replace_when_whole
from vitm.video.images import write_exr, write_image, write_png_pq
from vitm.video.write.segments import claim_folder, release_folder
from vitm.video.write.writer import Stored, Writer

FrameKind = Literal["png", "tiff", "exr"]
FRAME_KINDS: tuple[str, ...] = get_args(FrameKind)
EXR_UNIT_NITS = 100.0  # light of the value 1.0; also in the file's whiteLuminance

_ENOUGH_DIGITS = 4  # numbers of so many digits stay as they are: 1001, 0001
_NUMBERED = re.compile(r"\d+\.(png|tiff?|exr|hdr)")


class FrameFolderWriter(Writer):
    """Writes a folder of numbered frames, which appears only when it is whole.

    PNG and TIFF hold PQ codes of BT.2020 in 16 bits (65535 is 10,000 cd/m2). EXR holds linear light of BT.2020 in half
    precision, 1.0 being 100 cd/m2, with the attributes chromaticities and whiteLuminance. A PNG says what its codes are
    (cICP chunk); a TIFF does not: `FrameReader(folder, expect="hdr10")` must be told.

    Args:
        path: the folder. One that is there is replaced if it holds nothing but numbered frames.
        width: width of the frames, in pixels.
        height: height of the frames, in pixels.
        kind: "png", "tiff" or "exr".
        first: number of the first frame, as in "1001". It is filled up to six digits where it has fewer than four; None
            for 000000.
        work_dir: a folder that keeps the finished frames after an interruption, made if it is missing; the same call
            goes on from them. None: nothing is kept.

    Raises:
        ValueError: for an unknown kind, non-positive sizes, or a `work_dir` with the work of other settings.
        WriteError: if the folder cannot be written, or holds something else.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        width: int,
        height: int,
        kind: FrameKind = "png",
        *,
        first: str | None = None,
        work_dir: str | PathLike[str] | None = None,
    ) -> None:
        super().__init__(path, width, height)
        if kind not in FRAME_KINDS:
            raise ValueError(f"kind={kind!r}: expected one of {', '.join(FRAME_KINDS)}")
        if width < 1 or height < 1:
            raise ValueError(f"{width}x{height}: expected a positive size")
        self.kind = kind
        first = first or "0"
        self._first, self._digits = int(first), len(first) if len(first) >= _ENOUGH_DIGITS else 6
        _check_target(self.path)
        self._work_dir = None if work_dir is None else Path(work_dir)
        if self._work_dir is not None:
            self._claim = claim_folder(
                self._work_dir, {"frames": kind, "first": first, "width": width, "height": height}
            )
            self._frames = self._work_dir / "frames"
            self._frames.mkdir(exist_ok=True)
            self._resume(self._work_dir / "levels.json")
        else:
            self._frames = folder_beside(self.path)

    def _resume(self, levels: Path) -> None:
        for left_over in self._frames.glob(".*.partial*"):
            left_over.unlink()
        while self._file(self.n_frames).is_file():
            self.n_frames += 1
        self.finished_frames = self.n_frames
        if self.n_frames:
            self.max_cll, self.max_fall = json.loads(levels.read_text())

    def _file(self, number: int) -> Path:
        return self._frames / f"{self._first + number:0{self._digits}d}.{self.kind}"

    def _stored_on_device(self, hdr_pq: torch.Tensor) -> tuple[torch.Tensor, ...] | None:
        if self.kind == "exr":
            return None
        codes = hdr_pq.permute(1, 2, 0).double() * 65535 + 0.5  # fp64: rounded as on the host
        return (codes.to(torch.uint16),)

    def _put(self, stored: Stored, ticks: int) -> None:
        (image,) = stored
        if self._work_dir is not None:  # before the frame: a frame that is there has been measured
            with replace_when_whole(self._work_dir / "levels.json") as temporary:
                temporary.write_text(json.dumps((self.max_cll, self.max_fall)))
        file = self._file(ticks)
        if self.kind == "exr":
            light = pq_eotf(torch.from_numpy(image)).numpy() / EXR_UNIT_NITS
            write_exr(file, light, half=True, white_nits=EXR_UNIT_NITS)
        elif self.kind == "png":
            write_png_pq(file, image)
        else:
            write_image(file, image, bits=16)

    def _finish(self) -> None:
        finished = self._frames
        if self._work_dir is not None:
            finished = folder_beside(self.path)  # on the output's disk: the last step is then a rename
            try:
                finished.rmdir()
                shutil.move(self._frames, finished)
            except BaseException:
                if self._frames.is_dir():
                    shutil.rmtree(finished, ignore_errors=True)
                raise
        older = None
        if self.path.exists():
            older = folder_beside(self.path)
            self.path.replace(older)
        finished.rename(self.path)
        if older is not None:
            shutil.rmtree(older)
        if self._work_dir is not None:
            (self._work_dir / "levels.json").unlink()
            release_folder(self._work_dir)

    def _clean_up(self) -> None:
        if self._work_dir is None:
            shutil.rmtree(self._frames, ignore_errors=True)
        else:
            self._claim.close()


def _check_target(path: Path) -> None:
    if path.is_dir():
        other = [p.name for p in path.iterdir() if not _NUMBERED.fullmatch(p.name)]
        if other:
            raise WriteError(
                f"cannot write {path}: a folder of this name holds {sorted(other)[0]}; choose another name"
            )
    elif path.exists():
        raise WriteError(f"cannot write {path}: there is a file of this name")
    check_writable(path.parent / f".{path.name}")
