"""Padding against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vitm.ops.padding import pad_to_multiple


@pytest.mark.parametrize(
    ("size", "mode"),
    [((9, 12), "reflect"), ((5, 16), "reflect"), ((8, 16), "reflect"), ((4, 12), "edge"), ((1, 1), "edge")],
)
def test_agrees_with_numpy(size: tuple[int, int], mode: str, rng: torch.Generator) -> None:
    """Reflection needs fewer new rows than there are: 4 rows cannot become 8 by it."""
    x = torch.rand(2, 3, *size, generator=rng)
    padded = pad_to_multiple(x, 8)
    assert padded.shape[-2] % 8 == padded.shape[-1] % 8 == 0
    widths = [(0, 0), (0, 0), *((0, n - m) for n, m in zip(padded.shape[-2:], size, strict=True))]
    np.testing.assert_array_equal(padded, np.pad(x.numpy(), widths, mode=mode))  # type: ignore[call-overload]
