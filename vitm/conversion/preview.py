"""A conversion to look at on an SDR screen: what came in and what came out, tone-mapped, side by side."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vitm.color import pq_inverse_eotf, tone_map
from vitm.color.hlg_conversion import hlg_to_pq
from vitm.files import replace_when_whole
from vitm.video import FrameReader, write_image
from vitm.video.read.ahead import read_ahead
from vitm.video.write.frame_folder import EXR_UNIT_NITS

_LARGEST = 960, 540  # of one panel


def write_previews(sdr: FrameReader, hdr: FrameReader, picture: Path, video: Path, fps: Fraction) -> None:
    """Write the middle frame as PNG and the whole clip as an H.264 video, SDR left, tone-mapped HDR (BT.2446 A) right.

    Args:
        sdr: what was converted.
        hdr: the result: PQ, HLG or linear frames of `FrameFolderWriter`; it may be larger by a row or column.
        picture: PNG to write.
        video: MP4 to write, of at most 1920 x 540 pixels.
        fps: its frame rate.
    """
    scale = min(1.0, _LARGEST[0] / sdr.info.width, _LARGEST[1] / sdr.info.height)
    size = max(2, round(sdr.info.width * scale / 2) * 2), max(2, round(sdr.info.height * scale / 2) * 2)
    with replace_when_whole(video) as part, av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 2 * size[0], size[1], "yuv420p"
        for before, after in read_ahead(zip(sdr, hdr, strict=True)):
            panels = side_by_side(before.rgb, after.rgb, str(hdr.info.transfer), size)
            if before.index == len(sdr) // 2:
                full = side_by_side(before.rgb, after.rgb, str(hdr.info.transfer), (sdr.info.width, sdr.info.height))
                write_image(picture, full, bits=8)
            frame = av.VideoFrame.from_ndarray((panels * 255).round().astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def side_by_side(
    sdr: NDArray[np.float32], hdr: NDArray[np.float32], transfer: str, size: tuple[int, int]
) -> NDArray[np.float32]:
    """SDR and tone-mapped HDR.

    Args:
        sdr: (H, W, 3), BT.709 gamma code.
        hdr: (H or H + 1, W or W + 1, 3), BT.2020 codes of `transfer`.
        transfer: "pq", "hlg", or "linear" with 1.0 at 100 cd/m2.
        size: (width, height) of each panel.

    Returns:
        (height, 2 width, 3), BT.709 gamma code in [0, 1].
    """
    hdr = hdr[: sdr.shape[0], : sdr.shape[1]]
    sdr, hdr = (cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (sdr, hdr))
    codes = torch.from_numpy(hdr).permute(2, 0, 1)
    if transfer == "hlg":
        codes = hlg_to_pq(codes)
    elif transfer == "linear":
        codes = pq_inverse_eotf(codes * EXR_UNIT_NITS)
    shown: NDArray[np.float32] = np.concatenate((sdr, tone_map(codes).permute(1, 2, 0).numpy()), axis=1)
    return shown.clip(0, 1)
