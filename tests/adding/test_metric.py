"""What docs/adding/metric.md says, done in a package outside the repository."""

from __future__ import annotations

import csv
import doctest
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vitm.evaluation import evaluate
from vitm.metrics import METRICS, MetricValue, build_metric, frame_metrics, registry, value_info, value_order
from vitm.metrics.registry import MetricLine
from vitm.video import write_png16

PAGE = (Path(__file__).parents[2] / "docs/adding/metric.md").read_text()
PATH = "mypackage.edge_error.EdgeError"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with the page's two files in `mypackage`."""
    folder = tmp_path / "elsewhere"
    (folder / "mypackage/functional").mkdir(parents=True)
    function, metric, *_ = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (folder / "mypackage/__init__.py").touch()
    (folder / "mypackage/functional/__init__.py").touch()
    (folder / "mypackage/functional/edge_error.py").write_text(function)
    (folder / "mypackage/edge_error.py").write_text(metric)
    for name in [name for name in sys.modules if name.partition(".")[0] == "mypackage"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Three grey frames with a step of 0.3 in the middle, and without: edges differ by 0.3 in one of 7 columns."""
    target = np.full((8, 8, 3), 0.4, np.float32)
    pred = target.copy()
    pred[:, 4:] += 0.3
    for name, frame in (("PRED", pred), ("TRUTH", target)):
        (tmp_path / name).mkdir()
        for i in range(3):
            write_png16(tmp_path / name / f"{i}.png", frame)
    return tmp_path / "PRED", tmp_path / "TRUTH"


def test_the_example_of_the_function_runs(package: Path) -> None:
    results = doctest.testmod(importlib.import_module("mypackage.functional.edge_error"))
    assert (results.attempted, results.failed) == (3, 0)


@pytest.mark.slow
def test_the_command_takes_the_import_path(package: Path, pair: tuple[Path, Path]) -> None:
    line = re.search(r"vitm evaluate (PRED TRUTH --metrics .*)", PAGE)
    assert line is not None
    command = [sys.executable, "-c", "from vitm.cli import main; raise SystemExit(main())", "evaluate"]
    paths = f"{package}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(
        [*command, *line[1].split()], cwd=pair[0].parent, check=True, env=environment, capture_output=True, text=True
    )
    assert "edge_error" in done.stdout
    out = pair[0].with_name("PRED_metrics")
    summary = json.loads((out / "summary.json").read_text())
    assert summary["overall"]["edge_error"] == pytest.approx(0.3 / 7, abs=1e-5)
    assert summary["metrics"][PATH]["higher_is_better"] is False
    assert float(next(csv.DictReader((out / "frames.csv").open()))["edge_error"]) == pytest.approx(0.3 / 7, abs=1e-5)


def test_python_takes_the_import_path(package: Path, pair: tuple[Path, Path]) -> None:
    summary = evaluate(pair, ["psnr", PATH], progress=False)
    assert summary.overall["edge_error"] == pytest.approx(0.3 / 7, abs=1e-5)
    assert summary.metrics[PATH].values[0].heading == "edge error"


def test_tasks_take_the_import_path(package: Path) -> None:
    from vitm.baselines.task import CSRNetTask

    task = CSRNetTask(test_metrics=["psnr", PATH])
    frame = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    task.test_metrics.update(frame, frame)
    assert task.test_metrics.compute()["edge_error"] == 0
    assert value_info("edge_error") == MetricValue("edge_error", "edge error", "", "lower")


def test_one_line_gives_it_a_name_and_a_place(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = re.findall(r'^    ("edge_error": .*),$', PAGE, re.MULTILINE)
    line = line.replace("vitm.metrics", "mypackage")
    monkeypatch.setitem(METRICS, "edge_error", eval("{" + line + "}", {"MetricLine": MetricLine})["edge_error"])
    registry._described.cache_clear()
    try:
        assert frame_metrics(["edge_error"])["edge_error"].names == ("edge_error",)
        assert value_info("edge_error").direction == "lower"
        assert value_order(["a", "edge_error", "psnr"]) == ["psnr", "edge_error", "a"]
    finally:
        registry._described.cache_clear()
    assert build_metric("edge_error").protocol.rounding == "16-bit"
