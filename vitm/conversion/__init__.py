"""Conversion: an SDR file to an HDR file (`convert`), tensors through a network (`convert_clip`), files for players."""

from vitm.conversion.convert import ConversionReport, convert, convert_parts
from vitm.conversion.export import ExportReport, export, export_scenes
from vitm.conversion.level import LevelControl
from vitm.conversion.lists import ListedConversion, convert_list
from vitm.conversion.options import Encoding, Grading, Reading
from vitm.conversion.shared import convert_shared
from vitm.conversion.stream import convert_clip

__all__ = [
    "ConversionReport",
    "Encoding",
    "ExportReport",
    "Grading",
    "LevelControl",
    "ListedConversion",
    "Reading",
    "convert",
    "convert_clip",
    "convert_list",
    "convert_parts",
    "convert_shared",
    "export",
    "export_scenes",
]
