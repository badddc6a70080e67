"""The codecs that a video can be written in, by name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal

from vitm.video.codecs.av1 import AV1
from vitm.video.codecs.base import Codec
from vitm.video.codecs.h265 import HEVC, HLG
from vitm.video.codecs.prores import ProRes

CodecName = Literal["hevc", "hlg", "prores", "av1"]
CODECS: dict[str, type[Codec]] = {"hevc": HEVC, "hlg": HLG, "prores": ProRes, "av1": AV1}


def make_codec(name: str, **options: Any) -> Codec:
    """A codec with its options.

    Raises:
        ValueError: for an unknown name or option, or an option out of range.
    """
    if name not in CODECS:
        raise ValueError(f"codec={name!r}: expected one of {', '.join(CODECS)}")
    known = [field.name for field in fields(CODECS[name])]
    if unknown := [option for option in options if option not in known]:
        raise ValueError(f"{name} has no option {', '.join(unknown)} (its options: {', '.join(known)})")
    return CODECS[name](**options)


__all__ = ["AV1", "CODECS", "HEVC", "HLG", "Codec", "CodecName", "ProRes", "make_codec"]
