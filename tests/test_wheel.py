"""What is shipped: a wheel that works outside a checkout, and an sdist that holds what its tests need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = "import sys, hatchling.build as build; print(getattr(build, sys.argv[1])(sys.argv[2]))"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(ROOT)], check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


def test_a_wheel_is_one_package_with_the_entries_in_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"vitm", wheel.name.rpartition("-py3")[0] + ".dist-info"}
    for file in (ROOT / "experiments").rglob("*.yaml"):
        assert f"vitm/{file.relative_to(ROOT).as_posix()}" in names
    for file in (ROOT / "vitm").rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            assert file.relative_to(ROOT).as_posix() in names
    assert not [name for name in names if name.startswith("vitm/experiments/") and name.endswith(".py")]


def test_an_installed_wheel_works_in_an_empty_folder(wheel, tmp_path):
    """Without the checkout: its own copy of the entries, and no package called experiments."""
    site, here = tmp_path / "site", tmp_path / "here"
    here.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"PYTHONPATH": str(site)}

    def python(*args):
        done = subprocess.run([sys.executable, *args], cwd=here, env=env, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    assert python("-c", "import vitm; print(vitm.__file__)")[1].strip() == str(site / "vitm" / "__init__.py")
    status, said = python("-m", "vitm", "run", "--list")
    assert status == 0
    assert "kpn_mfi/table3/no_mfi " in said
    status, said = python("-m", "vitm", "run", "kpn_mfi", "--data.root", "DATA", "--print_config")
    assert status == 0, said
    assert "task: vitm.papers.kpn_mfi.KPNMFITask" in said
    status, said = python("-m", "vitm", "table", "kpn_mfi/table3", "--demo")
    assert status == 1, said  # no run yet
    assert "37.28" in said
    assert python(str(site / "bin" / "vitm"), "convert", "--help")[0] == 0
    assert not list(here.iterdir())
    assert not (site / "experiments").exists()


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="not in a git checkout")
def test_an_sdist_holds_what_git_has(tmp_path):
    done = subprocess.run([sys.executable, "-c", BUILD, "build_sdist", str(tmp_path)], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {name for name in tracked.splitlines() if (ROOT / name).is_file()} <= names
