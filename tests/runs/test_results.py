"""What a run measured, as it is printed and read again."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from vitm.runs.entries import find_entry
from vitm.runs.results import Results


def results(**changes):
    given = {"entry": "kpn_mfi", "about": {}, "demo": False, "stage": "test", "baselines": {}, "protocol": {}}
    given |= {
        "unlike_paper": {},
        "parameters": 3_376_515,
        "macs": None,
        "steps": 9,
        "checkpoint": None,
        "device": "cpu",
    }
    return Results(**given | changes)


def printed(made, capsys, entry="kpn_mfi"):
    made.print(Console(width=160), find_entry(entry))
    return capsys.readouterr().out


def row(text, name):
    """The cells of a line."""
    (line,) = (line for line in text.splitlines() if line.strip("│ ").startswith(name))
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_every_value_is_printed_beside_the_papers_with_all_its_digits(capsys):
    """Also those that no paper prints, that are small, and that no list knows."""
    values = {"psnr": 37.5, "flicker": 0.25, "mse_mabd": 3.2e-6, "of_my_own": 7.0}
    out = printed(results(values=values, baselines={"hable": {"psnr": 20.0}}), capsys)
    assert row(out, "PSNR dB") == ["PSNR dB", "37.5000", "37.7260", "-0.2260", "20.0000"]
    assert row(out, "flicker") == ["flicker", "0.2500", "", "", ""]
    assert row(out, "MSE of MABD")[1] == "3.20e-06"
    assert row(out, "of_my_own")[1] == "7.0000"
    assert "paper, Table 1, KPN-MFI" in out


def test_numbers_do_not_stand_beside_what_was_measured_otherwise(capsys):
    out = printed(results(values={"psnr": 37.5}, unlike_paper={"psnr": "BT.709"}), capsys)
    assert row(out, "PSNR dB")[2] == ""
    assert "psnr of the paper, 37.7260, is not in the table" in out
    demo = printed(results(values={"psnr": 37.5}, demo=True), capsys)
    assert "ours - paper" not in demo
    assert "do not compare" in demo


def test_results_are_read_as_they_were_written(tmp_path):
    made = results(values={"psnr": 37.5})
    made.save(tmp_path / "metrics.json", fit_seconds=1.26, wall_seconds=2.0)
    again = Results.read(tmp_path / "metrics.json")
    assert again == made
    assert (again.fit_seconds, bool(again.finished)) == (1.3, True)
    content = json.loads((tmp_path / "metrics.json").read_text())
    del content["device"]
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    assert Results.read(tmp_path / "metrics.json").device == ""
    del content["values"]
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"metrics\.json cannot be read"):
        Results.read(tmp_path / "metrics.json")
