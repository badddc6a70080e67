"""Frames and maps of a clip, kept on disk until they are needed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, MutableMapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

Stored = tuple[str, int]  # name of a tensor, and the time of its frame
HALF_TOP = 65504.0


class Spill(MutableMapping[Stored, Tensor]):
    """A dictionary from (name, time) to tensors that keeps them in a temporary folder: a context manager.

    Tensors come back as they went in, on the same device and in the same memory format; those of 8-bit codes over 255
    take a quarter of the space. The folder is removed after the `with` block, also after an error.

    Args:
        half: names whose tensors are rounded to half precision, and clamped to its range.
        folder: parent of the temporary folder; None: the system's folder for temporary files.
    """

    def __init__(self, half: Collection[str] = (), folder: Path | str | None = None) -> None:
        self._half = frozenset(half)
        self._folder = TemporaryDirectory(prefix="vitm-", dir=folder)
        self._kinds: dict[Stored, tuple[torch.device, bool]] = {}  # device, and whether channels come last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kinds.clear()
        self._folder.cleanup()

    def __setitem__(self, entry: Stored, x: Tensor) -> None:
        packed = x.detach().float()
        if entry[0] in self._half:
            packed = packed.clamp(-HALF_TOP, HALF_TOP).half()
        elif torch.equal((codes := (packed * 255).round().clamp(0, 255)) / 255, packed):
            packed = codes.byte()
        channels_last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
        if channels_last:
            packed = packed.permute(0, 2, 3, 1)
        np.save(self._path(entry), packed.cpu().numpy(), allow_pickle=False)
        self._kinds[entry] = x.device, channels_last

    def __getitem__(self, entry: Stored) -> Tensor:
        device, channels_last = self._kinds[entry]
        packed = torch.from_numpy(np.load(self._path(entry), allow_pickle=False)).to(device)
        if channels_last:
            packed = packed.permute(0, 3, 1, 2)
        return packed.float() / 255 if packed.dtype == torch.uint8 else packed.float()

    def __delitem__(self, entry: Stored) -> None:
        del self._kinds[entry]
        self._path(entry).unlink()

    def __iter__(self) -> Iterator[Stored]:
        return iter(self._kinds)

    def __contains__(self, entry: object) -> bool:
        return entry in self._kinds

    def __len__(self) -> int:
        return len(self._kinds)

    def _path(self, entry: Stored) -> Path:
        return Path(self._folder.name) / f"{entry[0]}-{entry[1]}.npy"
