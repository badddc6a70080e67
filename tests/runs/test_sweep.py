"""Sweeps: which runs are made, in which order, and what happens when one fails or is stopped.

What a run leaves behind is played by a small program, in the layout of `experiments.run`; one slow test runs that.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from tests.runs.conftest import TINY
from tests.runs.conftest import run as run_main
from vitm.cli import main
from vitm.runs import slurm, sweep
from vitm.runs.entries import experiments_folder, find_entry
from vitm.runs.plans import plan
from vitm.runs.tracking import best_values

ROOT = experiments_folder()
PLAYED = """
import json, os, pathlib, signal, sys, time
import yaml
from vitm.runs.entries import find_entry

entry, options = find_entry(sys.argv[1]), dict(zip(sys.argv[2::2], sys.argv[3::2]))
demo = "--data.root" not in options
folder = pathlib.Path(options.get("--resume", f"{options['--runs']}/{entry.name}/{time.time_ns()}"))
config = {"model": {}, "data": {}, "trainer": {}}
different = {}
for section in config:
    config[section] |= entry.config(demo=demo)[section]
for name, text in options.items():
    section, _, key = name.lstrip("-").partition(".")
    if section in config:
        config[section][key] = yaml.safe_load(text)
        different.setdefault(section, {})[key] = config[section][key]
config["seed_everything"] = different["seed_everything"] = int(options.get("--seed_everything", 0))
if os.environ.get("FAIL") == entry.name:
    sys.exit("the seventh seal is broken")
(folder / "checkpoints").mkdir(parents=True, exist_ok=True)
if "--resume" not in options:
    (folder / "overrides.yaml").write_text(yaml.safe_dump(different))
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
(folder / "tags").write_text("demo" if demo else "data")
(folder / "asked").write_text(json.dumps(sys.argv[1:]))
(folder / "agent").write_text(os.environ.get("WANDB_RUN_ID", ""))
(folder / "checkpoints/last.ckpt").write_text("")
if os.environ.get("HANG") == entry.name:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    time.sleep(60)
if os.environ.get("BREAK") == entry.name:
    sys.exit("the frames are gone")
(folder / "checkpoints/best.ckpt").write_text("")
names = {"mabd": ("mabd_pred", "mabd_gt", "mse_mabd"), "warping_error": ("warping_error", "warping_error_gt")}
values = [name for metric in config["model"]["test_metrics"] for name in names.get(metric, [metric])]
results = {"stage": "test", "unlike_paper": {}, "protocol": {},
           "parameters": 1, "steps": 2, "wall_seconds": 75.0, "device": "abacus", "entry": entry.name, "baselines": {},
           "checkpoint": str(folder / "checkpoints/best.ckpt"),
           "values": dict.fromkeys(values, 0.5) | {"psnr": 30.0 + config["seed_everything"]}}
(folder / "metrics.json").write_text(json.dumps(results))
"""


@pytest.fixture
def play(tmp_path, monkeypatch, capsys):
    """Call a sweep of a table with runs that are played; returns (exit status, what was said)."""
    program = tmp_path / "played.py"
    program.write_text(PLAYED)
    monkeypatch.setattr(sweep, "RUN", (sys.executable, str(program)))
    monkeypatch.setenv("PYTHONPATH", str(ROOT.parent))

    def call(*args):
        status = main(["sweep", *args[:1], "--runs", str(tmp_path / "runs"), *args[1:]])
        return status, capsys.readouterr().out

    return call


def folders(tmp_path, entry):
    return sorted(path.parent for path in (tmp_path / "runs" / entry).glob("*/tags"))


@pytest.mark.slow
def test_all_rows_run_with_all_seeds_and_only_once(play, tmp_path):
    status, out = play("kpn_mfi/table3", "--seeds", "2")
    assert status == 0
    assert "#3 changes nothing: a run of kpn_mfi" in out
    for entry in ("kpn_mfi/table3/no_mfi", "kpn_mfi/table3/no_consistency", "kpn_mfi"):
        seeds = [yaml.safe_load((f / "config.yaml").read_text())["seed_everything"] for f in folders(tmp_path, entry)]
        assert seeds == [0, 1]
        assert (tmp_path / "runs" / entry / "demo-seed1.log").is_file()
    assert not folders(tmp_path, "kpn_mfi/table3/full")
    table = (tmp_path / "runs/kpn_mfi/table3/table.csv").read_text()
    assert table.count("30.5000 ± 0.7071") == 3  # mean and deviation of 30 and 31
    assert "kpn_mfi, seed 1: 75 s, 2 steps, abacus" in out

    status, out = play("kpn_mfi/table3", "--seeds", "2")
    assert status == 0
    assert out.count("finished before") == 6
    assert len(folders(tmp_path, "kpn_mfi")) == 2


@pytest.mark.slow
def test_a_run_with_other_options_or_other_data_does_not_count(play, tmp_path):
    def row(*options):
        status, _ = play("kpn_mfi/table3", "--row", "no_mfi", "--", *options)
        assert status == 0
        return len(folders(tmp_path, "kpn_mfi/table3/no_mfi"))

    assert row() == 1
    assert row("--trainer.max_steps", "5") == 2
    assert row("--trainer.max_steps=5", "--trainer.accelerator", "cpu") == 2  # it counts where it was trained elsewhere
    assert row("--model.lr", "3e-4") == 3
    assert row("--data.root", "DATA") == 4
    assert row("--data.root", "./DATA/") == 4
    assert row("--data.root", "DATA2") == 5
    assert row() == row("--model.lr", "3e-4") == row("--data.root", "DATA") == 5  # others came later


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--data.flips", "false"),
        ("--data.shuffle_order", "true"),
        ("--data.val_split", "test"),
        ("--trainer.gradient_clip_val", "0.1"),
    ],
)
def test_no_option_is_invisible(option, value, play, tmp_path):
    """Neither one of the data module's that the entry does not name, nor one of the trainer's."""
    row = ["kpn_mfi/table3", "--row", "no_mfi"]
    for options, count in (([option, value], 1), ([], 2), ([option, value], 2), ([], 2)):
        assert play(*row, "--", *options)[0] == 0
        assert len(folders(tmp_path, "kpn_mfi/table3/no_mfi")) == count


def test_a_run_without_a_metric_that_is_asked_for_does_not_count(play, tmp_path):
    def row(metrics):
        status, _ = play("kpn_mfi/table3", "--row", "no_mfi", "--", "--model.test_metrics", metrics)
        assert status == 0
        return len(folders(tmp_path, "kpn_mfi/table3/no_mfi"))

    assert row("[psnr, mabd]") == 1
    assert row("[mabd]") == row("null") == 1
    assert row("[psnr, sr_sim]") == 2
    assert row("[psnr, mabd]") == 2


def test_the_table_of_a_sweep_is_of_its_own_runs(play, tmp_path):
    def steps():
        lines = (tmp_path / "runs/kpn_mfi/table3/table.csv").read_text().splitlines()
        return [line.partition(",")[0] for line in lines if "30.00" in line]

    assert play("kpn_mfi/table3", "--row", "no_mfi")[0] == 0
    assert steps() == ["#1"]
    status, out = play("kpn_mfi/table3", "--row", "no_mfi", "--seed", "1", "--", "--model.alpha", "0.3")
    assert status == 0
    assert "another model.alpha than its entry" in out
    assert "31.00" in (tmp_path / "runs/kpn_mfi/table3/table.csv").read_text()
    assert steps() == []


@pytest.mark.slow
def test_a_failed_run_is_reported_and_does_not_stop_the_rest(play, tmp_path, monkeypatch):
    monkeypatch.setenv("FAIL", "kpn_mfi/table3/no_mfi")
    status, out = play("kpn_mfi/table3")
    assert status == 1
    assert "failed (exit status 1)" in out
    assert "the seventh seal is broken" in out
    assert "kpn_mfi/table3/no_mfi, seed 0: not finished" in out
    assert len(folders(tmp_path, "kpn_mfi")) == len(folders(tmp_path, "kpn_mfi/table3/no_consistency")) == 1
    monkeypatch.delenv("FAIL")
    status, out = play("kpn_mfi/table3")
    assert status == 0
    assert out.count("finished before") == 2


def test_a_run_that_fails_after_it_was_saved_says_how_to_begin_again(play, tmp_path, monkeypatch):
    monkeypatch.setenv("BREAK", "kpn_mfi/table3/no_mfi")
    status, out = play("kpn_mfi/table3", "--row", "no_mfi")
    assert status == 1
    (folder,) = folders(tmp_path, "kpn_mfi/table3/no_mfi")
    assert "the frames are gone" in out
    assert f"remove {folder} to begin again" in out


@pytest.mark.slow
def test_ctrl_c_stops_the_run_which_then_goes_on_in_its_folder(play, tmp_path, monkeypatch):
    monkeypatch.setenv("HANG", "kpn_mfi/table3/no_mfi")

    def interrupt():
        while not list((tmp_path / "runs").rglob("last.ckpt")):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    status, out = play("kpn_mfi/table3")
    thread.join()
    assert status == 130
    assert "The same command goes on from here" in out
    (folder,) = folders(tmp_path, "kpn_mfi/table3/no_mfi")
    assert not (folder / "metrics.json").exists()
    assert not folders(tmp_path, "kpn_mfi")

    monkeypatch.delenv("HANG")
    status, out = play("kpn_mfi/table3")
    assert status == 0
    assert f"goes on in {folder}" in out
    assert folders(tmp_path, "kpn_mfi/table3/no_mfi") == [folder]
    assert "--resume" in json.loads((folder / "asked").read_text())


def retrain(folder):
    """A later run with the same options, as if it had been typed; returns its folder."""
    newer = folder.with_name(f"{folder.name}-again")
    shutil.copytree(folder, newer)
    results = json.loads((newer / "metrics.json").read_text())
    (newer / "metrics.json").write_text(json.dumps(results | {"checkpoint": str(newer / "checkpoints/best.ckpt")}))
    return newer


@pytest.mark.slow
def test_later_stages_come_after_what_they_need(play, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "of-the-agent")
    of_both, of_none = ("--model.lr", "1e-5"), ("--model.tyop", "1")
    options = (*of_both, "--model.gan_weight", "0.5", "--model.every", "5", *of_none)
    row = ("vitm_tc/fcpm/table2", "--row", "no_alignment", "--seed", "1", "--", *options)
    status, out = play(*row)
    assert status == 0
    first, second = "vitm_tc/icam/table2/no_alignment", "vitm_tc/fcpm/table2/no_alignment"
    assert out.index(f"{first}, seed 1: starts") < out.index(f"{second}, seed 1: starts")
    assert f"{second}, seed 1: goes on from {first}, seed 1 (--model.icam)" in out
    (icam,), (fcpm,) = folders(tmp_path, first), folders(tmp_path, second)
    asked = [" ".join(json.loads((folder / "asked").read_text())) for folder in (icam, fcpm)]
    assert f"--model.icam {icam / 'checkpoints/best.ckpt'}" in asked[1]
    assert all("--model.lr 1e-5" in words and "--model.tyop 1" in words for words in asked)
    assert ["--model.gan_weight" in words for words in asked] == [False, True]
    assert ["--model.every" in words for words in asked] == [True, False]
    assert ((icam / "agent").read_text(), (fcpm / "agent").read_text()) == ("", "of-the-agent")
    assert play(*row)[1].count("finished before") == 2

    again = retrain(icam)
    status, out = play(*row)
    assert status == 0
    assert f"{first}, seed 1: finished before, {again}" in out
    (newer,) = set(folders(tmp_path, second)) - {fcpm}
    assert f"--model.icam {again / 'checkpoints/best.ckpt'}" in " ".join(json.loads((newer / "asked").read_text()))
    later = plan([find_entry(second)], [1], options, tmp_path / "runs")[-1]
    assert later.done() == newer
    (newer / "metrics.json").unlink()
    (fcpm / "metrics.json").unlink()
    assert later.interrupted() == newer
    retrain(again)
    assert later.interrupted() is None

    monkeypatch.setenv("FAIL", "vitm_tc/icam/table2/pretrained_flow")
    status, out = play("vitm_tc/fcpm/table2", "--row", "pretrained_flow")
    assert status == 1
    assert "vitm_tc/fcpm/table2/pretrained_flow, seed 0: not run, because it goes on from" in out


def test_a_run_of_another_process_is_waited_for(play, tmp_path, capsys):
    log = tmp_path / "runs/kpn_mfi/table3/no_mfi/demo-seed0.log"
    log.parent.mkdir(parents=True)
    held = log.open("a")
    fcntl.flock(held, fcntl.LOCK_EX)
    others = tmp_path / "runs/kpn_mfi"

    def release():
        while not list(others.glob("*/metrics.json")):  # the row after next is done meanwhile
            time.sleep(0.02)
        time.sleep(0.1)
        held.close()

    thread = threading.Thread(target=release)
    thread.start()
    status, out = play("kpn_mfi/table3")
    thread.join()
    assert status == 0
    assert out.index("kpn_mfi, seed 0: finished") < out.index("kpn_mfi/table3/no_mfi, seed 0: starts")


def test_a_run_that_was_started_elsewhere_is_waited_for(play, tmp_path):
    """By hand, say: it holds the lock of its folder, and nothing else tells that it is alive."""
    assert play("kpn_mfi/table3", "--row", "no_mfi")[0] == 0
    (folder,) = folders(tmp_path, "kpn_mfi/table3/no_mfi")
    results = (folder / "metrics.json").read_text()
    (folder / "metrics.json").unlink()
    held = (folder / "lock").open("w")
    fcntl.flock(held, fcntl.LOCK_EX)
    others = tmp_path / "runs/kpn_mfi"

    def finish():
        while not list(others.glob("*/metrics.json")):
            time.sleep(0.02)
        (folder / "metrics.json").write_text(results)
        held.close()

    thread = threading.Thread(target=finish)
    thread.start()
    status, out = play("kpn_mfi/table3")
    thread.join()
    assert status == 0
    assert out.count(f"runs already in {folder}") == 1
    assert f"kpn_mfi/table3/no_mfi, seed 0: finished before, {folder}" in out
    assert "--resume" not in json.loads((folder / "asked").read_text())


def test_what_runs_already_is_not_submitted(play, tmp_path, monkeypatch):
    assert play("kpn_mfi/table3", "--row", "no_mfi")[0] == 0
    (folder,) = folders(tmp_path, "kpn_mfi/table3/no_mfi")
    (folder / "metrics.json").unlink()
    calls = submissions(monkeypatch, tmp_path)
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        status, out = play("kpn_mfi/table3", "--where", "slurm")
    assert status == 0
    assert f"kpn_mfi/table3/no_mfi, seed 0: not submitted, because it runs already in {folder}" in out
    ((commands, _, after),) = calls
    assert ([command[0] for command in commands], after) == (["kpn_mfi/table3/no_consistency", "kpn_mfi"], [])


def test_rows_that_cannot_run_say_why(play, tmp_path):
    row = {"row": "Gone", "results": {"psnr": 1.0}, "missing": "its code was lost, and nobody knows how it worked"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"paper": "Mine", "table": 1, "rows": {"gone": row}}))
    status, out = play(str(tmp_path / "mine.yaml"), "--row", "gone")
    assert status == 0
    assert "cannot be run: " in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["kpn_mfi/table9"], "no table 'kpn_mfi/table9'"),
        (["kpn_mfi"], "no table 'kpn_mfi'"),
        (["kpn_mfi/table3", "--row", "no"], "no row 'no' in kpn_mfi/table3; there are no_mfi"),
        (["kpn_mfi/table3", "--model.alpha", "1"], "go behind --"),
        (["kpn_mfi/table3", "--", "--runs", "x"], "--runs does not go behind --"),
        (["kpn_mfi/table3", "--", "--seed_everything=3"], "--seed_everything=3 does not go behind --"),
        (["kpn_mfi/table3", "--", "fit"], "expected an option of vitm run"),
        (["kpn_mfi/table3", "--", "--config", "none.yaml"], "none.yaml"),
    ],
)
def test_wrong_command_lines_are_explained(args, message, play, tmp_path):
    status, out = play(*args)
    assert status == 2
    assert message in out.replace("\n", "")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "seeds",
    [
        *(["--seeds", "0"], ["--seeds", "-1"], ["--seeds", "two"], ["--seeds", "²"]),
        *(["--seed", "-3"], ["--seed", "1.5"], ["--seeds", "2", "--seed", "1"]),
    ],
)
def test_seeds_are_numbers_and_either_how_many_or_which(seeds, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["sweep", "kpn_mfi/table3", *seeds])
    assert stop.value.code == 2
    assert seeds[-2] in capsys.readouterr().err


def expand(config, **values):
    """The command line that `wandb agent` makes of a sweep and of the values that it was given."""
    found = create_sweep_command_args({"args": {k: {"value": v} for k, v in values.items()}})
    found |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [config["program"]]}
    parts = create_sweep_command(list(config["command"]))
    return [x for p in parts for x in (found[p[2:-1]] if p.startswith("${") else [p])]


def test_agents_of_a_wandb_sweep_run_a_row_and_a_seed_each(play, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    status, out = play("kpn_mfi/table3", "--seeds", "2", "--where", "wandb", "--", "--model.lr", "1e-3")
    assert status == 2
    assert "wandb login" in out
    config = yaml.safe_load((tmp_path / "runs/kpn_mfi/table3/sweep.yaml").read_text())
    assert config["parameters"] == {"row": {"values": ["no_mfi", "no_consistency", "full"]}, "seed": {"values": [0, 1]}}
    assert (config["method"], config["metric"]) == ("grid", {"name": "val/psnr", "goal": "maximize"})
    command = expand(config, row="no_consistency", seed=1)
    assert command[:4] == ["/usr/bin/env", "python", "-m", "vitm"]
    assert main(command[4:]) == 0
    (folder,) = (tmp_path / "runs").rglob("asked")
    asked = json.loads(folder.read_text())
    assert asked[0] == "kpn_mfi/table3/no_consistency"
    assert asked[asked.index("--seed_everything") + 1] == "1"
    assert asked[asked.index("--model.lr") + 1] == "1e-3"


def submissions(monkeypatch, tmp_path):
    """What is submitted, to a Slurm that takes everything: commands, cluster and what each job waits for."""
    calls = []

    def submit(commands, cluster, *, name, runs, after=()):
        calls.append((commands, cluster, list(after)))
        places = tuple(runs / command[0] / f"{len(calls)}-{i}" for i, command in enumerate(commands))
        return slurm.Submitted(str(40 + len(calls)), tmp_path / "job.sh", tmp_path / "log", places)

    monkeypatch.setattr(slurm, "submit", submit)
    monkeypatch.setattr(slurm, "refuse", lambda commands, runs: None)
    monkeypatch.setattr(sweep, "slurm_jobs", lambda name: [])
    return calls


@pytest.mark.slow
def test_on_slurm_a_row_waits_for_its_own_first_stage(play, tmp_path, monkeypatch):
    """So that one that fails does not take the others with it."""
    calls = submissions(monkeypatch, tmp_path)
    assert play("vitm_tc/fcpm/table2", "--row", "no_alignment")[0] == 0  # a finished row is not submitted
    status, out = play("vitm_tc/fcpm/table2", "--where", "slurm", "--gpus", "2", "--time", "2:00:00")
    assert status == 0
    (first, cluster, none), *second = calls
    assert (cluster.gpus, cluster.time, none) == (2, "2:00:00", [])
    assert [c[0] for c in first] == [
        *(f"vitm_tc/icam/table2/{row}" for row in ("pretrained_flow", "corrected_flow", "guided_deformation")),
        "vitm_tc/icam",
    ]
    assert len(second) == 4
    for i, ((command,), _, after) in enumerate(second):
        assert after == [f"41_{i}"]
        assert command[0] == first[i][0].replace("icam", "fcpm")
        at = command.index("--model.icam") + 1
        assert command[at] == str(tmp_path / "runs" / first[i][0] / f"1-{i}" / "checkpoints/best.ckpt")

    monkeypatch.setattr(sweep, "slurm_jobs", lambda name: ["41"])
    status, out = play("vitm_tc/fcpm/table2", "--where", "slurm")
    assert status == 2
    assert "is in the queue already (job 41)" in out


@pytest.mark.slow
def test_on_slurm_rows_that_wait_for_the_same_run_are_an_array(play, tmp_path, monkeypatch):
    calls = submissions(monkeypatch, tmp_path)
    assert play("vitm_tc/fcpm/table3", "--where", "slurm")[0] == 0
    (first, _, none), (second, _, after) = calls
    assert [command[0] for command in first] == ["vitm_tc/fcpm/table3/no_fcpm", "vitm_tc/icam"]
    assert (none, after) == ([], ["41_1"])
    assert len(second) > 1


FILES = sorted(ROOT.glob("**/sweeps/*.yaml"))


def test_there_are_ranges_for_each_paper():
    assert {file.parts[-3] for file in FILES} == {"kpn_mfi", "hdcfm", "dslnet", "vitm_tc"}
    assert {yaml.safe_load(file.read_text())["method"] for file in FILES} == {"grid", "random", "bayes"}


def extremes(config):
    """The lowest and the highest value of each parameter."""
    parameters = config["parameters"].items()
    for pick in (min, max):
        yield {k: pick(p["values"]) if "values" in p else p[pick.__name__] for k, p in parameters}


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parts[-3]}-{f.stem}")
def test_what_an_agent_runs_is_a_command_line_of_the_entry(file, tiny_of, tmp_path, capsys):
    """Each end of each range is an option's value, and reaches the resolved configuration."""
    config = yaml.safe_load(file.read_text())
    for values in extremes(config):
        command = expand(config, **values)
        assert command[:5] == ["/usr/bin/env", "python", "-m", "vitm", "run"]
        arguments = [x for x in command[5:] if x != "test"]  # which would look for a trained network
        tiny = tiny_of(arguments[0])
        with pytest.raises(SystemExit) as stop:
            run_main([arguments[0], *tiny, *arguments[1:], "--print_config"])
        assert stop.value.code in (0, None)
        printed = yaml.safe_load(capsys.readouterr().out)
        for name, value in values.items():
            section, _, key = name.partition(".")
            assert (printed[section][key] if key else printed[section]) == value
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parts[-3]}-{f.stem}")
def test_the_metric_of_a_range_is_logged(file):
    config = yaml.safe_load(file.read_text())
    entry = find_entry(config["command"][5])
    task = entry.load_task()
    stage, _, metric = config["metric"]["name"].partition("/")
    if stage in ("val", "best"):
        assert f"val/{metric}" == task.monitor[0]
        assert config["metric"]["goal"] == f"{task.monitor[1]}imize"
        assert stage == "val" or best_values({task.monitor[0]: 1.0}) == {metric: 1.0}
    else:
        assert "test" in config["command"]
        for recipe in (entry.recipe, entry.demo_recipe):
            assert metric in recipe["model"]["test_metrics"]


@pytest.mark.slow
def test_a_table_is_run_and_printed(fake_data, tmp_path):
    """All of it, as a user types it."""
    options = [*TINY, "--data.root", str(fake_data), "--trainer.max_steps", "1"]
    command = [sys.executable, "-m", "experiments.sweep", "kpn_mfi/table3", "--runs", str(tmp_path), "--", *options]
    env = os.environ | {"OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.rglob("metrics.json"))) == 3
    assert (tmp_path / "kpn_mfi/table3/table.csv").is_file()
    again = subprocess.run(command, env=env, capture_output=True, text=True)
    assert again.stdout.count("finished before") == 3
