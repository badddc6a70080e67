"""The tOF against exact pans and a real one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.metrics.videos import pan, pan_flows
from vitm.metrics import TOF
from vitm.metrics.functional import tof
from vitm.nets.flow import FlowEstimator, flow_estimator


def test_is_the_difference_of_motions() -> None:
    target = pan(3, (1.0, 0.0))
    exact = tuple(pan_flows(target, step)[1] for step in ((3.0, -1.0), (1.0, 0.0)))
    assert tof(target, target, exact).item() == pytest.approx(3.0)
    assert tof(target, target).item() == 0
    assert tof(pan(3, (3.0, 0.0)), target).item() == pytest.approx(2, abs=0.3)


@pytest.mark.slow
def test_golden_clip(golden_clip: tuple[Tensor, Tensor]) -> None:
    assert 0 < tof(*golden_clip).item() < 1


def test_flow_goes_the_way_the_docstring_says() -> None:
    """The estimator is asked for earlier -> later, of both videos."""
    asked = []

    class Spy(FlowEstimator):
        def _estimate(self, source: Tensor, target: Tensor) -> Tensor:
            asked.append((source, target))
            return torch.zeros_like(source[:, :2])

    target = pan(2)
    pred = target.flip(-1)
    tof(pred, target, Spy())
    ((first, second),) = asked
    torch.testing.assert_close(first, torch.cat((pred[:, 0], target[:, 0])))
    torch.testing.assert_close(second, torch.cat((pred[:, 1], target[:, 1])))


def test_nan_is_not_hidden() -> None:
    target = pan(3)
    pred = target.clone()
    pred[0, 1, 0, 32, 40] = torch.nan
    assert tof(pred, target).isnan().all()


def test_class_says_what_it_measures() -> None:
    assert "flow ZeroFlow" in str(TOF(flow_estimator("zero")).protocol)
    assert TOF.higher_is_better is False
