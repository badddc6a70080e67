"""Videos for tests: clips with noise, and pans by whole pixels with their exact flows."""

from __future__ import annotations

import torch
from skimage import data
from torch import Tensor

STEP = (2.0, -1.0)  # movement of the content, in pixels a frame


def constant(x: float, y: float, batch: int, pairs: int, height: int, width: int) -> Tensor:
    """The same flow everywhere, (B, pairs, 2, H, W)."""
    return torch.tensor([x, y]).view(1, 1, 2, 1, 1).expand(batch, pairs, 2, height, width)


def pan(length: int = 4, step: tuple[float, float] = STEP) -> Tensor:
    """A photograph that moves by whole pixels: (1, T, 3, 64, 80)."""
    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1).float() / 255
    dx, dy = int(step[0]), int(step[1])
    views = [photo[:, 100 - dy * t : 164 - dy * t, 200 - dx * t : 280 - dx * t] for t in range(length)]
    return 0.1 + 0.6 * torch.stack(views)[None]


def pan_flows(clip: Tensor, step: tuple[float, float] = STEP) -> tuple[Tensor, Tensor]:
    """Flows of a pan, to the frame before and to the next, (B, T - 1, 2, H, W)."""
    size = (clip.shape[0], clip.shape[1] - 1, *clip.shape[-2:])
    return constant(-step[0], -step[1], *size), constant(*step, *size)


def noisy_clips(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """`count` clips of two frames, each with noise of its own strength."""
    rng = torch.Generator().manual_seed(seed)
    target = torch.rand(count, 2, 3, 16, 16, generator=rng)
    strength = torch.linspace(0.01, 0.3, count).view(-1, 1, 1, 1, 1)
    return target + strength * torch.randn(target.shape, generator=rng), target
