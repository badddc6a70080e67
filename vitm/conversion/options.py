"""What a conversion can be told: how its source is read, how its picture is graded, and how its output is encoded."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vitm.conversion.level import DiffuseWhite, Graphics, LevelControl, check_words
from vitm.video import BT2020_1000_NITS, FrameReader, MasteringDisplay
from vitm.video.codecs import ENCODERS
from vitm.video.read.changes import OnChange, Stretch
from vitm.video.read.container import Hardware
from vitm.video.read.interlaced import Deinterlace
from vitm.video.read.reader import OnError
from vitm.video.read.stretch import StretchReader
from vitm.video.tags import Assume
from vitm.video.write.outputs import usual_codec


@dataclass(frozen=True)
class Reading:
    """How a source is read.

    Args:
        assume: what the colour tags are that the source lacks: a name of `vitm.video.tags.Assume`, such as "bt709",
            "bt601-625" or "auto".
        override: what the colour tags are, where those of the source are wrong: such a name, "full" or "narrow".
        deinterlace: "auto" deinterlaces frames that are marked as interlaced, "bwdif" all, "off" none; None: interlaced
            frames are an error.
        fps: frame rate of a folder of frames; 24 if None.
        on_error: "stop" at a damaged frame, or "repeat" the one before it.
        on_change: "error" where size, format or colour change in the middle; "scale" to the size of the first frame.
        stretch: the part of a video between such changes that is converted, with `on_change="split"`: see
            `vitm.conversion.convert_parts`, which finds them.
        decoder: hardware that decodes a video instead of the CPU: "cuda" (NVIDIA's NVDEC), "qsv" (Intel), "vaapi"
            (Linux), "videotoolbox" (Apple) or "d3d11va" (Windows), where it works; None for the CPU.
    """

    assume: Assume | None = None
    override: str | None = None
    deinterlace: Deinterlace | None = None
    fps: Fraction | int | None = None
    on_error: OnError = "stop"
    on_change: OnChange = "error"
    stretch: Stretch | None = None
    decoder: Hardware | None = None

    def open(self, source: Path) -> FrameReader | StretchReader:
        """Return a reader of the source, or of the stretch of it.

        Raises:
            ValueError: the stretch is missing, or there is one without a split.
        """
        if (self.stretch is not None) != (self.on_change == "split"):
            raise ValueError("on_change='split' makes several outputs: use convert_parts")
        reader = self.open_whole(source)
        return reader if self.stretch is None else StretchReader(reader, self.stretch)

    def open_whole(self, source: Path) -> FrameReader:
        """Return a reader of the whole source."""
        options = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "stretch"}
        if source.is_dir():
            options["fps"] = Fraction(24) if self.fps is None else self.fps
        return FrameReader(source, expect="sdr", **options)


@dataclass(frozen=True)
class Grading:
    """How bright, strong and colourful the picture is.

    Args:
        diffuse_white: luminance of diffuse white in cd/m2, by which mid-tones are placed, and white of graphics;
            "auto": 203 (BT.2408) with an analytic operator, and with a network where it puts white, but within 203 to
            406. "keep": the model's own picture. Otherwise black stays black too, where a network lifts it.
        graphics: "auto" to find frames of graphics (title pages, credits, slides, screens), in which white is no
            highlight, and to make them plain SDR in HDR; "keep" to leave them to the model.
        peak_nits: luminance in cd/m2 below which highlights are rolled off.
        mastering_peak: peak of the mastering display in the HDR metadata, cd/m2; highlights are rolled off below it.
            None for `peak_nits`, or else for the lowest of 1,000, 2,000, 4,000 and 10,000 that the picture stays below.
        strength: 0 for plain SDR in HDR, 1 for the model, anything between for a blend.
        saturation: factor on chroma.
    """

    diffuse_white: DiffuseWhite = "auto"
    graphics: Graphics = "auto"
    peak_nits: float | None = None
    mastering_peak: float | None = None
    strength: float = 1.0
    saturation: float = 1.0

    @property
    def control(self) -> LevelControl:
        """Return the controls of the level, before it is chosen."""
        peak = self.mastering_peak if self.peak_nits is None else self.peak_nits
        return LevelControl(peak_nits=peak, strength=self.strength, saturation=self.saturation)

    def check(self) -> None:
        """Raise a ValueError if a word is unknown or a number is out of range."""
        check_words(self.diffuse_white, self.graphics)
        control = self.control
        if not isinstance(self.diffuse_white, str):
            replace(control, white_nits=float(self.diffuse_white))

    def mastering(self, codec: str, holds_mastering: bool) -> MasteringDisplay | None:
        """Return the mastering display that is asked for; None where the light of the picture decides.

        Args:
            codec: name of the codec.
            holds_mastering: whether its outputs say what display they were mastered on.

        Raises:
            ValueError: the peak is out of range or below `peak_nits`, or the output does not hold it.
        """
        peak = self.mastering_peak
        if peak is not None:
            if not holds_mastering:
                raise ValueError(f"mastering_peak={peak:g}: {codec} holds no mastering display; give peak_nits=NITS")
            if not 0 < peak <= 10_000:
                raise ValueError(f"mastering_peak={peak:g}: expected more than 0 and at most 10000 cd/m2")
            if self.peak_nits is not None and self.peak_nits > peak:
                raise ValueError(
                    f"peak_nits={self.peak_nits:g} is brighter than the display of mastering_peak={peak:g}: "
                    "give a lower peak or a brighter display"
                )
        peak = self.peak_nits if peak is None else peak
        return replace(BT2020_1000_NITS, max_nits=peak) if peak is not None and holds_mastering else None


@dataclass(frozen=True)
class Encoding:
    """How an output is encoded.

    Args:
        codec: kind of output, see `vitm.video.open_writer`, or the import path of a `Codec`; None for "hevc" (HDR10)
            for videos, "png" for folders, and for pictures what the suffix says.
        crf: quality of hevc, hlg and av1: lower is better.
        preset: speed of the encoder, in its own words.
        lossless: whether the encoder keeps 10-bit codes exactly.
        encoder: what encodes "hevc": "libx265", or the encoder of a graphics card: "hevc_nvenc" (NVIDIA), "hevc_qsv"
            (Intel), "hevc_vaapi" (Linux) or "hevc_videotoolbox" (Apple), where it works; None for "libx265".
        audio: "copy" to copy the sound that the output's container holds, and name the rest; "transcode" to make AAC of
            the rest; "drop" to leave sound out. Or such a word for each sound track, as "copy,drop".
        segment_frames: number of frames that are finished together, from which an interrupted conversion goes on.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | int | None = None
    lossless: bool | None = None
    audio: str = "copy"
    segment_frames: int = 120
    encoder: str | None = None

    @property
    def of_codec(self) -> dict[str, Any]:
        """Return the options of the codec that are given."""
        options = {"crf": self.crf, "preset": self.preset, "lossless": self.lossless}
        return {name: value for name, value in options.items() if value is not None}

    def settled(self, output: Path) -> Encoding:
        """Return the encoding with the name of its codec, or of its encoder where that is not x265.

        Raises:
            ValueError: nothing is written to such an output, or the encoder does not encode its codec.
        """
        codec = self.codec or usual_codec(output)
        if self.encoder in (None, codec):
            return replace(self, codec=codec)
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder={self.encoder!r}: expected one of {', '.join(ENCODERS)}")
        if codec != "hevc":
            raise ValueError(f"encoder={self.encoder!r} encodes hevc, and the output is {codec}: leave one of them out")
        return replace(self, codec=codec if self.encoder == "libx265" else self.encoder)
