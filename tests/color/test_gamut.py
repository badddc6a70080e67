"""Primaries and ICtCp against colour-science and printed matrices."""

from __future__ import annotations

import colour
import numpy as np
import pytest
import torch
from torch import Tensor

from vitm import color
from vitm.color.gamut import BT709_TO_BT2020, BT2020_TO_BT709

SHAPES = [(3, 4, 5), (2, 3, 4, 5), (2, 3, 3, 4, 5)]


def pixels(x: Tensor) -> np.ndarray:
    return x.movedim(-3, -1).numpy()


def test_printed_matrices() -> None:
    """BT.2087-0, M2, and BT.2407-0, 2.2: four digits."""
    forward = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    backward = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    np.testing.assert_allclose(BT709_TO_BT2020, forward, atol=5.1e-5)
    np.testing.assert_allclose(BT2020_TO_BT709, backward, atol=5.1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_gamut_agrees_with_colour_science(shape: tuple[int, ...], rng: torch.Generator) -> None:
    rgb = torch.rand(shape, generator=rng, dtype=torch.float64) * 1.5 - 0.2
    bt709, bt2020 = (colour.RGB_COLOURSPACES[name] for name in ("ITU-R BT.709", "ITU-R BT.2020"))
    for space in (bt709, bt2020):
        space.use_derived_transformation_matrices(True)
    for ours, source, target in ((color.bt709_to_bt2020, bt709, bt2020), (color.bt2020_to_bt709, bt2020, bt709)):
        expected = colour.RGB_to_RGB(pixels(rgb), source, target, chromatic_adaptation_transform=None)
        np.testing.assert_allclose(pixels(ours(rgb)), expected, atol=1e-9)
        np.testing.assert_allclose(pixels(ours(rgb.float())), expected, atol=1e-6)


def test_white_stays_white_and_nothing_leaves_bt2020() -> None:
    white = torch.ones(3, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(color.bt709_to_bt2020(white), white)
    torch.testing.assert_close(color.bt2020_to_bt709(white), white)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3).T.unsqueeze(1)
    assert (color.bt709_to_bt2020(corners) >= 0).all()


@pytest.mark.parametrize(
    ("primaries", "weights"), [("bt709", (0.2126, 0.7152, 0.0722)), ("bt2020", (0.2627, 0.678, 0.0593))]
)
def test_luminance_weights(primaries: str, weights: tuple[float, ...]) -> None:
    basis = torch.eye(3, dtype=torch.float64).view(3, 3, 1, 1)
    y = color.luminance(basis, primaries)  # type: ignore[arg-type]
    assert y.shape == (3, 1, 1, 1)
    assert y.flatten().tolist() == list(weights)


@pytest.mark.parametrize("shape", SHAPES)
def test_ictcp_agrees_with_colour_science(shape: tuple[int, ...], rng: torch.Generator) -> None:
    nits = 10 ** (torch.rand(shape, generator=rng, dtype=torch.float64) * 6 - 2)
    ours = color.rgb2020_to_ictcp(nits)
    expected = colour.RGB_to_ICtCp(pixels(nits), method="ITU-R BT.2100-2 PQ")
    np.testing.assert_allclose(pixels(ours), expected, atol=1e-9)
    np.testing.assert_allclose(pixels(color.rgb2020_to_ictcp(nits.float())), expected, atol=3e-6)
    np.testing.assert_allclose(pixels(color.ictcp_to_rgb2020(ours)), pixels(nits), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        pixels(color.ictcp_to_rgb2020(ours)), colour.ICtCp_to_RGB(pixels(ours), method="ITU-R BT.2100-2 PQ"), rtol=1e-6
    )


def test_grey_has_no_chroma() -> None:
    grey = torch.logspace(-2, 4, 50, dtype=torch.float64).expand(3, 1, 50)
    assert color.rgb2020_to_ictcp(grey)[1:].abs().max() < 1e-12


def test_gradients_are_finite_at_black_and_beyond() -> None:
    x = torch.tensor([-10.0, 0.0, 1e-45, 1e-38, 1e-3, 1e6]).expand(3, 1, 6).clone().requires_grad_()
    for function in (color.rgb2020_to_ictcp, color.ictcp_to_rgb2020):
        y = function(x)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert y.isfinite().all()
        assert gradient.isfinite().all()


def test_errors() -> None:
    with pytest.raises(ValueError, match="3, H, W"):
        color.bt709_to_bt2020(torch.zeros(2, 4, 4, 3))
    with pytest.raises(ValueError, match="bt2020"):
        color.luminance(torch.zeros(3, 1, 1), "p3")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="floating point"):
        color.rgb2020_to_ictcp(torch.zeros(3, 1, 1, dtype=torch.int32))
