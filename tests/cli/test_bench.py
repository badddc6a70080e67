"""`vitm bench data` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vitm.cli import main
from vitm.data.fake.frames import write_fake_frames
from vitm.data.fake.sequences import write_fake_reds


def test_forms_of_paired_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_fake_frames(tmp_path / "data", n=3, size=(48, 64))
    small = ["--data.root", str(root), "--data.crop_size=16", "--data.batch_size=2", "--data.tile_size=32"]
    result = tmp_path / "speed.json"
    command = ["bench", "data", "hdcfm", *small, "--workers", "0", "--seconds", "0.05", "--json", str(result)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    rows = json.loads(result.read_text())["rows"]
    assert [row["form"] for row in rows] == ["files", "tiles", "packed"]
    assert all(row["samples_per_second"] > 0 and row["cpu_seconds"] > 0 and row["batch_size"] == 2 for row in rows)
    assert all(form in printed for form in ("files", "tiles", "packed", "workers for 10 steps/s"))
    assert {p.name.split("_")[0] for p in root.iterdir()} == {"train", "test", "tiles", "packed"}


def test_long_sequences_have_one_form(tmp_path: Path) -> None:
    root = write_fake_reds(tmp_path / "data", clips=2)
    small = ["--data.root", str(root), "--data.size=32", "--data.crop_size=24", "--data.val_clips=1"]
    result = tmp_path / "speed.json"
    command = ["bench", "data", "vitm_tc/icam", *small, "--workers", "0", "--seconds", "0.05", "--json", str(result)]
    assert main(command) == 0
    assert [row["form"] for row in json.loads(result.read_text())["rows"]] == ["files"]


def test_wrong_options_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "data", "hdcfm", "--data.root", str(tmp_path), "--data.crop=3"]) == 2
    assert capsys.readouterr().out.startswith("error:")
    with pytest.raises(SystemExit):
        main(["bench", "data", "hdcfm", "--model.lr", "1"])
