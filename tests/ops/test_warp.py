from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from vitm.ops.warp import warp


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return torch.from_numpy(data.astronaut()[100:260, 80:300]).permute(2, 0, 1)[None].float() / 255


def test_zero_flow_is_the_identity(photo: torch.Tensor) -> None:
    torch.testing.assert_close(warp(photo, torch.zeros(1, 2, 160, 220)), photo, rtol=0, atol=1e-4)


def test_samples_at_p_plus_flow(photo: torch.Tensor) -> None:
    flow = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 160, 220)
    out = warp(photo, flow)
    torch.testing.assert_close(out[:, :, 2:, :-3], photo[:, :, :-2, 3:], rtol=0, atol=1e-4)
    torch.testing.assert_close(out[:, :, 2:, -3:], photo[:, :, :-2, -1:].expand(1, 3, 158, 3), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("padding_mode", "border"), [("border", cv2.BORDER_REPLICATE), ("zeros", cv2.BORDER_CONSTANT)])
def test_equals_opencv(padding_mode: str, border: int, photo: torch.Tensor) -> None:
    # OpenCV interpolates in steps of 1/32 pixel: such a flow has no rounding of its own.
    flow = np.random.default_rng(0).integers(-600, 600, (2, 160, 220)).astype(np.float32) / 32
    rows, columns = np.mgrid[:160, :220].astype(np.float32)
    image = photo[0].permute(1, 2, 0).numpy()
    expected = cv2.remap(image, columns + flow[0], rows + flow[1], cv2.INTER_LINEAR, borderMode=border)
    out = warp(photo, torch.from_numpy(flow)[None], padding_mode)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-4)


def test_bicubic_is_a_convolution_by_keys_kernel(rng: torch.Generator) -> None:
    """Keys (1981) with a = -0.75, as OpenCV and PyTorch have it, at a quarter and a half of a pixel."""
    x = torch.rand(1, 2, 9, 12, generator=rng)
    flow = torch.tensor([0.25, -0.5]).view(1, 2, 1, 1).expand(1, 2, 9, 12)

    def weights(part: float) -> np.ndarray:
        near, far = np.array([part, 1 - part]), np.array([1 + part, 2 - part])
        inner = 1.25 * near**3 - 2.25 * near**2 + 1
        outer = -0.75 * (far**3 - 5 * far**2 + 8 * far - 4)
        return np.array([outer[0], *inner, outer[1]])

    rows, columns = weights(0.5), weights(0.25)
    around = x[0, :, 2:6, 3:7].numpy()  # of the place (4.25, 3.5)
    expected = np.einsum("chw,h,w->c", around, rows, columns)
    np.testing.assert_allclose(warp(x, flow, mode="bicubic")[0, :, 4, 4], expected, rtol=1e-4)
    corner = warp(x, flow.flip(1) * 100, mode="bicubic")[0, :, 0, 0]
    torch.testing.assert_close(corner, x[0, :, -1, 0], rtol=1e-3, atol=1e-4)  # past an edge lies the edge


def test_fp32_under_autocast(photo: torch.Tensor, rng: torch.Generator) -> None:
    flow = torch.randn(1, 2, 160, 220, generator=rng)
    expected = warp(photo, flow)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(warp(photo, flow), expected)
        assert warp(photo.bfloat16(), flow.bfloat16()).dtype == torch.float32


def test_gradient(rng: torch.Generator) -> None:
    x = torch.rand(1, 2, 5, 6, generator=rng, dtype=torch.float64, requires_grad=True)
    flow = (torch.rand(1, 2, 5, 6, generator=rng, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: warp(a, b, "zeros"), (x, flow))


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 8\) and \(1, 2, 8, 9\)"):
        warp(torch.zeros(1, 3, 8, 8), torch.zeros(1, 2, 8, 9))
