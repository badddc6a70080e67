"""The metric functions against goldens and independent libraries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import colour
import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from vitm.metrics import functional
from vitm.metrics.functional import delta_e_itp, mabd, psnr, quantize_16bit, ssim

PAIRS = ["g01", "g02", "g03", "g11", *(pytest.param(name, marks=pytest.mark.slow) for name in ("g05", "g06"))]
FRAME_METRICS = [psnr, ssim, delta_e_itp]


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "goldens/metrics/golden.json").read_text())


def read(path: Path) -> Tensor:
    """A 16-bit PNG as (1, 3, H, W) PQ codes in fp32, as a data loader gives it."""
    bgr = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert bgr.dtype == np.uint16
    return torch.from_numpy(bgr[..., ::-1].astype(np.float32) / 65535).permute(2, 0, 1).unsqueeze(0)


@pytest.fixture
def pair(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    target = torch.rand(2, 3, 24, 31, generator=rng, dtype=torch.float64)
    return (target + 0.05 * torch.randn(target.shape, generator=rng, dtype=torch.float64)).clamp(0, 1), target


@pytest.mark.parametrize("name", PAIRS)
def test_frame_metrics_agree_with_goldens(shared: Path, golden: dict[str, Any], name: str) -> None:
    values = golden["pairs"][name]["values"]
    test, ref = (read(shared / "goldens/metrics" / golden["pairs"][name][key]) for key in ("test", "ref"))
    ours = {
        "psnr_pq": psnr(test, ref),
        "ssim_gauss11": ssim(test, ref),
        "ssim_uniform7_L1": ssim(test, ref, "uniform7"),
        "ssim_uniform7_L2_kpn": ssim(test, ref, "kpn"),
        "delta_e_itp_mean": delta_e_itp(test, ref),
        "delta_e_itp_p95": delta_e_itp(test, ref, "p95"),
    }
    for metric, value in ours.items():
        expected = float("inf") if values[metric] is None else values[metric]
        assert value.item() == pytest.approx(expected, abs=golden["metrics"][metric]["tolerance"]), metric


def test_mabd_agrees_with_golden(shared: Path, golden: dict[str, Any]) -> None:
    values = golden["clips"]["c02"]["values"]["mabd"]
    clip = np.load(shared / "goldens/metrics/clips/c02.npz")
    test, ref = (
        torch.from_numpy(clip[key].astype(np.float32) / 65535).permute(0, 3, 1, 2)[None] for key in ("test", "ref")
    )
    ours = mabd(test, ref)
    assert ours.gt is not None
    assert ours.mse is not None
    assert ours.pred.item() == pytest.approx(values["kpn_test"], rel=1e-6)
    assert ours.gt.item() == pytest.approx(values["kpn_ref"], rel=1e-6)
    assert ours.mse.item() == pytest.approx(values["luma2020_mse_mabd"], rel=1e-5)
    assert mabd(test) == (ours.pred, None, None)


def test_agree_with_other_libraries(pair: tuple[Tensor, Tensor]) -> None:
    pred, target = pair
    for index, (x, y) in enumerate(zip(*(t.permute(0, 2, 3, 1).numpy() for t in pair), strict=True)):
        assert psnr(pred, target)[index].item() == pytest.approx(peak_signal_noise_ratio(y, x, data_range=1), abs=1e-10)
        gauss = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
        for variant, options in (("gauss11", gauss), ("uniform7", {"data_range": 1}), ("kpn", {"data_range": 2})):
            expected = structural_similarity(y, x, channel_axis=-1, **options)
            assert ssim(pred, target, variant)[index].item() == pytest.approx(expected, abs=1e-12)  # type: ignore[arg-type]
        a, b = (colour.RGB_to_ICtCp(colour.models.eotf_ST2084(v), method="ITU-R BT.2100-2 PQ") for v in (x, y))
        expected_map = colour.difference.delta_E_ITP(a, b)
        np.testing.assert_allclose(delta_e_itp(pred, target, "none")[index], expected_map, rtol=1e-9)
        assert delta_e_itp(pred, target)[index].item() == pytest.approx(expected_map.mean(), rel=1e-9)
        percentile = np.percentile(expected_map, 95)
        assert delta_e_itp(pred, target, "p95")[index].item() == pytest.approx(percentile, rel=1e-9)


def test_bands_join(rng: torch.Generator) -> None:
    """Large frames are measured in bands of rows: here three, the last one short."""
    target = torch.rand(1, 3, 70, 600, generator=rng, dtype=torch.float64)
    pred = (target + 0.05 * torch.randn(target.shape, generator=rng, dtype=torch.float64)).clamp(0, 1)
    x, y = (t[0].permute(1, 2, 0).numpy() for t in (pred, target))
    gauss = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    assert ssim(pred, target).item() == pytest.approx(structural_similarity(y, x, channel_axis=-1, **gauss), abs=1e-12)
    expected = structural_similarity(y, x, channel_axis=-1, data_range=2)
    assert ssim(pred, target, "kpn").item() == pytest.approx(expected, abs=1e-12)
    a, b = (colour.RGB_to_ICtCp(colour.models.eotf_ST2084(v), method="ITU-R BT.2100-2 PQ") for v in (x, y))
    expected_map = colour.difference.delta_E_ITP(a, b)
    np.testing.assert_allclose(delta_e_itp(pred, target, "none")[0], expected_map, rtol=1e-9, atol=1e-9)


def test_ssim_agrees_with_piq(pair: tuple[Tensor, Tensor]) -> None:
    piq = pytest.importorskip("piq")
    expected = piq.ssim(*pair, data_range=1.0, downsample=False, reduction="none")
    torch.testing.assert_close(ssim(*pair), expected, atol=1e-12, rtol=0)


def test_a_uniform_step_by_hand() -> None:
    """0.1 apart everywhere: 20 dB. Luma 0.2, 0.5, 0.4 against 0.2, 0.3, 0.3: steps 0.3, 0.1 and 0.1, 0."""
    frame = torch.full((1, 3, 16, 16), 0.5)
    assert psnr(frame, frame - 0.1).item() == pytest.approx(20, abs=1e-5)
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


def test_identical_frames(pair: tuple[Tensor, Tensor]) -> None:
    same = pair[0]
    assert psnr(same, same).tolist() == [float("inf")] * 2
    for variant in ("gauss11", "uniform7", "kpn"):
        assert ssim(same, same, variant).tolist() == pytest.approx([1, 1])  # type: ignore[arg-type]
    assert delta_e_itp(same, same).tolist() == [0, 0]


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


def test_mabd_does_not_depend_on_the_batch(rng: torch.Generator) -> None:
    pred, target = torch.rand(2, 2, 3, 3, 8, 8, generator=rng)
    for together, *alone in zip(
        mabd(pred, target), *(mabd(pred[i : i + 1], target[i : i + 1]) for i in range(2)), strict=True
    ):
        torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("metric", FRAME_METRICS)
def test_fp32_inputs_agree_with_fp64(metric: Any, pair: tuple[Tensor, Tensor]) -> None:
    pred, target = pair
    torch.testing.assert_close(metric(pred.float(), target.float()), metric(pred, target), rtol=1e-5, atol=1e-7)


def test_gradients(rng: torch.Generator) -> None:
    pred, target = 0.1 + 0.8 * torch.rand(2, 1, 2, 3, 11, 11, generator=rng, dtype=torch.float64)
    pred.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: psnr(x, target), pred, atol=1e-4, fast_mode=True)
    for variant in ("gauss11", "uniform7", "kpn"):
        assert torch.autograd.gradcheck(lambda x, v=variant: ssim(x, target, v), pred, fast_mode=True)
    for reduction in ("mean", "p95", "none"):
        assert torch.autograd.gradcheck(
            lambda x, r=reduction: delta_e_itp(x, target, r), pred, eps=1e-8, atol=1e-2, rtol=1e-2, fast_mode=True
        )
    assert torch.autograd.gradcheck(lambda x: mabd(x, target), pred, fast_mode=True)


def test_delta_e_gradient_is_finite_on_black_white_and_equal_frames() -> None:
    for value in (0.0, 1e-7, 1.0):
        pred = torch.full((1, 3, 4, 4), value, requires_grad=True)
        for target in (0.0, 0.5, 1.0):
            (gradient,) = torch.autograd.grad(delta_e_itp(pred, torch.full((1, 3, 4, 4), target)).sum(), pred)
            assert gradient.isfinite().all()


def test_codes_out_of_range_are_clamped_for_delta_e() -> None:
    wild = torch.tensor([-0.5, 0.3, 1.7]).view(1, 3, 1, 1)
    assert delta_e_itp(wild, wild.clamp(0, 1)).item() == 0


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


def test_option_errors() -> None:
    frame = torch.zeros(1, 3, 10, 16)
    with pytest.raises(ValueError, match="gauss11"):
        ssim(frame, frame, "torchmetrics")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="11x11"):
        ssim(frame, frame)
    with pytest.raises(ValueError, match="p95"):
        delta_e_itp(frame, frame, "max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two frames"):
        mabd(frame.unsqueeze(1))
    with pytest.raises(ValueError, match="two frames"):
        mabd(frame)


def test_public_names() -> None:
    assert {"psnr", "ssim", "delta_e_itp", "mabd", "quantize_16bit"} <= set(functional.__all__)
