"""Conversion: an SDR file to an HDR file (`convert`), and a clip of tensors through a network (`convert_clip`)."""

from vitm.conversion.convert import ConversionReport, convert, convert_parts
from vitm.conversion.level import LevelControl
from vitm.conversion.options import Encoding, Grading, Reading
from vitm.conversion.stream import convert_clip

__all__ = [
    "ConversionReport",
    "Encoding",
    "Grading",
    "LevelControl",
    "Reading",
    "convert",
    "convert_clip",
    "convert_parts",
]
