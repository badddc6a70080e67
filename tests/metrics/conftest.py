"""Golden values, and pairs of frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.metrics.videos import pan


@pytest.fixture(scope="session")
def golden(shared: Path) -> dict[str, Any]:
    """The values of reference programs."""
    return json.loads((shared / "goldens/metrics/golden.json").read_text())


@pytest.fixture(scope="session")
def golden_pair(shared: Path, golden: dict[str, Any]) -> Callable[[str], tuple[Tensor, Tensor]]:
    """The images of a golden pair by its name, (1, 3, H, W) PQ codes in fp32, as a data loader gives them."""

    def read(path: str) -> Tensor:
        bgr = cv2.imread(str(shared / "goldens/metrics" / path), cv2.IMREAD_UNCHANGED)
        assert bgr.dtype == np.uint16
        return torch.from_numpy(bgr[..., ::-1].astype(np.float32) / 65535).permute(2, 0, 1).unsqueeze(0)

    return lambda name: (read(golden["pairs"][name]["test"]), read(golden["pairs"][name]["ref"]))


@pytest.fixture(scope="session")
def golden_clip(shared: Path) -> tuple[Tensor, Tensor]:
    """The golden clip c02: prediction and target, (1, 8, 3, 128, 192) in fp64."""
    clip = np.load(shared / "goldens/metrics/clips/c02.npz")
    pred, target = (torch.from_numpy(clip[key] / 65535).permute(0, 3, 1, 2)[None] for key in ("test", "ref"))
    return pred, target


@pytest.fixture
def pair(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two frames of noise and their targets, 24x31, fp64."""
    target = torch.rand(2, 3, 24, 31, generator=rng, dtype=torch.float64)
    return (target + 0.05 * torch.randn(target.shape, generator=rng, dtype=torch.float64)).clamp(0, 1), target


@pytest.fixture
def noisy_pan(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two moving clips with noise of different strength, and their targets."""
    target = torch.cat((pan(4), pan(4, (-1.0, 2.0))))
    strength = torch.tensor([0.02, 0.05]).view(2, 1, 1, 1, 1)
    return target + strength * torch.randn(target.shape, generator=rng), target
