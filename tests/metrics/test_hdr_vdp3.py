"""HDR-VDP-3 against goldens of the release, a plain program of the definition, SciPy's filters, and what must hold."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
from torch import Tensor

from benchmarks.hdr_vdp3 import plain
from vitm.color import pq_eotf, pq_inverse_eotf
from vitm.metrics import HDRVDP3
from vitm.metrics.functional import psnr, quantize_16bit
from vitm.metrics.functional.filters import box3, correlate, gaussian, glare, reflected
from vitm.metrics.functional.hdr_vdp3 import HDR_VDP3_CONFIGS, HDRVDP3Config, hdr_vdp3
from vitm.metrics.functional.hdr_vdp3_observer import NATIVE_TO_LMSR, mtf, response_table
from vitm.metrics.functional.steerable import BFILT, HI0FILT, LO0FILT, LOFILT, decompose
from vitm.metrics.protocol import FRAMES, compatible
from vitm.runs.entries import find_entry

PAIRS = ["g01", "g02", "g03", "g11", *(pytest.param(name, marks=pytest.mark.slow) for name in ("g05", "g06"))]
GOLDEN_CONFIGS: dict[str, str | HDRVDP3Config] = {
    "q60oled": "default",
    "sbs50wcg": "hdrtvnet",
    "kpn": "kpn_mfi",
    "lum30": HDRVDP3Config(30, "d65-luminance"),
    "q60nomtf": HDRVDP3Config(60, "oled", mtf=False),
}
OTHER_CONFIGS = [HDRVDP3Config(20, "crt"), HDRVDP3Config(42, "ccfl-lcd"), HDRVDP3Config(110.5, "led-lcd-srgb")]
QUANTITIES: list[Any] = ["q", "q_jod"]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small images gain nothing from a second thread, and lose much where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def scene(generator: torch.Generator, height: int, width: int) -> Tensor:
    """(1, 3, H, W), fp64: smooth light of 0.1 to 1000 cd/m2 with texture and a bright edge."""
    coarse = torch.rand(1, 3, height // 8 + 2, width // 8 + 2, generator=generator, dtype=torch.float64)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    texture = 0.02 * torch.randn(smooth.shape, generator=generator, dtype=torch.float64)
    edge = 0.2 * (torch.arange(width) > width // 2)
    return (0.1 + 0.4 * smooth + texture + edge).clamp(0, 1)


@pytest.fixture
def target(rng: torch.Generator) -> Tensor:
    return scene(rng, 70, 93)


@pytest.fixture
def pred(target: Tensor, rng: torch.Generator) -> Tensor:
    return (target + 0.02 * torch.randn(target.shape, generator=rng, dtype=torch.float64)).clamp(0, 1)


@pytest.fixture
def plane(rng: torch.Generator) -> Tensor:
    return torch.randn(2, 37, 50, generator=rng, dtype=torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_agrees_with_the_release(shared: Path, name: str) -> None:
    golden = json.loads((shared / "goldens/metrics/golden.json").read_text())
    paths = [shared / "goldens/metrics" / golden["pairs"][name][key] for key in ("test", "ref")]
    images = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1].astype(np.float64) / 65535 for path in paths]
    test, ref = (torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0) for image in images)
    for config_name, values in golden["pairs"][name]["values"]["hdrvdp3"].items():
        config = GOLDEN_CONFIGS[config_name]
        for quantity, key in (("q", "Q"), ("q_jod", "Q_JOD")):
            double = hdr_vdp3(test, ref, config, quantity)  # type: ignore[arg-type]
            single = hdr_vdp3(test.float(), ref.float(), config, quantity)  # type: ignore[arg-type]
            assert double.item() == pytest.approx(values[key], abs=1e-6), (config_name, key)
            assert single.item() == pytest.approx(values[key], abs=golden["metrics"]["hdrvdp3"]["tolerance"])


@pytest.mark.slow
@pytest.mark.parametrize("size", [(70, 93), (13, 13), (13, 120), (53, 26), (131, 104)])
@pytest.mark.parametrize("config", [*GOLDEN_CONFIGS.values(), *OTHER_CONFIGS], ids=str)
def test_agrees_with_a_plain_program(rng: torch.Generator, size: tuple[int, int], config: str | HDRVDP3Config) -> None:
    target = scene(rng, *size)
    pred = target.clone()
    rows = slice(0, size[0] * 2 // 3)  # the rest of the frame is the same
    pred[..., rows, :] += 0.03 * torch.randn(pred[..., rows, :].shape, generator=rng, dtype=torch.float64)
    setting = HDR_VDP3_CONFIGS[config] if isinstance(config, str) else config
    expected = plain(pred[0].clamp(0, 1), target[0], setting.ppd, setting.display, setting.mtf)
    q, q_jod = (hdr_vdp3(pred, target, config, quantity).item() for quantity in QUANTITIES)
    assert expected < 9.9
    assert q == pytest.approx(expected, abs=1e-9)
    assert q_jod == pytest.approx(10 - 0.52 * (10 - expected) ** 1.2812, abs=1e-9)


@pytest.mark.parametrize("config", HDR_VDP3_CONFIGS)
def test_fp32_is_exact_enough(pred: Tensor, target: Tensor, config: str) -> None:
    single = hdr_vdp3(pred.float(), target.float(), config, "q")
    assert single.dtype == torch.float64
    torch.testing.assert_close(single, hdr_vdp3(pred, target, config, "q"), atol=5e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("config", GOLDEN_CONFIGS.values(), ids=str)
def test_identical_frames_are_exactly_10(target: Tensor, dtype: torch.dtype, config: str | HDRVDP3Config) -> None:
    for same in (target.to(dtype), torch.zeros(1, 3, 20, 20, dtype=dtype), torch.ones(1, 3, 20, 20, dtype=dtype)):
        for quantity in QUANTITIES:
            assert hdr_vdp3(same, same.clone(), config, quantity).tolist() == [10.0]


def test_more_noise_is_worse_and_distance_hides_it(target: Tensor, rng: torch.Generator) -> None:
    noise = torch.randn(target.shape, generator=rng, dtype=torch.float64)
    values = [hdr_vdp3(target + sigma * noise, target).item() for sigma in (0.003, 0.01, 0.03, 0.1)]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 2
    by_distance = [hdr_vdp3(target + 0.01 * noise, target, HDRVDP3Config(ppd)).item() for ppd in (15, 30, 60, 120)]
    assert by_distance == sorted(by_distance)
    assert by_distance[-1] - by_distance[0] > 0.5


def test_is_blind_to_a_gain_and_psnr_is_not(target: Tensor) -> None:
    dimmed = pq_inverse_eotf(0.85 * pq_eotf(target))
    assert hdr_vdp3(dimmed, target).item() > 9.99
    assert psnr(dimmed, target).item() < 40


def test_what_cannot_be_seen_does_not_count(target: Tensor) -> None:
    """Differences of light below 0.1 % are masked out."""
    light = pq_eotf(target)
    pattern = (torch.arange(target.shape[-1]) % 8 < 4).double()
    below, above = (pq_inverse_eotf(light * (1 + step * pattern)) for step in (0.0005, 0.004))
    assert hdr_vdp3(below, target, HDRVDP3Config(60, "d65-luminance")).item() == 10.0
    assert hdr_vdp3(above, target, HDRVDP3Config(60, "d65-luminance")).item() < 10.0


def test_values_do_not_depend_on_the_batch(pred: Tensor, target: Tensor) -> None:
    preds, targets = torch.cat((pred, target, target.flip(-1))), torch.cat((target, pred, pred))
    together = hdr_vdp3(preds, targets)
    alone = torch.cat([hdr_vdp3(preds[i : i + 1], targets[i : i + 1]) for i in range(3)])
    assert together.shape == (3,)
    assert torch.equal(together, alone)
    clips = hdr_vdp3(preds.unsqueeze(0), targets.unsqueeze(0))
    assert clips.shape == (1, 3)
    assert torch.equal(clips[0], alone)


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("config", GOLDEN_CONFIGS.values(), ids=str)
def test_gradient_is_the_slope(pred: Tensor, target: Tensor, config: Any, quantity: Any, rng: torch.Generator) -> None:
    pred, target = (x[..., :40, :33].clone().clamp(0.05, 0.95).requires_grad_() for x in (pred, target))
    response_table.cache_clear()
    with torch.inference_mode():
        hdr_vdp3(pred, target, config, quantity)  # what this caches must serve the graph below
    step = 1e-6 * torch.randn(pred.shape, generator=rng, dtype=torch.float64)
    gradients = torch.autograd.grad(hdr_vdp3(pred, target, config, quantity).sum(), (pred, target))
    with torch.no_grad():
        slopes = (
            (hdr_vdp3(pred + step, target, config, quantity) - hdr_vdp3(pred - step, target, config, quantity)) / 2,
            (hdr_vdp3(pred, target + step, config, quantity) - hdr_vdp3(pred, target - step, config, quantity)) / 2,
        )
    for gradient, slope in zip(gradients, slopes, strict=True):
        assert (gradient * step).sum().item() == pytest.approx(slope.item(), rel=2e-2, abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_finite_where_nothing_or_everything_differs(target: Tensor, dtype: torch.dtype) -> None:
    black, white = torch.zeros(1, 3, 24, 31, dtype=dtype), torch.ones(1, 3, 24, 31, dtype=dtype)
    half = black.clone()
    half[..., :12] = 0.5
    same = target.to(dtype)
    for x, y in ((same, same), (black, black), (half, black), (black, half), (half, white)):
        x = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(hdr_vdp3(x, y).sum(), x)
        assert gradient.isfinite().all()
        assert gradient.dtype == dtype


def test_nan_is_told_not_hidden(pred: Tensor, target: Tensor) -> None:
    pred[..., 5, 5] = math.nan
    assert hdr_vdp3(pred, target).isnan().all()


def test_reduced_precision_elsewhere_does_not_reach_it(pred: Tensor, target: Tensor) -> None:
    pred, target = pred.float(), target.float()
    expected = hdr_vdp3(pred, target)
    convolutions = torch.backends.mkldnn.conv  # type: ignore[attr-defined]
    before = torch.get_float32_matmul_precision(), convolutions.fp32_precision
    try:
        torch.set_float32_matmul_precision("medium")
        convolutions.fp32_precision = "bf16"
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(hdr_vdp3(pred, target), expected)
        assert convolutions.fp32_precision == "bf16"
    finally:
        convolutions.fp32_precision = before[1]
        torch.set_float32_matmul_precision(before[0])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu(pred: Tensor, target: Tensor) -> None:
    """TF32, which CUDA's convolutions use by default, would be off by 1e-2."""
    for config in HDR_VDP3_CONFIGS:
        expected = hdr_vdp3(pred, target, config)
        torch.testing.assert_close(hdr_vdp3(pred.cuda(), target.cuda(), config).cpu(), expected, atol=1e-8, rtol=0)
        single = hdr_vdp3(pred.float().cuda(), target.float().cuda(), config).cpu()
        torch.testing.assert_close(single, expected, atol=5e-5, rtol=0)


def test_errors_say_what_is_wrong(pred: Tensor, target: Tensor) -> None:
    with pytest.raises(ValueError, match=r"unknown configuration 'tv'.*default.*hdrtvnet.*kpn_mfi.*hdrtvdm"):
        hdr_vdp3(pred, target, "tv")
    with pytest.raises(ValueError, match=r"unknown quantity 'jod'.*q_jod"):
        hdr_vdp3(pred, target, quantity="jod")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"unknown display 'paper'.*oled"):
        HDRVDP3Config(display="paper")  # type: ignore[arg-type]
    for ppd in (4.0, -60.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="more than 4 pixels a degree"):
            HDRVDP3Config(ppd)
    with pytest.raises(ValueError, match=r"at least 13x13, got \(12, 93\)"):
        hdr_vdp3(pred[..., :12, :], target[..., :12, :])
    with pytest.raises(ValueError, match="expected the same"):
        hdr_vdp3(pred, target[..., :-1])
    with pytest.raises(TypeError, match="float16"):
        hdr_vdp3(pred.half(), target.half())
    with pytest.raises(ValueError, match="unknown configuration"):
        HDRVDP3("tv")
    with pytest.raises(ValueError, match="unknown quantity"):
        HDRVDP3(quantity="jod")  # type: ignore[arg-type]


def test_the_metric_is_the_mean_over_frames_under_its_protocol(pred: Tensor, target: Tensor) -> None:
    metric = HDRVDP3("kpn_mfi", "q")
    metric.update(pred, target)
    metric.update(torch.stack((pred, target), dim=1), torch.stack((target, target), dim=1))
    pair = (quantize_16bit(x).float() for x in (pred, target))
    value = hdr_vdp3(*pair, "kpn_mfi", "q").item()
    assert metric.compute().item() == pytest.approx((2 * value + 10) / 3, abs=1e-9)
    assert compatible(metric.protocol, find_entry("kpn_mfi").protocols["hdr_vdp3_kpn"])
    assert str(HDRVDP3().protocol).startswith("Q_JOD, PQ BT.2020")
    assert (HDRVDP3().protocol.ppd, HDRVDP3().protocol.display) == (60.0, "oled")
    own = HDRVDP3(HDRVDP3Config(mtf=False), round_16bit=False).protocol
    assert own.rounding != FRAMES.rounding
    assert not compatible(own, HDRVDP3(round_16bit=False).protocol)


@pytest.mark.parametrize("block", [4, 16, 64])
@pytest.mark.parametrize(("shape", "stride"), [((9, 9), 1), ((13, 13), 2), ((1, 31), 1), ((5, 2), 4)])
def test_correlate_against_scipy(plane: Tensor, shape: tuple[int, int], stride: int, block: int) -> None:
    kernel = np.random.default_rng(0).standard_normal(shape)
    expected = np.stack([scipy.signal.correlate2d(x, kernel, mode="valid") for x in plane.numpy()])
    ours = correlate(plane, kernel, stride, block)
    np.testing.assert_allclose(ours, expected[:, ::stride, ::stride], atol=1e-12)


def test_borders_against_scipy(plane: Tensor) -> None:
    for kernel in (HI0FILT, LO0FILT, BFILT, LOFILT):
        expected = np.stack([scipy.ndimage.correlate(x, kernel, mode="mirror") for x in plane.numpy()])
        np.testing.assert_allclose(reflected(plane, kernel), expected, atol=1e-12)
        np.testing.assert_allclose(reflected(plane, kernel, stride=2), expected[:, ::2, ::2], atol=1e-12)
    expected = np.stack([scipy.ndimage.uniform_filter(x, 3, mode="constant") for x in plane.numpy()])
    np.testing.assert_allclose(box3(plane), expected, atol=1e-12)
    narrow = np.stack([scipy.ndimage.gaussian_filter(x, 2.8, mode="nearest", radius=8) for x in plane.numpy()])
    np.testing.assert_allclose(gaussian(plane, 2.8), narrow, atol=1e-12)


@pytest.mark.parametrize("sigma", [4.3, 9.9, 20.0])
def test_wide_gaussian_is_a_product_of_spectra(plane: Tensor, sigma: float) -> None:
    H, W = plane.shape[-2:]
    extended = np.pad(plane.numpy(), ((0, 0), (0, H), (0, W)), mode="edge")
    f = np.hypot(np.fft.fftfreq(2 * H)[:, None], np.fft.fftfreq(2 * W))
    spectrum = np.fft.fft2(extended) * np.exp(-0.5 * (2 * np.pi * f * sigma) ** 2)
    np.testing.assert_allclose(gaussian(plane, sigma), np.fft.ifft2(spectrum).real[:, :H, :W], atol=1e-12)


@pytest.mark.parametrize("size", [(13, 13), (14, 13), (13, 14), (32, 50)])
def test_glare_is_a_product_of_spectra(rng: torch.Generator, size: tuple[int, int]) -> None:
    x = torch.rand(2, *size, generator=rng, dtype=torch.float64)
    H, W = size
    mirrored = np.pad(x.numpy(), ((0, 0), (0, H), (0, W)), mode="symmetric")
    rho = 37.0 * np.hypot(np.fft.fftfreq(2 * H)[:, None], np.fft.fftfreq(2 * W))
    spectrum = np.fft.fft2(mirrored) * mtf(torch.from_numpy(rho)).numpy()
    np.testing.assert_allclose(glare(x, 37.0), np.fft.ifft2(spectrum).real[:, :H, :W], atol=1e-12)
    torch.testing.assert_close(glare(torch.ones_like(x), 37.0), torch.ones_like(x))  # light is spread, not lost


def test_pyramid_bands_have_their_sizes_and_scales() -> None:
    """A constant passes the low-pass alone: lo0 sums to 1, lofilt to 2 on purpose, the others to 0."""
    for kernel, total in ((HI0FILT, 0), (LO0FILT, 1), (BFILT, 0), (LOFILT, 2)):
        assert kernel.sum() == pytest.approx(total, abs=1e-6)
        assert np.array_equal(kernel, kernel.T)
        assert np.array_equal(kernel, kernel[::-1])
    *bands, low = decompose(torch.ones(1, 101, 64, dtype=torch.float64), 2)
    assert [tuple(band.shape) for band in (*bands, low)] == [(1, 101, 64), (1, 101, 64), (1, 51, 32), (1, 26, 16)]
    for band in bands:
        torch.testing.assert_close(band, torch.zeros_like(band), atol=1e-6, rtol=0)
    torch.testing.assert_close(low, torch.full_like(low, 0.5), atol=1e-6, rtol=0)


def test_observer_is_normalised() -> None:
    """Display white gives L + M = 1; responses grow with light, those of rods up to a ceiling; no light is lost."""
    for matrix in NATIVE_TO_LMSR.values():
        assert sum(row[0] + row[1] for row in matrix) == pytest.approx(1, abs=1e-6)
    cone, rod = response_table(torch.float64, torch.device("cpu")).diff()
    assert (cone > 0).all()
    assert (rod >= 0).all()
    assert mtf(torch.zeros(1, dtype=torch.float64)).item() == pytest.approx(1, abs=1e-9)
