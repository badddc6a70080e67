"""A run stops at the first number that is none, and keeps what was saved before."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from tests.runs.conftest import run as main
from vitm.papers.kpn_mfi import KPNMFITask
from vitm.training.callbacks import StopAtNonFinite

SHORT = [
    "--trainer.max_epochs",
    "-1",
    "--trainer.num_sanity_val_steps",
    "0",
    "--data.batch_size",
    "1",
    "--name",
    "mine",
]
EVERY_STEP = ["--trainer.val_check_interval", "1", "--trainer.check_val_every_n_epoch", "null"]


def folder(tmp_path):
    return tmp_path / "runs/kpn_mfi/mine"


def saved(tmp_path):
    """Step of the last checkpoint, whose weights are finite."""
    content = torch.load(folder(tmp_path) / "checkpoints/last.ckpt", weights_only=True)
    assert all(bool(x.isfinite().all()) for x in content["state_dict"].values())
    return content["global_step"]


def error(capsys):
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "error" in line]
    return line


def test_a_loss_that_is_nan_ends_the_run_with_its_batch_and_files(tiny, tmp_path, monkeypatch, capsys, fake_data):
    """The third step is the first without a number; validations after the others have saved the run."""
    step, names = KPNMFITask.training_step, []

    def nan(self, batch, batch_idx):
        names.append(batch["name"][0])
        return step(self, batch, batch_idx) * (math.nan if self.global_step == 2 else 1)

    monkeypatch.setattr(KPNMFITask, "training_step", nan)
    assert main(["kpn_mfi", *tiny, *SHORT, *EVERY_STEP, "--trainer.max_steps", "6"]) == 1
    message = error(capsys)
    assert len(names) == 3
    assert f"the loss of step 3 is not finite (loss nan); its batch: {names[2]} ({fake_data}" in message
    assert message.count(".png") == 6
    assert saved(tmp_path) == 2
    assert not (folder(tmp_path) / "metrics.json").exists()


def test_weights_that_are_nan_are_not_saved(tiny, tmp_path, monkeypatch, capsys):
    """As of a gradient that is infinite where the loss is not."""
    end = KPNMFITask.on_train_batch_end

    def ruin(self, *args):
        if self.global_step == 2:
            next(self.network.parameters()).data.fill_(math.inf)
        return end(self, *args)

    monkeypatch.setattr(KPNMFITask, "on_train_batch_end", ruin)
    options = [*tiny, *SHORT, "--trainer.max_steps", "2", "--trainer.limit_val_batches", "0"]
    assert main(["kpn_mfi", "fit", *options]) == 1
    assert "the weights after step 2 are not finite" in error(capsys)
    assert not (folder(tmp_path) / "checkpoints/last.ckpt").exists()


def test_a_prediction_that_is_nan_names_its_file(tiny, tmp_path, monkeypatch, capsys, fake_data):
    validate = KPNMFITask.validation_step
    monkeypatch.setattr(KPNMFITask, "validation_step", lambda *args: validate(*args) * math.nan)
    assert main(["kpn_mfi", "fit", *tiny, *SHORT, *EVERY_STEP, "--trainer.max_steps", "2"]) == 1
    message = error(capsys)
    assert "the network predicts nan or infinity" in message
    assert str(fake_data) in message
    assert not list((folder(tmp_path) / "checkpoints").glob("*"))


def test_a_gpu_is_asked_for_a_loss_when_the_next_step_has_begun():
    """So that it does not wait; the message names the batch of the loss."""
    strategy = SimpleNamespace(root_device=torch.device("cuda"))
    trainer = SimpleNamespace(strategy=strategy, precision_plugin=None, callback_metrics={}, datamodule=None)
    trainer.world_size = 1
    watch = StopAtNonFinite()
    for step, loss in ((1, 0.5), (2, math.nan)):
        trainer.global_step = step
        watch.on_train_batch_end(trainer, None, {"loss": torch.tensor(loss)}, {"name": [f"sample {step}"]}, step)
    trainer.global_step = 3
    with pytest.raises(FloatingPointError, match=r"step 2 .*\(loss nan\); its batch: sample 2\. The run"):
        watch.on_train_batch_end(trainer, None, {"loss": torch.tensor(0.5)}, {"name": ["sample 3"]}, 3)


def test_the_scaler_of_fp16_leaves_out_steps_as_long_as_it_can_scale_less():
    scaler = SimpleNamespace(get_scale=lambda: scaler.scale, scale=2.0)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    trainer = SimpleNamespace(strategy=strategy, precision_plugin=SimpleNamespace(scaler=scaler), global_step=1)
    trainer.world_size = 1
    trainer.callback_metrics, trainer.datamodule = {"train/loss": torch.tensor(math.inf)}, None
    watch = StopAtNonFinite()
    watch.on_train_batch_end(trainer, None, None, {}, 0)
    scaler.scale = 1.0
    with pytest.raises(FloatingPointError, match=r"train/loss inf"):
        watch.on_train_batch_end(trainer, None, None, {}, 0)
