"""JPEG XL by FFmpeg's own program: PyAV's FFmpeg does not know it, and other libraries do not tell its colours."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

DISTANCE = 0.5  # of libjxl's measure of what is seen, whose 1 is hardly seen
_PQ = ("-color_primaries", "bt2020", "-color_trc", "smpte2084", "-color_range", "pc")


@contextmanager
def jxl_as_video(path: Path) -> Iterator[Path]:
    """Give a lossless video of a file's first picture, with its colour tags, in a temporary folder.

    Raises:
        RuntimeError: the file is damaged, or no JPEG XL; FFmpeg's words.
        ImportError: it needs the extra "pictures".
    """
    with TemporaryDirectory() as folder:
        video = Path(folder, "picture.mkv")
        # without -xerror, FFmpeg tries a file that was cut short again and again
        _run("-xerror", "-i", f"file:{path}", "-frames:v", "1", "-c:v", "ffv1", "-strict", "-2", str(video))
        yield video


def jxl_encoder() -> Callable[[npt.NDArray[np.float32]], bytes]:
    """Return a function that makes a JPEG XL file of (H, W, 3) PQ codes of BT.2020, 16 bits; it is tried on a pixel.

    Raises:
        ImportError: it needs the extra "pictures", or the FFmpeg there has no libjxl.
    """

    def encode(hdr_pq: npt.NDArray[np.float32]) -> bytes:
        height, width = hdr_pq.shape[:2]
        codes = (hdr_pq * 65535 + 0.5).astype("<u2")
        source = ("-f", "rawvideo", "-pix_fmt", "rgb48le", "-s", f"{width}x{height}", *_PQ, "-i", "-")
        return _run(*source, "-c:v", "libjxl", "-distance", str(DISTANCE), "-f", "image2pipe", "-", data=codes)

    try:
        encode(np.zeros((1, 1, 3), np.float32))
    except RuntimeError as error:
        raise ImportError(f"JPEG XL needs an FFmpeg with libjxl, as imageio-ffmpeg 0.8 has ({error})") from error
    return encode


def _run(*arguments: str, data: npt.NDArray[np.uint16] | None = None) -> bytes:
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError as error:
        raise ImportError('imageio-ffmpeg knows JPEG XL: install it with pip install "vitm[pictures]"') from error
    command = [get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-v", "error", *arguments]
    run = subprocess.run(command, input=None if data is None else data.tobytes(), capture_output=True, check=False)
    if run.returncode:
        reason = (run.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[0].split("] ")[-1]
        raise RuntimeError(reason)
    return run.stdout
