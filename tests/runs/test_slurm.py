"""Jobs for Slurm: their scripts, what is refused, and on machines with a Slurm, what becomes of them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.runs.conftest import run
from vitm import cli
from vitm.runs import slurm_list
from vitm.runs.command import Request
from vitm.runs.entries import find_entry
from vitm.runs.folders import run_folder
from vitm.runs.requeue import go_on_later
from vitm.runs.slurm import Cluster, place, script, seconds, submit


def main(args):
    """Call `vitm slurm`, and return its exit status."""
    return cli.main(["slurm", *args])


def directives(text):
    """Option -> value, of a job's text."""
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def executed(text, **env):
    """The command that a job's text would have srun run, with `srun` played by echo."""
    played = text.replace("srun ", "printf '%s\\n' ", 1)
    env = {"PATH": os.environ["PATH"], **env}
    return subprocess.run(["bash", "-eu"], input=played, env=env, capture_output=True, text=True, check=True).stdout


def test_one_process_a_gpu_over_the_nodes(tmp_path):
    cluster = Cluster(
        nodes=2, gpus=4, time="1-12", partition="long", sbatch=("account=me", "exclusive", "gres=gpu:h200:4")
    )
    text = script([["kpn_mfi", "--data.root", "my data"]], cluster, name="kpn_mfi", folder=tmp_path)
    asked = directives(text)
    assert {k: asked[k] for k in ("nodes", "ntasks-per-node", "cpus-per-task", "gres", "time", "partition")} == {
        **{"nodes": "2", "ntasks-per-node": "4", "cpus-per-task": "4", "gres": "gpu:h200:4"},
        **{"time": "1-12", "partition": "long"},
    }
    assert asked["signal"] == "USR1@300"
    assert {"requeue", "exclusive"} <= asked.keys()
    assert "array" not in asked
    assert asked["chdir"] == str(Path.cwd())
    assert asked["output"] == str(tmp_path / "slurm.log")
    words = executed(text).splitlines()
    assert words[words.index(sys.executable) :] == [
        *(sys.executable, "-m", "vitm", "run", "kpn_mfi", "--data.root", "my data"),
        *("--trainer.accelerator", "gpu", "--trainer.devices", "4", "--trainer.num_nodes", "2"),
        *("--trainer.enable_progress_bar", "false"),
    ]
    assert text.count("srun") == 1


def test_elements_of_an_array_are_runs_with_names_of_their_own(tmp_path, capsys, fake_data):
    args = ["kpn_mfi/table3", "--tasks", "2", "--seeds", "2", "--at-once", "3", "--runs", str(tmp_path), "--dry-run"]
    assert main([*args, "--", "--trainer.max_steps", "4", "--data.root", str(fake_data)]) == 0
    text = capsys.readouterr().out
    assert directives(text)["array"] == "0-5%3"
    assert directives(text)["output"].endswith("/%a.log")
    runs = [executed(text, SLURM_ARRAY_TASK_ID=str(i)).splitlines() for i in range(6)]
    named = [(run[run.index("run") + 1], run[run.index("--seed_everything") + 1]) for run in runs]
    assert set(named) == {
        (f"kpn_mfi{row}", seed) for row in ("", "/table3/no_consistency", "/table3/no_mfi") for seed in "01"
    }
    assert len({run[run.index("--name") + 1] for run in runs}) == 6
    assert all(run[run.index("--trainer.accelerator") + 1] == "cpu" for run in runs)
    assert not list(tmp_path.iterdir())


def test_an_entry_of_ones_own_is_a_file_anywhere(tmp_path, capsys, fake_data):
    """Its runs are in a folder of its name; the job has the file's path."""
    mine = tmp_path / "mine.yaml"
    mine.write_text("entry: {title: Mine, base: kpn_mfi}\nmodel: {width: 8, trunk: [1, 1, 1, 1, 1]}\n")
    options = ["--tasks", "1", "--runs", str(tmp_path / "runs"), "--dry-run", "--", "--data.root", str(fake_data)]
    assert main([str(mine), *options]) == 0
    text = capsys.readouterr().out
    assert directives(text)["job-name"] == "mine"
    assert directives(text)["output"].startswith(f"{tmp_path}/runs/mine/")
    words = executed(text).splitlines()
    assert words[words.index("run") + 1] == str(mine)
    folder = tmp_path / "runs" / "mine" / words[words.index("--name") + 1]
    assert place([[str(mine)]], "mine", tmp_path / "runs")[2][0].parent == folder.parent


def test_a_run_that_goes_on_keeps_its_folder(tmp_path):
    old = tmp_path / "kpn_mfi" / "old"
    _, named, folders = place([["kpn_mfi", "--resume", str(old)], ["kpn_mfi", "fit"]], "kpn_mfi", tmp_path)
    assert folders[0] == old
    assert "--name" not in named[0]
    assert folders[1] == tmp_path / "kpn_mfi" / named[1][named[1].index("--name") + 1]


@pytest.mark.parametrize(
    ("time", "expected"),
    [("90", 5400), ("5:30", 330), ("12:00:00", 43200), ("2-3", 183600), ("1-2:30", 95400), ("1-0:0:5", 86405)],
)
def test_time_limits_are_slurms(time, expected):
    assert seconds(time) == expected


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["kpn_mfy"], "no entry or table 'kpn_mfy'"),
        (["kpn_mfi", "--time", "12h"], "expected minutes, hours:minutes:seconds"),
        (["kpn_mfi", "--time", "6"], "runs stop 5 min before it"),
        (["kpn_mfi", "--gpus", "0"], "say which"),
        (["kpn_mfi", "--nodes", "0"], "nodes is 0"),
        (["kpn_mfi", "--seeds", "2", "--", "--seed_everything", "1"], "--seed_everything"),
        (["kpn_mfi/table3", "--", "--resume", "x"], "one entry"),
        (["kpn_mfi", "--", "--runs", "x"], "--runs does not go behind --"),
    ],
)
def test_wrong_command_lines_are_explained(args, message, capsys):
    assert main([*args[:1], "--dry-run", *args[1:]]) == 2
    assert message in capsys.readouterr().out.replace("\n", " ")


@pytest.fixture
def slurm_played(tmp_path, monkeypatch):
    """`sbatch` and `scontrol` that write what they were told to the file that this gives."""
    told = tmp_path / "told"
    (tmp_path / "bin").mkdir()
    for name in ("sbatch", "scontrol"):
        program = tmp_path / "bin" / name
        program.write_text(
            f'#!/bin/bash\necho {name} "$@" >>{told}\n'
            f'echo "77;cluster"\nexit $(cat {told}.exit 2>/dev/null || echo 0)\n'
        )
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return told


def test_a_script_is_kept_where_the_run_will_be(tmp_path, slurm_played):
    job = submit([["kpn_mfi"]], Cluster(), name="kpn_mfi", runs=tmp_path / "runs", after=["3", "4"])
    assert job.job == "77"
    assert job.script == job.folders[0] / "job.sh"
    behind = "--dependency=afterok:3:4 --kill-on-invalid-dep=yes"
    assert slurm_played.read_text() == f"sbatch --parsable {behind} {job.script}\n"
    assert "dependency" not in directives(job.script.read_text())  # submitted again, it would wait for what is gone


def test_a_refusal_is_slurms_own_and_leaves_nothing(tmp_path, slurm_played):
    Path(f"{slurm_played}.exit").write_text("1")
    with pytest.raises(ValueError, match="Slurm refused the job"):
        submit([["kpn_mfi"]], Cluster(), name="kpn_mfi/table3", runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_without_slurm_there_is_an_error_and_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["kpn_mfi", "--runs", str(tmp_path / "runs"), "--", "--data.root", "nowhere"]) == 2
    assert "no sbatch on this machine" in capsys.readouterr().out.replace("\n", " ")
    assert not (tmp_path / "runs").exists()


def test_options_are_checked_before_they_wait_in_a_queue(tmp_path, slurm_played, capsys, fake_data):
    options = ["--runs", str(tmp_path / "runs"), "--", "--data.root", str(fake_data)]
    assert main(["kpn_mfi", *options, "--model.alhpa", "1"]) == 2
    assert "alhpa" in "".join(capsys.readouterr())
    assert main(["hdcfm/pdcg", *options]) == 2
    assert "goes on from a trained hdcfm" in capsys.readouterr().out.replace("\n", " ")
    assert main(["kpn_mfi", *options[:-1], str(tmp_path / "nowhere")]) == 2
    assert "nowhere: expected the data" in capsys.readouterr().out.replace("\n", " ")
    accumulate = ["--model.hdcfm", "x.ckpt", "--trainer.accumulate_grad_batches", "2"]
    assert main(["hdcfm/pdcg", "--dry-run", *options, *accumulate]) == 2
    assert "steps two optimisers by itself" in capsys.readouterr().out.replace("\n", " ")
    assert not slurm_played.exists()


def test_options_of_sbatch_are_one_at_a_time(capsys, fake_data):
    """So that the entry may stand behind them."""
    options = ["--dry-run", "--sbatch", "account=me", "--sbatch", "exclusive", "kpn_mfi"]
    assert main([*options, "--", "--data.root", str(fake_data)]) == 0
    asked = directives(capsys.readouterr().out)
    assert asked["account"] == "me"
    assert "exclusive" in asked


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """A list of three pictures in the working directory, whose options are checked as a cluster's would be."""
    for name in "abc":
        (tmp_path / f"{name}.png").touch()
    lines = [f"{name}.png,{name}_hdr.png" for name in "abc"]
    (tmp_path / "list.csv").write_text("\n".join(["source,output", *lines]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_lines_of_a_list_are_shared_by_an_array(listed, slurm_played, capsys):
    options = ["convert", "list.csv", "--gpus", "2", "--at-once", "4", "--dry-run", "--", "--model", "clip"]
    assert main(options) == 0
    text = capsys.readouterr().out
    asked = directives(text)
    assert (asked["array"], asked["gres"], asked["ntasks-per-node"]) == ("0-1%4", "gpu:2", "2")  # 3 lines, 2 at a time
    assert asked["signal"] == "B:USR1@300"
    words = executed(text, SLURM_JOB_ID="7").splitlines()
    run = words[words.index("bash") :]
    played = subprocess.run(
        ["bash", "-c", run[2].replace("exec ", "echo "), *run[3:]],
        env={"PATH": os.environ["PATH"], "SLURM_LOCALID": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert played.split()[1:] == [*("-m", "vitm", "convert", "list.csv", "--model", "clip", "--device", "cuda:1")]
    assert not slurm_played.exists()
    (listed / "a_hdr.png").touch()
    (listed / "a_hdr.png.json").touch()
    assert main(["--tasks", "1", "convert", "list.csv", "--", "--model", "clip"]) == 0
    (folder,) = (listed / "runs/convert").iterdir()
    assert slurm_played.read_text() == f"sbatch --parsable {folder}/job.sh\n"
    assert directives((folder / "job.sh").read_text())["array"] == "0-1"


@pytest.mark.parametrize(("array", "element"), [(True, "10_2"), (False, "12")])
def test_a_conversion_goes_back_to_the_queue_and_ends_with_its_processes(array, element, tmp_path, slurm_played):
    """The script hears of the time limit while srun, played by a sleep, is at work."""
    text = slurm_list.script(
        Path("list.csv"), [], Cluster(gpus=0, tasks=1), elements=2 if array else 1, folder=tmp_path
    )
    srun = tmp_path / "bin/srun"
    srun.write_text(f"#!/bin/bash\ntouch {tmp_path}/begun\nsleep 0.3\nexit 3\n")
    srun.chmod(0o755)
    numbers = {"SLURM_JOB_ID": "12"} | ({"SLURM_ARRAY_JOB_ID": "10", "SLURM_ARRAY_TASK_ID": "2"} if array else {})
    process = subprocess.Popen(["bash", "-c", text], env={"PATH": os.environ["PATH"], **numbers})
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGUSR1)
    assert process.wait() == 3
    assert slurm_played.read_text() == f"scontrol requeue {element}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["convert"], "convert: expected ENTRY, TABLE or convert LIST.csv"),
        (["kpn_mfi", "list.csv"], "kpn_mfi list.csv: expected"),
        (["convert", "list.csv", "--seeds", "2"], "a conversion has no seeds"),
        (["convert", "list.csv", "--", "--device", "cpu"], "--device does not go behind --"),
        (["convert", "list.csv", "--", "--overwrite"], "--overwrite does not go behind --"),
        (["convert", "list.csv", "--", "out.png"], "the list says what the outputs are"),
        (["convert", "list.csv", "--", "--model", "hdcfm"], "hdcfm needs weights"),
        (["convert", "list.csv", "--", "--codec", "hevc2"], "expected one of hevc"),
        (["convert", "gone.csv", "--", "--model", "clip"], "there is no c.png"),
        (["convert", "done.csv", "--", "--model", "clip"], "all outputs are there already"),
    ],
)
def test_lists_are_checked_before_they_wait_in_a_queue(words, message, listed, capsys):
    (listed / "c.png").rename(listed / "d.png")
    (listed / "gone.csv").write_text("source,output\na.png,x.png\nc.png,c_hdr.png")
    (listed / "done.csv").write_text("source,output\na.png,d.png")
    (listed / "d.png.json").touch()
    if words[1:2] == ["list.csv"]:
        (listed / "d.png").rename(listed / "c.png")
    assert main([words[0], "--dry-run", *words[1:]]) == 2
    assert message in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("measuring", "message"), [(False, "no step was made"), (True, "the measurement, which begins anew each time")]
)
def test_a_job_that_comes_no_nearer_to_its_end_does_not_begin_again(measuring, message, capsys, slurm_played):
    assert go_on_later(trained=False, measuring=measuring) == 1
    assert message in capsys.readouterr().out.replace("\n", " ")
    assert not slurm_played.exists()


@pytest.mark.parametrize(
    ("name", "task", "shared"), [("train", True, True), ("train", False, False), ("interactive", True, False)]
)
def test_tasks_of_a_job_share_a_folder_and_runs_of_a_session_do_not(name, task, shared, monkeypatch):
    """A script of one's own with srun; and `salloc`, where the same command is tried again and again."""
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    monkeypatch.setenv("SLURM_JOB_NAME", name)
    monkeypatch.setenv("VITM_RUN_ID", "")  # put back afterwards
    if task:
        monkeypatch.setenv("SLURM_PROCID", "1")
    request = Request(find_entry("kpn_mfi"), "fit", ("--x", "1"))
    first, second = (run_folder(request)[0] for _ in range(2))
    assert (first == second) == shared
    assert first.name.startswith("slurm-5-fit") == shared


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch", "validation"), [(1, "2"), (3, "2"), (3, "3")], ids=["mid epoch", "then validation", "then none"]
)
def test_near_the_time_limit_a_run_saves_itself_and_goes_back_to_the_queue(
    batch, validation, tiny, tmp_path, slurm_played, monkeypatch
):
    """SIGUSR1 in the middle of a step of two batches; then the same command, and the weights of an undisturbed run.

    An epoch has two steps. After the first of an epoch, and after the last, be the next epoch's validation due or not.
    """
    from vitm.papers.kpn_mfi import KPNMFITask

    options = [
        *tiny,
        "--trainer.max_steps",
        "5",
        "--trainer.accumulate_grad_batches",
        "2",
        "--trainer.max_epochs",
        "-1",
    ]
    options += ["--data.batch_size", "1", "--trainer.check_val_every_n_epoch", validation]
    assert run(["kpn_mfi", "fit", *options, "--runs", str(tmp_path / "undisturbed")]) == 0

    step, batches = KPNMFITask.training_step, []

    def told_in_one(self, samples, batch_idx):
        batches.append(batch_idx)
        if len(batches) == batch:
            os.kill(os.getpid(), signal.SIGUSR1)
        return step(self, samples, batch_idx)

    monkeypatch.setattr(KPNMFITask, "training_step", told_in_one)
    for name, value in (("JOB_ID", "12"), ("ARRAY_JOB_ID", "10"), ("ARRAY_TASK_ID", "2")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    mine = ["kpn_mfi", "fit", *options, "--name", "mine"]
    assert run(mine) == 0
    assert slurm_played.read_text() == "scontrol requeue 10_2\n"
    folder = tmp_path / "runs/kpn_mfi/mine"
    assert len(batches) == batch + 1
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] == len(batches) // 2

    last = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    last["callbacks"]["LastCheckpoint"]["seconds"] += 1000
    torch.save(last, folder / "checkpoints/last.ckpt")
    assert run(mine) == 0
    results = json.loads((folder / "metrics.json").read_text())
    assert 1000 < results["fit_seconds"] <= results["wall_seconds"]
    (other,) = (tmp_path / "undisturbed/kpn_mfi").iterdir()
    same_weights(folder, other)
    assert logged(folder) == logged(other)


def logged(folder):
    with (folder / "csv/metrics.csv").open() as file:
        return [(row["epoch"], row["step"], row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def same_weights(*folders):
    ours, theirs = (torch.load(f / "checkpoints/last.ckpt", weights_only=True) for f in folders)
    assert ours["global_step"] == theirs["global_step"]
    assert all(torch.equal(ours["state_dict"][k], theirs["state_dict"][k]) for k in theirs["state_dict"])


def wait(job, seconds=300):
    """Until a job has left the queue, which one that was put back does not wait for its time there."""
    deadline = time.time() + seconds
    while time.time() < deadline:
        queue = subprocess.run(["squeue", "-h", "-j", job, "-o", "%T %r"], capture_output=True, text=True).stdout
        if not queue.strip():
            return
        if "PENDING BeginTime" in queue:
            subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=True)
        time.sleep(0.5)
    subprocess.run(["scancel", job], check=True)
    raise AssertionError(f"job {job} was still there after {seconds} s: {queue}")


needs_slurm = pytest.mark.skipif(
    not shutil.which("sinfo") or subprocess.run(["sinfo", "-h"], capture_output=True, timeout=20).returncode != 0,
    reason="no Slurm answers here (sinfo)",
)
SHORT = ["--model.test_metrics", "[psnr]", "--trainer.max_epochs", "-1", "--trainer.check_val_every_n_epoch", "20"]


@pytest.mark.slow
@needs_slurm
def test_a_job_that_is_requeued_ends_as_one_that_is_not(tiny, tmp_path):
    """Two processes each, DDP: the same weights, one folder, one run on W&B."""
    command = ["kpn_mfi", *tiny, *SHORT, "--trainer.max_steps", "60"]
    cluster = Cluster(gpus=0, tasks=2, cpus=1, time="20")
    undisturbed = submit([command], cluster, name="kpn_mfi", runs=tmp_path / "runs")
    wait(undisturbed.job)
    killed = submit([command], cluster, name="kpn_mfi", runs=tmp_path / "runs")
    log = killed.folders[0] / "csv/metrics.csv"
    deadline = time.time() + 120
    while time.time() < deadline and not (log.is_file() and len(log.read_text().splitlines()) > 45):
        time.sleep(0.05)
    subprocess.run(["scontrol", "requeue", killed.job], check=True)
    wait(killed.job)
    assert "DUE TO JOB REQUEUE" in killed.log.read_text()
    folders = undisturbed.folders[0], killed.folders[0]
    for folder in folders:
        assert "GLOBAL_RANK: 1, MEMBER: 2/2" in (folder / "slurm.log").read_text()
        assert (folder / "metrics.json").is_file()
    same_weights(*folders)
    assert logged(folders[0]) == logged(folders[1])
    assert len(list((tmp_path / "runs/kpn_mfi").iterdir())) == 2
    tracked = [path.name for path in (folders[1] / "wandb").glob("offline-run-*")]
    assert len(tracked) == 2
    assert all(name.endswith(folders[1].name) for name in tracked)


@pytest.mark.slow
@needs_slurm
def test_a_table_is_an_array(tiny, tmp_path, capsys):
    args = ["kpn_mfi/table3", "--tasks", "1", "--cpus", "1", "--time", "20", "--runs", str(tmp_path / "runs"), "--"]
    options = tiny[: tiny.index("--runs")] + tiny[tiny.index("--runs") + 2 :]
    assert main([*args, *options, *SHORT, "--trainer.max_steps", "4"]) == 0
    job = capsys.readouterr().out.split(":")[0].split()[1]
    wait(job)
    found = {path.parents[1].relative_to(tmp_path / "runs").as_posix() for path in tmp_path.rglob("metrics.json")}
    assert found == {"kpn_mfi", "kpn_mfi/table3/no_consistency", "kpn_mfi/table3/no_mfi"}
    assert len(list((tmp_path / "runs/kpn_mfi/table3").glob("*/[012].log"))) == 3
