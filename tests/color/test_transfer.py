"""Transfer functions against colour-science, printed values, and for finite gradients everywhere."""

from __future__ import annotations

from collections.abc import Callable

import colour
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vitm import color
from vitm.color.transfer import hlg_system_gamma

CODES = np.linspace(0, 1, 4097)
LIGHT = np.concatenate(([0.0], np.logspace(-7, 0, 4096)))

POINTWISE = [
    (color.pq_eotf, colour.models.eotf_ST2084, CODES),
    (color.pq_inverse_eotf, colour.models.eotf_inverse_ST2084, LIGHT * 10_000),
    (color.hlg_oetf, colour.models.oetf_BT2100_HLG, LIGHT),
    (color.hlg_inverse_oetf, colour.models.oetf_inverse_BT2100_HLG, CODES),
    (color.bt1886_eotf, colour.models.eotf_BT1886, CODES),
    (color.bt1886_inverse_eotf, colour.models.eotf_inverse_BT1886, LIGHT),
    (color.srgb_eotf, colour.models.eotf_sRGB, CODES),
    (color.srgb_inverse_eotf, colour.models.eotf_inverse_sRGB, LIGHT),
    (color.gamma22_eotf, lambda x: colour.gamma_function(x, 2.2), CODES),
    (color.gamma22_inverse_eotf, lambda x: colour.gamma_function(x, 1 / 2.2), LIGHT),
    (color.bt709_oetf, colour.models.oetf_BT709, LIGHT),
    (color.bt709_inverse_oetf, colour.models.oetf_inverse_BT709, CODES[(CODES < 0.0810) | (CODES > 0.0813)]),
]
NAMES = [function.__name__ for function, _, _ in POINTWISE]
INVERSES = [
    (color.pq_eotf, color.pq_inverse_eotf),
    (color.hlg_inverse_oetf, color.hlg_oetf),
    (color.bt1886_eotf, color.bt1886_inverse_eotf),
    (color.srgb_eotf, color.srgb_inverse_eotf),
    (color.gamma22_eotf, color.gamma22_inverse_eotf),
]


@pytest.mark.parametrize(("ours", "theirs", "grid"), POINTWISE, ids=NAMES)
def test_agrees_with_colour_science(
    ours: Callable[[Tensor], Tensor], theirs: Callable[..., object], grid: object
) -> None:
    expected = np.asarray(theirs(grid))
    fp64 = ours(torch.tensor(grid)).numpy()
    np.testing.assert_allclose(fp64, expected, rtol=1e-9, atol=1e-9)
    fp32 = ours(torch.tensor(grid, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(fp32, expected, rtol=5e-6, atol=1e-6)


@pytest.mark.parametrize("peak", [400.0, 1000.0, 2000.0])
def test_hlg_ootf_agrees_with_colour_science(peak: float, rng: torch.Generator) -> None:
    scene = torch.rand(3, 8, 8, generator=rng, dtype=torch.float64)
    pixels = scene.permute(1, 2, 0).numpy()
    ours = color.hlg_ootf(scene, peak)
    np.testing.assert_allclose(
        ours.permute(1, 2, 0).numpy(), colour.models.ootf_BT2100_HLG(pixels, L_W=peak), rtol=1e-9
    )
    back = color.hlg_inverse_ootf(ours, peak)
    np.testing.assert_allclose(back.numpy(), scene.numpy(), rtol=1e-9)


def test_hlg_system_gamma_printed_values() -> None:
    assert hlg_system_gamma(1000) == 1.2
    assert hlg_system_gamma(2000) == pytest.approx(1.326, abs=1e-3)
    # BT.2390's extended range: 1.2 * 1.111 ** log2(peak / 1000)
    assert hlg_system_gamma(4000) == pytest.approx(1.2 * 1.111**2)
    assert hlg_system_gamma(250) == pytest.approx(1.2 / 1.111**2)


@pytest.mark.parametrize(("nits", "code"), [(100, 0.508), (203, 0.58), (1000, 0.752), (4000, 0.902), (10_000, 1.0)])
def test_pq_printed_levels(nits: float, code: float) -> None:
    assert color.pq_inverse_eotf(torch.tensor(float(nits))).item() == pytest.approx(code, abs=1e-3)
    assert color.pq_inverse_eotf(torch.tensor(10_000.0)).item() == 1.0


def test_hdr_reference_white_is_75_percent_hlg() -> None:
    """BT.2408, table 1: 203 cd/m2 on a 1000 cd/m2 display is 75 % HLG."""
    code = color.hlg_oetf(color.hlg_inverse_ootf(torch.full((3, 1, 1), 203.0)))
    torch.testing.assert_close(code, torch.full((3, 1, 1), 0.75), atol=1e-3, rtol=0)


def test_bt1886_black_lift() -> None:
    codes = torch.tensor(CODES)
    ours = color.bt1886_eotf(codes, peak=100.0, black=0.1)
    np.testing.assert_allclose(ours, colour.models.eotf_BT1886(CODES, L_B=0.1, L_W=100.0), rtol=1e-9)
    torch.testing.assert_close(color.bt1886_inverse_eotf(ours, peak=100.0, black=0.1), codes)


@pytest.mark.parametrize(("decode", "encode"), INVERSES, ids=[d.__name__ for d, _ in INVERSES])
def test_every_16_bit_code_survives_in_fp32(
    decode: Callable[[Tensor], Tensor], encode: Callable[[Tensor], Tensor]
) -> None:
    codes = torch.arange(65536, dtype=torch.float64).div(65535).float()
    back = encode(decode(codes)).double().mul(65535).round()
    assert torch.equal(back, torch.arange(65536, dtype=torch.float64))


def _light_functions() -> list[Callable[[Tensor], Tensor]]:
    vector = [color.hlg_ootf, color.hlg_inverse_ootf, lambda x: color.hlg_ootf(x, 100.0)]
    lifted = [lambda x: color.bt1886_eotf(x, 100.0, 0.1), lambda x: color.bt1886_inverse_eotf(x, 100.0, 0.1)]
    return [function for function, _, _ in POINTWISE] + vector + lifted  # type: ignore[operator]


FINITE = _light_functions()


def _assert_finite(values: Tensor) -> None:
    for function in FINITE:
        x = values.clone().requires_grad_()
        y = function(x)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert y.isfinite().all()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_finite_on_a_grid(dtype: torch.dtype) -> None:
    special = torch.tensor([-3e38, -1e6, -1e-45, 0.0, 1e-45, 1e-38, 3e38], dtype=dtype)
    powers = torch.logspace(-44, 38, 2000, dtype=torch.float64).to(dtype)
    grid = torch.cat(
        (special, powers, -powers, torch.linspace(-10, 1e6, 2001, dtype=dtype), torch.linspace(-1, 2, 3001))
    )
    _assert_finite(grid.to(dtype).sort().values.expand(3, 1, -1))


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=3, max_size=3))
def test_values_and_gradients_are_finite_anywhere(values: list[float]) -> None:
    _assert_finite(torch.tensor(values).view(3, 1, 1))


@pytest.mark.parametrize("ours", FINITE)
def test_rises(ours: Callable[[Tensor], Tensor]) -> None:
    x = torch.cat((torch.logspace(-15, -1, 5000, dtype=torch.float64), torch.linspace(0.1, 1.2, 5001)))
    y = ours(x.sort().values.expand(3, 1, -1))
    assert (y.diff(dim=-1) >= -1e-12 * y[..., 1:].abs()).all()


@pytest.mark.parametrize(("ours", "_theirs", "grid"), POINTWISE, ids=NAMES)
def test_gradients_are_those_of_finite_differences(
    ours: Callable[[Tensor], Tensor], _theirs: object, grid: object
) -> None:
    scale = 10_000.0 if ours is color.pq_inverse_eotf else 1.0
    x = torch.tensor([0.11, 0.3, 0.47, 0.62, 0.93], dtype=torch.float64).mul(scale).requires_grad_()
    assert torch.autograd.gradcheck(ours, x, eps=1e-6 * scale, atol=1e-6)


def test_out_of_domain_counts_as_the_limit() -> None:
    x = torch.tensor([-10.0, -1e-3, 0.0])
    for function, _, _ in POINTWISE:
        assert torch.equal(function(x), function(torch.zeros(3)))
    assert color.pq_eotf(torch.tensor(1.5)).item() == 10_000.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_left(dtype: torch.dtype) -> None:
    x = torch.tensor([0.0, 0.25, 1.0], dtype=dtype)
    for function, _, _ in POINTWISE:
        y = function(x)
        assert y.dtype == torch.float32
        assert torch.equal(y, function(x.float()))


@pytest.mark.parametrize("name", ["pq_eotf", "hlg_ootf", "rgb2020_to_ictcp", "bt709_to_bt2020", "tone_map"])
def test_autocast_changes_nothing(name: str, rng: torch.Generator) -> None:
    x = torch.rand(1, 3, 8, 8, generator=rng)
    function = getattr(color, name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = function(x)
    assert torch.equal(inside, function(x))


def test_errors() -> None:
    with pytest.raises(TypeError, match="floating point"):
        color.pq_eotf(torch.zeros(3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="black"):
        color.bt1886_eotf(torch.zeros(3), peak=1.0, black=2.0)
    with pytest.raises(ValueError, match="peak_nits"):
        color.hlg_ootf(torch.zeros(3, 1, 1), 0.0)
    with pytest.raises(ValueError, match="3, H, W"):
        color.hlg_ootf(torch.zeros(4, 5, 5))
