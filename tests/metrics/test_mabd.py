"""MABD against goldens and by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vitm.metrics.functional import mabd


def test_agrees_with_golden(golden: dict[str, Any], golden_clip: tuple[Tensor, Tensor]) -> None:
    values = golden["clips"]["c02"]["values"]["mabd"]
    test, ref = (x.float() for x in golden_clip)
    ours = mabd(test, ref)
    assert ours.gt is not None
    assert ours.mse is not None
    assert ours.pred.item() == pytest.approx(values["kpn_test"], rel=1e-6)
    assert ours.gt.item() == pytest.approx(values["kpn_ref"], rel=1e-6)
    assert ours.mse.item() == pytest.approx(values["luma2020_mse_mabd"], rel=1e-5)
    assert mabd(test) == (ours.pred, None, None)


def test_by_hand() -> None:
    """Luma 0.2, 0.5, 0.4 against 0.2, 0.3, 0.3: steps 0.3, 0.1 and 0.1, 0."""
    pred, target = (
        torch.tensor(v).view(1, 3, 1, 1, 1).expand(-1, -1, 3, 4, 4) for v in ([0.2, 0.5, 0.4], [0.2, 0.3, 0.3])
    )
    values = mabd(pred, target)
    assert [v.item() for v in values if v is not None] == pytest.approx([0.2, 0.05, (0.2**2 + 0.1**2) / 2], abs=1e-6)


def test_mse_mabd_weighs_luma() -> None:
    """A blue flash weighs 0.0593."""
    pred, target = torch.zeros(1, 2, 3, 4, 4), torch.zeros(1, 2, 3, 4, 4)
    pred[:, 1, 2] = 1
    values = mabd(pred, target)
    assert values.mse is not None
    assert values.pred.item() == pytest.approx(1 / 3)
    assert values.mse.item() == pytest.approx(0.0593**2)


def test_does_not_depend_on_the_batch(rng: torch.Generator) -> None:
    pred, target = torch.rand(2, 2, 3, 3, 8, 8, generator=rng)
    for together, *alone in zip(
        mabd(pred, target), *(mabd(pred[i : i + 1], target[i : i + 1]) for i in range(2)), strict=True
    ):
        torch.testing.assert_close(together, torch.cat(alone))


def test_gradient(rng: torch.Generator) -> None:
    pred, target = 0.1 + 0.8 * torch.rand(2, 1, 2, 3, 11, 11, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: mabd(x, target), pred.requires_grad_(), fast_mode=True)


def test_one_frame_has_no_difference() -> None:
    frame = torch.zeros(1, 3, 10, 16)
    with pytest.raises(ValueError, match="2 frames"):
        mabd(frame.unsqueeze(1))
    with pytest.raises(ValueError, match="2 frames"):
        mabd(frame)
