"""What a stream says of itself (`StreamInfo`), and whether that fits the role it was given."""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

from vitm.color.gamut import D65_PRIMARIES
from vitm.color.ycbcr import YCBCR_TO_RGB
from vitm.video.errors import VideoTagError

Role = Literal["sdr", "hdr10", "hlg", "linear"]
Assume = Literal[
    "bt709",
    "bt2020-pq",
    "bt2020-hlg",
    "bt601-625",
    "bt601-525",
    "srgb",
    "gamma22",
    "display-p3",
    "bt2020-sdr",
    "auto",
]

# ITU-T H.273 (and the same numbers in FFmpeg): tables 2, 3 and 4. Code 2, "unspecified", is None here.
PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "bt601", 7: "smpte240m", 9: "bt2020", 11: "p3-dci", 12: "p3-d65"}
TRANSFERS = {
    1: "bt709",
    4: "gamma22",
    5: "gamma28",
    6: "bt601",
    7: "smpte240m",
    8: "linear",
    11: "xvycc",
    13: "srgb",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "pq",
    18: "hlg",
}
MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "bt601", 7: "smpte240m", 9: "bt2020", 10: "bt2020-cl", 14: "ictcp"}
RANGES = {1: False, 2: True}

# H.273 gives codes 1, 6, 14 and 15 the same function, and 11 (xvYCC) goes on with it beyond 0 and 1.
BT1886_TRANSFERS = ("bt709", "bt601", "bt2020-10", "bt2020-12", "xvycc")
SDR_TRANSFERS = (*BT1886_TRANSFERS, "srgb", "gamma22", "gamma28")
_HDR_TRANSFERS = {"pq": "PQ", "hlg": "HLG"}
_RANGE_WORDS = {"full": True, "narrow": False}


def _colours(matrix: str, transfer: str, primaries: str, full_range: bool = False) -> dict[str, str | bool]:
    return {"matrix": matrix, "transfer": transfer, "primaries": primaries, "full_range": full_range}


_ASSUMED: dict[str, dict[str, str | bool]] = {
    "bt709": _colours("bt709", "bt709", "bt709"),
    "bt2020-pq": _colours("bt2020", "pq", "bt2020"),
    "bt2020-hlg": _colours("bt2020", "hlg", "bt2020"),
    "bt601-625": _colours("bt470bg", "bt601", "bt470bg"),
    "bt601-525": _colours("bt601", "bt601", "bt601"),
    "srgb": _colours("bt601", "srgb", "bt709", full_range=True),
    "gamma22": _colours("bt709", "gamma22", "bt709"),
    "display-p3": _colours("bt709", "srgb", "p3-d65"),
    "bt2020-sdr": _colours("bt2020", "bt2020-10", "bt2020"),
}


def tag_name(table: dict[int, str], code: int) -> str | None:
    """Return the name of an H.273 code; None for reserved and unspecified (0, where it is no value, 2 and 3)."""
    return table.get(code) or (None if code in (0, 2, 3) else f"H.273 code {code}")


@dataclass(frozen=True)
class MasteringDisplay:
    """The display of a film's grading (ST 2086): CIE xy of its primaries and white, and its luminance in cd/m2."""

    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]
    white: tuple[float, float]
    min_nits: float
    max_nits: float

    @property
    def integers(self) -> tuple[tuple[int, int], ...]:
        """Green, blue, red and white in steps of 0.00002, maximum and minimum light in steps of 0.0001 cd/m2.

        The notation and order of H.265, D.3.28, and of the `mdcv` box (ISO/IEC 14496-12, 12.1.6).
        """
        points = (self.green, self.blue, self.red, self.white)
        light = (round(self.max_nits * 10_000), round(self.min_nits * 10_000))
        return (*((round(x * 50_000), round(y * 50_000)) for x, y in points), light)

    @property
    def record(self) -> bytes:
        """Return `integers` in 24 bytes, as H.265 (D.2.28) and the `mdcv` box (ISO/IEC 14496-12, 12.1.6) hold them."""
        *points, light = self.integers
        return struct.pack(">8H2I", *(v for point in points for v in point), *light)


BT2020_1000_NITS = MasteringDisplay(
    red=(0.708, 0.292),
    green=(0.170, 0.797),
    blue=(0.131, 0.046),
    white=(0.3127, 0.3290),
    min_nits=1e-4,
    max_nits=1000.0,
)
P3_D65_1000_NITS = MasteringDisplay(
    red=(0.680, 0.320),
    green=(0.265, 0.690),
    blue=(0.150, 0.060),
    white=(0.3127, 0.3290),
    min_nits=1e-4,
    max_nits=1000.0,
)


def mastering_display(max_cll: float) -> MasteringDisplay:
    """Return the display that a picture is said to be mastered on: one that can show its light.

    Args:
        max_cll: MaxCLL in cd/m2.

    Returns:
        BT.2020 primaries, with the lowest peak of 1,000, 2,000, 4,000 and 10,000 cd/m2 that is not below MaxCLL.

    Example:
        >>> mastering_display(2321).max_nits
        4000.0
    """
    peak = next((peak for peak in (1000.0, 2000.0, 4000.0) if round(max_cll) <= peak), 10_000.0)
    return dataclasses.replace(BT2020_1000_NITS, max_nits=peak)


@dataclass(frozen=True)
class StreamInfo:
    """One video stream, or one folder of frames.

    Attributes:
        path: the file or folder.
        kind: "video" or "frames".
        width: width of the upright picture, in pixels (a phone's rotation is undone).
        height: height of the upright picture, in pixels.
        n_frames: exact: from a complete container index, or counted.
        fps: average frame rate; None for a folder whose rate was not given.
        bit_depth: bits a sample (16 or 32 for floating point).
        pixel_format: FFmpeg's name, or the type of a frame file, as "png-uint16".
        chroma: "4:2:0", "4:2:2", "4:4:0", "4:4:4", "rgb" or "grey".
        chroma_location: "left", "topleft", "center", ...; None where the chroma is not subsampled.
        matrix: "bt709", "bt2020", "rgb" or the name of an unsupported one; None: not tagged.
        full_range: None: not tagged.
        transfer: "bt709", "pq", "hlg", "linear", ...; None: not tagged.
        primaries: "bt709", "bt2020", ...; None: not tagged.
        sample_aspect_ratio: sample aspect ratio of the upright picture; 1 for square pixels.
        rotation: degrees clockwise by which stored frames are turned to be upright: 0, 90, 180 or 270.
        mirrored: whether stored frames are mirrored left to right before they are turned.
        has_audio: whether the file has an audio stream.
        mastering_display: ST 2086 metadata.
        max_cll: MaxCLL in cd/m2.
        max_fall: MaxFALL in cd/m2.
        notes: what is unusual about the file and was settled, in words.
        first_number: number of the first frame of a folder, as its name has it, such as "1001"; None for videos.
    """

    path: Path
    kind: Literal["video", "frames"]
    width: int
    height: int
    n_frames: int
    fps: Fraction | None
    bit_depth: int
    pixel_format: str
    chroma: str
    chroma_location: str | None
    matrix: str | None
    full_range: bool | None
    transfer: str | None
    primaries: str | None
    sample_aspect_ratio: Fraction = Fraction(1)
    rotation: int = 0
    mirrored: bool = False
    has_audio: bool = False
    mastering_display: MasteringDisplay | None = None
    max_cll: int | None = None
    max_fall: int | None = None
    notes: tuple[str, ...] = ()
    first_number: str | None = None

    @property
    def duration(self) -> Fraction | None:
        """Seconds: n_frames / fps; None without a rate."""
        return None if self.fps is None else self.n_frames / self.fps


def check_choice(name: str, value: str | None, choices: object) -> None:
    """Raise ValueError unless `value` is None or one of a Literal's words."""
    if value is not None and value not in get_args(choices):
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(get_args(choices))}")


def usual_colours(info: StreamInfo) -> Assume:
    """Return what `assume="auto"` stands for: the colours that a video of this kind usually has.

    - Tagged PQ or HLG: "bt2020-pq" or "bt2020-hlg".
    - R'G'B', and full-range BT.601 (JPEG): "srgb".
    - More than 576 lines or 1,024 columns as stored: "bt709".
    - 288 lines, or 487 to 576: "bt601-625"; any other: "bt601-525".
    """
    if info.transfer in _HDR_TRANSFERS:
        return "bt2020-pq" if info.transfer == "pq" else "bt2020-hlg"
    if info.matrix == "rgb" or (info.full_range and info.matrix in ("bt601", "bt470bg")):
        return "srgb"
    width, lines = (info.height, info.width) if info.rotation % 180 else (info.width, info.height)
    if lines > 576 or width > 1024:
        return "bt709"
    return "bt601-625" if lines == 288 or lines > 486 else "bt601-525"


def fill_missing(info: StreamInfo, assume: Assume | None) -> StreamInfo:
    """Return the same information with every missing tag taken from `assume`; tags that are there are never changed."""
    check_choice("assume", assume, Assume)
    if assume is None:
        return info
    values = _ASSUMED[usual_colours(info) if assume == "auto" else assume]
    missing = {tag: value for tag, value in values.items() if getattr(info, tag) is None}
    return dataclasses.replace(info, **missing)  # type: ignore[arg-type]


def replace_tags(info: StreamInfo, override: str | None) -> StreamInfo:
    """Return the same information with other tags, for a file whose tags are wrong.

    Args:
        info: a video.
        override: a name that `assume` takes, "full" or "narrow" (range), or such a name and a range: "bt709,full". A
            range that is tagged stays unless it is named. R'G'B' keeps its matrix.

    Raises:
        ValueError: for another word.
    """
    if override is None:
        return info
    values: dict[str, str | bool] = {}
    for word in override.split(","):
        if word in _RANGE_WORDS:
            values["full_range"] = _RANGE_WORDS[word]
            continue
        if word not in get_args(Assume):
            raise ValueError(
                f"override={override!r}: expected one of {', '.join(get_args(Assume))}, full or narrow, or two of them "
                "with a comma between"
            )
        values = _ASSUMED[usual_colours(info) if word == "auto" else word] | values
        if info.full_range is not None and not set(override.split(",")) & set(_RANGE_WORDS):
            values.pop("full_range")
    if info.matrix == "rgb":
        values.pop("matrix", None)
    return dataclasses.replace(info, **values)  # type: ignore[arg-type]


def require_tags(info: StreamInfo) -> None:
    """Raise an error unless each tag that the conversion to R'G'B' needs is there, and can be converted.

    Raises:
        VideoTagError: naming the file and the tag.
    """
    for tag in ("matrix", "transfer", "primaries", "full_range"):
        if getattr(info, tag) is None:
            label = "range" if tag == "full_range" else tag
            raise VideoTagError(
                f"{info.path}: no {label} tag: if you know what the file holds, pass assume='bt709', "
                f"assume='bt2020-pq' or another of {', '.join(get_args(Assume)[2:])}; tags that are there stay"
            )
    if info.matrix != "rgb" and info.matrix not in YCBCR_TO_RGB:
        raise VideoTagError(
            f"{info.path}: matrix {info.matrix!r} is not supported (supported: {', '.join(YCBCR_TO_RGB)}, rgb): "
            "convert the file to BT.709 first, for example with FFmpeg's zscale filter"
        )


def check_role(info: StreamInfo, expect: Role | None) -> None:
    """Raise an error unless the tags of a video fit the role that the caller gives it.

    Raises:
        VideoTagError: naming the file, what it is and what was expected.
    """
    check_choice("expect", expect, Role)
    if expect is None:
        return
    transfer = str(info.transfer)
    is_now = f"{info.path}: tagged {_HDR_TRANSFERS.get(transfer, transfer)} with {info.primaries} primaries"
    if expect == "linear":
        raise VideoTagError(f"{is_now}, but linear frames were expected: give a folder of EXR files")
    if expect == "sdr":
        if transfer in _HDR_TRANSFERS:
            raise VideoTagError(f"{is_now}, but an SDR video was expected: this is HDR already")
        if transfer not in SDR_TRANSFERS or info.primaries not in D65_PRIMARIES:
            raise VideoTagError(
                f"{is_now}, but SDR was expected: transfer {', '.join(SDR_TRANSFERS)}; "
                f"primaries {', '.join(D65_PRIMARIES)}; if the tags are wrong, pass override='bt709' or another name"
            )
        return
    wanted = "pq" if expect == "hdr10" else "hlg"
    primaries = ("bt2020", "p3-d65") if info.kind == "frames" else ("bt2020",)
    if transfer != wanted or info.primaries not in primaries:
        known = " or ".join(primaries)
        raise VideoTagError(f"{is_now}, but {expect} ({_HDR_TRANSFERS[wanted]} with {known} primaries) was expected")
    if info.bit_depth < 10:
        raise VideoTagError(f"{info.path}: {info.bit_depth}-bit HDR: {expect} needs at least 10 bits a sample")
