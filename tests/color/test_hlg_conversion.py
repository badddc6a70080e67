"""PQ <-> HLG against colour-science's own chain."""

from __future__ import annotations

import colour
import numpy as np
import pytest
import torch

from vitm.color.hlg_conversion import HLG_TOP, hlg_to_pq, pq_to_hlg


def reference(pq: np.ndarray, peak: float) -> np.ndarray:
    """PQ codes (..., 3) to HLG: light, cut at the peak, through BT.2100's inverse EOTF of HLG."""
    nits = np.minimum(colour.models.eotf_ST2084(pq), peak)
    return np.minimum(colour.models.eotf_inverse_BT2100_HLG(nits, L_B=0, L_W=peak), HLG_TOP)


@pytest.mark.parametrize("peak", [1000.0, 600.0])
def test_pq_to_hlg_agrees_with_colour_science(peak: float) -> None:
    rng = np.random.default_rng(0)
    pq = np.concatenate([rng.random((400, 3)), rng.random((200, 3)) * [1, 0.02, 0.3], np.eye(3), np.ones((1, 3))])
    codes = torch.from_numpy(pq.T[None, :, None])
    got = pq_to_hlg(codes, peak)[0, :, 0].T.numpy()
    np.testing.assert_allclose(got, reference(pq, peak), atol=2e-6)
    single = pq_to_hlg(codes.float(), peak)[0, :, 0].T.numpy()
    np.testing.assert_allclose(single, reference(pq, peak), atol=1e-4)


def test_landmarks_of_bt2408() -> None:
    """BT.2408-7, table 1: HDR reference white, 203 cd/m2, is 58 % PQ, 75 % HLG; 1000 cd/m2 is 75 % PQ, 100 % HLG."""
    pq = torch.tensor([0.58069, 0.75183])[None, None, None].expand(1, 3, 1, 2)
    np.testing.assert_allclose(pq_to_hlg(pq)[0, 0, 0].numpy(), [0.75, 1.0], atol=2e-3)


def test_light_above_the_peak_is_cut() -> None:
    pq = torch.tensor([0.76, 0.9, 1.0])[None, None, None].expand(1, 3, 1, 3)
    np.testing.assert_allclose(pq_to_hlg(pq).numpy(), 1.0, atol=1e-5)


def test_there_and_back() -> None:
    light = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.7 + 0.02
    np.testing.assert_allclose(hlg_to_pq(pq_to_hlg(light)).numpy(), light.numpy(), atol=1e-6)


def test_gradients_are_finite() -> None:
    pq = torch.tensor([0.0, 1e-6, 0.5, 0.9]).expand(1, 3, 1, 4).clone().requires_grad_()
    pq_to_hlg(pq).sum().backward()
    assert pq.grad is not None
    assert torch.isfinite(pq.grad).all()


def test_arguments() -> None:
    with pytest.raises(ValueError, match="positive"):
        pq_to_hlg(torch.rand(1, 3, 2, 2), peak_nits=0)
