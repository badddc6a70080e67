from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from torch import nn

from vitm.nets.flow import FlowEstimator, flow_estimator
from vitm.ops.warp import warp

NAMES = ("dis", "aligned")
needs_ptlflow = pytest.mark.skipif(importlib.util.find_spec("ptlflow") is None, reason="needs ptlflow")


@pytest.fixture(scope="module")
def moved() -> tuple[torch.Tensor, torch.Tensor]:
    """Two views of a photograph: what is at p in the first is at p + (3, -2) in the second."""
    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].float() / 255
    return photo[:, :, 20:276, 60:380], photo[:, :, 22:278, 57:377]


@pytest.fixture(scope="module")
def raft_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from torchvision.models.optical_flow import raft_small

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "raft_small.pth"
    torch.save(raft_small().state_dict(), path)
    return path


def test_dis_finds_a_translation(moved: tuple[torch.Tensor, torch.Tensor]) -> None:
    flow = flow_estimator("dis")(*moved)
    assert flow.shape == (1, 2, 256, 320)
    assert flow.dtype == torch.float32
    error = (flow - torch.tensor([3.0, -2.0]).view(1, 2, 1, 1))[:, :, 16:-16, 16:-16].norm(dim=1)
    assert error.mean() < 0.3


def test_warping_the_target_gives_the_source(moved: tuple[torch.Tensor, torch.Tensor]) -> None:
    source, target = moved
    inner = (..., slice(16, -16), slice(16, -16))
    warped = warp(target, flow_estimator("dis")(source, target))
    still = warp(target, flow_estimator("zero")(source, target))
    assert torch.equal(flow_estimator("zero")(source, target), torch.zeros(1, 2, 256, 320))
    assert (warped - source)[inner].abs().mean() < 0.1 * (still - source)[inner].abs().mean()


def turned(size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor, np.ndarray, torch.Tensor]:
    """Two views of a photograph, the second turned by 25 degrees and shifted by a quarter; matrix and true flow."""
    height, width = size
    photo = cv2.resize(data.astronaut()[:384], (width, height), interpolation=cv2.INTER_AREA)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 25, 1.05)
    matrix[:, 2] += width / 4, height / 20
    views = (photo, cv2.warpAffine(photo, matrix, (width, height)))  # what is at p in the first is at `matrix` p
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    ends = np.stack((x, y, np.ones_like(x)), -1) @ matrix.T
    seen = ((ends > 8) & (ends < (width - 9, height - 9))).all(-1, keepdims=True)
    flow = torch.from_numpy(np.where(seen, ends - np.stack((x, y), -1), np.nan)).float()
    source, target = (torch.from_numpy(view).permute(2, 0, 1)[None].float() / 255 for view in views)
    return source, target, np.vstack((matrix, (0, 0, 1))), flow.permute(2, 0, 1)[None]


@pytest.mark.parametrize("size", [(240, 320), (480, 640)])
def test_frames_far_apart_are_aligned_first(size: tuple[int, int]) -> None:
    source, target, _, true = turned(size)
    errors = [(flow_estimator(name)(source, target) - true).norm(dim=1) for name in NAMES]
    assert errors[0].nanmedian() > 20
    assert errors[1].nanmedian() < 0.3
    assert errors[1].nanquantile(0.95) < 1


def test_what_is_left_after_the_alignment_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The frames are aligned by a homography that is a few pixels off: the flow leads to the same places."""
    source, target, matrix, true = turned((240, 320))
    aligned = flow_estimator("aligned")
    off = torch.from_numpy(np.array([[1, 0, 4.0], [0, 1, -3.0], [0, 0, 1]]) @ matrix)
    monkeypatch.setattr("vitm.nets.flow.feature_homography", lambda *_: off)
    assert (aligned(source, target) - true).norm(dim=1).nanmedian() < 0.3


def test_frames_without_features_are_those_of_dis() -> None:
    """Smooth frames, and frames that have features but share none."""
    smooth = torch.linspace(0, 1, 64).expand(2, 3, 48, 64)
    other = torch.from_numpy(data.coffee()[:256, :320]).permute(2, 0, 1)[None].float() / 255
    photo = torch.from_numpy(data.astronaut()[:256, :320]).permute(2, 0, 1)[None].float() / 255
    dis, aligned = (flow_estimator(name) for name in NAMES)
    for source, target in ((smooth, smooth.flip(0)), (photo, other)):
        assert torch.equal(aligned(source, target), dis(source, target))


def test_dis_takes_batches_and_any_size(moved: tuple[torch.Tensor, torch.Tensor]) -> None:
    source, target = moved
    dis = flow_estimator("dis")
    both = dis(torch.cat([source, target]), torch.cat([target, source]))
    assert torch.equal(both[:1], dis(source, target))
    assert torch.equal(both[1:], dis(target, source))
    for size in ((1, 1), (7, 30), (61, 97)):
        assert dis(source[..., : size[0], : size[1]], target[..., : size[0], : size[1]]).shape == (1, 2, *size)


@pytest.mark.slow
def test_frozen_and_outside_the_module_that_holds_it(raft_weights: Path) -> None:
    class Task(nn.Module):
        def __init__(self, flow: FlowEstimator) -> None:
            super().__init__()
            self.net = nn.Conv2d(3, 3, 1)
            self.flow = flow

    task = Task(flow_estimator("raft_small", raft_weights))
    assert set(task.state_dict()) == {"net.weight", "net.bias"}
    assert len(list(task.parameters())) == 2
    task.train()
    x = torch.rand(1, 3, 70, 101)
    first, second = (copy.deepcopy(task).flow(x.requires_grad_(), x.flip(3)) for _ in range(2))
    assert first.shape == (1, 2, 70, 101)
    assert not first.requires_grad
    assert torch.equal(first, second)


@pytest.mark.slow
@torch.no_grad()
def test_raft_is_torchvisions(raft_weights: Path) -> None:
    from torchvision.models.optical_flow import Raft_Small_Weights, raft_small

    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.random((1, 3, 128, 160), dtype=np.float32)) for _ in range(2))
    network = raft_small()
    network.load_state_dict(torch.load(raft_weights))
    expected = network.eval()(*Raft_Small_Weights.DEFAULT.transforms()(a, b))[-1]
    with torch.autocast("cpu", torch.bfloat16):
        flow = flow_estimator("raft_small", raft_weights)(a, b)
    torch.testing.assert_close(flow, expected, rtol=0, atol=1e-4)


@needs_ptlflow
@pytest.mark.slow
@pytest.mark.parametrize("name", ["liteflownet3", "gma"])
@torch.no_grad()
def test_ptlflow(name: str, tmp_path: Path, rng: torch.Generator) -> None:
    import ptlflow

    torch.manual_seed(0)
    network = ptlflow.get_model(name)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "weights.ckpt")
    flow = flow_estimator(name, tmp_path / "weights.ckpt")
    a, b = torch.rand(2, 1, 3, 128, 160, generator=rng)
    blue_first = torch.stack([a, b], 1)[:, :, [2, 1, 0]]
    torch.testing.assert_close(flow(a, b), network.eval()({"images": blue_first})["flows"][:, 0], rtol=0, atol=1e-4)
    small = flow(a[..., :70, :101], b[..., :70, :101])
    assert small.shape == (1, 2, 70, 101)
    assert small.isfinite().all()


def test_missing_weights_say_where_and_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"(?s)checkpoints.raft_large.*Raft_Large_Weights as W; W.DEFAULT"):
        flow_estimator("raft")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        flow_estimator("raft_small", tmp_path / "nowhere.pth")


@pytest.mark.slow
def test_weights_are_found_in_torch_hubs_cache(
    raft_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models.optical_flow import Raft_Small_Weights

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / Path(Raft_Small_Weights.DEFAULT.url).name).write_bytes(raft_weights.read_bytes())
    assert flow_estimator("raft_small")(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)).shape == (1, 2, 32, 32)


@pytest.mark.skipif(importlib.util.find_spec("ptlflow") is not None, reason="ptlflow is installed")
@pytest.mark.parametrize("name", ["liteflownet3", "gma"])
def test_missing_ptlflow_says_how_to_install_it(name: str) -> None:
    with pytest.raises(ImportError, match="--no-deps ptlflow"):
        flow_estimator(name)


def test_errors(raft_weights: Path) -> None:
    with pytest.raises(ValueError, match="use one of dis, aligned, raft"):
        flow_estimator("farneback")
    with pytest.raises(ValueError, match="takes no weights"):
        flow_estimator("dis", raft_weights)
    with pytest.raises(ValueError, match="does not hold weights of RAFT"):
        flow_estimator("raft", raft_weights)
    with pytest.raises(ValueError, match=r"\(1, 3, 8, 8\) and \(1, 3, 8, 9\)"):
        flow_estimator("zero")(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 9))
