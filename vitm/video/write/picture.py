"""Writing one HDR picture: PNG, TIFF, EXR, AVIF, JPEG XL, or a JPEG with a gain map (Ultra HDR)."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import torch

from vitm.color.transfer import pq_eotf
from vitm.files import WriteError, check_writable, replace_when_whole
from vitm.video.images import write_exr, write_image, write_png_pq
from vitm.video.jpeg_xl import jxl_encoder
from vitm.video.photographs import avif_encoder
from vitm.video.planes import Float
from vitm.video.write.frame_folder import EXR_UNIT_NITS
from vitm.video.write.segments import claim_folder, release_folder
from vitm.video.write.ultra_hdr import ultra_hdr_jpeg
from vitm.video.write.writer import Stored, Writer, check_suffix

PICTURES = {  # suffixes of each kind
    "png": (".png",),
    "tiff": (".tif", ".tiff"),
    "exr": (".exr",),
    "avif": (".avif",),
    "jxl": (".jxl",),
    "ultrahdr": (".jpg", ".jpeg"),
}
_ENCODERS = {"avif": avif_encoder, "jxl": jxl_encoder}


class PictureWriter(Writer):
    """Writes one picture, in full resolution of colour; it appears when the writer is closed.

    - PNG: 16-bit PQ codes of BT.2020, said by its cICP chunk, and MaxCLL and MaxFALL (PNG, third edition, 11.3.2).
    - TIFF: 16-bit PQ codes of BT.2020; the file does not say so.
    - EXR: linear light of BT.2020 in half precision, 1.0 being 100 cd/m2.
    - AVIF: 10-bit PQ, 4:4:4, tagged BT.2020. Needs the extra "pictures".
    - JPEG XL: 16-bit PQ codes of BT.2020, tagged so, at libjxl's distance 0.5. Needs the extra "pictures".
    - JPEG with a gain map (Ultra HDR Image Format 1.1): the SDR picture, and what makes HDR of it. Colours are those of
      BT.709: others are clipped.

    Args:
        path: the file; its suffix must be one of its kind in `PICTURES`.
        width: width of the picture, in pixels.
        height: height of the picture, in pixels.
        kind: a name in `PICTURES`.
        sdr: the SDR picture of an "ultrahdr" file, (H, W, 3), BT.709 gamma code.
        work_dir: folder that is claimed while the picture is made; None for none.

    Raises:
        ValueError: the suffix is not of this kind, `sdr` is missing, or the size is not positive.
        WriteError: the folder is missing or not writable.
        ImportError: the library for AVIF or JPEG XL is not installed.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        width: int,
        height: int,
        kind: str,
        *,
        sdr: Float | None = None,
        work_dir: str | PathLike[str] | None = None,
    ) -> None:
        super().__init__(path, width, height)
        check_suffix(self.path, f"{kind} there", PICTURES[kind])
        if width < 1 or height < 1:
            raise ValueError(f"{width}x{height}: expected a positive size")
        if (kind == "ultrahdr") != (sdr is not None):
            raise ValueError(f"{path}: sdr is the SDR picture of a JPEG with a gain map, and of nothing else")
        check_writable(self.path)
        self.kind, self._sdr = kind, sdr
        if kind in _ENCODERS:
            self._encode = _ENCODERS[kind]()
        self._picture: Float | None = None
        self._work_dir = None if work_dir is None else Path(work_dir)
        self._claim = None if work_dir is None else claim_folder(Path(work_dir), {"picture": kind})

    def _put(self, stored: Stored, ticks: int) -> None:
        if ticks:
            raise WriteError(f"{self.path}: a second frame for one picture; name a folder, or a video")
        (self._picture,) = stored

    def _finish(self) -> None:
        image = self._picture
        assert image is not None
        if self.kind == "png":
            write_png_pq(self.path, image, (self.max_cll, self.max_fall))
        elif self.kind == "tiff":
            write_image(self.path, image, bits=16)
        elif self.kind == "exr":
            light = pq_eotf(torch.from_numpy(image)).numpy() / EXR_UNIT_NITS
            write_exr(self.path, light, half=True, white_nits=EXR_UNIT_NITS)
        else:
            data = self._encode(image) if self._sdr is None else ultra_hdr_jpeg(self._sdr, image)
            with replace_when_whole(self.path) as part:
                part.write_bytes(data)
        if self._work_dir is not None:
            release_folder(self._work_dir)

    def _clean_up(self) -> None:
        if self._claim is not None:
            self._claim.close()
