"""The mean absolute difference inside a mask, by hand."""

from __future__ import annotations

import pytest
import torch

from vitm.metrics import build_metric, frame_metrics
from vitm.metrics.functional import masked_l1
from vitm.metrics.masked_l1 import MaskedL1

PRED = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).expand(2, 3, 2, 2)
TARGET = torch.tensor([[0.1, 0.5], [0.3, 0.5]]).expand(2, 3, 2, 2)


def test_by_hand() -> None:
    mask = torch.tensor([[0.0, 1.0], [1.0, 0.5]]).expand(2, 1, 2, 2)
    expected = (0.3 + 0 + 0.5 * 0.1) / 2.5
    assert masked_l1(PRED, TARGET, mask).tolist() == pytest.approx([expected] * 2)
    assert masked_l1(PRED, TARGET, mask > 0.6).tolist() == pytest.approx([0.15] * 2)
    assert masked_l1(PRED, TARGET, mask.expand(2, 3, 2, 2)).tolist() == pytest.approx([expected] * 2)


def test_what_is_outside_does_not_count() -> None:
    pred = PRED.clone()
    pred[:, :, 0, 0] = torch.nan
    inside = torch.ones(2, 1, 2, 2, dtype=torch.bool)
    inside[:, :, 0, 0] = False
    assert masked_l1(pred, TARGET, inside).tolist() == pytest.approx([0.4 / 3] * 2)
    inside[:, :, 0, 0] = True
    assert masked_l1(pred, TARGET, inside).isnan().all()
    assert masked_l1(PRED, TARGET, torch.zeros(2, 1, 2, 2)).isnan().all()


def test_gradient() -> None:
    pred = PRED.double().clone().requires_grad_()
    mask = torch.tensor([[0.0, 1.0], [0.0, 0.5]]).expand(2, 1, 2, 2)
    assert torch.autograd.gradcheck(lambda x: masked_l1(x, TARGET.double(), mask), pred)


def test_class_is_the_mean_over_pixels() -> None:
    metric = MaskedL1("PQ BT.2020", "highlights", 10_000.0)
    assert metric.compute() == 0  # nothing is inside yet
    few = torch.tensor([[0, 1], [0, 0]]).expand(2, 1, 2, 2).bool()
    metric.update(PRED, TARGET, few)
    assert metric.compute().item() == pytest.approx(0.3)
    metric.update(PRED, PRED, torch.ones(2, 1, 2, 2))
    assert metric.compute().item() == pytest.approx(0.3 * 1 / 5)
    assert str(metric.protocol) == "PQ BT.2020, unrounded, highlights, mean of pixels"
    metric.reset()
    assert metric.weight == 0


def test_over_exposed_needs_its_mask() -> None:
    metric = build_metric("over_exposed")
    assert metric.names == ("over_exposed",)
    with pytest.raises(ValueError, match="over_exposed needs a mask"):
        metric.update(PRED, TARGET)
    collection = frame_metrics(("psnr", "over_exposed"))
    collection.update(PRED, TARGET, mask=torch.ones(2, 1, 2, 2))
    assert collection.compute()["over_exposed"].item() == pytest.approx(0.1)


def test_errors() -> None:
    with pytest.raises(ValueError, match="expected the same"):
        masked_l1(PRED, TARGET[:1], torch.ones(2, 1, 2, 2))
    with pytest.raises(ValueError, match="mask has shape"):
        masked_l1(PRED, TARGET, torch.ones(2, 2, 2))
