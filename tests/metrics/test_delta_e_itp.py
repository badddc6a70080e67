"""Delta E ITP against goldens and colour-science."""

from __future__ import annotations

from typing import Any

import colour
import numpy as np
import pytest
import torch
from torch import Tensor

from vitm.metrics.functional import delta_e_itp

PAIRS = ["g01", "g02", "g03", "g11", *(pytest.param(name, marks=pytest.mark.slow) for name in ("g05", "g06"))]


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_agrees_with_goldens(golden: dict[str, Any], golden_pair: Any, name: str) -> None:
    test, ref = golden_pair(name)
    ours = {
        "delta_e_itp_mean": delta_e_itp(test, ref),
        "delta_e_itp_p95": delta_e_itp(test, ref, "p95"),
    }
    for metric, value in ours.items():
        golden_value = golden["pairs"][name]["values"][metric]
        expected = float("inf") if golden_value is None else golden_value
        assert value.item() == pytest.approx(expected, abs=golden["metrics"][metric]["tolerance"]), metric


def colour_science(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Two images (H, W, 3) of PQ codes -> the map (H, W)."""
    a, b = (colour.RGB_to_ICtCp(colour.models.eotf_ST2084(v), method="ITU-R BT.2100-2 PQ") for v in (x, y))
    return colour.difference.delta_E_ITP(a, b)


@pytest.mark.slow
def test_agrees_with_colour_science(pair: tuple[Tensor, Tensor]) -> None:
    pred, target = pair
    for index, (x, y) in enumerate(zip(*(t.permute(0, 2, 3, 1).numpy() for t in pair), strict=True)):
        expected_map = colour_science(x, y)
        np.testing.assert_allclose(delta_e_itp(pred, target, "none")[index], expected_map, rtol=1e-9)
        assert delta_e_itp(pred, target)[index].item() == pytest.approx(expected_map.mean(), rel=1e-9)
        percentile = np.percentile(expected_map, 95)
        assert delta_e_itp(pred, target, "p95")[index].item() == pytest.approx(percentile, rel=1e-9)


def test_bands_join(rng: torch.Generator) -> None:
    """Large frames are measured in bands of rows: here three, the last one short."""
    target = torch.rand(1, 3, 70, 600, generator=rng, dtype=torch.float64)
    pred = (target + 0.05 * torch.randn(target.shape, generator=rng, dtype=torch.float64)).clamp(0, 1)
    expected_map = colour_science(*(t[0].permute(1, 2, 0).numpy() for t in (pred, target)))
    np.testing.assert_allclose(delta_e_itp(pred, target, "none")[0], expected_map, rtol=1e-9, atol=1e-9)


def test_identical_frames(pair: tuple[Tensor, Tensor]) -> None:
    assert delta_e_itp(pair[0], pair[0]).tolist() == [0, 0]


def test_gradient(rng: torch.Generator) -> None:
    pred, target = 0.1 + 0.8 * torch.rand(2, 1, 2, 3, 11, 11, generator=rng, dtype=torch.float64)
    pred.requires_grad_()
    for reduction in ("mean", "p95", "none"):
        assert torch.autograd.gradcheck(
            lambda x, r=reduction: delta_e_itp(x, target, r), pred, eps=1e-8, atol=1e-2, rtol=1e-2, fast_mode=True
        )


def test_gradient_is_finite_on_black_white_and_equal_frames() -> None:
    for value in (0.0, 1e-7, 1.0):
        pred = torch.full((1, 3, 4, 4), value, requires_grad=True)
        for target in (0.0, 0.5, 1.0):
            (gradient,) = torch.autograd.grad(delta_e_itp(pred, torch.full((1, 3, 4, 4), target)).sum(), pred)
            assert gradient.isfinite().all()


def test_codes_out_of_range_are_clamped() -> None:
    wild = torch.tensor([-0.5, 0.3, 1.7]).view(1, 3, 1, 1)
    assert delta_e_itp(wild, wild.clamp(0, 1)).item() == 0


def test_option_errors() -> None:
    frame = torch.zeros(1, 3, 10, 16)
    with pytest.raises(ValueError, match="p95"):
        delta_e_itp(frame, frame, "max")  # type: ignore[arg-type]
