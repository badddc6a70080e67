"""Photographs and animations, which say what their codes mean.

JPEG, WebP, GIF and BMP go through imageio, AVIF through PyAV, JPEG XL through FFmpeg, HEIC through pillow-heif. Without
a profile or tags of their own, their codes are sRGB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import imageio.v3 as iio
import numpy as np
import numpy.typing as npt

from vitm.video.errors import VideoDecodeError, VideoTagError
from vitm.video.gain_map import has_gain_map
from vitm.video.icc import profile_name, profile_primaries, to_srgb
from vitm.video.jpeg_xl import jxl_as_video
from vitm.video.planes import frame_planes, pixel_layout, planes_to_rgb
from vitm.video.read.container import open_video
from vitm.video.tags import MATRICES, PRIMARIES, TRANSFERS, tag_name

Pixels = npt.NDArray[Any]

PHOTOGRAPHS = (".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif", ".jxl", ".heic", ".heif")
TAGGED = (".avif", ".jxl")  # photographs whose tags say what their codes mean, their range too
ANIMATIONS = (".gif", ".webp", ".png", ".apng")
ALPHA_IS_LEFT_OUT = "its alpha channel is left out"

_PILLOW: Final = "pillow"  # the plugin of imageio that turns photographs upright and joins the parts of an animation
_AVIF_QUALITY = 90  # of 100: below what is seen
_AVIF_SPEED = 6  # of 10: the library's default takes a hundred times as long, minutes for a photograph
_SWAPPED = (5, 6, 7, 8)  # orientations of Exif that swap width and height
_SHORTEST_MS, _USUAL_MS = 20, 100  # a picture that is said to be shown for less is shown for longer, as FFmpeg does


@dataclass(frozen=True)
class Header:
    """What an image file says of itself.

    Attributes:
        width: width in pixels, upright.
        height: height in pixels, upright.
        sample: type of its samples: "uint8", "uint10", "uint12", "uint16", "float16" or "float32".
        primaries: name of its primaries in `vitm.video.tags`; None where the file does not say.
        transfer: name of its transfer function there; None where the file does not say what its codes mean.
        notes: what of the file is not in its pixels, in words.
        channels: number of channels as stored: 3 for RGB, 4 with alpha, 1 for grey and for a palette, 2 for grey with
            alpha.
        white_nits: light of the value 1.0 in cd/m2, of an EXR that says it; None elsewhere.
    """

    width: int
    height: int
    sample: str
    primaries: str | None = None
    transfer: str | None = None
    notes: tuple[str, ...] = ()
    channels: int = 3
    white_nits: float | None = None


def read_photograph(path: Path) -> Pixels:
    """Read a photograph, or the first picture of an animation, upright.

    Colours of a profile other than sRGB, Display P3 and BT.2020 are converted to sRGB. Of a JPEG with a gain map the
    SDR picture is read; `vitm.video.gain_map.read_gain_map` reads the HDR one.

    Args:
        path: a file of one of `PHOTOGRAPHS`.

    Returns:
        (H, W), (H, W, 2), (H, W, 3) or (H, W, 4): uint8 or uint16 codes, or fp32 codes, nominally from 0 to 1 (of
        `TAGGED`).

    Raises:
        VideoDecodeError: it is damaged, or holds what is not read.
        VideoTagError: its tags are of colours that are not supported.
        ImportError: HEIC and JPEG XL need the extra "pictures".
    """
    suffix = path.suffix.lower()
    with damage_named(path):
        if suffix in TAGGED:
            return _read_tagged(path)[0]
        if suffix in (".heic", ".heif"):
            return np.asarray(_open_heif(path))
        with iio.imopen(path, "r", plugin=_PILLOW) as file:
            return _decode(file, 0)


def photograph_header(path: Path) -> Header:
    """Return what a photograph says of itself; of these, only AVIF and JPEG XL are decoded for that.

    Raises:
        VideoDecodeError: it is damaged, or holds what is not read.
        VideoTagError: its tags are of colours that are not supported.
        ImportError: HEIC and JPEG XL need the extra "pictures".
    """
    suffix = path.suffix.lower()
    with damage_named(path):
        if suffix in TAGGED:
            return _read_tagged(path)[1]
        if suffix in (".heic", ".heif"):
            return _heif_header(_open_heif(path))
        with iio.imopen(path, "r", plugin=_PILLOW) as file:
            facts = file.metadata(index=0, exclude_applied=False)
            channels = file.properties(index=0).shape[2:]
    if facts["mode"] not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        raise VideoDecodeError(f"{path}: a picture of {facts['mode']}; expected RGB or grey")
    width, height = facts["shape"]
    if facts.get("Orientation") in _SWAPPED:
        width, height = height, width
    profile = facts.get("icc_profile")
    known = _primaries(profile)
    notes = []
    if profile and not known and channels:
        notes.append(f"the colours of its profile ({profile_name(profile)}) are converted to sRGB")
    if suffix in (".jpg", ".jpeg") and has_gain_map(path):
        notes.append("its SDR picture is read, without the gain map")
    if channels in ((2,), (4,)) or "transparency" in facts:  # a colour of a palette
        notes.append(ALPHA_IS_LEFT_OUT)
    return Header(width, height, "uint8", known or "bt709", "srgb", tuple(notes))


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Raise what the libraries raise for damaged files as `VideoDecodeError`."""
    try:
        yield
    except (VideoDecodeError, VideoTagError, ImportError, FileNotFoundError):
        raise
    except Exception as error:  # Pillow raises SyntaxError, struct.error, EOFError and others for damaged files
        kind = path.suffix[1:].lower()
        raise VideoDecodeError(f"{path}: not a readable {kind} file, or damaged ({error})") from error


def _decode(file: Any, index: int) -> Pixels:
    """Decode one picture of a file that imageio has opened."""
    pixels = np.asarray(file.read(index=index, rotate=True))
    profile = file.metadata(index=index).get("icc_profile")
    if not profile or _primaries(profile) or pixels.ndim == 2:
        return pixels
    return np.concatenate((to_srgb(np.ascontiguousarray(pixels[..., :3]), profile), pixels[..., 3:]), axis=-1)


def _read_tagged(path: Path) -> tuple[Pixels, Header]:
    """Read codes by the file's own matrix and range; AVIF without tags is sRGB (MIAF, 7.3.6.4)."""
    if path.suffix.lower() == ".jxl":
        with jxl_as_video(path) as video:
            return _first_frame(video, path)
    return _first_frame(path, path)


def _first_frame(video: Path, path: Path) -> tuple[Pixels, Header]:
    """Read the first frame of a video that holds the photograph `path`."""
    with open_video(video) as (container, stream):
        if stream.disposition & stream.disposition.dependent:
            raise VideoDecodeError(f"{path}: a picture made of tiles, which is not read: convert it to PNG first")
        frame = next(container.decode(stream), None)
        if frame is None:
            raise VideoDecodeError(f"{path}: holds no picture that can be decoded")
        try:
            layout = pixel_layout(frame.format.name)
        except VideoDecodeError as error:
            raise VideoDecodeError(f"{path}: {error}") from error
        matrix = tag_name(MATRICES, int(frame.colorspace)) or "bt601"
        try:
            rgb = planes_to_rgb(frame_planes(frame), layout, matrix, int(frame.color_range) != 1, "left")
        except KeyError:
            raise VideoTagError(f"{path}: its matrix {matrix!r} is not supported: convert it to PNG first") from None
        others = [s for s in container.streams.video if s is not stream and not s.disposition & s.disposition.dependent]
        notes = ["a second picture in it (alpha, or a gain map) is left out"] if others else []
        notes += [ALPHA_IS_LEFT_OUT] if layout.alpha else []
        primaries, transfer = tag_name(PRIMARIES, int(frame.color_primaries)), tag_name(TRANSFERS, int(frame.color_trc))
        known = transfer and (primaries or layout.chroma == "grey")
        if not known and video is not path:  # JPEG XL says its colours, by tags or by a profile
            raise VideoTagError(f"{path}: its colours are a profile's, which is not read: make a JPEG of it first")
        size = frame.width, frame.height
        return rgb, Header(*size, f"uint{layout.bits}", primaries or "bt709", transfer or "srgb", tuple(notes))


def _open_heif(path: Path) -> Any:
    """Open a HEIC file in its own depth; libheif turns it upright and joins its tiles."""
    try:
        import pillow_heif
    except ImportError as error:
        raise ImportError(f'{path}: pillow-heif reads HEIC: install it with pip install "vitm[pictures]"') from error
    return pillow_heif.open_heif(path, convert_hdr_to_8bit=False)


def _heif_header(picture: Any) -> Header:
    """Return what a HEIC file says of itself: by its tags, then by its profile."""
    tags = picture.info.get("nclx_profile") or {}
    primaries = tag_name(PRIMARIES, int(tags.get("color_primaries", 2)))
    transfer = tag_name(TRANSFERS, int(tags.get("transfer_characteristics", 2)))
    primaries = primaries or _primaries(picture.info.get("icc_profile")) or "bt709"
    sample = "uint8" if picture.info["bit_depth"] == 8 else "uint16"
    notes = (ALPHA_IS_LEFT_OUT,) if picture.has_alpha else ()
    width, height = picture.size
    return Header(width, height, sample, primaries, transfer or "srgb", notes)


def _primaries(profile: bytes | None) -> str | None:
    """Return the primaries of an ICC profile by the names of `vitm.video.tags`."""
    known = profile_primaries(profile)
    return "p3-d65" if known == "display-p3" else known


def avif_encoder() -> Callable[[npt.NDArray[np.float32]], bytes]:
    """Return a function that makes an AVIF file of (H, W, 3) PQ codes of BT.2020: 10 bits, 4:4:4, full range.

    Raises:
        ImportError: it needs the extra "pictures".
    """
    try:
        import imagecodecs
    except ImportError as error:
        raise ImportError('imagecodecs writes AVIF: install it with pip install "vitm[pictures]"') from error

    def encode(hdr_pq: npt.NDArray[np.float32]) -> bytes:
        codes = (hdr_pq * 1023 + 0.5).astype(np.uint16)
        return bytes(
            imagecodecs.avif_encode(
                codes,
                _AVIF_QUALITY,
                speed=_AVIF_SPEED,
                bitspersample=10,
                pixelformat="yuv444",
                primaries=9,  # H.273: BT.2020, PQ, BT.2020 non-constant luminance
                transfer=16,
                matrix=9,
            )
        )

    return encode


class Animation:
    """The pictures of a GIF, WebP or PNG file in order, and when each is shown.

    Use it as a context manager: it keeps the file open, since a picture is drawn over the one before it.

    Args:
        path: the file; a still has one picture.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with damage_named(path):
            self._file: Any = iio.imopen(path, "r", plugin=_PILLOW)

    def __enter__(self) -> Animation:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        with damage_named(self._path):
            return int(self._file.properties(index=...).n_images)

    def picture(self, index: int) -> Pixels:
        """Decode one picture: (H, W), or (H, W, 2, 3 or 4), uint8."""
        with damage_named(self._path):
            return _decode(self._file, index)

    def times(self) -> list[Fraction]:
        """Return when each picture appears, and when the last one disappears, in seconds; all of them are decoded."""
        times = [Fraction(0)]
        for index in range(len(self)):
            self.picture(index)  # WebP tells durations with the pictures
            shown = self._file.metadata(index=index).get("duration") or 0
            times.append(times[-1] + Fraction(round(shown if shown >= _SHORTEST_MS else _USUAL_MS), 1000))
        return times
