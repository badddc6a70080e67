"""The command line, as a user types it, on tiny data."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from tests.runs.conftest import TINY
from tests.runs.conftest import run as main
from vitm.baselines.hdrunet import HDRUNet
from vitm.cli import main as vitm_main
from vitm.data import HDR10Frames
from vitm.files import lock
from vitm.papers.hdcfm import HDCFM
from vitm.runs.entries import entry_names, find_entry
from vitm.runs.finished import finished_runs
from vitm.runs.results import Results
from vitm.training.callbacks import LastCheckpoint


def only_run(tmp_path, entry):
    """The folder of the one run of `entry`."""
    (folder,) = (tmp_path / "runs" / entry).glob("*-*/")
    return folder


def losses(folder):
    """Step -> training loss, from the CSV log."""
    with (folder / "csv/metrics.csv").open() as file:
        return {int(r["step"]): float(r["train/loss"]) for r in csv.DictReader(file) if r.get("train/loss")}


def weights(path):
    return torch.load(path, map_location="cpu", weights_only=True)["state_dict"]


MISSING = [e for e in entry_names() if find_entry(e).missing]
OPERATORS = [e for e in entry_names() if (find_entry(e).task or "").startswith("vitm.baselines.operator_task.")]
RUNNABLE = [e for e in entry_names() if e not in (*MISSING, *OPERATORS)]
FAST = ("kpn_mfi", "dslnet", "hdcfm")
OTHER_NAMES = [e for e in RUNNABLE if find_entry(e).shared]  # of entries that are there themselves
DISTINCT = [e for e in RUNNABLE if e not in OTHER_NAMES[1:]]
FIRST = list({find_entry(e).task: e for e in reversed(DISTINCT)}.values())  # of each task, measured on all test frames


@pytest.mark.parametrize("entry", [pytest.param(e, marks=[] if e in FAST else [pytest.mark.slow]) for e in DISTINCT])
def test_every_entry_trains_a_step_and_is_measured(entry, tiny_of, tmp_path):
    options = [*tiny_of(entry), "--trainer.max_steps", "1", "--trainer.max_epochs", "1"]
    if entry not in FIRST:
        options += [*("--trainer.limit_val_batches", "1"), *("--trainer.limit_test_batches", "1")]
    assert main([entry, *options]) == 0
    folder = only_run(tmp_path, entry)
    results = json.loads((folder / "metrics.json").read_text())
    assert results["stage"] == "test"
    assert results["steps"] == find_entry(entry).load_task().trains
    assert not results["demo"]
    if entry.startswith("vitm_tc"):
        values = results["values"].keys() - {"clipped_flow_error"}  # which is there where a key has clipped something
        assert {"psnr", "pu21_psnr", "over_exposed"} == values
        assert results["baselines"].keys() == {"linearised input"}
        assert cv2.imread(str(folder / "previews/test_0.png")).shape == (48 + 24, 4 * 48, 3)
        return
    own = {"kpn_mfi": {"ssim", "ssim_kpn", "mabd_pred"}, "dslnet": {"sr_sim"}, "open": set()}
    assert {"psnr", "delta_e_itp"} | own.get(entry.split("/")[0], {"ssim"}) <= results["values"].keys()
    assert {"bt2446a", "bt2446c", "hable", "reinhard"} < results["baselines"].keys()
    assert (folder / "checkpoints/last.ckpt").is_file()
    assert cv2.imread(str(folder / "previews/test_0.png")).shape == (48 + 24, 4 * 64, 3)
    assert yaml.safe_load((folder / "config.yaml").read_text())["data"].get("crop_size", 40) == 40


@pytest.mark.slow
def test_an_entry_runs_without_any_option(fake_data, tmp_path, monkeypatch):
    """The README's main job is `vitm run ENTRY`, and nothing behind it."""
    content = {
        "entry": {"base": "kpn_mfi"},
        "model": {"width": 8, "trunk": [1, 1, 1, 1, 1], "test_metrics": ["psnr"]},
        "data": {"root": str(fake_data), "crop_size": 40, "tile_size": None, "batch_size": 2, "num_workers": 0},
        "trainer": {"accelerator": "cpu", "max_steps": 1, "max_epochs": 1, "log_every_n_steps": 1},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.chdir(tmp_path)
    assert main(["mine.yaml"]) == 0
    assert json.loads((only_run(tmp_path, "mine") / "metrics.json").read_text())["steps"] == 1
    assert main(["mine.yaml", "test"]) == 0


@pytest.mark.parametrize(
    "entry", [pytest.param(e, marks=[] if e == "hdcfm/table1/kovaleski" else [pytest.mark.slow]) for e in OPERATORS]
)
def test_an_operator_is_measured_without_a_step(entry, tiny_of, tmp_path):
    options = [*tiny_of(entry), "--model.test_metrics", "[psnr,delta_e_itp]"]
    assert main([entry, *options, "--trainer.max_steps", "1", "--trainer.max_epochs", "1"]) == 0
    results = json.loads((only_run(tmp_path, entry) / "metrics.json").read_text())
    assert (results["stage"], results["steps"], results["parameters"], results["macs"]) == ("test", 0, 0, None)
    assert {"psnr", "delta_e_itp"} == results["values"].keys()
    assert {"bt2446a", "bt2446c", "hable", "reinhard"} < results["baselines"].keys()


@pytest.mark.parametrize("entry", MISSING)
def test_a_row_without_an_entry_says_why(entry, tmp_path, capsys):
    found = find_entry(entry)
    assert found.results
    assert len(found.missing) > 40
    assert main([entry, "--runs", str(tmp_path / "runs")]) == 2
    assert found.missing[:40] in capsys.readouterr().out.replace("\n", " ")
    assert not (tmp_path / "runs").exists()


ROWS = [e for e in RUNNABLE if (row := find_entry(e)).base and row.task == row.base.task]


@pytest.mark.parametrize("entry", ROWS)
def test_rows_differ_from_their_base_in_the_model_alone(entry):
    """A row changes what it is about, and nothing of data or trainer."""
    row = find_entry(entry)
    about_data = {
        "hdcfm/pdcg/readings/crops_of_highlights": {"highlights": 0.5},
        "dslnet/readings/seven_frames": {"radius": 3},
        "dslnet/readings/nine_frames": {"radius": 4},
        "vitm_tc/ours/table1/single_frame": {"schedule": {"references": 0}},
    }
    assert row.change.keys() <= {"model", "data"}
    assert row.change.get("data", {}) == about_data.get(entry, {})
    assert row.change or row.after != row.base.after or row.shared
    recipe = row.base.recipe["model"]
    assert all(recipe.get(k) != v for k, v in row.change.get("model", {}).items())


def test_the_command_line_wins_over_the_files(tiny, tmp_path):
    assert main(["kpn_mfi", "fit", *tiny, "--trainer.max_steps", "1", "--model.alpha", "0.125"]) == 0
    config = yaml.safe_load((only_run(tmp_path, "kpn_mfi") / "config.yaml").read_text())
    assert config["model"]["alpha"] == 0.125


@pytest.mark.slow
def test_the_time_before_an_interruption_counts_once(tiny, tmp_path, monkeypatch):
    """That of the measured checkpoint, which is loaded after the fit, is part of it."""
    monkeypatch.setattr(LastCheckpoint, "state_dict", lambda self: {"seconds": 1000.0})

    def seconds():
        results = json.loads((only_run(tmp_path, "kpn_mfi") / "metrics.json").read_text())
        return results["fit_seconds"], results["wall_seconds"]

    assert main(["kpn_mfi", *tiny, "--trainer.max_steps", "2"]) == 0
    assert (only_run(tmp_path, "kpn_mfi") / "checkpoints/best.ckpt").is_file()
    assert max(seconds()) < 1000
    assert main(["kpn_mfi", *tiny, "--trainer.max_steps", "4", "--resume"]) == 0
    assert 1000 < min(seconds()) <= max(seconds()) < 2000


@pytest.mark.slow
def test_a_second_stage_goes_on_from_the_newest_first_one(tiny_of, tmp_path, capsys):
    """And what comes out converts frames."""
    options = tiny_of("hdcfm/pdcg")
    at = options.index("--model.hdcfm")
    pdcg = ["hdcfm/pdcg", "fit", *options[:at], *options[at + 2 :], "--trainer.max_steps", "1"]
    assert main(pdcg) == 2
    message = capsys.readouterr().out.replace("\n", "")
    assert "goes on from a trained hdcfm" in message
    assert "--model.hdcfm PATH" in message
    assert not (tmp_path / "runs").exists()

    assert main(["hdcfm", "fit", *tiny_of("hdcfm"), "--trainer.max_steps", "1"]) == 0
    first = next((tmp_path / "runs/hdcfm").glob("*/checkpoints/*.ckpt"))
    assert main(pdcg) == 0
    config = yaml.safe_load((only_run(tmp_path, "hdcfm/pdcg") / "config.yaml").read_text())
    assert config["model"]["hdcfm"] == str(first)

    frames = tmp_path / "clip"
    frames.mkdir()
    cv2.imwrite(str(frames / "0.png"), np.full((34, 70, 3), 250, np.uint8))
    predict = ["hdcfm/pdcg", "predict", "--runs", str(tmp_path / "runs"), "--device", "cpu", "--output", str(tmp_path)]
    assert main([*predict, "--input", str(frames)]) == 0
    assert cv2.imread(str(tmp_path / "clip_hdr/000000.png"), cv2.IMREAD_UNCHANGED).shape == (34, 70, 3)


def test_list_and_help(capsys):
    assert main(["--list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in entry_names())
    assert main(["--help"]) == 0
    with pytest.raises(SystemExit) as stop:
        main(["kpn_mfi", "--help"])
    assert stop.value.code == 0
    assert "--model.alpha" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["kpn_mfy"], "did you mean kpn_mfi"),
        (["kpn_mfi", "fitt"], "unknown command 'fitt'"),
        (["kpn_mfi", "test"], "fit first"),
        (["kpn_mfi", "--resume"], "fit first"),
        (["kpn_mfi", "fit", "--checkpoint", "x.ckpt"], "--checkpoint belongs to"),
        (["kpn_mfi", "test", "--checkpoint", "x.ckpt"], "no checkpoint at x.ckpt"),
        (["kpn_mfi", "predict", "--model.alpha", "1", "--checkpoint", "x"], "predict takes no"),
        (["kpn_mfi", "--data.root", "does/not/exist"], "does/not/exist"),
        (["kpn_mfi", "--device", "cpu"], "--device belongs to predict"),
        (["kpn_mfi", "predict", "--fps", "1/0"], "no frame rate"),
        (["kpn_mfi", "predict", "--device", "abacus"], "cannot be used here"),
    ],
)
def test_wrong_command_lines_are_explained(args, message, capsys, tmp_path):
    runs = tmp_path / "runs"
    assert main([*args, "--runs", str(runs)]) == 2
    assert message in capsys.readouterr().out.replace("\n", "")
    assert not list(runs.rglob("*.*"))


@pytest.mark.parametrize(
    "flags",
    [["--model.alhpa", "1"], ["--model.alpha", "much"], ["--model.flow", "psychic"], ["--data.crop_size", "0.5"]],
)
def test_wrong_options_stop_before_any_work(flags, tiny, tmp_path, capsys):
    assert main(["kpn_mfi", *tiny, *flags]) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert flags[0] in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("option", "near"),
    [
        ("--model.alhpa", "--model.alpha"),
        ("--data.crop_sise", "--data.crop_size"),
        ("--trainer.max_step", "--trainer.max_steps"),
        ("--seed_evrything", "--seed_everything"),
        ("--model.learning_rat", "--model.lr"),
        ("--data.lr", "--model.lr"),
    ],
)
@pytest.mark.parametrize("in_file", [False, True])
def test_an_option_that_does_not_exist_gets_the_nearest_one(option, near, in_file, tiny, tmp_path, capsys):
    flags = [option, "1"]
    if in_file:
        section, _, key = option.lstrip("-").partition(".")
        flags = ["--config", str(tmp_path / "mine.yaml")]
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump({section: {key: 1} if key else 1}))
    assert main(["kpn_mfi", *tiny, *flags]) == 2
    assert capsys.readouterr().out == (
        f"error: there is no option {option}; did you mean {near}? (vitm run kpn_mfi --help)\n"
    )


def test_a_wrong_value_in_yaml_stops_before_any_work(tiny, tmp_path, capsys):
    config = tmp_path / "mine.yaml"
    config.write_text("model: {alpha: [1, 2]}")
    assert main(["kpn_mfi", *tiny, "--config", str(config)]) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert "--model.alpha" in line
    assert not (tmp_path / "runs").exists()


def test_broken_yaml_is_explained(tiny, tmp_path, capsys):
    config = tmp_path / "mine.yaml"
    config.write_text("model: {alpha: [1, 2")
    assert main(["kpn_mfi", *tiny, "--config", str(config)]) == 2
    assert "line 1, column 16" in "".join(capsys.readouterr())
    assert not (tmp_path / "runs").exists()


def test_impossible_trainers_are_explained(tiny, tmp_path, capsys):
    assert main(["kpn_mfi", *tiny, "--trainer.strategy", "ddp", "--trainer.devices", "0"]) == 2
    assert "error:" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("enable_checkpointing", "false", "does not go with a run, which keeps its checkpoints and logs"),
        ("barebones", "true", "does not go with a run, which keeps its checkpoints and logs"),
        ("precision", "bf16-true", "measurements need: take bf16-mixed"),
        ("precision", "64x", "64x does not fit; expected one of 64, 32, 16, transformer-engine"),
        ("callbacks", "x", "x does not fit; expected one of list, Callback, null"),
        ("max_steps", "many", "expected a int. Got value: many"),
    ],
)
def test_options_that_lightning_would_refuse_at_length_are_refused_in_a_line(
    option, value, message, tiny, tmp_path, capsys
):
    assert main(["kpn_mfi", *tiny, f"--trainer.{option}", value]) == 2
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "error" in line]
    assert line.startswith(f"error: --trainer.{option}")
    assert message in line
    assert " at 0x" not in line
    assert not (tmp_path / "runs").exists()


def test_workers_without_shared_memory_are_explained(tiny, tmp_path, monkeypatch, capsys):
    """A container has 64 MB of it unless asked for more. A machine that has a Slurm gives no hints about it."""
    from vitm.papers.kpn_mfi import KPNMFITask

    def full(*_):
        raise RuntimeError(
            "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
            "RuntimeError: unable to allocate shared memory(shm) for file </torch_6637_1486164641_1>: No space left on "
            "device (28)"
        )

    (tmp_path / "srun").touch(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(KPNMFITask, "training_step", full)
    with warnings.catch_warnings(record=True) as caught:
        assert main(["kpn_mfi", "fit", *tiny, "--trainer.num_sanity_val_steps", "0"]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "error" in line]
    assert line.startswith("error: the workers of the data loader have filled /dev/shm")
    assert not [warning for warning in caught if "srun" in str(warning.message)]


def test_a_missing_test_split_is_noticed_before_training(fake_data, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(fake_data, data, ignore=shutil.ignore_patterns("test"))
    assert main(["kpn_mfi", *TINY, "--data.root", str(data), "--runs", str(tmp_path / "runs")]) == 2
    assert "test" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_checkpoint_brings_its_network_s_arguments(tiny, tmp_path):
    assert main(["kpn_mfi", "fit", *tiny, "--trainer.max_steps", "1"]) == 0
    checkpoint = only_run(tmp_path, "kpn_mfi") / "checkpoints/last.ckpt"
    without_model = tiny[tiny.index("--data.crop_size") :]
    runs = tmp_path / "measured"
    assert main(["kpn_mfi", "test", *without_model, "--runs", str(runs), "--checkpoint", str(checkpoint)]) == 0
    (metrics,) = runs.rglob("metrics.json")
    results = json.loads(metrics.read_text())
    assert results["steps"] == 1
    assert results["parameters"] < 1e5


@pytest.mark.slow
def test_weights_of_no_run_are_measured(tiny_of, tmp_path, capsys):
    """A file of the network's weights alone: what is measured is what they predict, and it stands in no table."""
    torch.manual_seed(3)
    network = HDCFM()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    options = tiny_of("hdcfm")
    assert main(["hdcfm", "test", *options, "--checkpoint", str(tmp_path / "weights.pth")]) == 0
    results = Results.read(only_run(tmp_path, "hdcfm") / "metrics.json")
    assert results.steps is None
    data = HDR10Frames(options[options.index("--data.root") + 1], num_workers=0)
    data.setup("test")
    with torch.no_grad():
        pairs = [
            (network.eval()(x["sdr"][None]).clamp(0, 1), x["hdr_pq"][None]) for x in data.test_dataloader().dataset
        ]
    expected = torch.cat([-10 * ((a - b).double() ** 2).mean().log10()[None] for a, b in pairs]).mean()
    assert results.values["psnr"] == pytest.approx(float(expected), abs=0.01)  # of codes of 16 bit
    assert "weights.pth" in capsys.readouterr().out
    assert not finished_runs(find_entry("hdcfm"), tmp_path / "runs", demo=False)

    torch.save(HDRUNet(width=8, blocks=(1, 1, 1)).state_dict(), tmp_path / "other.pth")
    assert main(["hdcfm", "test", *options, "--checkpoint", str(tmp_path / "other.pth")]) == 2
    assert "holds no hdcfm that is known here" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.slow
def test_a_run_starts_from_weights_and_resumes_without_them(tiny_of, tmp_path, capsys):
    """The list of what was taken is in the run's folder; the weights that are frozen stay those of the file."""
    start = tmp_path / "weights.pth"
    torch.save(HDCFM().state_dict(), start)
    options = [*tiny_of("hdcfm"), "--name", "tuned", "--model.ema_decay", "0.9"]
    options += ["--model.init_from", str(start), "--model.freeze", "[stages.*]"]
    assert main(["hdcfm", "fit", *options, "--trainer.max_steps", "1"]) == 0
    assert f"tensors of {start}" in capsys.readouterr().out
    folder = tmp_path / "runs/hdcfm/tuned"
    assert yaml.safe_load((folder / "start.yaml").read_text())["taken"] == [*torch.load(start, weights_only=True)]
    assert yaml.safe_load((folder / "overrides.yaml").read_text())["model"]["init_from"] == str(start)
    start.rename(tmp_path / "gone.pth")
    assert main(["hdcfm", "fit", *options, "--trainer.max_steps", "2"]) == 0
    trained, given = weights(folder / "checkpoints/last.ckpt"), torch.load(tmp_path / "gone.pth", weights_only=True)
    for prefix in ("network", "learner"):
        same = {key for key, value in given.items() if torch.equal(trained[f"{prefix}.{key}"], value)}
        assert {key for key in given if key.startswith("stages.")} <= same
        assert same < {*given}


def test_predict_never_touches_its_input(tiny, tmp_path):
    assert main(["kpn_mfi", "fit", *tiny, "--trainer.max_steps", "1"]) == 0
    frames = tmp_path / "clip"
    frames.mkdir()
    for i in range(3):
        cv2.imwrite(str(frames / f"{i}.png"), np.full((32, 64, 3), 80 + i, np.uint8))
    before = [p.read_bytes() for p in sorted(frames.iterdir())]
    predict = ["kpn_mfi", "predict", "--runs", str(tmp_path / "runs"), "--device", "cpu", "--output", str(tmp_path)]
    assert main([*predict, "--input", str(frames)]) == 0
    assert [p.read_bytes() for p in sorted(frames.iterdir())] == before
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_folder_has_one_writer(tiny, tmp_path, capsys):
    folder = tmp_path / "runs/kpn_mfi/mine"
    mine = ["kpn_mfi", "fit", *tiny, "--name", "mine", "--trainer.max_steps", "1"]
    folder.mkdir(parents=True)
    with lock(folder / "lock"):
        assert main(mine) == 2
    assert f"{folder} is in use by another process" in capsys.readouterr().out.replace("\n", " ")
    assert [path.name for path in folder.iterdir()] == ["lock"]
    assert main(mine) == 0
    with lock(folder / "lock"):  # it was let go
        assert main(mine) == 2


def test_ctrl_c_is_told_from_a_finished_run(tiny, tmp_path, monkeypatch):
    from vitm.papers.kpn_mfi import KPNMFITask

    monkeypatch.setattr(KPNMFITask, "training_step", lambda *_: signal.raise_signal(signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    try:
        assert main(["kpn_mfi", "fit", *tiny, "--trainer.max_steps", "1"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning turns a deaf ear to it from then on
    assert (only_run(tmp_path, "kpn_mfi") / "checkpoints/last.ckpt").is_file()


def test_folders_that_are_no_runs_are_passed_over(tiny, tmp_path, capsys):
    """Half copied ones, without what says on which data they were trained."""
    folder = tmp_path / "runs/hdcfm/copied"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints/last.ckpt").touch()
    data = tiny[tiny.index("--data.root") :]
    assert main(["hdcfm/pdcg", "fit", *data]) == 2
    assert "goes on from a trained hdcfm" in capsys.readouterr().out.replace("\n", " ")
    assert main(["hdcfm", "fit", *data, "--resume", str(folder)]) == 2
    assert "nothing to resume" in capsys.readouterr().out.replace("\n", " ")


def test_checkpoints_of_other_networks_are_refused(tiny, tmp_path, capsys):
    assert main(["kpn_mfi", "fit", *tiny, "--trainer.max_steps", "1"]) == 0
    checkpoint = only_run(tmp_path, "kpn_mfi") / "checkpoints/last.ckpt"
    assert main(["kpn_mfi", "test", *tiny, "--model.width", "16", "--checkpoint", str(checkpoint)]) == 2
    assert "width: 8 there, 16 here" in capsys.readouterr().out.replace("\n", " ")

    content = torch.load(checkpoint, weights_only=True)
    content["vitm"]["network"] = "dslnet"
    other = tmp_path / "other.ckpt"
    torch.save(content, other)
    assert main(["kpn_mfi", "test", *tiny, "--checkpoint", str(other)]) == 2
    assert "checkpoint of dslnet, not of kpn_mfi" in capsys.readouterr().out.replace("\n", " ")

    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(checkpoint.read_bytes()[:1000])
    assert main(["kpn_mfi", "test", *tiny, "--checkpoint", str(broken)]) == 2
    assert "damaged" in capsys.readouterr().out


def test_no_permission_to_write(tiny, tmp_path, capsys, monkeypatch):
    """The superuser may write anywhere, so the refusal is played."""

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert main(["kpn_mfi", "fit", *tiny]) == 2
    assert "Permission denied" in capsys.readouterr().out


def test_predict_writes_video_and_frames(tiny, tmp_path):
    assert main(["kpn_mfi", "fit", *tiny, "--trainer.max_steps", "1"]) == 0
    frames = tmp_path / "clip"
    frames.mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        cv2.imwrite(str(frames / f"{i:03d}.png"), rng.integers(0, 256, (37, 65, 3), np.uint8))
    out = tmp_path / "out"
    predict = ["kpn_mfi", "predict", "--runs", str(tmp_path / "runs"), "--device", "cpu"]
    assert main([*predict, "--input", str(frames), "--output", str(out)]) == 0
    written = sorted((out / "clip_hdr").glob("*.png"))
    assert len(written) == 4
    picture = cv2.imread(str(written[0]), cv2.IMREAD_UNCHANGED)
    assert picture.dtype == np.uint16
    assert picture.shape == (37, 65, 3)

    import av

    with av.open(str(out / "clip_hdr.mp4")) as video:
        stream = video.streams.video[0]
        assert (stream.width, stream.height, stream.format.name) == (66, 38, "yuv420p10le")
        assert len(list(video.decode(stream))) == 4


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16-mixed"])
def test_mixed_precision_keeps_the_loss(precision, tiny, tmp_path):
    """The first loss, before any update, is that of fp32 to bf16's accuracy."""
    for name, value in (("full", "32-true"), ("mixed", precision)):
        args = [*tiny[:-1], str(tmp_path / name), "--trainer.precision", value, "--trainer.max_steps", "1"]
        assert main(["kpn_mfi", "fit", *args]) == 0
    full, mixed = (losses(next((tmp_path / name / "kpn_mfi").glob("*-*/"))) for name in ("full", "mixed"))
    assert mixed[0] == pytest.approx(full[0], rel=2e-2)


def command(entry, *flags):
    return [sys.executable, "-m", "experiments.run", entry, *flags]


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["kpn_mfi", "hdcfm", "hdcfm/pdcg"])
def test_a_killed_run_resumes_to_the_same_weights(entry, tiny_of, tmp_path):
    """SIGTERM in the middle of an epoch, then --resume: the weights of an undisturbed run, bit for bit."""
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    options = [*tiny_of(entry), "--trainer.max_steps", "40", "--trainer.max_epochs", "-1"]
    assert main([entry, "fit", *options, "--runs", str(tmp_path / "undisturbed")]) == 0

    killed = [entry, "fit", *options, "--runs", str(tmp_path / "killed")]
    process = subprocess.Popen(command(*killed), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "killed" / entry
    deadline = time.time() + 120
    while time.time() < deadline and process.poll() is None:
        if any(len(p.read_text().splitlines()) > 8 for p in log.glob("*/csv/metrics.csv")):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    (folder,) = log.glob("*-*/")
    stopped = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"]
    assert 0 < stopped < 40

    assert main([*killed, "--resume", str(folder)]) == 0
    (reference,) = (tmp_path / "undisturbed" / entry).glob("*-*/")
    ours, theirs = (weights(f / "checkpoints/last.ckpt") for f in (folder, reference))
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)
    assert len(list(log.iterdir())) == 1


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["kpn_mfi", "hdcfm/pdcg"])  # dropout in HDCFM differs between processes
def test_two_processes_give_the_curve_of_one(entry, tiny_of, tmp_path):
    """DDP with two processes of batch 1 against one process of batch 2: the same losses and metrics."""
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    env.pop("VITM_RUN_ID", None)
    common = [*tiny_of(entry), "--trainer.max_steps", "6", "--trainer.max_epochs", "-1"]
    one = [*common, "--runs", str(tmp_path / "one")]
    two = [*common, "--runs", str(tmp_path / "two"), "--data.batch_size", "1", "--trainer.devices", "2"]
    two += ["--trainer.strategy", "ddp"]
    assert main([entry, *one]) == 0
    done = subprocess.run(command(entry, *two), env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (a,), (b,) = ((tmp_path / name / entry).glob("*-*/") for name in ("one", "two"))
    assert losses(b) == pytest.approx(losses(a), rel=1e-4)
    ours, theirs = weights(b / "checkpoints/last.ckpt"), weights(a / "checkpoints/last.ckpt")
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, atol=1e-5, rtol=1e-4)
    values = [json.loads((f / "metrics.json").read_text())["values"] for f in (a, b)]
    assert values[1] == pytest.approx(values[0], rel=1e-4)


@pytest.mark.slow
def test_the_last_checkpoint_is_the_latest_even_where_nothing_was_better(tiny, tmp_path, monkeypatch):
    """A run goes on from where it stood, not from where it was best."""
    from vitm.papers.kpn_mfi import KPNMFITask

    steps = [
        "--trainer.max_steps",
        "3",
        "--trainer.val_check_interval",
        "1",
        "--trainer.check_val_every_n_epoch",
        "null",
    ]
    worse = iter([30.0, 20.0, 10.0])
    monkeypatch.setattr(KPNMFITask, "on_validation_epoch_end", lambda self: self.log("val/psnr", next(worse)))
    assert main(["kpn_mfi", "fit", *tiny, *steps, "--trainer.num_sanity_val_steps", "0"]) == 0
    folder = only_run(tmp_path, "kpn_mfi") / "checkpoints"
    saved = {path.name: torch.load(path, weights_only=True)["global_step"] for path in folder.iterdir()}
    assert saved == {"best.ckpt": 1, "last.ckpt": 3}


@pytest.mark.slow
def test_predict_and_convert_make_the_same_film(tiny, tmp_path):
    """Two scenes, of which each begins anew for the network, and a level that is chosen for the clip."""
    assert main(["kpn_mfi", "fit", *tiny, "--trainer.max_steps", "1"]) == 0
    checkpoint = only_run(tmp_path, "kpn_mfi") / "checkpoints/last.ckpt"
    frames = tmp_path / "clip"
    frames.mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        scene = np.linspace(0, 255, 64 * 96 * 3, dtype=np.uint8).reshape(64, 96, 3) if i < 3 else np.zeros(1, np.uint8)
        noise = rng.integers(0, 20, (64, 96, 3), np.uint8)
        cv2.imwrite(str(frames / f"{i}.png"), cv2.add(np.broadcast_to(scene, (64, 96, 3)).copy(), noise))
    where = ["--checkpoint", str(checkpoint), "--device", "cpu", "--fps", "25"]
    assert main(["kpn_mfi", "predict", "--input", str(frames), "--output", str(tmp_path / "predicted"), *where]) == 0
    converted = tmp_path / "converted"
    converted.mkdir()
    files = [str(frames), str(converted / "clip_hdr.mp4"), "--frames", str(converted / "clip_hdr")]
    assert vitm_main(["convert", *files, "--model", "kpn_mfi", *where]) == 0
    made = sorted(path.relative_to(converted) for path in converted.rglob("*.*"))
    assert len(made) == 8  # six frames, the video and its report
    for name in made:
        if name.suffix != ".json":
            assert (tmp_path / "predicted" / name).read_bytes() == (converted / name).read_bytes(), name
