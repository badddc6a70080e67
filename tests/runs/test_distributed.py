"""Several processes do what one does; and runs that are told to stop go on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import distributed

from tests.runs.conftest import run as main
from tests.runs.test_run import command, losses, only_run, weights
from vitm.data import HDR10Triplets
from vitm.data.fake.frames import write_fake_triplets
from vitm.data.fake.sequences import write_fake_panoramas
from vitm.training.callbacks import StopWhenTold

TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Kind of data -> a folder with three test samples."""
    root = tmp_path_factory.mktemp("odd")
    return {
        "triplets": write_fake_triplets(root / "triplets", n=3),
        "clips": write_fake_triplets(root / "clips", n=3, layout="clips", frames=10),
        "sequences": write_fake_panoramas(root / "sequences", 4),
    }


@pytest.fixture
def env():
    """For processes that may start others."""
    return {k: v for k, v in os.environ.items() if k not in ("VITM_RUN_ID", "LOCAL_RANK")} | {"OMP_NUM_THREADS": "1"}


def alone(args, env):
    """Run a command in a process of its own."""
    done = subprocess.run(args, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


MEASURED = {  # frames, triplets, clips, long sequences; each with metrics of frames and, but for the first, of clips
    "hdcfm": ("triplets", "[psnr,ssim,delta_e_itp]", ()),
    "kpn_mfi": ("triplets", "[psnr,ssim_kpn,mabd,warping_error]", ()),
    "dslnet": ("clips", "[psnr,flicker,highlight_stability]", ()),
    "vitm_tc/icam": ("sequences", "[psnr,pu21_psnr,mabd]", ("--data.val_clips", "3")),
}


@pytest.mark.slow
@pytest.mark.parametrize("entry", MEASURED)
def test_two_processes_measure_what_one_measures(entry, tiny_of, odd, env, tmp_path):
    """Three samples on two processes: each is measured once, and all numbers are those of one process."""
    kind, metrics, more = MEASURED[entry]
    options = [*tiny_of(entry), "--data.root", str(odd[kind]), *more, "--model.test_metrics", metrics]
    assert main([entry, "fit", *options, "--trainer.max_steps", "1", "--trainer.limit_val_batches", "0"]) == 0
    trained = only_run(tmp_path, entry) / "checkpoints/last.ckpt"
    test = [entry, "test", *options, "--checkpoint", str(trained)]
    assert main([*test, "--runs", str(tmp_path / "one")]) == 0
    alone(command(*test, "--runs", str(tmp_path / "two"), *TWO), env)
    one, two = (
        json.loads(next((tmp_path / name / entry).glob("*/metrics.json")).read_text()) for name in ("one", "two")
    )
    # Sums are fp64, in another order, and what is logged is fp32; the mean of over-exposed regions is an fp32 sum.
    single = {k: pytest.approx(v, rel=1e-6) if k == "over_exposed" else v for k, v in one["values"].items()}
    assert two["values"] == single
    assert two["baselines"].keys() == one["baselines"].keys()
    for name, values in one["baselines"].items():
        accuracy = {k: 1e-6 if k == "over_exposed" else 1e-14 for k in values}
        assert two["baselines"][name] == {k: pytest.approx(v, rel=accuracy[k]) for k, v in values.items()}


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["vitm_tc/icam", "vitm_tc/fcpm"])
def test_two_processes_train_as_one(entry, tiny_of, odd, env, tmp_path):
    """DDP of batch 1 against one process of batch 2, with discriminators: the same losses and weights.

    Without L_flow, a mean over what is valid in a batch. The discriminator's biases before a normalisation have no
    gradient but rounding.
    """
    options = [*tiny_of(entry), "--data.root", str(odd["sequences"]), "--trainer.max_steps", "3"]
    options += ["--trainer.limit_val_batches", "0", "--model.gan_weight" if "fcpm" in entry else "--model.flow_weight"]
    options += ["0.05" if "fcpm" in entry else "0"]
    assert main([entry, "fit", *options, "--runs", str(tmp_path / "one")]) == 0
    alone(command(entry, "fit", *options, "--runs", str(tmp_path / "two"), "--data.batch_size", "1", *TWO), env)
    (a,), (b,) = ((tmp_path / name / entry).iterdir() for name in ("one", "two"))
    assert losses(b) == pytest.approx(losses(a), rel=1e-4)
    ours, theirs = weights(b / "checkpoints/last.ckpt"), weights(a / "checkpoints/last.ckpt")
    for key, value in theirs.items():
        if key.startswith("network."):
            torch.testing.assert_close(ours[key], value, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_processes_that_are_told_to_stop_do_so_together(tiny, env, tmp_path):
    """SIGTERM to one of two; then --resume: the weights of an undisturbed run, bit for bit."""
    options = [*tiny, "--trainer.max_steps", "40", "--trainer.max_epochs", "-1", "--data.batch_size", "1", *TWO]
    options += ["--trainer.accumulate_grad_batches", "2", "--trainer.check_val_every_n_epoch", "50"]
    alone(command("kpn_mfi", "fit", *options, "--runs", str(tmp_path / "undisturbed")), env)
    killed = command("kpn_mfi", "fit", *options, "--runs", str(tmp_path / "killed"), "--name", "mine")
    process = subprocess.Popen(killed, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder, deadline = tmp_path / "killed/kpn_mfi/mine", time.time() + 300
    log = folder / "csv/metrics.csv"
    while time.time() < deadline and not (log.is_file() and len(log.read_text().splitlines()) > 8):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert 0 < torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] < 40
    alone(killed, env)
    (other,) = (tmp_path / "undisturbed/kpn_mfi").iterdir()
    ours, theirs = weights(folder / "checkpoints/last.ckpt"), weights(other / "checkpoints/last.ckpt")
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)
    assert losses(folder) == losses(other)


def test_no_process_begins_a_test_when_another_was_told_to_stop(monkeypatch):
    """Those that began would wait for it."""
    monkeypatch.setattr(distributed, "all_reduce", lambda told, _: told.fill_(signal.SIGTERM))
    trainer = SimpleNamespace(world_size=2, strategy=SimpleNamespace(root_device="cpu"))
    with StopWhenTold() as stop, pytest.raises(SIGTERMException):
        stop.on_test_start(trainer, None)
    assert stop.number == signal.SIGTERM


@pytest.mark.slow
def test_gradients_of_several_batches_are_those_of_one(tiny, tmp_path):
    """Two batches of one crop a step, against a batch of two."""
    options = ["kpn_mfi", "fit", *tiny, "--trainer.max_steps", "3", "--trainer.limit_val_batches", "0"]
    assert main([*options, "--runs", str(tmp_path / "one")]) == 0
    more = ["--data.batch_size", "1", "--trainer.accumulate_grad_batches", "2"]
    assert main([*options, *more, "--runs", str(tmp_path / "several")]) == 0
    (a,), (b,) = ((tmp_path / name / "kpn_mfi").iterdir() for name in ("one", "several"))
    ours, theirs = weights(b / "checkpoints/last.ckpt"), weights(a / "checkpoints/last.ckpt")
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("option", "instead"),
    [("accumulate_grad_batches", "--model.accumulate"), ("gradient_clip_val", "--model.clip_value")],
)
def test_what_lightning_does_around_its_own_steps_is_refused_by_stages_with_two(
    option, instead, tiny_of, tmp_path, capsys
):
    assert main(["hdcfm/pdcg", "fit", *tiny_of("hdcfm/pdcg"), f"--trainer.{option}", "2"]) == 2
    message = capsys.readouterr().out.replace("\n", " ")
    assert f"--trainer.{option} does not go with it" in message
    assert instead in message
    assert not (tmp_path / "runs").exists()


def test_fewer_samples_than_processes_are_an_error(fake_data, monkeypatch):
    """A process without any would not take part in the metrics' exchange, for which the others wait."""
    data = HDR10Triplets(str(fake_data), crop_size=40)
    data.setup("test")
    data.trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", devices=1)
    monkeypatch.setattr(Trainer, "world_size", 5)
    with pytest.raises(ValueError, match="the 'test' split has 4 to evaluate on, and there are 5 processes"):
        data.test_dataloader()
