"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

# Reference material that is never part of the project: released weights, goldens, real HDR files.
SHARED = Path(os.environ.get("VITM_SHARED", Path(__file__).resolve().parents[2] / "shared"))

os.environ.setdefault("WANDB_MODE", "offline")
torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material (`VITM_SHARED`, or `shared` beside the checkout); the test skips without it."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference material at {SHARED} (set VITM_SHARED)")
    return SHARED


@pytest.fixture
def rng() -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(0)
