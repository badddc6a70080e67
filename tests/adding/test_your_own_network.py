"""What docs/adding/your_own_network.md says, done in a package outside the repository."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from vitm.cli import main
from vitm.conversion import convert
from vitm.data import HDR10Frames
from vitm.data.fake.frames import write_fake_triplets
from vitm.runs.entries import find_entry, find_table
from vitm.runs.table import table
from vitm.video import probe

DOCS = Path(__file__).parents[2] / "docs/adding"
TINY = [
    *("--data.crop_size", "32", "--data.batch_size", "2", "--data.num_workers", "0", "--trainer.accelerator", "cpu"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fake_triplets(tmp_path_factory.mktemp("data"), n=2)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: the package, the entry and the table of the page."""
    package = tmp_path / "mypackage"
    (package / "functional").mkdir(parents=True)
    for folder in (package, package / "functional"):
        (folder / "__init__.py").touch()
    for name, text in zip(("networks", "tasks"), blocks("your_own_network.md", "python"), strict=True):
        (package / f"{name}.py").write_text(text)
    for name, text in zip(("functional/edge_error", "edge_error"), blocks("metric.md", "python")[:2], strict=True):
        (package / f"{name}.py").write_text(text)
    for name, text in zip(("mine", "mytable"), blocks("your_own_network.md", "yaml"), strict=True):
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "mypackage"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


@pytest.fixture
def run(data: Path) -> Callable[..., int]:
    """`vitm run` with tiny frames."""

    def call(address: str, *options: str) -> int:
        return main(["run", address, *options, "--data.root", str(data), *TINY])

    return call


def only(place: Path, name: str) -> Path:
    (folder,) = (place / "runs" / name).glob("*-*/")
    return folder


def weights(file: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(file, weights_only=True)["state_dict"])


@pytest.mark.slow
def test_it_trains_resumes_and_is_measured_by_a_metric_of_its_own(place: Path, run: Callable[..., int]) -> None:
    metrics = ("--model.test_metrics", "[psnr, mypackage.edge_error.EdgeError]")
    assert run("./mine.yaml", "--trainer.max_steps", "2", "--name", "whole", *metrics) == 0
    results = json.loads((place / "runs/mine/whole/metrics.json").read_text())
    assert {"psnr", "edge_error"} == results["values"].keys()
    assert (results["entry"], results["steps"], results["demo"]) == ("mine", 2, False)
    different = yaml.safe_load((place / "runs/mine/whole/overrides.yaml").read_text())
    assert different["trainer"]["max_steps"] == 2
    assert "lr" not in different["model"]

    assert run("./mine.yaml", "fit", "--trainer.max_steps", "1", "--model.schedule", "constant") == 0
    parted = only(place, "mine")
    assert run("./mine.yaml", "fit", "--resume", "--trainer.max_steps", "2") == 0
    assert only(place, "mine") == parted
    assert run("./mine.yaml", "fit", "--trainer.max_steps", "2", "--model.schedule", "constant", "--name", "again") == 0
    ours, undisturbed = (weights(f / "checkpoints/last.ckpt") for f in (parted, place / "runs/mine/again"))
    assert all(torch.equal(ours[key], undisturbed[key]) for key in undisturbed)


def test_it_converts_a_clip(place: Path, run: Callable[..., int]) -> None:
    assert run("./mine.yaml", "fit", "--trainer.max_steps", "1") == 0
    checkpoint = next(only(place, "mine").glob("checkpoints/*.ckpt"))
    (place / "clip").mkdir()
    for i in range(3):
        cv2.imwrite(str(place / f"clip/{i}.png"), np.full((64, 64, 3), 60 * i + 20, np.uint8))
    convert("clip", "out.mkv", "mypackage.networks.Bend", checkpoint=checkpoint, progress=False)
    info = probe(Path("out.mkv"))
    assert (info.transfer, info.n_frames) == ("pq", 3)
    assert main(["run", "./mine.yaml", "predict", "--input", "clip", "--output", "films", "--device", "cpu"]) == 0
    assert len(list((place / "films/clip_hdr").glob("*.png"))) == 3


@pytest.mark.slow
def test_it_stands_in_a_table_beside_ours(place: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert [row.name for row in find_table("./mytable.yaml").rows] == [
        "mytable/narrow",
        "mytable/wide",
        "mytable/csrnet",
    ]
    options = [*("--data.root", str(data), "--trainer.max_steps", "1"), *TINY]
    for row in ("narrow", "wide"):
        assert main(["sweep", "./mytable.yaml", "--row", row, "--", *options]) == 0, capsys.readouterr().out
    assert only(place, "mine")
    assert only(place, "mytable/wide")
    capsys.readouterr()
    assert main(["sweep", "mytable.yaml", "--row", "wide", "--", *options]) == 0
    assert "finished before" in capsys.readouterr().out
    assert table("./mytable.yaml")
    with (place / "runs/mytable/table.csv").open() as file:
        rows = {row["row"]: row for row in csv.DictReader(file)}
    assert [row["seeds"] for row in rows.values()][:3] == ["1", "1", "not run"]
    assert rows["CSRNet"]["PSNR dB paper"] == "35.04"
    assert float(rows["Bend"]["M params ours"]) < float(rows["Bend, twice as wide"]["M params ours"])


def test_without_data_it_takes_the_demo_data_and_their_sizes(
    place: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HDR10Frames, "demo_root", classmethod(lambda cls: data))
    assert main(["run", "./mine.yaml", "fit", "--trainer.max_steps", "1", *TINY]) == 0
    config = yaml.safe_load((only(place, "mine") / "config.yaml").read_text())
    assert (config["model"]["width"], config["data"]["root"]) == (8, str(data))
    assert (only(place, "mine") / "tags").read_text() == "demo"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mypackage.tasks.BendTask", "mypackage.tasks.BentTask", "mypackage.tasks.BentTask, which cannot be imported"),
        ("task: mypackage.tasks.BendTask", "tsak: 1", "entry.tsak is unknown; expected title, task"),
        ("  task: mypackage.tasks.BendTask\n", "", "needs a task and a data_module"),
        ("width: 16", "width: many", "model.width"),
        ("width: 16", "widht: 16", "widht"),
        ("model:\n", "model: [\n", "mine.yaml cannot be read"),
    ],
)
def test_mistakes_in_the_file_are_named(
    old: str, new: str, message: str, place: Path, run: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    file = place / "mine.yaml"
    file.write_text(file.read_text().replace(old, new, 1))
    assert run("./mine.yaml") == 2
    assert message in capsys.readouterr().out.replace("\n", " ")
    assert not (place / "runs").exists()


def test_a_file_with_the_name_of_an_entry_of_ours_is_refused(place: Path) -> None:
    (place / "mine.yaml").rename(place / "hdcfm.yaml")
    with pytest.raises(ValueError, match="rename the file"):
        find_entry("./hdcfm.yaml")
    with pytest.raises(FileNotFoundError, match=r"there is no file mine\.yaml"):
        find_entry("./mine.yaml")


def test_an_entry_of_ours_is_a_base(place: Path) -> None:
    (place / "slow.yaml").write_text("entry: {base: hdcfm/table2/no_local}\nmodel: {lr: 1.0e-5}\n")
    ours, slow = find_entry("hdcfm/table2/no_local"), find_entry("slow.yaml")
    assert slow.recipe == ours.recipe | {"model": ours.recipe["model"] | {"lr": 1e-5}}
    assert (slow.task, slow.results) == (ours.task, {})
    assert slow.demo_recipe is not None
    (place / "a.yaml").write_text("entry: {base: b.yaml}")
    (place / "b.yaml").write_text("entry: {base: a.yaml}")
    with pytest.raises(ValueError, match="in a circle"):
        find_entry("a.yaml")


@pytest.mark.slow
def test_the_commands_of_the_page_take_the_files(place: Path, data: Path) -> None:
    """As a user types them, outside the repository."""
    command = [sys.executable, "-m", "vitm"]
    entry = [*command, "run", "./mine.yaml", "fit", "--data.root", str(data), "--trainer.max_steps", "1", *TINY]
    subprocess.run(entry, check=True)
    assert only(place, "mine")
    dry = [*command, "slurm", "./mytable.yaml", "--tasks", "1", "--dry-run", "--", "--data.root", str(data)]
    script = subprocess.run(dry, check=True, capture_output=True, text=True).stdout
    assert "run=(mine.yaml" in script
    assert "run=(mytable.yaml/wide" in script
