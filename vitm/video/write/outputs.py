"""One way to open any output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

from vitm.video.codecs import CODECS, ENCODERS, find_codec, make_codec
from vitm.video.codecs.base import HDR10Codec
from vitm.video.planes import pixel_layout
from vitm.video.tags import Role
from vitm.video.write.frame_folder import FRAME_KINDS, FrameFolderWriter
from vitm.video.write.picture import PICTURES, PictureWriter
from vitm.video.write.segments import SegmentedWriter, SharedWriter
from vitm.video.write.writer import VideoWriter, Writer, check_suffix
from vitm.video.write.y4m import Y4MWriter

_Y4M = "y4m"
_VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".y4m")


def list_outputs() -> list[str]:
    """Return the names of all kinds of output: codecs of videos, types of pictures, and raw video."""
    return [*CODECS, *PICTURES, _Y4M]


def usual_codec(path: Path) -> str:
    """Return the kind of output that a name asks for: "hevc" for videos, "png" for folders, or a type of picture.

    Raises:
        ValueError: nothing of this suffix is written.

    Example:
        >>> usual_codec(Path("film.mp4")), usual_codec(Path("frames")), usual_codec(Path("photo.jpg"))
        ('hevc', 'png', 'ultrahdr')
    """
    suffix = path.suffix.lower()
    kinds = {name: kind for kind, suffixes in PICTURES.items() for name in suffixes}
    kinds |= {"": "png", **dict.fromkeys(_VIDEOS, "hevc"), ".y4m": _Y4M}
    if suffix not in kinds:
        pictures = ", ".join(f"*{name}" for names in PICTURES.values() for name in names)
        raise ValueError(
            f"{path}: nothing is written as {suffix}: name a video (*.mp4, *.mov, *.mkv, *.y4m), "
            f"a picture ({pictures}), or a folder without a suffix"
        )
    return kinds[suffix]


@dataclass(frozen=True)
class OutputKind:
    """What an output is, by its codec and its name.

    Attributes:
        name: "a video", "raw video", "a folder of frames" or "a picture".
        role: role with which a reader must open it.
        takes: options of `open_writer` that it takes beside those of its codec.
        grid: numbers that must divide its width and height: (2, 2) for 4:2:0.
        holds_mastering: whether it takes ST 2086 metadata, as the option `mastering`.
    """

    name: str
    role: Role = "hdr10"
    takes: tuple[str, ...] = ()
    grid: tuple[int, int] = (1, 1)
    holds_mastering: bool = False

    @property
    def is_picture(self) -> bool:
        """Return whether it is one picture."""
        return self.name == "a picture"


def output_kind(path: Path, codec: str) -> OutputKind:
    """Return what an output is.

    Raises:
        ValueError: there is no such codec.

    Example:
        >>> output_kind(Path("film.mp4"), "hevc").grid, output_kind(Path("frames"), "exr").role
        ((2, 2), 'linear')
    """
    if codec == _Y4M:
        return OutputKind("raw video")
    if codec in PICTURES:
        role: Role = "linear" if codec == "exr" else "hdr10"
        if codec in FRAME_KINDS and path.suffix.lower() not in PICTURES[codec]:
            return OutputKind("a folder of frames", role, ("first",))
        return OutputKind("a picture", role, ("sdr",) if codec == "ultrahdr" else ())
    if codec not in CODECS | ENCODERS and "." not in codec:
        raise ValueError(
            f"codec={codec!r}: expected one of {', '.join(list_outputs())}, or the import path of a class "
            "(package.module.Class)"
        )
    coder = find_codec(codec)
    grid = pixel_layout(coder.pixel_format).subsampling
    takes = ("sample_aspect_ratio", "streams_from", "span")
    return OutputKind("a video", coder.role, takes, grid, issubclass(coder, HDR10Codec))


def check_options(path: Path, codec: str, options: Mapping[str, Any]) -> OutputKind:
    """Return what an output is, if it can have its name and takes these options; nothing is opened.

    Args:
        path: the output.
        codec: as for `open_writer`.
        options: options of `open_writer`, those of the codec included; None for those that are not given.

    Raises:
        ValueError: the codec or an option is unknown, not taken or out of range, or the name is of another kind.
    """
    kind, suffix = output_kind(path, codec), path.suffix.lower()
    given = {name: value for name, value in options.items() if value is not None}
    if kind.name != "a video":
        refused = [f"{name}={value!r}" for name, value in given.items() if name not in kind.takes]
        if refused:
            raise ValueError(f"{path}: {kind.name} takes no {', no '.join(refused)}")
        if codec in FRAME_KINDS and suffix in _VIDEOS:
            raise ValueError(f"{path}: codec={codec!r} makes a folder of frames, or one picture: give OUT such a name")
        if codec == _Y4M or kind.is_picture:
            check_suffix(path, f"{codec} there", [".y4m"] if codec == _Y4M else PICTURES[codec])
        return kind
    coder = make_codec(codec, **{name: value for name, value in given.items() if name not in kind.takes})
    check_suffix(path, f"{path.suffix!r} with {type(coder).__name__}", coder.suffixes)
    return kind


def open_writer(
    path: str | PathLike[str],
    width: int,
    height: int,
    fps: Fraction | int,
    codec: str = "hevc",
    *,
    work_dir: str | PathLike[str] | None = None,
    segment_frames: int = 240,
    shared: bool = False,
    sample_aspect_ratio: Fraction | None = None,
    streams_from: str | PathLike[str] | None = None,
    audio: str = "copy",
    span: tuple[Fraction, Fraction | None] | None = None,
    **options: Any,
) -> Writer:
    """Return a writer of PQ frames for any kind of output.

    ======== ============================================================  ==================  ======================
    codec    output                                                        container           options
    ======== ============================================================  ==================  ======================
    hevc     HDR10: H.265 Main 10                                          .mp4 .mov .mkv      crf, preset, lossless,
                                                                                               mastering, x265_params
    hlg      HLG: H.265 Main 10                                            .mp4 .mov .mkv      the same, no mastering
    prores   ProRes 422 HQ, PQ                                             .mov                mastering
    av1      HDR10: AV1 Main, 10 bit                                       .mp4 .mkv           crf, preset, lossless,
                                                                                               mastering
    y4m      raw 10-bit PQ, BT.2020, 4:4:4, narrow range, without tags     .y4m                none
    png      16-bit PQ codes                                               a folder, .png      first (folders)
    tiff     16-bit PQ codes                                               a folder, .tif      first
    exr      linear light, BT.2020, 1.0 = 100 cd/m2                        a folder, .exr      first
    avif     10-bit PQ, 4:4:4: one picture                                 .avif               none
    jxl      JPEG XL, 16-bit PQ: one picture                               .jxl                none
    ultrahdr JPEG with a gain map: one picture                             .jpg                sdr
    ======== ============================================================  ==================  ======================

    Args:
        path: the output; it appears when the writer is closed.
        width: width of the frames, in pixels.
        height: height of the frames, in pixels.
        fps: frames a second; folders of frames do not keep it.
        codec: a name of this table, an encoder of H.265 of `vitm.video.codecs.ENCODERS` (its options: crf, preset,
            mastering), or the import path of a codec's class in somebody's own package.
        work_dir: keep finished work here, so that the same call goes on after an interruption: write the frames from
            `finished_frames` on.
        segment_frames: frames that are finished together, for videos with a `work_dir`.
        shared: whether several processes write the segments of a video: a `SharedWriter`.
        sample_aspect_ratio: aspect ratio of the pixels; None for square ones. Not for folders of frames.
        streams_from: a file whose sound, subtitles, chapters and so on go along: see `VideoWriter`. Not for folders of
            frames.
        audio: what becomes of the sound in `streams_from`: see `VideoWriter`.
        span: the part of `streams_from` that goes along: see `VideoWriter`.
        **options: options of the codec.

    Raises:
        ValueError: for an unknown codec or option, or one out of range.
        FileNotFoundError: if `streams_from` does not exist.
        VideoDecodeError: if `streams_from` cannot be read.
        WriteError: if the output cannot be written.
    """
    companions = {"streams_from": streams_from, "sample_aspect_ratio": sample_aspect_ratio}
    kind = check_options(Path(path), codec, companions | options)
    if shared and (kind.name != "a video" or work_dir is None):
        raise ValueError(f"{path}: the segments of a video with a work_dir can be shared; this is {kind.name}")
    if codec == _Y4M:
        return Y4MWriter(path, width, height, fps, work_dir=work_dir)
    if kind.is_picture:
        return PictureWriter(path, width, height, codec, sdr=options.get("sdr"), work_dir=work_dir)
    if codec in FRAME_KINDS:
        first = options.get("first")
        return FrameFolderWriter(path, width, height, codec, first=first, work_dir=work_dir)  # type: ignore[arg-type]
    encoder = make_codec(codec, **options)
    extras: dict[str, Any] = {
        "sample_aspect_ratio": sample_aspect_ratio,
        "streams_from": streams_from,
        "audio": audio,
        "span": span,
    }
    if work_dir is None:
        return VideoWriter(path, encoder, width, height, fps, **extras)
    writer = SharedWriter if shared else SegmentedWriter
    return writer(path, work_dir, encoder, width, height, fps, segment_frames=segment_frames, **extras)
