"""Operators as networks."""

from __future__ import annotations

import pytest
import torch

from vitm.color import METHODS, inverse_tone_map
from vitm.nets import analytic
from vitm.nets.analytic import Analytic


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_bands_are_the_operator_to_the_last_bit(
    method: str, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 41 rows of 64 pixels in bands of 8, the last of another height."""
    monkeypatch.setattr(analytic, "_BAND", 8 * 64)
    sdr = torch.rand(1, 3, 41, 64, generator=torch.Generator().manual_seed(0))
    sdr[..., :3] = 0  # black takes the chord of the power laws
    with torch.inference_mode():
        banded = Analytic(method, 2000.0, gain=0.7)(sdr.contiguous(memory_format=layout))
    assert torch.equal(banded, inverse_tone_map(sdr, method, 2000.0, gain=0.7))


def test_operators_have_gradients() -> None:
    sdr = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    Analytic("bt2446a")(sdr).sum().backward()
    assert sdr.grad is not None
    assert (sdr.grad > 0).all()
