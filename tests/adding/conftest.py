"""The pages of `docs/adding` all call the reader's package `mypackage`: each test finds its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "mypackage"]:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def forgets_the_packages_of_other_tests() -> Iterator[None]:
    """Drop the modules of `mypackage` that another test imported."""
    _forget()
    yield
    _forget()
