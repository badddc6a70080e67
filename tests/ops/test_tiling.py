from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vitm.ops.pixel_conv import pixel_conv
from vitm.ops.tiling import map_rows, row_bands, update_rows, upsample_rows


@pytest.mark.parametrize(("height", "band", "multiple"), [(100, 30, 1), (96, 30, 8), (7, 100, 1), (8, 3, 4), (1, 1, 1)])
def test_row_bands_cover_the_rows_once(height: int, band: int, multiple: int) -> None:
    bands = row_bands(height, band, multiple)
    assert [row for start, stop in bands for row in range(start, stop)] == list(range(height))
    assert all(start % multiple == 0 and 0 < stop - start <= max(band, multiple) for start, stop in bands)


class Tail(nn.Module):
    """The end of KPN-MFI's decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.Conv2d(8, 32, 3, padding=1), nn.PixelShuffle(2), nn.ReLU())
        self.high = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 75, 3, padding=1), nn.ReLU())

    def forward(self, features: Tensor, skip: Tensor, sdr: Tensor) -> Tensor:
        return pixel_conv(sdr, self.high(self.up(features) + skip))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("height", "band"), [(40, 16), (41, 8), (5, 2), (12, 100)])
@torch.no_grad()
def test_decoder_tail(height: int, band: int, memory_format: torch.memory_format, rng: torch.Generator) -> None:
    torch.manual_seed(0)
    tail = Tail().to(memory_format=memory_format)
    inputs = [
        torch.rand(2, channels, height * scale, 18 * scale, generator=rng).contiguous(memory_format=memory_format)
        for channels, scale in ((8, 1), (8, 2), (3, 2))
    ]
    expected = tail(*inputs)
    torch.testing.assert_close(map_rows(tail, inputs, halo=2, band=band), expected, rtol=0, atol=1e-5)
    if height > band + 2:  # a halo that is too small must show
        assert (map_rows(tail, inputs, halo=1, band=band) - expected).abs().max() > 1e-4


@pytest.mark.parametrize("band", [4, 10, 64])
@torch.no_grad()
def test_encoder_head_with_strides(band: int, rng: torch.Generator) -> None:
    torch.manual_seed(0)
    head = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1)
    )
    x = torch.rand(1, 3, 48, 20, generator=rng)
    out = map_rows(head, [x], halo=4, band=band, multiple=4)
    torch.testing.assert_close(out, head(x), rtol=0, atol=1e-5)


@torch.no_grad()
def test_real_borders_keep_their_own_padding(rng: torch.Generator) -> None:
    torch.manual_seed(0)
    blur = nn.Conv2d(3, 3, 5, padding=2, padding_mode="reflect")
    x = torch.rand(1, 3, 50, 20, generator=rng)
    torch.testing.assert_close(map_rows(blur, [x], halo=2, band=10), blur(x), rtol=0, atol=1e-6)


@torch.no_grad()
def test_memory_format_and_dtype_of_the_result() -> None:
    x = torch.rand(1, 8, 32, 16).contiguous(memory_format=torch.channels_last)
    out = map_rows(lambda t: t.bfloat16(), [x], halo=0, band=8)
    assert out.dtype == torch.bfloat16
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(out, x.bfloat16())


@pytest.mark.slow
@torch.no_grad()
def test_memory(extra_peak, rng: torch.Generator) -> None:
    tail = Tail()
    inputs = [torch.rand(1, c, 384 * s, 256 * s, generator=rng) for c, s in ((8, 1), (8, 2), (3, 2))]
    tail(*(t[..., :16, :] for t in (inputs[0][..., :8, :], *inputs[1:])))
    kernels = 75 * 768 * 512 * 4 / 2**20
    assert extra_peak(lambda: tail(*inputs)) > kernels
    assert extra_peak(lambda: map_rows(tail, inputs, halo=2, band=32)) < kernels / 2


def test_errors() -> None:
    with pytest.raises(ValueError, match="multiples of the smallest"):
        map_rows(lambda a, b: a, [torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 6, 4)], halo=0)
    with pytest.raises(ValueError, match="multiples of 4"):
        row_bands(10, 5, 4)
    down = nn.Conv2d(1, 1, 3, 2, 1)
    with pytest.raises(ValueError, match="total stride"):
        map_rows(down, [torch.zeros(1, 1, 30, 4)], halo=1, band=7)


@pytest.mark.parametrize("height", [1, 5, 16, 17, 40])
@pytest.mark.parametrize("band", [1, 7, 100])
def test_update_rows_overwrites_with_the_whole_function(height, band):
    conv = nn.Conv2d(2, 2, 5, padding=2)
    x = torch.randn(1, 2, height, 6)
    with torch.no_grad():
        expected = x + conv(x).relu()
        out = update_rows(lambda rows: rows + conv(rows).relu(), x, halo=2, band=band)
    assert out is x
    assert torch.allclose(out, expected, atol=1e-5)


def test_update_rows_needs_its_halo():
    """With a halo of one row for a reach of two, rows at the bands' borders are wrong: the test above can fail."""
    conv = nn.Conv2d(2, 2, 5, padding=2)
    x = torch.randn(1, 2, 40, 6)
    with torch.no_grad():
        expected = conv(x)
        assert not torch.allclose(update_rows(conv, x, halo=1, band=7), expected, atol=1e-5)


def test_map_rows_writes_into_an_input():
    conv = nn.Conv2d(2, 2, 3, padding=1)
    x, y = torch.randn(2, 1, 2, 40, 6)
    with torch.no_grad():
        expected = conv(x) + y
        out = map_rows(lambda a, b: conv(a) + b, (x, y), halo=1, band=7, out=y)
    assert out is y
    assert torch.allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize(("low", "high"), [((3, 4), (50, 37)), ((5, 2), (5, 9)), ((1, 1), (20, 3)), ((9, 9), (7, 31))])
def test_upsample_rows_are_rows_of_the_enlarged_map(low, high):
    x = torch.randn(2, 3, *low)
    expected = nn.functional.interpolate(x, high, mode="bilinear", align_corners=False)
    for rows in (torch.arange(high[0]), torch.tensor([0, high[0] - 1]), torch.arange(2, 5)):
        assert torch.allclose(upsample_rows(x, high, rows), expected[:, :, rows], atol=1e-5)
