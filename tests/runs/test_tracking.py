"""Runs on Weights & Biases."""

from __future__ import annotations

from time import monotonic, sleep

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger

from tests.runs.conftest import run
from vitm.runs.command import parse
from vitm.runs.entries import find_entry
from vitm.runs.results import Results
from vitm.runs.tracking import run_id, wandb_logger


def test_equal_names_are_different_runs(tmp_path):
    """In two entries, and in two folders of all runs."""
    places = [tmp_path / runs / entry for runs in ("a", "b") for entry in ("kpn_mfi", "hdcfm")]
    ids = {run_id(find_entry(place.name), place / "mine") for place in places}
    assert len(ids) == 4
    assert all(name.endswith("-mine") for name in ids)
    assert "/" not in run_id(find_entry("hdcfm/pdcg"), tmp_path / "mine")


@pytest.mark.parametrize("first", ["3f09aa-kpn_mfi-mine", "mine"])
def test_a_resumed_run_goes_on_as_the_run_that_it_is(first, tmp_path):
    """Also one of before ids had more than the folder's name."""
    for time, offline in (("120000", "offline-"), ("130000", "")):
        (tmp_path / "wandb" / f"{offline}run-20261128_{time}-{first}").mkdir(parents=True)
    (tmp_path / "wandb" / "latest-run").symlink_to(tmp_path)
    assert run_id(find_entry("kpn_mfi"), tmp_path) == first


@pytest.mark.parametrize(
    ("options", "side"), [([], 1280), (["--previews", "640"], 640), (["--previews", "full"], None)]
)
def test_previews_are_as_large_as_asked_for(options, side):
    assert parse(["kpn_mfi", *options]).preview_side == side


def test_previews_of_no_size_are_refused():
    with pytest.raises(ValueError, match="expected a number of pixels or full, got 0"):
        parse(["kpn_mfi", "--previews", "0"])


def test_the_best_value_goes_with_each_validation(tmp_path, monkeypatch):
    """The largest PSNR and the smallest error so far, also of the earlier parts of a resumed run."""
    logged = []
    monkeypatch.setattr(WandbLogger, "log_metrics", lambda self, metrics, step: logged.append(metrics))
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "csv").mkdir()
    rows = ("step,train/loss,val/psnr,val/mabd_true", "1,0.5,,", "1,,31.0,0.1", "2,,30.5,0.2")
    (tmp_path / "csv/metrics.csv").write_text("\n".join(rows))
    logger = wandb_logger(find_entry("kpn_mfi"), tmp_path, "fit", [], True, {})
    logger.log_metrics({"train/loss": 0.2}, 3)
    logger.log_metrics({"val/psnr": 30.0, "val/delta_e_itp": 9.0, "val/mabd_true": 0.3}, 3)
    logger.log_metrics({"val/psnr": 32.0, "val/delta_e_itp": 9.5}, 4)
    assert [{k: v for k, v in metrics.items() if k.startswith("best/")} for metrics in logged] == [
        {},
        {"best/psnr": 31.0, "best/delta_e_itp": 9.0},
        {"best/psnr": 32.0, "best/delta_e_itp": 9.0},
    ]


def test_checkpoints_are_artifacts_on_request(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_LOG_MODEL", "end")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(ValueError, match="WANDB_LOG_MODEL=end sends checkpoints to W&B, and this run is offline"):
        wandb_logger(find_entry("hdcfm"), tmp_path, "fit", [], False, {})
    monkeypatch.setenv("WANDB_MODE", "online")
    assert wandb_logger(find_entry("hdcfm"), tmp_path, "fit", [], False, {})._log_model is True
    monkeypatch.setenv("WANDB_LOG_MODEL", "yes")
    with pytest.raises(ValueError, match="is 'yes'; expected one of false, end, checkpoint"):
        wandb_logger(find_entry("hdcfm"), tmp_path, "fit", [], False, {})


@pytest.mark.slow
def test_another_logger_stands_beside_the_csv_log(tiny_of, tmp_path):
    other = ["--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", str(tmp_path / "other")]
    assert run(["hdcfm", "fit", *tiny_of("hdcfm"), *other, "--trainer.max_steps", "1", "--name", "mine"]) == 0
    folder = tmp_path / "runs/hdcfm/mine"
    logs = [*(tmp_path / "other").rglob("metrics.csv"), folder / "csv/metrics.csv"]
    assert len(logs) == 2
    assert all("train/loss" in file.read_text() for file in logs)
    assert not (folder / "wandb").exists()


def summary_with(key):
    """Return the summary once W&B's service, a process of its own, has taken in what was last sent to it."""
    deadline = monotonic() + 60
    while key not in (summary := dict(wandb.run.summary)) and monotonic() < deadline:
        sleep(0.2)
    return summary


@pytest.mark.slow
def test_the_summary_has_the_yardsticks_and_the_size(tiny_of, tmp_path, monkeypatch):
    """And the previews of the test are one table."""
    summaries, tables = [], []
    monkeypatch.setattr("vitm.runs.run.end_tracking", lambda: summaries.append(summary_with("parameters")))
    monkeypatch.setattr(WandbLogger, "log_table", lambda self, key, **table: tables.append((key, table)))
    assert run(["hdcfm", *tiny_of("hdcfm"), "--trainer.max_steps", "1", "--name", "mine"]) == 0
    results = Results.read(tmp_path / "runs/hdcfm/mine/metrics.json")
    wandb.finish()
    assert summaries[0]["parameters"] == results.parameters
    assert summaries[0]["baselines/hable/psnr"] == results.baselines["hable"]["psnr"]
    ((key, table),) = tables
    assert key == "test/previews"
    assert [name for name, _ in table["data"]] == sorted(name for name, _ in table["data"])
    assert len(table["data"]) == 4
