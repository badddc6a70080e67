"""`vitm evaluate` as a person runs it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from vitm.cli import main
from vitm.video import write_png16


def clip(root: Path, name: str, noise: float, count: int = 6) -> Path:
    rng = np.random.default_rng(0)
    base = 0.5 + 0.3 * np.sin(np.arange(48) * np.pi / 24)[None, :, None] + 0.02 * rng.random((32, 48, 3))
    (root / name).mkdir(parents=True)
    for i in range(count):
        frame = np.roll(base, i, axis=1) + noise * rng.standard_normal(base.shape)
        write_png16(root / name / f"{i}.png", frame.astype(np.float32))
    return root / name


def run(*args: object) -> int:
    return main([str(arg) for arg in args])


def test_files_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pred, target = clip(tmp_path, "pred", 0.01), clip(tmp_path, "target", 0.0)
    out = tmp_path / "out"
    assert run("evaluate", pred, target, "--metrics", "psnr", "mabd", "--output", out, "--fps", 25) == 0
    assert sorted(path.name for path in out.iterdir()) == ["frames.csv", "over_time.png", "summary.json"]

    rows = list(csv.DictReader((out / "frames.csv").open()))
    assert [row["frame"] for row in rows] == [str(i) for i in range(6)]
    assert rows[2]["seconds"] == "0.0800"
    a, b = (cv2.imread(str(folder / "2.png"), cv2.IMREAD_UNCHANGED) / 65535 for folder in (pred, target))
    assert float(rows[2]["psnr"]) == pytest.approx(-10 * np.log10(((a - b) ** 2).mean()), abs=1e-5)
    assert rows[0]["mabd_pred"] == ""

    summary = json.loads((out / "summary.json").read_text())
    mean = np.mean([float(row["psnr"]) for row in rows])
    assert summary["overall"]["psnr"] == pytest.approx(mean, abs=1e-6)
    assert summary["clips"][0]["values"]["psnr"] == summary["overall"]["psnr"]
    assert summary["metrics"]["psnr"]["protocol"]["rounding"] == "16-bit"
    assert cv2.imread(str(out / "over_time.png")).shape[1] == 1100
    printed = capsys.readouterr().out
    assert f"{mean:.6g}" in printed
    assert "PQ BT.2020, 16-bit, full frame" in printed


def test_identical_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = clip(tmp_path, "target", 0.0)
    out = tmp_path / "out"
    assert run("evaluate", target, target, "--metrics", "psnr", "ssim", "--output", out) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["overall"] == {"psnr": "inf", "ssim": 1.0}
    assert summary["clips"][0]["identical_frames"] == 6


def test_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, noise, count in (("a", 0.01, 6), ("b", 0.1, 3)):
        clip(tmp_path, f"pred/{name}", noise, count)
        clip(tmp_path, f"target/{name}", 0.0, count)
    (tmp_path / "list.csv").write_text("pred,target\npred/a,target/a\npred/b,target/b\n")
    out = tmp_path / "out"
    assert run("evaluate", tmp_path / "list.csv", "--metrics", "psnr", "mabd", "--output", out) == 0
    summary = json.loads((out / "summary.json").read_text())
    a, b = (entry["values"] for entry in summary["clips"])
    assert summary["overall"]["psnr"] == pytest.approx((6 * a["psnr"] + 3 * b["psnr"]) / 9)  # mean of frames
    assert summary["overall"]["mse_mabd"] == pytest.approx((a["mse_mabd"] + b["mse_mabd"]) / 2)  # mean of clips
    assert [row["clip"] for row in csv.DictReader((out / "frames.csv").open())] == ["a"] * 6 + ["b"] * 3
    assert "2 clips" in capsys.readouterr().out


def test_wrong_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pred, short = clip(tmp_path, "pred", 0.0), clip(tmp_path, "short", 0.0, 5)
    for args, message in (
        ((pred, short), "6 against 5"),
        ((pred,), "what is"),
        ((pred, tmp_path / "none"), "no such file"),
        ((pred, pred, "--metrics", "psrn"), "unknown metric 'psrn'"),
        ((tmp_path / "list.csv",), "list.csv"),
    ):
        metrics = () if "--metrics" in args else ("--metrics", "psnr")
        assert run("evaluate", *args, *metrics, "--output", tmp_path / "out") == 2
        printed = capsys.readouterr().out
        assert "error:" in printed
        assert message in printed.replace("\n", " ")
        assert "Traceback" not in printed
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_runs_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals) -> None:
    pred, target = clip(tmp_path, "pred", 0.01, 150), clip(tmp_path, "target", 0.0, 150)
    args = ["evaluate", str(pred), str(target), "--metrics", "psnr", "mabd"]
    assert main([*args, "--output", str(tmp_path / "undisturbed")]) == 0

    # It saves after every frame, so that the test sees it has begun, and takes long enough to be interrupted.
    saving = "import time; from vitm.cli import main; from vitm.evaluation import resume; resume._SAVE_SECONDS = 0.0; "
    saving += "unfinished = resume.UnfinishedEvaluation; save = unfinished._save; "
    saving += "unfinished._save = lambda self: (save(self), time.sleep(0.03))"
    command = [sys.executable, "-c", f"{saving}; raise SystemExit(main({args!r}))"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "99"}
    )
    out = tmp_path / "pred_metrics"
    while process.poll() is None and not (out / ".partial.pt").is_file():
        time.sleep(0.01)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130, printed
    assert "the same command goes on" in printed.replace("\n", " ")
    assert [path.name for path in out.iterdir()] == [".partial.pt"]

    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Going on after" in again.stdout
    assert not (out / ".partial.pt").exists()
    assert (out / "frames.csv").read_text() == (tmp_path / "undisturbed/frames.csv").read_text()
