"""What all metrics have in common: means over frames and clips, rounding, copies, processes."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from tests.metrics.videos import noisy_clips, pan
from vitm.metrics import (
    MABD,
    PSNR,
    SSIM,
    TOF,
    ClipMetric,
    DeltaEITP,
    Flicker,
    HighlightStability,
    WarpingError,
    compatible,
    frame_metrics,
    functional,
)
from vitm.metrics.functional import flicker, highlight_stability, tof, warping_error
from vitm.runs.entries import find_entry

ALL = ("psnr", "ssim", "ssim_kpn", "delta_e_itp", "mabd")
SHARED = (*ALL, "sr_sim", "hdr_vdp3", "pu21_psnr", "hdr_volume", "hdr_vqm", "flicker", "highlight_stability")
KEYS = {"psnr", "ssim", "ssim_kpn", "delta_e_itp", "mabd_pred", "mabd_gt", "mse_mabd"}
TIME: list[tuple[type[ClipMetric], Any]] = [
    (WarpingError, lambda p, t: torch.stack((warping_error(p, t), warping_error(t, t)))),
    (TOF, lambda p, t: tof(p, t)[None]),
    (HighlightStability, lambda p, t: torch.stack((highlight_stability(p), highlight_stability(t)))),
    (Flicker, lambda p, t: flicker(p, t)[None]),
]


def test_mean_is_over_frames_not_over_batches_or_pooled_error() -> None:
    pred, target = noisy_clips(5)
    metrics = frame_metrics(ALL)
    for part in (slice(0, 1), slice(1, 5)):
        metrics.update(pred[part], target[part])
    p, t = functional.quantize_16bit(pred), functional.quantize_16bit(target)
    steps = functional.mabd(p, t)
    assert steps.gt is not None
    assert steps.mse is not None
    expected = {
        "psnr": functional.psnr(p, t),
        "ssim": functional.ssim(p, t),
        "ssim_kpn": functional.ssim(p, t, "kpn"),
        "delta_e_itp": functional.delta_e_itp(p, t),
        "mabd_pred": steps.pred,
        "mabd_gt": steps.gt,
        "mse_mabd": steps.mse,
    }
    result = metrics.compute()
    assert set(result) == KEYS
    for name, values in expected.items():
        assert result[name].item() == pytest.approx(values.mean().item(), rel=1e-12), name


def test_predictions_are_clipped_and_rounded() -> None:
    target = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    stored = functional.quantize_16bit(target)
    for metric in (PSNR(), SSIM(), DeltaEITP()):
        unrounded = type(metric)(round_16bit=False)
        pred = 1.5 * target - 0.2
        metric.update(pred, target)
        unrounded.update(functional.quantize_16bit(pred), stored)
        assert metric.compute() == unrounded.compute()
        assert unrounded.protocol.rounding == "unrounded"


def test_nan_is_not_hidden() -> None:
    pred, target = noisy_clips(1)
    pred[0, 0, 0, 0, 0] = torch.nan
    for metric in (PSNR(), SSIM(), DeltaEITP()):
        metric.update(pred, target)
        assert metric.compute().isnan()


def test_classes_say_what_they_measure() -> None:
    paper = find_entry("kpn_mfi").protocols
    metrics = {"psnr": PSNR(), "ssim_kpn": SSIM("kpn"), "delta_e_itp": DeltaEITP(), "mabd_pred": MABD()}
    for name, metric in metrics.items():
        assert compatible(metric.protocol, paper[name])
    assert not compatible(SSIM().protocol, paper["ssim_kpn"])
    assert not compatible(DeltaEITP("p95").protocol, DeltaEITP().protocol)
    assert [m.higher_is_better for m in (PSNR(), SSIM(), DeltaEITP(), MABD())] == [True, True, False, False]
    assert str(PSNR().protocol) == "PQ BT.2020, 16-bit, full frame, mean of frames"
    assert str(SSIM("kpn").protocol) == "kpn, PQ BT.2020, 16-bit, full frame, mean of frames"
    assert str(paper["hdr_vdp3_kpn"]).endswith("16.9238 ppd, led-lcd-wcg")


@pytest.mark.parametrize(("cls", "function"), TIME, ids=lambda x: getattr(x, "__name__", ""))
def test_classes_stream_and_average_over_clips(
    cls: type[ClipMetric], function: Any, noisy_pan: tuple[Tensor, Tensor]
) -> None:
    pred, target = (x.double() for x in noisy_pan)
    metric = cls(round_16bit=False)
    metric.update(pred, target)
    expected = function(pred, target)
    assert list(metric.compute()) == list(metric.names)
    for value, function_value in zip(metric.compute().values(), expected, strict=True):
        assert value.item() == pytest.approx(function_value.mean().item(), rel=1e-12)
    chunks = ((0, 2), (2, 3), (3, 4))
    parts = [
        metric.measure(pred[1, max(0, a - metric.context) : b], target[1, max(0, a - metric.context) : b])
        for a, b in chunks
    ]
    measured = torch.cat(parts)
    assert measured.shape == (4 - metric.context, len(metric.columns))
    assert measured.dtype == torch.float64
    for value, alone in zip(metric.reduce(measured).values(), function(pred[1:], target[1:]), strict=True):
        assert value.item() == pytest.approx(alone.item(), rel=1e-12)
    assert function(pred[1:], target[1:])[0] == expected[0, 1]


def test_clip_metrics_need_enough_frames() -> None:
    clip = pan(3)
    for cls, _ in TIME:
        with pytest.raises(ValueError, match="at least 2 frames"):
            cls().update(clip[:, :1], clip[:, :1])


def test_state_survives_copy_and_pickle() -> None:
    pred, target = noisy_clips(2)
    metrics = frame_metrics(ALL)
    metrics.update(pred, target)
    assert copy.deepcopy(metrics).compute() == metrics.compute()


def test_vitm_does_not_import_metrics() -> None:
    code = "import vitm, sys; sys.exit('torchmetrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.set_num_threads(1)
    pred, target = noisy_clips(5)
    pred[4] = target[4]
    metrics = frame_metrics(SHARED)
    share = slice(0, 1) if rank == 0 else slice(1, 5)
    metrics.update(pred[share], target[share])
    torch.save(metrics.compute(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_with_unequal_shares_equal_one(tmp_path: Path) -> None:
    mp.spawn(_worker, args=(str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    pred, target = noisy_clips(5)
    pred[4] = target[4]
    metrics = frame_metrics(SHARED)
    metrics.update(pred, target)
    expected = metrics.compute()
    for rank in range(2):
        result = torch.load(tmp_path / f"{rank}.pt")
        assert result.keys() == expected.keys()
        for name, value in expected.items():
            exact = 1e-12 if name in KEYS else 1e-5  # the others are computed in fp32, with other threads there
            assert result[name].item() == pytest.approx(value.item(), rel=exact), name
