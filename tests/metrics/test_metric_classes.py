"""The torchmetrics classes: means over frames, identical frames, collections, processes."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from vitm.metrics import MABD, PAPER, PSNR, SSIM, DeltaEITP, Protocol, compatible, frame_metrics, functional

ALL = ("psnr", "ssim", "ssim_kpn", "delta_e_itp", "mabd")
SHARED = (*ALL, "sr_sim", "hdr_vdp3", "pu21_psnr", "hdr_volume", "hdr_vqm", "flicker", "highlight_stability")
KEYS = {"psnr", "ssim", "ssim_kpn", "delta_e_itp", "mabd_pred", "mabd_gt", "mse_mabd"}


def clips(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """`count` clips of two frames, each with noise of its own strength."""
    rng = torch.Generator().manual_seed(seed)
    target = torch.rand(count, 2, 3, 16, 16, generator=rng)
    strength = torch.linspace(0.01, 0.3, count).view(-1, 1, 1, 1, 1)
    return target + strength * torch.randn(target.shape, generator=rng), target


def test_mean_is_over_frames_not_over_batches_or_pooled_error() -> None:
    pred, target = clips(5)
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
    nearly = PSNR()
    nearly.update((stored + 0.4 / 65535).float(), stored.float())
    assert nearly.compute() == torch.inf


def test_identical_frames_are_left_out_of_psnr_and_counted() -> None:
    pred, target = clips(3)
    pred[1] = target[1]
    metric = PSNR()
    metric.update(pred, target)
    alone = PSNR()
    alone.update(pred[[0, 2]], target[[0, 2]])
    assert metric.compute() == pytest.approx(alone.compute().item())
    assert (metric.n_identical, metric.count) == (2, 4)
    perfect = PSNR()
    perfect.update(target, target)
    assert perfect.compute() == torch.inf
    metric.reset()
    assert metric.n_identical == 0


def test_nan_is_not_hidden() -> None:
    pred, target = clips(1)
    pred[0, 0, 0, 0, 0] = torch.nan
    for metric in (PSNR(), SSIM(), DeltaEITP()):
        metric.update(pred, target)
        assert metric.compute().isnan()


def test_metrics_do_not_merge_after_a_perfect_batch() -> None:
    """On identical frames the states of SSIM and SSIM (kpn) agree: a collection that groups them loses one."""
    pred, target = clips(2)
    metrics = frame_metrics(("ssim", "ssim_kpn"))
    metrics.update(target, target)
    metrics.update(pred, target)
    result = metrics.compute()
    for name, metric in (("ssim", SSIM()), ("ssim_kpn", SSIM("kpn"))):
        metric.update(target, target)
        metric.update(pred, target)
        assert result[name] == metric.compute()


def test_classes_say_what_they_measure() -> None:
    metrics = {"psnr": PSNR(), "ssim_kpn": SSIM("kpn"), "delta_e_itp": DeltaEITP(), "mabd_pred": MABD()}
    for name, metric in metrics.items():
        assert compatible(metric.protocol, PAPER["kpn_mfi"][name])
    assert not compatible(SSIM().protocol, PAPER["kpn_mfi"]["ssim_kpn"])
    assert not compatible(DeltaEITP("p95").protocol, DeltaEITP().protocol)
    assert [m.higher_is_better for m in (PSNR(), SSIM(), DeltaEITP(), MABD())] == [True, True, False, False]
    assert str(PSNR().protocol) == "PQ BT.2020, 16-bit, full frame, mean of frames"
    assert str(SSIM("kpn").protocol) == "kpn, PQ BT.2020, 16-bit, full frame, mean of frames"
    assert str(PAPER["kpn_mfi"]["hdr_vdp3_kpn"]).endswith("16.9238 ppd, led-lcd-wcg")


def test_compatible_looks_at_every_field() -> None:
    base = Protocol("PQ BT.2020", 10_000.0, "16-bit", "full frame", "mean of frames", ppd=16.9238)
    assert compatible(base, replace(base, ppd=16.92))
    others = {"domain": "PU21", "peak_nits": 1000.0, "rounding": "8-bit", "crop": "border 4", "reduction": "pooled"}
    others |= {"variant": "Q", "display": "oled"}
    for field, value in others.items():
        assert not compatible(base, replace(base, **{field: value})), field  # type: ignore[arg-type]
    for ppd in (60.0, None):
        assert not compatible(base, replace(base, ppd=ppd))
        assert not compatible(replace(base, ppd=ppd), base)


def test_unknown_metric() -> None:
    with pytest.raises(ValueError, match="lpips"):
        frame_metrics(("psnr", "lpips"))


def test_state_survives_copy_and_pickle() -> None:
    pred, target = clips(2)
    metrics = frame_metrics(ALL)
    metrics.update(pred, target)
    assert copy.deepcopy(metrics).compute() == metrics.compute()


def test_vitm_does_not_import_metrics() -> None:
    code = "import vitm, sys; sys.exit('torchmetrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.set_num_threads(1)
    pred, target = clips(5)
    pred[4] = target[4]
    metrics = frame_metrics(SHARED)
    share = slice(0, 1) if rank == 0 else slice(1, 5)
    metrics.update(pred[share], target[share])
    torch.save(metrics.compute(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_with_unequal_shares_equal_one(tmp_path: Path) -> None:
    mp.spawn(_worker, args=(str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    pred, target = clips(5)
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
