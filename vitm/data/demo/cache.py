"""The demo data in the user's cache: made on first use, by one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vitm.files import cache_folder, lock


def kept(name: str, write: Callable[[Path], object]) -> Path:
    """Return a folder of the cache after `write` has made or checked it; other processes wait for the first one."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with lock(cache / f".{name}.lock", wait=True):
        write(cache / name)
    return cache / name
