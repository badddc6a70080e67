"""FHLP and EHL against values of the published script and by hand."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from vitm.color import pq_inverse_eotf
from vitm.metrics import HDRVolume
from vitm.metrics.functional.hdr_volume import ehl, fhlp


def code(nits: list[float]) -> Tensor:
    """Grey pixels of these levels, (1, 3, 1, N)."""
    row = pq_inverse_eotf(torch.tensor(nits, dtype=torch.float64))
    return row.expand(1, 3, 1, -1)


# Octave's values of the published script with its defaults, to the digits that were noted down
@pytest.mark.parametrize(
    ("name", "share", "extent", "digits"), [("g01", 2.71e-5, 2.5e-9, 2e-2), ("g06", 0.02410, 8.684e-4, 2e-4)]
)
def test_agrees_with_the_published_script(shared: Path, name: str, share: float, extent: float, digits: float) -> None:
    folder = shared / "goldens/metrics"
    path = folder / json.loads((folder / "golden.json").read_text())["pairs"][name]["ref"]
    rgb = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1].astype(np.float64) / 65535
    x = torch.from_numpy(rgb).permute(2, 0, 1)[None]
    for codes in (x, x.float()):
        assert fhlp(codes, 100, 1000).item() == pytest.approx(share, rel=digits)
        assert ehl(codes, 100, 1000).item() == pytest.approx(extent, rel=digits)


def test_by_hand() -> None:
    x = code([0, 100, 202, 204, 1203, 10_000])
    assert fhlp(x).item() == pytest.approx(3 / 6)
    assert ehl(x).item() == pytest.approx((1 + 1000 + 9797) / 6 / 9797, rel=1e-9)
    assert fhlp(x, 100, 1000).item() == pytest.approx(2 / 6)
    assert ehl(x, 100, 1000).item() == pytest.approx((203 + 9000) / 6 / 9000, rel=1e-9)
    one_channel = x.clone()
    one_channel[:, 1:] = 0
    assert fhlp(one_channel).item() == pytest.approx(1 / 6)


def test_range() -> None:
    for value, share in ((-0.5, 0), (0, 0), (1, 1), (1.5, 1)):
        x = torch.full((1, 3, 4, 4), float(value))
        assert (fhlp(x).item(), ehl(x).item()) == pytest.approx((share, share))


def test_shapes_and_batch(rng: torch.Generator) -> None:
    x = torch.rand(2, 2, 3, 8, 9, generator=rng)
    for statistic in (fhlp, ehl):
        together = statistic(x)
        assert together.shape == (2, 2)
        assert together.dtype == torch.float64
        assert torch.equal(together, torch.stack([torch.cat([statistic(frame[None]) for frame in clip]) for clip in x]))


def test_gradient_of_extent(rng: torch.Generator) -> None:
    x = 0.6 + 0.3 * torch.rand(1, 3, 4, 4, generator=rng, dtype=torch.float64)
    x.requires_grad_()
    assert torch.autograd.gradcheck(ehl, x, fast_mode=True)
    for level in (0.0, 1.0):
        flat = torch.full((1, 3, 4, 4), level, requires_grad=True)
        assert torch.autograd.grad(ehl(flat).sum(), flat)[0].isfinite().all()


def test_errors() -> None:
    x = torch.zeros(1, 3, 4, 4)
    for statistic in (fhlp, ehl):
        for white, peak in ((0, 1000), (1000, 1000), (-1, 10), (2000, 1000)):
            with pytest.raises(ValueError, match="white_nits < peak_nits"):
                statistic(x, white, peak)
        with pytest.raises(ValueError, match="3, H, W"):
            statistic(x[0])
        with pytest.raises(TypeError, match="65535"):
            statistic(x.to(torch.uint16))
        with pytest.raises(TypeError, match="16-bit PQ codes"):
            statistic(x.half())


def test_class_is_the_mean_over_clips() -> None:
    bright, dark = code([100, 300, 10_000]), code([100, 100, 100])
    clips = torch.stack((torch.cat((bright, dark)), torch.cat((dark, dark))))  # (2, 2, 3, 1, 3)
    metric = HDRVolume()
    metric.update(clips, torch.stack((clips[1], clips[1])))
    result = metric.compute()
    assert list(result) == ["fhlp_pred", "fhlp_gt", "ehl_pred", "ehl_gt"]
    assert result["fhlp_pred"].item() == pytest.approx((2 / 3 + 0 + 0 + 0) / 4)
    assert result["ehl_pred"].item() == pytest.approx(ehl(bright).item() / 4, rel=1e-4)
    assert (result["fhlp_gt"], result["ehl_gt"]) == (0, 0)
    published = HDRVolume(100, 1000)
    published.update(clips, clips)
    assert published.compute()["fhlp_gt"].item() == pytest.approx(1 / 3 / 4)
    assert published.protocol.variant == "white 100 of 1000"
    assert HDRVolume().protocol.variant == "white 203 of 10000"
    with pytest.raises(ValueError, match="clips"):
        HDRVolume().update(bright, bright)


def test_class_measures_one_frame_alone() -> None:
    frame = code([100, 300, 10_000])
    measured = HDRVolume().measure(frame, frame)
    assert measured.shape == (1, 4)
    assert measured[0].tolist() == [fhlp(frame).item()] * 2 + [ehl(frame).item()] * 2
