from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from skimage import data

from vitm.ops.filtering import bilateral_blur, guided_filter


def by_definition(x: np.ndarray, diameter: int, sigma_color: float, sigma_space: float) -> np.ndarray:
    """The bilateral filter of a `(C, H, W)` image, tap by tap."""
    r = diameter // 2
    H, W = x.shape[1:]
    padded = np.pad(x, ((0, 0), (r, r), (r, r)), mode="reflect")
    total, weights = np.zeros_like(x), np.zeros((1, H, W))
    for dy in range(-r, r + 1):
        for dx in range(-r, r + 1):
            if dy * dy + dx * dx <= r * r:
                shifted = padded[:, r + dy : r + dy + H, r + dx : r + dx + W]
                d2 = np.abs(shifted - x).sum(0, keepdims=True) ** 2
                w = np.exp(-(dy * dy + dx * dx) / (2 * sigma_space**2) - d2 / (2 * sigma_color**2))
                total += w * shifted
                weights += w
    return total / weights


@pytest.mark.parametrize("channels", [1, 3])
def test_bilateral_equals_opencv(channels: int) -> None:
    image = data.astronaut()[:200, 100:350, :channels].astype(np.float32)
    expected = cv2.bilateralFilter(image, 9, 10, 5).reshape(image.shape)
    out = bilateral_blur(torch.from_numpy(image).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(expected - image).mean() > 1  # the filter does something
    np.testing.assert_allclose(out, expected, rtol=0, atol=5e-4)  # of 255: OpenCV looks the exponential up in a table


@pytest.mark.parametrize(
    ("channels", "diameter", "sigma_color", "sigma_space", "size"),
    [(3, 9, 10.0, 5.0, (30, 41)), (2, 5, 3.0, 1.0, (7, 6)), (1, 3, 50.0, 2.0, (2, 9)), (1, 9, 20.0, 3.0, (80, 900))],
)
def test_bilateral_equals_the_definition(channels, diameter, sigma_color, sigma_space, size) -> None:
    x = np.random.default_rng(1).uniform(0, 30, (channels, *size))
    expected = by_definition(x, diameter, sigma_color, sigma_space)
    batch = torch.from_numpy(np.stack([x[:, ::-1].copy(), x]))
    out = bilateral_blur(batch, diameter, sigma_color, sigma_space)
    np.testing.assert_allclose(out[1].numpy(), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(out[0].numpy(), expected[:, ::-1], rtol=0, atol=1e-12)
    single = bilateral_blur(batch.float(), diameter, sigma_color, sigma_space)
    np.testing.assert_allclose(single[1].numpy(), expected, rtol=0, atol=3e-5)  # of 30


@pytest.mark.parametrize("channels", [1, 3])
def test_bilateral_gradient(channels: int, rng: torch.Generator) -> None:
    x = (torch.rand(1, channels, 4, 5, generator=rng, dtype=torch.float64) * 20).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: bilateral_blur(t, 5, 10.0, 2.0), x)


def test_bilateral_fp32_under_autocast(rng: torch.Generator) -> None:
    x = torch.rand(1, 3, 20, 20, generator=rng) * 255
    expected = bilateral_blur(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(bilateral_blur(x), expected)
        assert bilateral_blur(x.bfloat16()).dtype == torch.float32


def test_bilateral_memory(extra_peak, rng: torch.Generator) -> None:
    x = (torch.rand(1, 3, 384, 384, generator=rng) * 255).requires_grad_()
    bilateral_blur(x[..., :16, :16]).sum().backward()
    image = x.nbytes / 2**20
    assert extra_peak(lambda: torch.autograd.grad(bilateral_blur(x).sum(), x)) < 20 * image  # kornia: about 200


@pytest.mark.parametrize("size", [(60, 75), (6, 8)])
def test_guided_filter_equals_scipy(size: tuple[int, int]) -> None:
    image = data.astronaut()[: size[0], : size[1]].astype(np.float64) / 255

    def box(t: np.ndarray) -> np.ndarray:
        return uniform_filter(t, (11, 11, 0), mode="mirror")

    mean = box(image)
    variance = box(image**2) - mean**2
    gain = variance / (variance + 0.01)
    expected = box(gain) * image + box(mean * (1 - gain))
    x = torch.from_numpy(image).permute(2, 0, 1)[None]
    np.testing.assert_allclose(guided_filter(x)[0].permute(1, 2, 0).numpy(), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(guided_filter(x.float())[0].permute(1, 2, 0).numpy(), expected, rtol=0, atol=1e-5)


def test_guided_filter_gradient(rng: torch.Generator) -> None:
    x = torch.rand(1, 2, 5, 6, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: guided_filter(t, radius=2), x)


def test_errors() -> None:
    with pytest.raises(ValueError, match="odd"):
        bilateral_blur(torch.zeros(1, 3, 20, 20), kernel_size=8)
    with pytest.raises(ValueError, match="more than 4 pixels"):
        bilateral_blur(torch.zeros(1, 3, 4, 20))
    with pytest.raises(ValueError, match="more than 5 pixels"):
        guided_filter(torch.zeros(1, 3, 5, 20))
