"""A list of conversions: what is there is left, what fails does not stop the rest, processes share the work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vitm.cli import main
from vitm.conversion import convert_list
from vitm.conversion.lists import read_list
from vitm.files import lock
from vitm.video import write_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, one of which is none, and a list of them."""
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.png", np.full((16, 24, 3), 0.5, np.float32), bits=8)
    (tmp_path / "broken.png").write_text("no picture")
    lines = [f"{name}.png,{name}_hdr.png" for name in ("a", "broken", "b")]
    (tmp_path / "list.csv").write_text("\n".join(["source,output", *lines]))
    return tmp_path


def test_a_list_goes_on_and_leaves_what_is_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["convert", str(folder / "list.csv"), "--model", "clip"]
    assert main(words) == 1
    printed = capsys.readouterr().out
    assert f"{folder / 'broken_hdr.png'}: error: " in printed
    assert printed.splitlines()[-1] == "2 converted, 1 failed"
    assert {path.name for path in folder.glob("*_hdr.png")} == {"a_hdr.png", "b_hdr.png"}
    before = (folder / "a_hdr.png").stat().st_mtime_ns
    assert main(words) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 there, 1 failed"
    assert (folder / "a_hdr.png").stat().st_mtime_ns == before
    assert main([*words, "--overwrite"]) == 1
    assert (folder / "a_hdr.png").stat().st_mtime_ns != before


def test_what_another_process_converts_is_left_to_it(folder: Path) -> None:
    work = folder / ".a_hdr.png.vitm"
    work.mkdir()
    with lock(work / "settings.json"):
        states = [item.state for item in convert_list(folder / "list.csv", "clip", progress=False)]
    assert states == ["elsewhere", "failed", "converted"]
    assert not (folder / "a_hdr.png").exists()


@pytest.mark.slow
def test_processes_that_begin_together_share_the_list(folder: Path) -> None:
    """Each line is converted by one of them, though neither has finished a frame when the other comes to it."""
    command = [sys.executable, "-m", "vitm", "convert", str(folder / "list.csv"), "--model", "clip"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [process.communicate()[0] for process in processes]
    assert sum(words.count("MaxCLL") for words in printed) == 2, printed
    errors = [line for words in printed for line in words.splitlines() if "error: " in line]
    assert errors
    assert all("broken_hdr.png" in line for line in errors)
    assert {path.name for path in folder.glob("*_hdr.png")} == {"a_hdr.png", "b_hdr.png"}
    assert not [*folder.glob(".*")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source\na.png", "lacks the column output; expected source, output"),
        ("source,output", "is an empty list"),
        ("source,output\na.png,", "line 2: output is empty"),
        ("source,output\na.png,o.png\nb.png,o.png", "line 3: o.png is the output of an earlier line too"),
    ],
)
def test_wrong_lists(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_list(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["list.csv", "out.mp4"], "list.csv is a list, and says what the outputs are"),
        (["a.png"], "a.png needs an output: give OUT"),
        (["list.csv", "--frames", "f"], "--frames and --on-change split write more than a list says"),
    ],
)
def test_lists_have_their_own_outputs(
    words: list[str], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main(["convert", *words]) == 2
    assert message in capsys.readouterr().out
