"""Weights to start from, parameters that do not learn, and the moving average of the network."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from vitm.baselines.sequence_task import BasicVSRPPTask
from vitm.baselines.task import HDRTVNetPlusTask
from vitm.baselines.translation_task import CycleGANTask, Pixel2PixelTask
from vitm.checkpoints import CheckpointError
from vitm.papers.hdcfm import HDCFMTask, PDCGTask
from vitm.papers.kpn_mfi import KPNMFITask
from vitm.papers.scene_map.task import SceneMapTask
from vitm.training.task import L1Task
from vitm.zoo import NETWORKS, load_network


class Network(nn.Module):
    def __init__(self, width: int = 4, colors: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 1)
        self.norm = nn.BatchNorm2d(width)
        self.last = nn.Conv2d(width, colors, 1)

    def forward(self, x):
        return self.last(self.norm(self.first(x)))


class Task(L1Task):
    name = "tests.training.test_start.Network"
    network_class = Network
    metrics: ClassVar[tuple[str, ...]] = ("psnr",)

    def __init__(self, width: int = 4, colors: int = 3, **recipe) -> None:
        super().__init__(lr=0.1, **recipe)
        self.configure_networks(width=width, colors=colors)

    def training_step(self, batch, batch_idx):
        return self.loss(self.learner(batch["sdr"]), batch["hdr_pq"])


class Weights(pl.Callback):
    """The weights that learn, after each step."""

    def __init__(self) -> None:
        self.after: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer, task, *_):
        self.after.append({k: v.clone() for k, v in task.learner.state_dict().items()})


def fit(task, steps, *callbacks, resume=None, **options):
    sdr = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    samples = [{"sdr": sdr, "hdr_pq": 0.6 * sdr, "name": ""}] * 8
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*callbacks],
        **options,
    )
    trainer.fit(task, DataLoader(samples), ckpt_path=resume)  # type: ignore[arg-type]
    return trainer


def task_of(seed: int, **options) -> Task:
    torch.manual_seed(seed)
    return Task(**options)


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint as a run writes it."""
    task = task_of(1)
    saved = {"state_dict": task.state_dict()}
    task.on_save_checkpoint(saved)
    torch.save(saved, tmp_path / "run.ckpt")
    return tmp_path / "run.ckpt", task.network.state_dict()


def test_a_fit_starts_from_weights(checkpoint):
    """Those of the file, and not before a fit is prepared: what is measured brings its own."""
    path, state = checkpoint
    task = task_of(0, init_from=str(path))
    assert not torch.equal(task.network.last.weight, state["last.weight"])
    task.setup("test")
    assert task.start is None
    task.prepare_fit()
    assert all(torch.equal(task.network.state_dict()[key], value) for key, value in state.items())
    assert task.start is not None
    assert task.start.taken == [*state]
    resumed = task_of(0, init_from=str(path))
    resumed.prepare_fit(resumed=True)
    assert not torch.equal(resumed.network.last.weight, state["last.weight"])


def test_weights_with_another_last_layer(checkpoint):
    """Refused with what to do; or what fits is taken, the rest stays as it was, and both are listed."""
    path, state = checkpoint
    with pytest.raises(CheckpointError, match=r"7 of 9 tensors.*colors: 3 there, 4 here.*--model.init_strict false"):
        task_of(0, colors=4, init_from=str(path)).prepare_fit()
    task, before = task_of(0, colors=4, init_from=str(path), init_strict=False), task_of(0, colors=4).network
    task.prepare_fit()
    assert task.start is not None
    assert task.start.kept == task.start.unused == ["last.weight", "last.bias"]
    assert str(task.start) == f"7 of 9 tensors of {path} (not last.weight, last.bias)"
    assert torch.equal(task.network.first.weight, state["first.weight"])
    assert torch.equal(task.network.last.weight, before.last.weight)


def test_weights_of_nothing_that_fits(checkpoint, tmp_path):
    torch.save({"epoch": 3, "elsewhere": torch.zeros(1)}, tmp_path / "other.pth")
    for strict in (True, False):
        with pytest.raises(CheckpointError, match="its first keys are: epoch, elsewhere"):
            task_of(0, init_from=str(tmp_path / "other.pth"), init_strict=strict).prepare_fit()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        task_of(0, init_from="nowhere").prepare_fit()
    with pytest.raises(CheckpointError, match=r"a checkpoint of tests\.training\.test_start\.Network, not of csrnet"):
        type("Other", (Task,), {"name": "csrnet"})(init_from=str(checkpoint[0])).prepare_fit()


@pytest.mark.parametrize(("name", "operators"), [("mixed_map", True), ("free_map", False)])
def test_weights_that_ship_by_their_name(name, operators):
    task = SceneMapTask(init_from=name, ema_decay=0.5, operators=operators)
    task.prepare_fit()
    shipped = load_network(name).state_dict()
    for network in (task.network, task.learner):
        assert all(torch.equal(value, shipped[key]) for key, value in network.state_dict().items())


def test_the_authors_released_file(shared):
    """The same weights as `load_network` gives; both networks of a second stage start from the file."""
    released = shared / "weights/hdcfm_official.pth.tar"
    task = HDCFMTask(init_from=str(released))
    task.prepare_fit()
    expected = load_network("hdcfm", released).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in task.network.state_dict().items())
    with pytest.raises(CheckpointError, match="local_mod: True there, False here"):
        HDCFMTask(init_from=str(released), local_mod=False).prepare_fit()


def test_tasks_read_the_released_files_of_the_zoo():
    for task in (HDCFMTask, KPNMFITask, HDRTVNetPlusTask, Pixel2PixelTask, CycleGANTask, BasicVSRPPTask):
        listed = NETWORKS[task.name].published
        assert listed == f"{task.published.__module__}.{task.published.__name__}"


def test_a_generator_in_training_starts_from_the_same_weights(tmp_path):
    torch.manual_seed(0)
    options = {"width": 20, "blocks": 1, "perceptual_weight": 0.0}
    first, second = PDCGTask(**options), PDCGTask(init_from=str(tmp_path / "run.ckpt"), **options)
    saved = {"state_dict": first.state_dict()}
    first.on_save_checkpoint(saved)
    torch.save(saved, tmp_path / "run.ckpt")
    second.prepare_fit()
    for key, value in first.network.pdcg.state_dict().items():
        assert torch.equal(second.generator.state_dict()[key], value)


def test_frozen_parameters_do_not_learn():
    """Not by weight decay either."""
    decay = partial(torch.optim.AdamW, weight_decay=0.5)
    task, before = task_of(0, freeze=["first.*", "*.bias"], optimizer=decay), task_of(0).network.state_dict()
    fit(task, 2)
    changed = {k for k, v in task.network.named_parameters() if not torch.equal(v, before[k])}
    assert changed == {"norm.weight", "last.weight"}


def test_an_optimiser_by_its_class_with_the_rate_of_the_task():
    """The same weights as of that optimiser, written out."""
    task = task_of(0, optimizer=partial(torch.optim.AdamW, weight_decay=0.5), schedule="constant", warmup=2)
    network = task_of(0).network.train()
    fit(task, 3)
    sdr = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))[None]
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.5)
    for rate in (0.05, 0.1, 0.1):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        (network(sdr) - 0.6 * sdr).abs().mean().backward()
        optimizer.step()
    for key, value in network.named_parameters():
        if key != "first.bias":  # which normalisation takes out: its gradient is rounding
            torch.testing.assert_close(task.network.get_parameter(key), value, msg=key)


def test_patterns_that_freeze_nothing_or_all_are_refused():
    with pytest.raises(ValueError, match=r"'frist\.\*' fits none of the 6 parameters, such as first\.weight"):
        task_of(0, freeze=["frist.*"]).prepare_fit()
    with pytest.raises(ValueError, match=r"freeze: \* leaves no parameter to learn"):
        task_of(0, freeze=["*"]).prepare_fit()


def test_the_moving_average_is_that_of_the_weights_after_each_step():
    """Decays 1/11, 2/12, 3/13 and then 0.25, by hand; of buffers the newest; with two batches a step."""
    task, weights = task_of(0, ema_decay=0.25), Weights()
    expected = task_of(0).network.state_dict()
    fit(task, 4, weights, accumulate_grad_batches=2)
    for decay, after in zip((1 / 11, 2 / 12, 3 / 13, 0.25), weights.after[1::2], strict=True):
        for key, value in after.items():
            expected[key] = (
                decay * expected[key] + (1 - decay) * value if key in dict(task.network.named_parameters()) else value
            )
    assert not torch.equal(task.network.last.weight, task.learner.last.weight)
    for key, value in task.network.state_dict().items():
        torch.testing.assert_close(value, expected[key], msg=key)


def test_a_network_without_average_is_the_one_that_learns():
    task = task_of(0)
    fit(task, 1)
    assert task.learner is task.network
    assert not [key for key in task.state_dict() if key.startswith("learner.")]


STEPS = partial(torch.optim.lr_scheduler.StepLR, step_size=2)


@pytest.mark.parametrize("schedule", ["constant", "cosine", STEPS], ids=["constant", "cosine", "by its class"])
def test_a_resumed_fit_has_the_same_average(schedule, tmp_path):
    """Bit for bit, from a checkpoint that a callback saves right after a step; a schedule goes on in its rise."""
    options = {"ema_decay": 0.9, "schedule": schedule, "warmup": 4, "optimizer": torch.optim.AdamW}
    whole = task_of(0, **options)
    fit(whole, 6)

    class Save(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 3:
                trainer.save_checkpoint(tmp_path / "last.ckpt")

    fit(task_of(0, **options), 6, Save())
    resumed = task_of(5, **options)
    fit(resumed, 6, resume=tmp_path / "last.ckpt")
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key

    plain = task_of(7)
    plain_trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    sample = {"sdr": torch.rand(3, 96, 96), "hdr_pq": torch.rand(3, 96, 96), "name": ""}
    plain_trainer.test(plain, DataLoader([sample]), ckpt_path=tmp_path / "last.ckpt", verbose=False)  # type: ignore[arg-type]
    average = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]["network.last.weight"]
    assert torch.equal(plain.network.last.weight, average)
