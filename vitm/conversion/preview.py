"""Previews of a conversion for an SDR screen: SDR and HDR side by side, as one display shows them.

Both go through the same display, whatever the model: plain SDR with its white at 203 cd/m2 on the left, HDR on the
right, and highlights roll off below the display's 300 cd/m2 by the EETF of Report ITU-R BT.2390. So what is brighter on
the right is brighter in the file. A second picture shows both without any tone mapping. A video has the whole clip, and
an animation is what pages and chats show by themselves: a WebP, since a GIF has 256 colours and bands in every sky.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import imageio.v3 as iio
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitm.color import DIFFUSE_WHITE_NITS, bt1886_inverse_eotf, bt2020_to_bt709, pq_eotf, pq_inverse_eotf
from vitm.color.eetf import bt2390_eetf
from vitm.color.hlg_conversion import hlg_to_pq
from vitm.files import replace_when_whole
from vitm.nets.analytic import Gain
from vitm.video import FrameReader, write_image
from vitm.video.read.ahead import read_ahead
from vitm.video.read.stretch import StretchReader
from vitm.video.write.frame_folder import EXR_UNIT_NITS

DISPLAY_NITS = 300.0  # luminance that the white of the screen stands for
_SOURCE_NITS = 4000.0  # luminance that is rolled off to it; brighter light is clipped
_EXPOSURES = DIFFUSE_WHITE_NITS, 1000.0  # white of the picture without tone mapping, above and below
_LARGEST = 960, 540  # of one panel of the video
_LARGEST_OF_ANIMATION = 480, 270
_PICTURES = 60  # of the animation, at most: a long clip is shown by some of its frames
_LONGEST_MS = 200  # that one of them is shown
_WEBP_QUALITY = 80


def preview_paths(output: Path, frames: int) -> tuple[Path, ...]:
    """Return where the previews of an output lie: two pictures, and of more than one frame a video and an animation."""
    ends = (".png", "_untonemapped.png", ".mp4", ".webp") if frames > 1 else (".png", "_untonemapped.png")
    return tuple(output.with_name(f"{output.stem}_preview{end}") for end in ends)


def write_previews(sdr: FrameReader | StretchReader, hdr: FrameReader, paths: tuple[Path, ...], fps: Fraction) -> None:
    """Write the middle frame as two pictures, and a clip as an H.264 video and an animation, SDR left and HDR right.

    Args:
        sdr: source of the conversion.
        hdr: its result: PQ, HLG or linear frames of `FrameFolderWriter`; it may be larger by a row or column.
        paths: paths from `preview_paths`: PNG on the display, PNG without tone mapping, MP4 on the display, of at most
            1920 x 540 pixels, and WebP on the display, of half that size and at most 60 frames spread over the clip.
        fps: frame rate of the video.
    """
    on_display, untonemapped, *moving = paths
    transfer = str(hdr.info.transfer)
    every = -(-len(sdr) // _PICTURES)
    pictures: list[NDArray[np.uint8]] = []
    with ExitStack() as stack:
        show = stack.enter_context(_video(moving[0], sdr, fps)) if moving else None
        for before, after in read_ahead(zip(sdr, hdr, strict=True)):
            if before.index == len(sdr) // 2:
                pair = _side_by_side(before.rgb, after.rgb, transfer, (sdr.info.width, sdr.info.height))
                write_image(on_display, _image(displayed(pair)), bits=8)
                exposures = [clipped(pair, white_nits) for white_nits in _EXPOSURES]
                write_image(untonemapped, _image(torch.cat(exposures, dim=-2)), bits=8)
            if show is not None:
                codes = _image(displayed(_side_by_side(before.rgb, after.rgb, transfer, _panel(sdr))))
                panels = (codes * 255).round().astype(np.uint8)
                show(panels)
                if before.index % every == 0:
                    width, height = _panel(sdr, _LARGEST_OF_ANIMATION)
                    smaller = cv2.resize(panels, (2 * width, height), interpolation=cv2.INTER_AREA)
                    pictures.append(np.asarray(smaller, np.uint8))
    if moving:
        shown_ms = min(_LONGEST_MS, round(1000 * every / fps))
        with replace_when_whole(moving[1]) as part:
            iio.imwrite(part, pictures, extension=".webp", duration=shown_ms, loop=0, quality=_WEBP_QUALITY, method=3)


@contextmanager
def _video(
    path: Path, sdr: FrameReader | StretchReader, fps: Fraction
) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """Give a function that adds the next frame of the video, (H, W, 3); the file appears at the end."""
    width, height = _panel(sdr)
    with replace_when_whole(path) as part, av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 2 * width, height, "yuv420p"
        yield lambda frame: container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def _panel(sdr: FrameReader | StretchReader, largest: tuple[int, int] = _LARGEST) -> tuple[int, int]:
    """Return width and height of one panel, both even."""
    scale = min(1.0, largest[0] / sdr.info.width, largest[1] / sdr.info.height)
    return max(2, round(sdr.info.width * scale / 2) * 2), max(2, round(sdr.info.height * scale / 2) * 2)


def displayed(hdr_pq: Tensor) -> Tensor:
    """Return HDR10 as a display of 300 cd/m2 shows it, for an SDR screen.

    The largest of R, G and B is rolled off by BT.2390; the others keep their ratio to it, and so their hue.

    Args:
        hdr_pq: (..., 3, H, W), BT.2020 PQ code.

    Returns:
        (..., 3, H, W), BT.709 gamma code in [0, 1], white being 300 cd/m2.
    """
    light = pq_eotf(hdr_pq)
    largest = light.amax(dim=-3, keepdim=True)
    shown = pq_eotf(bt2390_eetf(pq_inverse_eotf(largest), _SOURCE_NITS, DISPLAY_NITS))
    return clipped_light(light * shown / largest.clamp(min=1e-4), DISPLAY_NITS)


def clipped(hdr_pq: Tensor, white_nits: float) -> Tensor:
    """Return HDR10 without tone mapping, for an SDR screen: light of `white_nits` and more is white."""
    return clipped_light(pq_eotf(hdr_pq), white_nits)


def clipped_light(nits: Tensor, white_nits: float) -> Tensor:
    """Return light of BT.2020 in BT.709 gamma code, clipped to [0, 1], white being `white_nits`."""
    return bt1886_inverse_eotf(bt2020_to_bt709(nits / white_nits).clamp(0, 1))


def _side_by_side(sdr: NDArray[np.float32], hdr: NDArray[np.float32], transfer: str, size: tuple[int, int]) -> Tensor:
    """Return plain SDR and HDR side by side, of the same size.

    Args:
        sdr: (H, W, 3), BT.709 gamma code.
        hdr: (H or H + 1, W or W + 1, 3), BT.2020 codes of `transfer`.
        transfer: transfer function of the HDR frame: "pq", "hlg", or "linear" with 1.0 at 100 cd/m2.
        size: (width, height) of each panel.

    Returns:
        (3, height, 2 width), BT.2020 PQ code.
    """
    hdr = hdr[: sdr.shape[0], : sdr.shape[1]]
    before, codes = (
        torch.from_numpy(cv2.resize(x, size, interpolation=cv2.INTER_AREA)).permute(2, 0, 1) for x in (sdr, hdr)
    )
    if transfer == "hlg":
        codes = hlg_to_pq(codes)
    elif transfer == "linear":
        codes = pq_inverse_eotf(codes * EXR_UNIT_NITS)
    return torch.cat((Gain(DIFFUSE_WHITE_NITS)(before.clamp(0, 1)), codes), dim=-1)


def _image(codes: Tensor) -> NDArray[np.float32]:
    image: NDArray[np.float32] = codes.permute(1, 2, 0).numpy()
    return image
