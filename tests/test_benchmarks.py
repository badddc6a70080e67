"""The call that measures a GPU cannot fail for a silly reason: its steps are rehearsed, and do not stop one another."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, ops
from vitm.cli import bench, convert


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_steps_are_commands_that_there_are(dry_run: bool, tmp_path: Path) -> None:
    parsers = {"bench": bench._networks_parser(), "convert": convert._parser()}
    steps = gpu.steps(tmp_path, dry_run)
    for _, _, (python, module, *words) in steps:
        assert (python, module) == (sys.executable, "-m")
        if words[0] == "benchmarks.ops":
            ops.parser().parse_args(words[1:])
        else:
            assert words[0] == "vitm"
            parsers[words[1]].parse_args([word.replace("cuda", "cpu") for word in words[2:]])  # there may be no GPU
    assert sum(limit for _, limit, _ in steps) <= 570  # of a call of ten minutes


def test_a_step_that_fails_or_takes_too_long_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    late = tmp_path / "late"
    (tmp_path / "child.py").write_text(f"import time; time.sleep(1.2); open({str(late)!r}, 'w')")
    child = f"import subprocess, sys; subprocess.run([sys.executable, {str(tmp_path / 'child.py')!r}])"
    plans = {"bad": (9, "raise SystemExit(3)"), "slow": (0.5, child), "good": (9, "print(7)")}
    played = [(name, limit, [sys.executable, "-c", code]) for name, (limit, code) in plans.items()]
    monkeypatch.setattr(gpu, "steps", lambda *_: played)
    assert gpu.main([str(tmp_path), "--dry-run"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert [line.rpartition(" (")[0] for line in printed] == [
        "bad: failed with status 3, see bad.log",
        "slow: not through in 0.5 s",
        "good: done",
    ]
    assert (tmp_path / "steps.txt").read_text().splitlines() == printed
    assert (tmp_path / "good.log").read_text() == "7\n"
    time.sleep(1)
    assert not late.exists()  # what a step has started ends with it


def test_forms_of_an_operator_are_rehearsed_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that leaves the device is found, and is a row of the table."""
    name = "pixel_conv 3x256x256"
    assert len(ops.measure_or_say_why(name, "cuda", 1, 1, dry_run=True)) == len(ops.CASES[name].variants)
    forms = {**ops.CASES[name].variants, "astray": lambda x, kernels: ops.by_taps(x, torch.rand(kernels.shape))}
    monkeypatch.setitem(ops.CASES, name, ops.CASES[name]._replace(variants=forms))
    (row,) = ops.measure_or_say_why(name, "cuda", 1, 1, dry_run=True)
    assert row.startswith(f"| {name} | {ops.FAILED} ")
    assert "at least two devices, cuda:0 and cpu" in row
