"""The codecs that a video can be written in, by name. A codec is one file and one line here."""

from __future__ import annotations

from dataclasses import fields
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


def find_codec(name: str) -> type[Codec]:
    """Return the class of a codec: nothing but this one is loaded.

    Args:
        name: a name in `CODECS`, or the import path of a class in somebody's own package, as "package.module.Class".

    Raises:
        ValueError: if there is no such name or class, or the class is no `Codec`.

    Example:
        >>> find_codec("hevc").suffixes
        ('.mp4', '.mov', '.mkv')
    """
    from vitm.video.codecs.base import Codec

    module, _, attribute = CODECS.get(name, name).rpartition(".")
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
