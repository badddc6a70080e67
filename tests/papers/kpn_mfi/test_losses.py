from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.reference import kpn_mfi as reference
from vitm.nets.flow import flow_estimator
from vitm.ops.warp import warp
from vitm.papers.kpn_mfi.losses import (
    BrightnessConsistencyLoss,
    OfficialConsistencyLoss,
    content_loss,
    illumination,
)


def smooth_clip(size=64, seed=0):
    """Three smooth random frames (1, 3, 3, size, size) in [0, 1]."""
    coarse = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)[None]


def test_content_loss_is_equation_8():
    a, b = (np.random.default_rng(i).random((2, 3, 3, 5, 4)) for i in range(2))
    expected = np.abs(np.tanh(a) - np.tanh(b)).mean()
    assert content_loss(torch.tensor(a), torch.tensor(b)).item() == pytest.approx(expected, rel=1e-6)


def test_illumination_is_opencv_s_bilateral():
    frame = smooth_clip()[0, 0]
    ours = illumination(frame[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - reference.illumination(frame.permute(1, 2, 0).numpy())).max() < 2e-3


def test_consistency_without_motion_is_equation_9():
    clip = smooth_clip()
    expected = reference.consistency_without_motion(clip[0].permute(0, 2, 3, 1).numpy())
    ours = BrightnessConsistencyLoss(flow_estimator("zero"))(clip, clip).item()
    assert ours == pytest.approx(expected, rel=1e-2)


def test_motion_is_compensated():
    """A clip that only moves costs much less with the true flow than without any."""
    flow = torch.zeros(1, 2, 64, 64)
    flow[:, 0] = 3
    middle = smooth_clip()[:, 0]
    clip = torch.stack([warp(middle, -flow), middle, warp(middle, flow)], dim=1)

    class Known:
        def __call__(self, source, target):
            first = torch.equal(target, clip[:, 0])
            return flow if first else -flow

    moving = BrightnessConsistencyLoss(flow_estimator("zero"))(clip, clip)
    compensated = BrightnessConsistencyLoss(Known())(clip, clip)
    assert compensated < 0.2 * moving


def test_gradients_reach_all_frames_and_are_finite():
    clip = smooth_clip()
    clip[..., :8, :] = 0
    hdr = clip.clone().requires_grad_()
    BrightnessConsistencyLoss(flow_estimator("dis"))(hdr, clip).backward()
    assert hdr.grad.isfinite().all()
    assert (hdr.grad.abs().amax(dim=(0, 2, 3, 4)) > 0).all()


@pytest.mark.slow
def test_half_precision_is_computed_in_fp32():
    clip = smooth_clip()
    loss = BrightnessConsistencyLoss(flow_estimator("zero"))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(clip, clip), loss(clip, clip).float())
        inside = loss(clip, clip)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, loss(clip, clip))


def test_official_loss_reproduces_the_released_code(shared):
    golden = np.load(shared / "goldens/KPN_MFI_official_rand_96x128.npz")
    out = torch.from_numpy(golden["output"])[None]
    assert OfficialConsistencyLoss()(out, out).item() == pytest.approx(float(golden["gau_pyr_loss"]), abs=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, clip: content_loss(x, clip),
        lambda x, clip: BrightnessConsistencyLoss(flow_estimator("zero"))(x, clip),
        lambda x, clip: BrightnessConsistencyLoss(flow_estimator("zero"), "printed", luma=True)(x, clip),
        lambda x, clip: OfficialConsistencyLoss()(x, clip),
    ],
    ids=["content", "consistency", "printed, luma", "official"],
)
def test_in_double_gradients_are_those_of_differences(loss, rng):
    """Nothing in between is rounded to single precision."""
    x = (0.2 + 0.6 * torch.rand(1, 3, 3, 33, 34, generator=rng, dtype=torch.float64)).requires_grad_()
    clip = torch.rand(1, 3, 3, 33, 34, generator=rng, dtype=torch.float64)
    assert loss(x, clip).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda x: loss(x, clip), x, fast_mode=True)


def test_errors():
    with pytest.raises(ValueError, match="three frames"):
        BrightnessConsistencyLoss(flow_estimator("zero"))(torch.rand(1, 2, 3, 64, 64), torch.rand(1, 2, 3, 64, 64))
