"""What metrics that follow motion refuse: the warping error and the tOF take the same videos and flows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.metrics.videos import pan, pan_flows
from vitm.metrics.functional import tof, warping_error

both = pytest.mark.parametrize("metric", [tof, warping_error])


@both
def test_errors(metric: Callable[..., torch.Tensor]) -> None:
    clip = pan(2)
    for wrong in (clip[:, :1], clip[0]):
        with pytest.raises(ValueError, match="at least 2 frames"):
            metric(wrong, wrong)
    for dtype in (torch.float16, torch.uint8):
        wrong = clip.to(dtype)
        with pytest.raises(TypeError, match=str(dtype).removeprefix("torch.")):
            metric(wrong, wrong)


@both
def test_errors_of_flows(metric: Callable[..., torch.Tensor]) -> None:
    clip = pan(3)
    flows = pan_flows(clip)
    with pytest.raises(ValueError, match="expected the same"):
        metric(clip, clip[:, :2])
    with pytest.raises(ValueError, match=r"exact flows must be two .* \(1, 2, 2, 64, 80\)"):
        metric(clip, clip, (flows[0], flows[1][:, :1]))
    with pytest.raises(ValueError, match="exact flows"):
        metric(clip, clip, (flows[0], flows[1].long()))
    with pytest.raises(ValueError, match="farneback"):
        metric(clip, clip, "farneback")
