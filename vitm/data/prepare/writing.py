"""Samples on disk: each is written beside its place, and renamed when it is whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from vitm.data.prepare.matching import Region
from vitm.data.prepare.samples import Sample
from vitm.files import digest, folder_beside, replace_when_whole
from vitm.video import FrameReader, write_image

KINDS = ("sdr", "hdr")
DONE = "done.jsonl"  # in the folder of unfinished work


def frame_file(name: str, frame: int, frames: int) -> str:
    """Return the file of a sample's frame, as `vitm.data.paired.layouts` has it."""
    if frames == 1:
        return f"{name}.png"
    return f"{name}_{frame + 1}.png" if frames <= 3 else f"{name}/{frame:06d}.png"


def write_samples(
    sdr: FrameReader,
    hdr: FrameReader,
    samples: Sequence[Sample],
    tiles: dict[str, Region],
    name: str,
    root: Path,
    scratch: Path,
) -> Iterator[tuple[Sample, dict[str, str]]]:
    """Write samples to `root/{sdr,hdr}`: 8-bit PNG of BT.709 codes and 16-bit PNG of PQ codes, RGB.

    The videos are read once, from key frame to key frame; of each only one frame is in memory.

    Args:
        sdr: The SDR video.
        hdr: The HDR video.
        samples: In order of their frames, which do not overlap.
        tiles: Name and place of each part that is cut out of a frame.
        name: Beginning of the files' names; the frame's number in the HDR video follows, then the name of the tile.
        root: The split's folder.
        scratch: Existing folder on the same disk for samples that are not whole.

    Yields:
        Each sample, when it is on disk, and the SHA-256 of its files by their names in `root`.

    Raises:
        VideoDecodeError: A frame is damaged.
        WriteError: A file cannot be written.
    """
    frames = [
        reader.read([i for sample in samples for i in getattr(sample, kind)])
        for kind, reader in zip(KINDS, (sdr, hdr), strict=True)
    ]
    for sample in samples:
        part = folder_beside(scratch / "sample")
        n, checksums = len(sample.hdr), {}
        for t in range(n):
            for kind, bits, source in zip(KINDS, (8, 16), frames, strict=True):
                rgb = next(source).rgb
                for tile, place in tiles.items():
                    file = f"{kind}/{frame_file(f'{name}_{sample.frame:06d}{tile}', t, n)}"
                    (part / file).parent.mkdir(parents=True, exist_ok=True)
                    write_image(part / file, rgb[place], bits=8 if bits == 8 else 16)
                    checksums[file] = digest(part / file)
        publish(part, root)
        yield sample, checksums


def publish(part: Path, root: Path) -> None:
    """Move a sample that is whole, the files and folders in `part/{sdr,hdr}`, to `root/{sdr,hdr}`."""
    for whole in sorted(p for kind in KINDS for p in (part / kind).iterdir()):
        target = root / whole.relative_to(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():  # of a run that was killed before it noted the sample
            shutil.rmtree(target)
        whole.replace(target)
    shutil.rmtree(part)


def tidy(scratch: Path) -> None:
    """Remove the samples that a killed run left unfinished."""
    for unfinished in scratch.glob(".sample.*"):
        shutil.rmtree(unfinished)


class Done:
    """Notes of the samples on disk, line by line; a line that a killed run left unfinished counts for nothing.

    Args:
        path: The file with the notes; it need not exist.

    Attributes:
        files: Number of a sample -> file name -> SHA-256.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.files: dict[int, dict[str, str]] = {}
        for line in path.read_bytes().split(b"\n")[:-1] if path.is_file() else ():
            number, checksums = json.loads(line)
            self.files[number] = checksums
        with replace_when_whole(path) as part:
            part.write_text("".join(self._line(*item) for item in self.files.items()))

    def add(self, number: int, checksums: dict[str, str]) -> None:
        """Note a sample that is on disk."""
        self.files[number] = checksums
        with self._path.open("a") as file:
            file.write(self._line(number, checksums))

    def remove(self, root: Path) -> None:
        """Remove the samples in `root`, and the notes."""
        for file in (root / file for checksums in self.files.values() for file in checksums):
            file.unlink(missing_ok=True)
            if file.parent.name not in KINDS and not any(file.parent.iterdir()):
                file.parent.rmdir()
        self.files = {}
        self._path.unlink(missing_ok=True)

    @staticmethod
    def _line(number: int, checksums: dict[str, str]) -> str:
        return json.dumps([number, checksums]) + "\n"
