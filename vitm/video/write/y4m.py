"""Writing Y4M: raw frames with a line of text before them, which every tool takes from a pipe."""

from __future__ import annotations

from fractions import Fraction
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
import torch

from vitm.color.ycbcr import RGB_TO_YCBCR, code_scale
from vitm.files import check_writable, temporary_beside
from vitm.video.planes import Float, tensor_to_planes
from vitm.video.write.segments import claim_folder, release_folder
from vitm.video.write.writer import Stored, Writer, check_suffix


class Y4MWriter(Writer):
    """Writes PQ frames as Y4M: Y'CbCr of BT.2020, 10 bits, narrow range, 4:4:4, so that no filter is chosen for chroma.

    Y4M has no colour tags and one frame rate. What reads it must be told: BT.2020, PQ (ST 2084), BT.2020 matrix.

    Args:
        path: the file, .y4m; it appears when it is whole.
        width: width of the frames, in pixels.
        height: height of the frames, in pixels.
        fps: frames a second.
        work_dir: folder that is claimed while the file is made; nothing in it is gone on from. None for none.

    Raises:
        ValueError: another suffix, or a size or rate that is not positive.
        WriteError: the folder is missing or not writable.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        width: int,
        height: int,
        fps: Fraction | int,
        *,
        work_dir: str | PathLike[str] | None = None,
    ) -> None:
        super().__init__(path, width, height)
        fps = Fraction(fps)
        check_suffix(self.path, "y4m there", [".y4m"])
        if min(width, height) < 1 or fps <= 0:
            raise ValueError(f"{width}x{height} at {fps} fps: expected positive numbers")
        check_writable(self.path)
        gain, offset = (np.array(v) for v in code_scale(10, full_range=False))
        # + 0.5: the conversion to integers cuts, so this rounds half up
        self._to_codes = np.column_stack([np.array(RGB_TO_YCBCR["bt2020"]) * gain[:, None], offset + 0.5])
        self._work_dir = None if work_dir is None else Path(work_dir)
        self._claim = None if work_dir is None else claim_folder(Path(work_dir), {"y4m": [width, height]})
        self._part = temporary_beside(self.path)
        self._file = self._part.open("wb")
        rate = f"F{fps.numerator}:{fps.denominator}"
        header = f"YUV4MPEG2 W{width} H{height} {rate} Ip A1:1 C444p10 XYSCSS=444P10 XCOLORRANGE=LIMITED\n"
        self._file.write(header.encode())

    def _stored(self, image: Float) -> Stored:
        return tuple(cv2.transform(image, self._to_codes).astype(np.uint16).transpose(2, 0, 1))

    def _stored_on_device(self, hdr_pq: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tensor_to_planes(hdr_pq, "4:4:4")

    def _put(self, stored: Stored, ticks: int) -> None:
        self._file.write(b"FRAME\n" + b"".join(plane.astype("<u2").tobytes() for plane in stored))

    def _finish(self) -> None:
        self._file.close()
        self._part.replace(self.path)
        if self._work_dir is not None:
            release_folder(self._work_dir)

    def _clean_up(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)
        if self._claim is not None:
            self._claim.close()
