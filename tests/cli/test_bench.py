"""`vitm bench` as a person runs it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from vitm.cli import main
from vitm.cli.bench import _FORMS, _module
from vitm.data.fake.frames import write_fake_frames
from vitm.data.fake.sequences import write_fake_reds
from vitm.runs.entries import find_entry


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


def test_tiles_of_demo_data_are_as_large_as_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of 384 x 216 hold none of the 480 x 480 that are cut where an entry says nothing."""
    entry = find_entry("hdcfm")
    module = entry.load_data_module()
    monkeypatch.setattr(module, "demo_root", lambda: tmp_path)
    sizes = [
        _module(entry, module, flags, _FORMS["tiles"], "tiles").tile_size for flags in ([], [f"--data.root={tmp_path}"])
    ]
    assert sizes == [64, 480]


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


@pytest.mark.slow
def test_networks_beside_an_earlier_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    command = ["bench", "csrnet", "hable", "--sizes", "40x56", "--precisions", "fp32", "bf16", "--rounds", "1"]
    assert main([*command, "--json", str(before)]) == 0
    earlier = json.loads(before.read_text())
    assert [machine["precision"] for machine in earlier["machines"]] == ["fp32", "bf16"]
    assert all(machine["gmacs"] > 0 and machine["gbytes"] > 0 for machine in earlier["machines"])
    rows = earlier["rows"]
    assert [(row["network"], row["precision"]) for row in rows] == [
        (n, p) for n in ("csrnet", "hable") for p in ("fp32", "bf16")
    ]
    assert all(row["seconds"] > 0 and row["elementwise"] > 0 and row["share"] > 0 for row in rows)
    assert rows[0]["parameters"] == 36489  # HDRTVNet's table
    assert rows[0]["codes"] is None
    assert 0 < rows[1]["codes"] < 100
    assert rows[3]["codes"] == 0  # an operator has nothing in half precision
    earlier["rows"][0]["seconds"] = 1e6
    before.write_text(json.dumps({"rows": earlier["rows"][:1]}))
    assert main([*command, "--json", str(after), "--compare", str(before), "--plain"]) == 0
    printed = capsys.readouterr().out
    assert len(re.findall(r"\d{6,}\.\d\d times", printed)) == 1
    assert all(row["plain_seconds"] > 0 for row in json.loads(after.read_text())["rows"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["csrmet"], "unknown network 'csrmet'"),
        (["hable", "--compare", "rows.json"], "rows.json is no file of vitm bench"),
    ],
)
def test_wrong_networks_and_files_are_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.json").write_text("{}")
    assert main(["bench", *words]) == 2
    assert message in capsys.readouterr().out


@pytest.mark.slow
def test_frames_that_are_too_small_do_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "hdcfm", "hable", "--sizes", "16x16", "--rounds", "1"]) == 0
    printed = capsys.readouterr().out
    assert "hdcfm 16x16 cpu: expected sdr of shape (B, 3, H, W) with H, W >= 32" in printed
