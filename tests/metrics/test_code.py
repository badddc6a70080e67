"""What every metric asks of its input: shapes, types, no dependence on the batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from vitm.metrics import functional
from vitm.metrics.functional import delta_e_itp, mabd, psnr, quantize_16bit, ssim

FRAME_METRICS = [psnr, ssim, delta_e_itp]


@pytest.mark.parametrize("metric", FRAME_METRICS)
def test_values_do_not_depend_on_the_batch(metric: Any, pair: tuple[Tensor, Tensor]) -> None:
    pred, target = pair
    alone = torch.cat([metric(pred[i : i + 1], target[i : i + 1]) for i in range(2)])
    together = metric(pred, target)
    assert together.shape == (2,)
    assert together.dtype == torch.float64
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)
    clips = metric(pred.view(1, 2, 3, 24, 31), target.view(1, 2, 3, 24, 31))
    assert clips.shape == (1, 2)
    torch.testing.assert_close(clips[0], alone, rtol=1e-12, atol=0)


@pytest.mark.parametrize("metric", FRAME_METRICS)
def test_fp32_inputs_agree_with_fp64(metric: Any, pair: tuple[Tensor, Tensor]) -> None:
    pred, target = pair
    torch.testing.assert_close(metric(pred.float(), target.float()), metric(pred, target), rtol=1e-5, atol=1e-7)


def test_quantize_16bit() -> None:
    codes = torch.arange(65536, dtype=torch.float64).view(1, 1, 256, 256).expand(-1, 3, -1, -1) / 65535
    assert torch.equal(quantize_16bit(codes.float()), codes)
    assert torch.equal(quantize_16bit(codes + 0.49 / 65535), codes)
    wild = torch.tensor([-0.5, 0.31, 1.7]).view(1, 3, 1, 1)
    assert quantize_16bit(wild).flatten().tolist() == [0, round(0.31 * 65535) / 65535, 1]


@pytest.mark.parametrize("metric", [*FRAME_METRICS, mabd])
def test_errors(metric: Any) -> None:
    frame = torch.zeros(1, 2, 3, 16, 16)
    with pytest.raises(ValueError, match=r"\(1, 2, 3, 16, 15\)"):
        metric(frame, frame[..., :-1])
    with pytest.raises(TypeError, match="65535"):
        metric(frame.to(torch.uint16), frame.to(torch.uint16))
    for dtype in (torch.float16, torch.bfloat16):
        with pytest.raises(TypeError, match="16-bit PQ codes"):
            metric(frame.to(dtype), frame.to(dtype))
    with pytest.raises(ValueError, match="3, H, W"):
        metric(frame[:, :, :1], frame[:, :, :1])
    with pytest.raises(ValueError, match="3, H, W"):
        metric(frame[0, 0], frame[0, 0])


def test_public_names() -> None:
    assert {"psnr", "ssim", "delta_e_itp", "mabd", "quantize_16bit"} <= set(functional.__all__)
