"""The endpoint error of flow, by arithmetic on right triangles."""

from __future__ import annotations

import pytest
import torch

from vitm.metrics import build_metric
from vitm.metrics.functional import endpoint_error

TRUE = torch.tensor([[[1.0, -2.0, 0.0, 7.0]], [[0.0, 5.0, 0.0, 7.0]]])  # (2, 1, 4)
ERROR = torch.tensor([[[3.0, -5.0, 8.0, 0.0]], [[4.0, 12.0, 15.0, 0.0]]])  # 5, 13, 17 and 0 pixels
ALL = torch.ones(1, 1, 4)


def test_by_hand() -> None:
    assert endpoint_error(TRUE + ERROR, TRUE, ALL).item() == pytest.approx((5 + 13 + 17 + 0) / 4)
    some = torch.tensor([[[1.0, 0.0, 0.5, 0.0]]])
    assert endpoint_error(TRUE + ERROR, TRUE, some).item() == pytest.approx((5 + 17 / 2) / 1.5)
    both = endpoint_error(torch.stack((TRUE + ERROR, TRUE)), torch.stack((TRUE, TRUE)), ALL.expand(2, 1, 1, 4) > 0)
    assert both.tolist() == pytest.approx([35 / 4, 0])


def test_lost_flow_counts_with_the_largest_distance() -> None:
    flow = TRUE + ERROR
    flow[0, 0, 0] = torch.inf
    assert endpoint_error(flow, TRUE, ALL).item() == pytest.approx((50 + 13 + 17) / 4)
    assert endpoint_error(flow, TRUE, ALL, largest=10).item() == pytest.approx((10 + 10 + 10 + 0) / 4)
    assert endpoint_error(flow, TRUE, torch.tensor([[[0, 1, 0, 0]]])).item() == 13
    flow[1, 0, 1] = torch.nan
    assert endpoint_error(flow, TRUE, ALL).isnan()


def test_class_is_the_mean_over_pixels_of_all_flows() -> None:
    metric = build_metric("clipped_flow_error")
    assert metric.compute().isnan()  # nothing is inside yet
    metric.update(TRUE + ERROR, TRUE, ALL > 0)
    metric.update(TRUE, TRUE, torch.tensor([[[True, False, False, False]]]))
    assert metric.compute().item() == pytest.approx(35 / 5)
    words = "at most 50 px, optical flow, unrounded, clipped in the key and seen by the reference, mean of pixels"
    assert str(metric.protocol) == words
    assert metric.higher_is_better is False
    with pytest.raises(ValueError, match="clipped_flow_error needs a mask"):
        metric.update(TRUE, TRUE)


def test_errors() -> None:
    with pytest.raises(ValueError, match="expected the same"):
        endpoint_error(TRUE, TRUE[:1], ALL)
    with pytest.raises(ValueError, match="expected one channel"):
        endpoint_error(TRUE, TRUE, ALL.expand(2, 1, 4))
