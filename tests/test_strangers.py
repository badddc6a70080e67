"""Files that strangers wrote: whatever their bytes are, only the project's own errors come out, in words."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tests.strangers import TARGETS, check, mutations


@pytest.mark.parametrize("name", TARGETS)
def test_a_good_file_is_read(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    path = tmp_path / f"a{target.suffix}"
    path.write_bytes(target.seed())
    target.parse(path)


@pytest.mark.parametrize("name", TARGETS)
def test_only_our_own_errors_come_out(name: str, tmp_path: Path) -> None:
    """A few changes of each kind; `python -m tests.field.fuzz` goes on for as long as one likes."""
    target = TARGETS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, data in enumerate(mutations(target.seed(), 12 if name.startswith("film") else 60)):
            check(target, tmp_path / f"{number}{target.suffix}", data)
