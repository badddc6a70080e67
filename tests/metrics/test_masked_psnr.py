"""PSNR inside a mask, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vitm.metrics import build_metric
from vitm.metrics.functional import masked_psnr


def test_by_hand(rng: torch.Generator) -> None:
    pred, target = torch.rand(2, 2, 3, 5, 7, generator=rng)
    mask = torch.rand(2, 1, 5, 7, generator=rng)
    error = (pred.double() - target.double()).numpy() ** 2
    weights = np.broadcast_to(mask.double().numpy(), error.shape)
    expected = [10 * np.log10(1 / np.average(e, weights=w)) for e, w in zip(error, weights, strict=True)]
    assert masked_psnr(pred, target, mask).tolist() == pytest.approx(expected)
    assert masked_psnr(pred, target, 0 * mask).isnan().all()
    assert masked_psnr(pred, pred, mask).tolist() == [float("inf")] * 2


def test_class_is_of_the_mean_error_of_all_pixels_inside(rng: torch.Generator) -> None:
    metric = build_metric("over_exposed_psnr")
    assert metric.compute() == float("inf")  # nothing is inside yet
    pred, target = torch.rand(2, 3, 3, 5, 7, generator=rng)
    mask = torch.rand(3, 1, 5, 7, generator=rng) > 0.8
    mask[2] = False
    for i in range(3):
        metric.update(pred[i : i + 1], target[i : i + 1], mask[i : i + 1])
    error = ((pred - target).double() ** 2).numpy()[np.broadcast_to(mask.numpy(), pred.shape)]
    assert metric.compute().item() == pytest.approx(-10 * np.log10(error.mean()))
    assert str(metric.protocol) == "PQ BT.2020, unrounded, over-exposed pixels of the SDR frame, mean of pixels"
    with pytest.raises(ValueError, match="over_exposed_psnr needs a mask"):
        metric.update(pred, target)
