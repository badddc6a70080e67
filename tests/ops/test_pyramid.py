from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from vitm.ops.pyramid import gaussian_pyramid, kornia_blur, strided_blur


@pytest.mark.parametrize("size", [(256, 320), (203, 151), (64, 64), (33, 40)])
def test_equals_opencv_blur_and_slice(size: tuple[int, int]) -> None:
    image = data.astronaut()[: size[0], : size[1]].astype(np.float32) / 255
    level = image
    for ours in gaussian_pyramid(torch.from_numpy(image).permute(2, 0, 1)[None]):
        assert ours.shape[2:] == level.shape[:2]
        np.testing.assert_allclose(ours[0].permute(1, 2, 0).numpy(), level, rtol=0, atol=1e-5)
        level = cv2.GaussianBlur(level, (9, 9), 1.7, borderType=cv2.BORDER_REFLECT_101)[::2, ::2]


def test_other_parameters_and_batches(rng: torch.Generator) -> None:
    x = torch.rand(3, 2, 24, 30, generator=rng)
    pyramid = gaussian_pyramid(x, levels=3, kernel_size=5, sigma=1.1)
    assert [tuple(t.shape) for t in pyramid] == [(3, 2, 24, 30), (3, 2, 12, 15), (3, 2, 6, 8)]
    expected = cv2.GaussianBlur(x[2, 1].numpy(), (5, 5), 1.1, borderType=cv2.BORDER_REFLECT_101)[::2, ::2]
    np.testing.assert_allclose(pyramid[1][2, 1].numpy(), expected, rtol=0, atol=1e-6)
    assert torch.equal(gaussian_pyramid(x, levels=1)[0], x)


@pytest.mark.parametrize("size", [(64, 48), (37, 51)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_form_for_devices_equals_that_for_cpus(size: tuple[int, int], dtype: torch.dtype, rng) -> None:
    """Values and gradients, of Kornia's separable filter and of one strided convolution."""
    x = torch.rand(2, 3, *size, generator=rng, dtype=dtype, requires_grad=True)
    out = [form(x, 9, 1.7) for form in (kornia_blur, strided_blur)]
    torch.testing.assert_close(*out, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-13)
    weights = torch.rand(out[0].shape, generator=rng, dtype=dtype)
    grads = [torch.autograd.grad((level * weights).sum(), x)[0] for level in out]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-13)


def test_fp32_under_autocast(rng: torch.Generator) -> None:
    x = torch.rand(1, 3, 64, 64, generator=rng)
    with torch.autocast("cpu", torch.bfloat16):
        assert all(torch.equal(a, b) for a, b in zip(gaussian_pyramid(x), gaussian_pyramid(x.clone()), strict=True))
        assert gaussian_pyramid(x)[1].dtype == torch.float32


def test_gradient(rng: torch.Generator) -> None:
    x = torch.rand(1, 2, 10, 9, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: gaussian_pyramid(t, levels=3, kernel_size=5), x)


def test_errors() -> None:
    with pytest.raises(ValueError, match="more than 32 pixels"):
        gaussian_pyramid(torch.zeros(1, 3, 32, 100))
    with pytest.raises(ValueError, match="odd"):
        gaussian_pyramid(torch.zeros(1, 3, 64, 64), kernel_size=8)
