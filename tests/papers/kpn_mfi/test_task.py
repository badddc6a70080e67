"""What KPN-MFI's task minimises, step by step, beside the paper's equations written out in `tests.reference`."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tests.reference import kpn_mfi as reference
from tests.steps import assert_adam, assert_gradients, take_steps
from vitm.papers.kpn_mfi import KPNMFITask
from vitm.papers.kpn_mfi.losses import OfficialConsistencyLoss

SMALL = {"width": 8, "trunk": (1, 1, 1, 1, 1), "kernel_size": 3}
SHIFTS = (-2, 1), (3, 0)  # where the earlier and the later frame show what the middle one shows, in pixels


class Known:
    """An estimator that knows the motion of the clips of a batch."""

    def __init__(self, frames):
        self.frames = frames

    def __call__(self, source, target):
        assert torch.equal(source, self.frames[:, 1])
        shift = torch.tensor(SHIFTS[0] if torch.equal(target, self.frames[:, 0]) else SHIFTS[1])
        return shift[None, :, None, None].expand(len(source), 2, *source.shape[2:])


@pytest.fixture
def batch(rng):
    coarse = torch.rand(2, 6, 3, 6, 7, generator=rng)
    clips = torch.nn.functional.interpolate(coarse.flatten(0, 1), (34, 40), mode="bicubic").clamp(0, 1)
    sdr, hdr_pq = clips.view(2, 6, 3, 34, 40).split(3, 1)
    return {"sdr": sdr.contiguous(), "hdr_pq": hdr_pq.contiguous(), "name": ["a", "b"]}


def small_task(batch=None, **options):
    torch.manual_seed(0)
    task = KPNMFITask(flow="zero", **SMALL | options)
    task.prepare_fit()
    if batch is not None:
        task.consistency_loss.flow = Known(batch["hdr_pq" if task.flow_frames == "target" else "sdr"])
    return task


def objective(hdr_pq, target, reduction="mean", content=torch.tanh, alpha=0.05, **options):
    """L_C + alpha L_T; the printed norms are divided by the number of values of a frame of each sample."""
    B, T, *frame = hdr_pq.shape
    difference = (content(hdr_pq) - content(target)).abs()
    frames = [difference[:, t].mean() for t in range(T)]

    def norm(x):
        return x.abs().sum() / (B * np.prod(frame) if reduction == "printed" else x.numel())

    l_c = sum(frames) / 3 if reduction == "mean" else sum(frames)
    return l_c + alpha * reference.consistency(hdr_pq, SHIFTS, norm, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"flow_frames": "target"},
        {"reduction": "frame_sum"},
        {"reduction": "printed"},
        {"log_first": True},
        {"luma": True, "alpha": 0.3},
    ],
    ids=lambda options: " ".join(map(str, options.items())) or "default",
)
def test_steps_are_adam_s_on_equations_8_and_9(options, batch):
    task = small_task(batch, lr=2e-3, **options)
    network = copy.deepcopy(task.network)
    (steps,) = take_steps(task, [batch, batch])
    options = options | {}
    options = {k: v for k, v in options.items() if k != "flow_frames"}  # the motion is the same: see `Known`
    loss = objective(network(batch["sdr"]), batch["hdr_pq"], **options)
    assert_gradients(steps[0], loss, network.parameters())
    assert steps[0].rates[0] == steps[1].rates[0] == 2e-3
    assert_adam(steps, (0.9, 0.999))


def test_the_released_objective_is_one_of_its_forms(batch):
    """Plain L1 of all frames, and 0.01 of the released consistency loss, which a golden of the program tests."""
    task = small_task(content="l1", consistency="official", alpha=0.01)
    network = copy.deepcopy(task.network)
    ((step, _),) = take_steps(task, [batch])
    hdr_pq = network(batch["sdr"])
    consistency = OfficialConsistencyLoss()(hdr_pq, batch["sdr"])
    loss = torch.cat([(hdr_pq - batch["hdr_pq"])[:, t].abs() for t in range(3)], 1).mean() + 0.01 * consistency
    assert_gradients(step, loss, network.parameters())
    with pytest.raises(ValueError, match="belong to consistency='paper'"):
        KPNMFITask(consistency="official", luma=True)


def test_without_its_weight_there_is_no_consistency_loss(batch):
    task = small_task(alpha=0.0)
    network = copy.deepcopy(task.network)
    ((step, _),) = take_steps(task, [batch])
    assert_gradients(step, (network(batch["sdr"]).tanh() - batch["hdr_pq"].tanh()).abs().mean(), network.parameters())
