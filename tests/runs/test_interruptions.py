"""Runs that are interrupted, by whatever and wherever, and what a resume begins with."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import time

import pytest
import torch
import wandb
from torch.utils.data import Dataset

from tests.runs.conftest import run as main
from tests.runs.test_run import command
from vitm.data.workers import SteadyLoader
from vitm.papers.hdcfm import PDCGTask
from vitm.papers.kpn_mfi import KPNMFITask
from vitm.training.callbacks import last

ACCUMULATED = [
    *("--data.batch_size", "1", "--trainer.accumulate_grad_batches", "2"),  # two steps an epoch
    *("--trainer.max_steps", "5", "--trainer.max_epochs", "-1", "--trainer.check_val_every_n_epoch", "2"),
]


def rows(folder):
    """The training losses and validation values of a run, with their steps and epochs, in the order of the steps."""
    names = ("epoch", "step", "train/loss", "val/psnr")
    with (folder / "csv/metrics.csv").open() as file:
        rows = [tuple(row.get(name, "") for name in names) for row in csv.DictReader(file)]
    return sorted((row for row in rows if any(row[2:])), key=lambda row: (int(row[1]), row))


def saved(folder):
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)


def same(folder, other):
    ours, theirs = saved(folder), saved(other)
    assert ours["global_step"] == theirs["global_step"]
    assert all(torch.equal(ours["state_dict"][key], value) for key, value in theirs["state_dict"].items())
    assert rows(folder) == rows(other)


@pytest.fixture
def killed_in_batch(monkeypatch):
    """Let the n-th batch of a task end the run as a crash or SIGKILL does: nothing more is saved."""

    def arrange(task, batch):
        step, begun = task.training_step, []

        def crash(self, samples, batch_idx):
            begun.append(batch_idx)
            if len(begun) == batch:
                raise RuntimeError("killed")
            return step(self, samples, batch_idx)

        monkeypatch.setattr(task, "training_step", crash)
        monkeypatch.setattr(last, "LOOK", 1)
        monkeypatch.setattr(last, "STEPS", 1)

    return arrange


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "steps"), [(4, 1), (5, 2), (8, 3), (9, 4)])
def test_what_was_saved_between_validations_resumes_to_the_weights_and_log_of_an_undisturbed_run(
    batch, steps, tiny, tmp_path, killed_in_batch
):
    """In the middle of an epoch, at its first batch, and behind a validation."""
    mine = ["kpn_mfi", "fit", *tiny, *ACCUMULATED, "--name", "mine"]
    assert main([*mine, "--runs", str(tmp_path / "undisturbed")]) == 0
    killed_in_batch(KPNMFITask, batch)
    with pytest.raises(RuntimeError, match="killed"):
        main(mine)
    folder = tmp_path / "runs/kpn_mfi/mine"
    assert saved(folder)["global_step"] == steps
    assert main(mine) == 0
    same(folder, tmp_path / "undisturbed/kpn_mfi/mine")


@pytest.mark.slow
def test_stages_with_two_optimisers_are_saved_between_validations_too(tiny_of, tmp_path, killed_in_batch):
    options = [*tiny_of("hdcfm/pdcg"), "--trainer.max_steps", "5", "--trainer.max_epochs", "-1", "--name", "mine"]
    options += ["--trainer.check_val_every_n_epoch", "null", "--trainer.val_check_interval", "2"]
    assert main(["hdcfm/pdcg", "fit", *options, "--runs", str(tmp_path / "undisturbed")]) == 0
    killed_in_batch(PDCGTask, 4)
    with pytest.raises(RuntimeError, match="killed"):
        main(["hdcfm/pdcg", "fit", *options])
    folder = tmp_path / "runs/hdcfm/pdcg/mine"
    assert saved(folder)["global_step"] == 3
    assert main(["hdcfm/pdcg", "fit", *options]) == 0
    same(folder, tmp_path / "undisturbed/hdcfm/pdcg/mine")


def test_a_run_is_saved_after_minutes_as_well(tiny, tmp_path, killed_in_batch, monkeypatch):
    killed_in_batch(KPNMFITask, 3)
    monkeypatch.setattr(last, "STEPS", 1000)
    monkeypatch.setattr(last, "MINUTES", 0)
    with pytest.raises(RuntimeError, match="killed"):
        main(["kpn_mfi", "fit", *tiny, "--name", "mine", "--trainer.limit_val_batches", "0"])
    assert saved(tmp_path / "runs/kpn_mfi/mine")["global_step"] == 2


@pytest.mark.slow
def test_the_end_of_w_and_b_s_service_does_not_end_a_run(tiny, tmp_path, monkeypatch):
    """Slurm sends SIGTERM to every process of a job."""
    step = KPNMFITask.training_step

    def told(self, samples, batch_idx):
        if self.global_step == 1:
            service = wandb.setup()._connection._proc._process
            service.send_signal(signal.SIGTERM)
            service.wait(20)
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, samples, batch_idx)

    monkeypatch.setattr(KPNMFITask, "training_step", told)
    mine = ["kpn_mfi", "fit", *tiny, "--name", "mine", "--trainer.max_steps", "9", "--trainer.limit_val_batches", "0"]
    with pytest.warns(UserWarning, match="W&B's service has ended"):
        assert main(mine) == 128 + signal.SIGTERM
    folder = tmp_path / "runs/kpn_mfi/mine"
    assert saved(folder)["global_step"] == 2
    assert [row[1] for row in rows(folder)] == ["0", "1"]
    assert wandb.run is None


class Slow(Dataset):
    """Samples that take a while."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        time.sleep(0.2)
        return index


def test_workers_leave_signals_to_the_main_process():
    """They obey another process's in no way, and the main process's SIGTERM, by which it ends them."""
    loader = SteadyLoader(Slow(), num_workers=1)
    batches = iter(loader)
    next(batches)
    (worker,) = batches._workers
    for number in ("TERM", "INT", "USR1"):
        subprocess.run(["kill", f"-{number}", str(worker.pid)], check=True)
    assert [int(batch) for batch in batches] == [1, 2, 3]

    batches = iter(loader)
    next(batches)
    (worker,) = batches._workers
    worker.terminate()
    worker.join(5)
    assert worker.exitcode == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_job_whose_processes_are_all_told_to_stop_loses_no_step(workers, tiny, tmp_path):
    """SIGTERM to the group, as `timeout` and Slurm send it, long before the first validation."""
    options = [*tiny, "--name", "mine", "--trainer.max_epochs", "-1", "--trainer.check_val_every_n_epoch", "10000"]
    options += ["--data.num_workers", str(workers), "--trainer.num_sanity_val_steps", "0"]
    folder = tmp_path / "runs/kpn_mfi/mine"
    log = folder / "csv/metrics.csv"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command("kpn_mfi", "fit", *options), start_new_session=True, **quiet)
    deadline = time.time() + 200
    while time.time() < deadline and process.poll() is None and not (log.is_file() and len(rows(folder)) > 8):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    logged = [int(row[1]) for row in rows(folder)]
    stopped = saved(folder)["global_step"]
    assert stopped == logged[-1] + 1 == len(logged) > 8
    assert main(["kpn_mfi", "fit", *options, "--trainer.max_steps", str(stopped + 1)]) == 0
    assert [int(row[1]) for row in rows(folder)] == [*logged, stopped]


def test_ctrl_c_stops_between_two_steps_and_once_more_at_once(tiny, tmp_path, monkeypatch):
    """A shell that passes it on sends it twice, which counts once."""
    step, waits = KPNMFITask.training_step, [0.0]

    def told(self, samples, batch_idx):
        if self.global_step == 1:
            signal.raise_signal(signal.SIGINT)
            time.sleep(waits[0])
            signal.raise_signal(signal.SIGINT)
        return step(self, samples, batch_idx)

    monkeypatch.setattr(KPNMFITask, "training_step", told)
    options = ["kpn_mfi", "fit", *tiny, "--trainer.max_steps", "9", "--trainer.limit_val_batches", "0"]
    assert main([*options, "--name", "once"]) == 128 + signal.SIGINT
    assert saved(tmp_path / "runs/kpn_mfi/once")["global_step"] == 2
    waits[0] = 1.2
    before = signal.getsignal(signal.SIGINT)
    try:
        assert main([*options, "--name", "twice"]) == 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning turns a deaf ear to it from then on
    assert not list((tmp_path / "runs/kpn_mfi/twice/checkpoints").glob("*"))


@pytest.mark.slow
def test_a_run_is_saved_before_the_validation_that_is_due_when_it_is_told_to_stop(tiny, tmp_path, monkeypatch):
    """Slurm does not wait for a long one: the steps are kept, and the resume goes on behind that validation."""
    step, validate = KPNMFITask.training_step, KPNMFITask.validation_step

    def told(self, samples, batch_idx):
        if self.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, samples, batch_idx)

    def killed(self, batch, batch_idx):
        if self.global_step == 4:
            raise RuntimeError("killed")
        return validate(self, batch, batch_idx)

    mine = ["kpn_mfi", "fit", *tiny, "--name", "mine", "--trainer.max_steps", "6", "--trainer.max_epochs", "-1"]
    assert main([*mine, "--runs", str(tmp_path / "undisturbed")]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(KPNMFITask, "training_step", told)
        patch.setattr(KPNMFITask, "validation_step", killed)
        with pytest.raises(RuntimeError, match="killed"):
            main(mine)
    folder, other = tmp_path / "runs/kpn_mfi/mine", tmp_path / "undisturbed/kpn_mfi/mine"
    assert saved(folder)["global_step"] == 4
    assert main(mine) == 0
    assert set(rows(other)) - set(rows(folder)) == {row for row in rows(other) if row[1] == "3" and row[3]}
    assert all(torch.equal(saved(folder)["state_dict"][k], v) for k, v in saved(other)["state_dict"].items())
