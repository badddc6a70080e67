"""The open benchmark measures the picture at its best gain: an exact inverse has almost no error, at any level."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vitm.color import bt709_to_bt2020, bt1886_eotf, pq_inverse_eotf
from vitm.data.production import PRODUCTIONS
from vitm.evaluation.open_benchmark import benchmark_views, score


class Unclipped(nn.Module):
    """Inverts plain clipping, a stop too dark."""

    def forward(self, sdr):
        return pq_inverse_eotf(bt709_to_bt2020(0.5 * 203 * bt1886_eotf(sdr)))


def test_an_exact_inverse_of_one_production_is_best_there(rng):
    nits = bt709_to_bt2020(10 + 150 * torch.rand(1, 3, 18, 32, generator=rng))
    scores = score(Unclipped(), nits)
    assert list(scores) == list(PRODUCTIONS)
    assert scores["clip"]["psnr"] > 55
    assert scores["clip"]["psnr_converted"] > 55  # 203 cd/m2 is the least level of the automatic
    assert max(scores, key=lambda name: scores[name]["psnr"]) == "clip"


def test_a_folder_without_views_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="vitm prepare open"):
        benchmark_views(tmp_path, 4)
