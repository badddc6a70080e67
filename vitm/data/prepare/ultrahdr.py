"""Photographs with a gain map -> pairs of SDR and HDR10 frames: what a camera itself made of a scene, both ways."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console

from vitm.color import srgb_eotf, srgb_inverse_eotf
from vitm.console import console as default_console
from vitm.data.prepare.data_folder import DataFolder
from vitm.data.prepare.record import Record, Tell
from vitm.data.prepare.runner import PreparationTask, run_tasks
from vitm.data.prepare.sources import share_out, unique_names
from vitm.data.prepare.writing import publish
from vitm.files import digest, folder_beside
from vitm.video import VideoDecodeError, write_image
from vitm.video.gain_map import hdr10_of, read_gain_map
from vitm.video.icc import ProfilePrimaries

# From linear RGB to linear BT.709, white D65 on both sides (SMPTE EG 432-1 and BT.709; BT.2087).
_TO_BT709: dict[ProfilePrimaries, list[list[float]]] = {
    "bt709": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "display-p3": [[1.2249402, -0.2249402, 0.0], [-0.0420570, 1.0420570, 0.0], [-0.0196376, -0.0786361, 1.0982736]],
    "bt2020": [
        [1.6604910, -0.5876411, -0.0728499],
        [-0.1245505, 1.1328999, -0.0083494],
        [-0.0181508, -0.1005789, 1.1187297],
    ],
}


def prepare_ultrahdr(
    photographs: Sequence[Path],
    out: Path,
    *,
    longest: int = 1920,
    test_share: float = 0.1,
    workers: int = 1,
    command: str = "",
    console: Console | None = None,
) -> dict[str, Record]:
    """Make a data set of pairs, `out/{train,test}/{sdr,hdr}/NAME.png`, or go on with it.

    SDR is the camera's own picture in BT.709; its code is kept, as players show it. HDR10 is the light that its gain
    map makes of it, with SDR white at 203 cd/m2 (BT.2408).

    Args:
        photographs: Ultra HDR JPEG files.
        out: the data set's folder.
        longest: longest side of a picture in pixels; larger ones are made smaller.
        test_share: share of the photographs, by their names, that is for the test.
        workers: number of photographs at a time.
        command: command line for the manifest.
        console: where progress is shown.

    Returns:
        The records of the photographs by their names; a rejected one has `rejected_because`.

    Raises:
        ValueError: `out` holds something else.
        WriteError: there is no room, or no permission.
    """
    names = unique_names(photographs)
    splits = share_out(names, test_share)
    heads: dict[str, Record] = {
        name: {
            "split": split,
            "file": os.fspath(path),
            "stamp": {"bytes": path.stat().st_size if path.is_file() else None},
        }
        for name, path, split in zip(names, photographs, splits, strict=True)
    }
    job = {"longest": longest, "splits": dict(zip(names, splits, strict=True))}
    folder = DataFolder(out, "vitm prepare ultrahdr", job)
    tasks = {
        name: _task(path, name, out / split, longest)
        for name, path, split in zip(names, photographs, splits, strict=True)
    }
    records = run_tasks(folder, tasks, heads, workers, console or default_console())
    folder.close(records, {"command": command})
    return records


def _task(path: Path, name: str, root: Path, longest: int) -> PreparationTask:
    def work(scratch: Path, tell: Tell) -> Record:
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}")
        try:
            picture = read_gain_map(path)
        except VideoDecodeError as error:
            raise ValueError(str(error)) from error
        tell("writing", 0, 1)
        sdr, hdr = sdr_of(picture.sdr, picture.primaries), hdr10_of(picture.hdr, picture.primaries)
        part, checksums = folder_beside(scratch / "sample"), {}
        for kind, frame, bits in (("sdr", sdr, 8), ("hdr", hdr, 16)):
            file = f"{kind}/{name}.png"
            (part / kind).mkdir()
            write_image(part / file, _smaller(frame, longest), bits=8 if bits == 8 else 16)
            checksums[file] = digest(part / file)
        publish(part, root)
        return {
            "bytes": path.stat().st_size,
            "sha256": digest(path),
            "read_as": {"primaries": picture.primaries, "tagged": picture.tagged},
            "gain_map": {"maximum": picture.gain_map.maximum, "headroom": picture.gain_map.headroom},
            "samples": [0],
            "rejected": [],
            "files": checksums,
        }

    return work


def sdr_of(codes: npt.NDArray[np.uint8], primaries: ProfilePrimaries) -> npt.NDArray[np.float32]:
    """Return R'G'B' of a photograph in BT.709: its own code, converted in light where its primaries are wider.

    Args:
        codes: (H, W, 3), uint8, sRGB curve.
        primaries: its primaries.

    Returns:
        (H, W, 3), fp32 code in [0, 1].
    """
    code = torch.from_numpy(codes.astype(np.float32) / 255).permute(2, 0, 1)
    if primaries != "bt709":
        code = srgb_inverse_eotf(_to_bt709(srgb_eotf(code), primaries).clamp(0, 1))
    return np.ascontiguousarray(code.permute(1, 2, 0).numpy())


def _to_bt709(light: torch.Tensor, primaries: ProfilePrimaries) -> torch.Tensor:
    return torch.einsum("ij,jhw->ihw", light.new_tensor(_TO_BT709[primaries]), light)


def _smaller(frame: npt.NDArray[np.float32], longest: int) -> npt.NDArray[Any]:
    scale = longest / max(frame.shape[:2])
    if scale >= 1:
        return frame
    size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
