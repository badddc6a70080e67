from __future__ import annotations

import pytest
import torch

from vitm.papers.vitm_tc.spill import Spill


def test_tensors_come_back_as_they_went_in(rng, tmp_path):
    codes = torch.randint(0, 256, (2, 3, 4, 5), generator=rng) / 255
    anything = torch.randn(1, 3, 4, 5, generator=rng)
    with Spill(folder=tmp_path) as spill:
        spill["codes", 0], spill["anything", 0] = codes, anything.contiguous(memory_format=torch.channels_last)
        assert torch.equal(spill["codes", 0], codes)
        assert torch.equal(spill["anything", 0], anything)
        assert spill["anything", 0].is_contiguous(memory_format=torch.channels_last)
        sizes = {p.name: p.stat().st_size for p in tmp_path.rglob("*.npy")}
        assert sizes["codes-0.npy"] == 120 + 128  # a byte each and a header
        assert sizes["anything-0.npy"] == 4 * 60 + 128
        assert torch.equal(spill.pop(("codes", 0)), codes)
        assert list(spill) == [("anything", 0)]
        assert ("codes", 0) not in spill
        assert [p.name for p in tmp_path.rglob("*.npy")] == ["anything-0.npy"]
    assert not any(tmp_path.iterdir())


def test_half_precision_rounds_and_saturates(tmp_path):
    x = torch.tensor([1 / 3, -7e4, 1e9, 1e-9])
    with Spill(half=("h",), folder=tmp_path) as spill:
        spill["h", 3] = x
        torch.testing.assert_close(spill["h", 3], torch.tensor([1 / 3, -65504, 65504, 0]), rtol=5e-4, atol=0)


def test_the_folder_is_gone_after_an_error(tmp_path):
    def fail():
        with Spill(folder=tmp_path) as spill:
            spill["x", 0] = torch.zeros(3)
            return spill["x", 1]

    with pytest.raises(KeyError):
        fail()
    assert not any(tmp_path.iterdir())
