from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import vgg16

from vitm.nets.perceptual import PerceptualLoss
from vitm.papers.vitm_tc.losses import HDRPerceptualLoss, flow_loss, mu_law, pixel_loss, tone_mapped_flow


def test_mu_law_is_the_formula():
    x = torch.tensor([0.0, 1e-4, 0.5, 1.0, 40.0])
    np.testing.assert_allclose(mu_law(x).numpy(), np.log(1 + 5000 * x.numpy()) / np.log(5001), rtol=1e-5)
    torch.testing.assert_close(mu_law(-x), -mu_law(x))
    assert mu_law(x.half()).dtype == torch.float32


def test_gradients_lead_back_from_below_zero():
    x = torch.tensor([-0.3], requires_grad=True)
    pixel_loss(x, torch.tensor([0.2])).backward()
    assert x.grad.item() < 0


def test_pixel_loss_is_l1_of_codes_or_of_light(rng):
    x, y = 3 * torch.rand(2, 1, 3, 4, 4, generator=rng)
    expected = np.abs(np.log1p(5000 * x.numpy()) - np.log1p(5000 * y.numpy())).mean() / np.log(5001)
    assert pixel_loss(x, y).item() == pytest.approx(expected, rel=1e-5)
    assert pixel_loss(x, y, "linear").item() == pytest.approx(np.abs((x - y).numpy()).mean(), rel=1e-5)


def test_flow_loss_looks_at_what_is_valid(rng):
    flows, exact = torch.randn(2, 2, 3, 2, 4, 5, generator=rng)
    assert flow_loss(flows, exact).item() == pytest.approx(np.abs((flows - exact).numpy()).mean())
    valid = torch.rand(2, 3, 1, 4, 5, generator=rng) > 0.5
    error = np.abs((flows - exact).numpy())[np.broadcast_to(valid.numpy(), flows.shape)].mean()
    exact = exact.masked_fill(~valid, torch.nan)
    flows.requires_grad_()
    loss = flow_loss(flows, exact, valid)
    assert loss.item() == pytest.approx(error, rel=1e-5)
    loss.backward()
    assert flows.grad.isfinite().all()
    assert flow_loss(flows, exact, torch.zeros_like(valid)) == 0
    assert flow_loss(flows[:, :0], exact[:, :0]) == 0


def test_true_flow_is_estimated_at_a_common_exposure(rng):
    """The same scene in two exposures gives two equal frames, which begin at 0 and end at 1."""
    seen = []

    def estimator(source, target):
        seen.extend((source, target))
        return torch.zeros_like(source[:, :2])

    scene = 20 * torch.rand(2, 3, 6, 7, generator=rng)
    ratio = torch.tensor([0.25, 3.0]).view(2, 1, 1, 1)
    flow = tone_mapped_flow(estimator, scene * ratio, scene, ratio)
    assert flow.shape == (2, 2, 6, 7)
    torch.testing.assert_close(seen[0], seen[1])
    assert seen[0].amax((1, 2, 3)).tolist() == pytest.approx([1, 1])
    expected = np.log1p(5000 * (scene / scene.amax((1, 2, 3), keepdim=True)).numpy()) / np.log(5001)
    np.testing.assert_allclose(seen[0].numpy(), expected, rtol=1e-4, atol=1e-6)


def test_perceptual_loss_compares_codes(tmp_path: Path, rng):
    with torch.device("meta"):
        network = vgg16().features[:16]
    state = {f"features.{k}": 0.05 * torch.randn(v.shape, generator=rng) for k, v in network.state_dict().items()}
    torch.save(state, tmp_path / "vgg16.pth")
    x, y = 3 * torch.rand(2, 1, 3, 16, 16, generator=rng)
    codes = PerceptualLoss(tmp_path / "vgg16.pth", ("relu1_2", "relu2_2", "relu3_3"), "vgg16")
    expected = codes((5000 * x).log1p() / np.log(5001), (5000 * y).log1p() / np.log(5001))
    torch.testing.assert_close(HDRPerceptualLoss(tmp_path / "vgg16.pth")(x, y), expected.float(), rtol=1e-4, atol=1e-6)
