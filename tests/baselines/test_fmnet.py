"""FMNet: its transform against SciPy's, the modulation block by block, size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.fft import dctn, idctn

from tests.baselines.test_frames import randomised
from vitm.baselines.fmnet import FMNet, FrequencyModulation, dct_matrix
from vitm.baselines.sequence_task import FMNetTask
from vitm.papers.vitm_tc.display import from_hdr_pq, to_hdr_pq


def test_modulation(rng: torch.Generator) -> None:
    """Blocks of 8x8 by SciPy's orthonormal DCT: factors from their mean responses, applied to either band."""
    layer = randomised(FrequencyModulation(4, reduction=2), rng)
    x = torch.randn(2, 4, 16, 24, generator=rng)
    u, v = np.indices((8, 8))
    low = u + v < 3
    strength = np.zeros((2, 2, 4))  # frame, band, channel
    bands = np.zeros((2, *x.shape))
    for b, c, y, x0 in np.ndindex(2, 4, 2, 3):
        place = slice(8 * y, 8 * y + 8), slice(8 * x0, 8 * x0 + 8)
        responses = dctn(x[b, c][place].double().numpy(), norm="ortho")
        for band, chosen in enumerate((low, ~low)):
            strength[b, band, c] += np.abs(responses[chosen]).mean() / 6
            bands[(band, b, c, *place)] = idctn(np.where(chosen, responses, 0), norm="ortho")
    w1, b1, w2, b2 = (p.detach().double().numpy() for p in layer.factors.parameters())
    factors = np.maximum(strength.reshape(2, 8) @ w1.T + b1, 0) @ w2.T + b2
    factors = 1 + factors.reshape(2, 2, 4)[..., None, None]
    expected = bands[0] * factors[:, 0] + bands[1] * factors[:, 1]
    with torch.no_grad():
        torch.testing.assert_close(layer(x).double(), torch.from_numpy(expected), rtol=1e-4, atol=1e-4)


def test_a_new_modulation_passes_features_on(rng: torch.Generator) -> None:
    x = torch.randn(1, 8, 16, 8, generator=rng)
    assert torch.equal(FrequencyModulation(8)(x), x)
    torch.testing.assert_close(dct_matrix(8)[0], torch.full((8,), 8**-0.5))


def test_size_and_any_frame(rng: torch.Generator) -> None:
    with torch.device("meta"):
        parameters = sum(p.numel() for p in FMNet().parameters())
    assert parameters == 1_240_339
    assert round(parameters / 1e6, 2) == 1.24  # the paper's
    network = randomised(FMNet(width=8, blocks=2), rng)
    for size in ((1, 1), (17, 39)):
        sdr = torch.rand(2, 3, *size, generator=rng)
        with torch.no_grad():
            out = network(sdr)
            assert out.shape == sdr.shape
            torch.testing.assert_close(out[1:], network(sdr[1:]), rtol=1e-4, atol=1e-4 * float(out.abs().max()))
    network(sdr).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())
    with pytest.raises(ValueError, match=r"expected sdr .*got \(3, 8, 8\)"):
        network(torch.zeros(3, 8, 8))


def test_frame_of_the_network(rng: torch.Generator) -> None:
    """What is around the blocks, with the blocks taken out."""
    network = randomised(FMNet(width=8, blocks=1), rng)
    state = network.state_dict()
    network.trunk = torch.nn.Sequential()
    sdr = torch.rand(1, 3, 16, 32, generator=rng)

    def conv(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, 1)

    x = F.relu(conv("first", sdr, 2))
    x = F.relu(F.pixel_shuffle(conv("up", x + conv("fuse", x)), 2))
    with torch.no_grad():
        torch.testing.assert_close(network(sdr), conv("last", F.relu(conv("full", x))), rtol=1e-4, atol=1e-4)


def test_it_is_measured_in_linear_light(rng: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    light = torch.rand(1, 3, 8, 8, generator=rng) * 20
    torch.testing.assert_close(from_hdr_pq(to_hdr_pq(light)), light, rtol=1e-3, atol=1e-4)
    assert float(from_hdr_pq(torch.full((3, 1, 1), 0.5807))[0]) == pytest.approx(1, abs=1e-3)  # BT.2408: 203 cd/m2
    task = FMNetTask(width=8, blocks=1)
    monkeypatch.setattr(task.network, "forward", lambda ldr: to_hdr_pq(light))
    (frame,) = task.stream([torch.zeros_like(light)])
    torch.testing.assert_close(frame, light, rtol=1e-3, atol=1e-4)
    assert float(task.loss(torch.zeros_like(light), light)) == 0
