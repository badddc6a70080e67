"""What docs/adding/paper.md says, done in a copy of the tree outside the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vitm.data.fake.frames import write_fake_triplets

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/adding/paper.md").read_text()
OPTIONS = [
    *("--data.crop_size", "32", "--data.batch_size", "2", "--data.num_workers", "0", "--trainer.max_steps", "3"),
    *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "1"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the tree with the files of the page, and its line in the zoo."""
    tree = tmp_path_factory.mktemp("elsewhere") / "tree"
    for name in ("vitm", "experiments"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "tests").mkdir()
    shutil.copy(ROOT / "tests/test_imports.py", tree / "tests")
    shutil.copy(ROOT / "pyproject.toml", tree)
    files = re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL)
    assert len(files) == 6
    for name, content in files:
        assert name.startswith(("vitm/papers/tiny_itm/", "experiments/tiny_itm/"))
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text(content)
    (line,) = re.findall(r'^    "tiny_itm": Listed.*$', PAGE, re.MULTILINE)
    zoo = tree / "vitm/zoo.py"
    before = zoo.read_text()
    zoo.write_text(before.replace("NETWORKS = {\n", f"NETWORKS = {{\n{line}\n"))
    assert zoo.read_text() != before
    return tree


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_fake_triplets(tmp_path_factory.mktemp("data"), n=3)


def python(tree, *arguments):
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=tree, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def vitm(tree, *commands):
    """Run several commands in one process, whose start takes longer than they do."""
    loop = "import json, sys; from vitm.cli import main; sys.exit(any(main(line) for line in json.loads(sys.argv[1])))"
    return python(tree, "-c", loop, json.dumps([[str(part) for part in line] for line in commands]))


@pytest.mark.slow
def test_it_is_listed(tree):
    listed = python(tree, "-m", "experiments.run", "--list")
    assert "tiny_itm " in listed
    assert re.search(r"tiny_itm/table2/l1 +Table 2, L1 alone", listed)
    assert python(tree, "-c", "import vitm.zoo as z; print(z.list_networks('tiny*'), z.load_network('tiny_itm'))")


@pytest.mark.slow
def test_the_arrows_hold(tree):
    python(
        tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_imports.py", "-k", "arrows or rooms or its"
    )


def test_code_of_the_page_is_clean(tree):
    python(tree, "-m", "ruff", "check", "--config", ROOT / "pyproject.toml", "vitm/papers/tiny_itm")
    python(tree, "-m", "ruff", "format", "--check", "--config", ROOT / "pyproject.toml", "vitm/papers/tiny_itm")


@pytest.mark.slow
def test_it_trains_is_measured_stands_in_its_table_and_converts(tree, data, tmp_path):
    runs = tmp_path / "runs"
    entries = ("tiny_itm", "tiny_itm/table2/l1")
    fits = [["run", entry, *OPTIONS, "--data.root", data, "--runs", runs, "--name", "a"] for entry in entries]
    printed = vitm(tree, *fits, ["table", "tiny_itm/table2", "--runs", runs])
    for entry in entries:
        results = json.loads((runs / entry / "a/metrics.json").read_text())
        assert results["stage"] == "test"
        assert {"psnr", "delta_e_itp"} <= results["values"].keys()
        assert "hable" in results["baselines"]
    assert "29.80" in printed
    assert "no public code" in printed
    assert (runs / "tiny_itm/table2/table.md").is_file()
    checkpoint = next((runs / "tiny_itm/a/checkpoints").glob("*.ckpt"))
    source = data / "test/sdr"
    vitm(tree, ["convert", source, tmp_path / "out", "--codec", "png", "--checkpoint", checkpoint, "--device", "cpu"])
    assert len(list((tmp_path / "out").glob("*.png"))) == len(list(source.glob("*.png")))
