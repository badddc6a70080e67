"""What identifies files wherever they lie: of a split how many, how large, and a digest; of one file a little of it."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vitm.data.paired.layouts import Window
from vitm.files import digest

SKETCHED = 2**16  # bytes


@dataclass(frozen=True)
class Fingerprint:
    """The identity of a split.

    Attributes:
        samples: number of samples.
        sizes: width and height of their frames, each that occurs, the smallest first.
        bytes: size of all files.
        sha256: digest of names and contents of all files, in an order that does not depend on where they lie.
    """

    samples: int
    sizes: tuple[tuple[int, int], ...]
    bytes: int
    sha256: str

    def __str__(self) -> str:
        sizes = ", ".join(f"{width} x {height}" for width, height in self.sizes)
        return f"{self.samples} samples of {sizes}, {self.bytes / 1e6:.1f} MB, sha256 {self.sha256}"


def fingerprint(windows: Iterable[Window]) -> Fingerprint:
    """Read all files of a split once, and return what identifies them.

    Args:
        windows: its samples, as a data module's `windows` returns them.
    """
    samples = list(windows)
    files = sorted(
        {(kind, path) for w in samples for kind, paths in (("sdr", w.sdr), ("hdr", w.hdr)) for path in paths}
    )
    with ThreadPoolExecutor() as pool:  # hashing is outside Python's lock
        digests = list(pool.map(lambda file: digest(file[1]), files))
    lines = sorted(f"{kind} {path.name} {content}" for (kind, path), content in zip(files, digests, strict=True))
    return Fingerprint(
        samples=len(samples),
        sizes=tuple(sorted({(w.width, w.height) for w in samples})),
        bytes=sum(path.stat().st_size for _, path in files),
        sha256=digest("\n".join(lines)),
    )


def sketch(path: Path) -> str:
    """Return a digest of a file's size and of the 64 KiB in its middle, which identifies a picture at little cost."""
    with path.open("rb") as file:
        size = path.stat().st_size
        file.seek(max(0, (size - SKETCHED) // 2))
        return digest(size.to_bytes(8) + file.read(SKETCHED))[:16]
