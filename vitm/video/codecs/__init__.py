"""The codecs that a video can be written in, by name. A codec is one file and one line here."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitm.video.codecs.base import Codec

CODECS: dict[str, str] = {
    "hevc": "vitm.video.codecs.h265.HEVC",
    "hlg": "vitm.video.codecs.h265.HLG",
    "prores": "vitm.video.codecs.prores.ProRes",
    "av1": "vitm.video.codecs.av1.AV1",
}
ENCODERS: dict[str, str] = {  # of "hevc", by FFmpeg's names
    "libx265": "vitm.video.codecs.h265.HEVC",
    "hevc_nvenc": "vitm.video.codecs.hardware.NVENC",
    "hevc_qsv": "vitm.video.codecs.hardware.QSV",
    "hevc_vaapi": "vitm.video.codecs.hardware.VAAPI",
    "hevc_videotoolbox": "vitm.video.codecs.hardware.VideoToolbox",
}


def find_codec(name: str) -> type[Codec]:
    """Return the class of a codec: nothing but this one is loaded.

    Args:
        name: a name in `CODECS` or `ENCODERS`, or the import path of a class in somebody's own package, as
            "package.module.Class".

    Raises:
        ValueError: if there is no such name or class, or the class is no `Codec`.

    Example:
        >>> find_codec("hevc").suffixes
        ('.mp4', '.mov', '.mkv')
    """
    from vitm.video.codecs.base import Codec

    module, _, attribute = (CODECS | ENCODERS).get(name, name).rpartition(".")
    if not module:
        raise ValueError(
            f"codec={name!r}: expected one of {', '.join(CODECS)}, or the import path of a class (package.module.Class)"
        )
    try:
        codec = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"codec={name!r}: cannot import it ({error})") from error
    if not (isinstance(codec, type) and issubclass(codec, Codec)):
        raise ValueError(f"codec={name!r}: expected a subclass of vitm.video.codecs.base.Codec")
    return codec


def make_codec(name: str, **options: Any) -> Codec:
    """Return a codec with its options.

    Args:
        name: as for `find_codec`.
        **options: the fields of its class.

    Raises:
        ValueError: for an unknown name or option, or an option out of range.
    """
    codec = find_codec(name)
    known = [field.name for field in fields(codec)]
    if unknown := [option for option in options if option not in known]:
        raise ValueError(f"{name} has no option {', '.join(unknown)} (its options: {', '.join(known)})")
    return codec(**options)


def check_encoder(name: str) -> None:
    """Raise unless an encoder of `ENCODERS` works here: it is given a small frame. Other codecs are not tried.

    Raises:
        ValueError: it does not; the message says which ones do.
    """
    if name not in ENCODERS or (reason := _failure(name)) is None:
        return
    working = [other for other in ENCODERS if other != name and _failure(other) is None]
    raise ValueError(
        f"encoder={name!r} does not work on this machine ({reason}); encoders that do: {', '.join(working) or 'none'}"
    )


def _failure(name: str) -> str | None:
    """Return why an encoder does not work; None if it does."""
    import av
    import numpy as np

    from vitm.video.planes import new_frame

    codec = make_codec(name)
    codec.quiet()
    size = 256
    grey = np.full((size // 2, size // 2), 512, np.uint16)
    black = np.full((size, size), 64, np.uint16), grey, grey
    try:
        context: Any = av.CodecContext.create(codec.encoder, "w")
        context.width = context.height = size
        context.pix_fmt, context.time_base, context.framerate = codec.pixel_format, Fraction(1, 24), 24
        context.options = codec.options()
        frame = new_frame(black, codec.pixel_format)
        frame.pts = 0
        for tag, value in codec.tags.items():
            setattr(context, tag, value)
            setattr(frame, tag, value)
        packets = [*context.encode(frame), *context.encode(None)]
    except av.codec.codec.UnknownCodecError:
        return "this build of FFmpeg has none"
    except (av.FFmpegError, ValueError) as error:
        return str(error).partition("] ")[2].partition(":")[0] or str(error)
    return None if packets else "it gives nothing back"
