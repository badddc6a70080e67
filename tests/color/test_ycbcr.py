"""Y'CbCr against colour-science and the numbers of the standards."""

from __future__ import annotations

import colour
import numpy as np
import pytest
import torch

from vitm.color.ycbcr import dequantize_ycbcr, quantize_ycbcr, rgb_to_ycbcr, ycbcr_to_rgb

WEIGHTS = {"bt709": "ITU-R BT.709", "bt2020": "ITU-R BT.2020"}
MATRICES = sorted(WEIGHTS)


def channels_last(x: torch.Tensor) -> np.ndarray:
    return x.movedim(-3, -1).numpy()


@pytest.fixture
def rgb(rng: torch.Generator) -> torch.Tensor:
    return torch.rand(2, 3, 5, 7, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("matrix", MATRICES)
def test_values_agree_with_colour_science(matrix: str, rgb: torch.Tensor) -> None:
    expected = colour.RGB_to_YCbCr(
        channels_last(rgb), K=colour.WEIGHTS_YCBCR[WEIGHTS[matrix]], in_legal=False, out_legal=False, out_int=False
    )
    np.testing.assert_allclose(channels_last(rgb_to_ycbcr(rgb, matrix)), expected, atol=1e-12)
    got = rgb_to_ycbcr(rgb.float(), matrix)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(channels_last(got), expected, atol=2e-7)


@pytest.mark.parametrize("matrix", MATRICES)
def test_inverse(matrix: str, rgb: torch.Tensor) -> None:
    torch.testing.assert_close(ycbcr_to_rgb(rgb_to_ycbcr(rgb, matrix), matrix), rgb, atol=1e-12, rtol=0)


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("full_range", [False, True])
def test_codes_agree_with_colour_science(matrix: str, bits: int, full_range: bool, rgb: torch.Tensor) -> None:
    expected = colour.RGB_to_YCbCr(
        channels_last(rgb),
        K=colour.WEIGHTS_YCBCR[WEIGHTS[matrix]],
        in_legal=False,
        out_bits=bits,
        out_legal=not full_range,
        out_int=True,
    )
    codes = quantize_ycbcr(rgb_to_ycbcr(rgb, matrix), bits, full_range)
    assert codes.dtype == torch.int32
    np.testing.assert_array_equal(channels_last(codes), expected)


def test_colour_bars_of_bt709() -> None:
    """The 8-bit codes of 100 % bars: white, yellow, cyan, green, magenta, red, blue, black."""
    bars = torch.tensor(
        [[1, 1, 1], [1, 1, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.float32
    )
    codes = quantize_ycbcr(rgb_to_ycbcr(bars.T.reshape(3, 1, 8), "bt709"), 8)
    y = [235, 219, 188, 173, 78, 63, 32, 16]
    cb = [128, 16, 154, 42, 214, 102, 240, 128]
    cr = [128, 138, 16, 26, 230, 240, 118, 128]
    assert codes.reshape(3, 8).tolist() == [y, cb, cr]


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("full_range", [False, True])
def test_codes_survive_the_round_trip(bits: int, full_range: bool) -> None:
    margin = 0 if full_range else 1 << (bits - 8)
    codes = torch.arange(margin, (1 << bits) - margin, dtype=torch.int32).expand(3, 1, -1)
    torch.testing.assert_close(quantize_ycbcr(dequantize_ycbcr(codes, bits, full_range), bits, full_range), codes)


def test_narrow_codes_stay_in_the_video_data_range() -> None:
    wild = torch.tensor([-3.0, 3.0]).expand(3, 1, 2)
    assert quantize_ycbcr(wild, 10)[:, 0].tolist() == [[4, 1019]] * 3
    assert quantize_ycbcr(wild, 10, full_range=True)[:, 0].tolist() == [[0, 1023]] * 3


@pytest.mark.parametrize("function", [rgb_to_ycbcr, ycbcr_to_rgb])
def test_gradients(function: object, rgb: torch.Tensor) -> None:
    assert torch.autograd.gradcheck(function, (rgb[:, :, :2, :2].requires_grad_(),))  # type: ignore[arg-type]


def test_bad_input() -> None:
    x = torch.zeros(1, 3, 2, 2)
    with pytest.raises(ValueError, match=r"'bt601'.*bt2020.*bt709"):
        rgb_to_ycbcr(x, "bt601")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected"):
        rgb_to_ycbcr(torch.zeros(1, 4, 2, 2))
    with pytest.raises(ValueError, match="8 to 16 bits"):
        quantize_ycbcr(x, 7)
    with pytest.raises(ValueError, match=r"\(1, 4, 2, 2\)"):
        dequantize_ycbcr(torch.zeros(1, 4, 2, 2), 8)
    with pytest.raises(TypeError, match="int32"):
        quantize_ycbcr(x.int(), 8)
