"""`vitm table open`: every system and production that is kept, from the smallest colour error to the largest."""

from __future__ import annotations

import csv
import json

from vitm.cli import main
from vitm.data.production import PRODUCTIONS
from vitm.runs.leaderboard import LEADERBOARD


def test_the_kept_leaderboard_is_printed_and_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["table", "open", "--output", str(tmp_path / "board")]) == 0
    kept = json.loads(LEADERBOARD.read_text())
    titles, *lines = csv.reader((tmp_path / "board" / "table.csv").open())
    assert titles[3:-1] == list(PRODUCTIONS)
    assert {line[0] for line in lines} == {*kept} >= {"default", "bt2446a", "hdcfm"}
    errors = []
    for name, *cells in lines:
        by_production = kept[name].values()
        psnr, error = (sum(v[key] for v in by_production) / 9 for key in ("psnr", "delta_e_itp"))
        assert cells[0] == f"{psnr:.2f} / {error:.2f}"
        assert cells[2] == f"{kept[name]['clip']['psnr']:.1f} / {kept[name]['clip']['delta_e_itp']:.1f}"
        errors.append(error)
    assert errors == sorted(errors)
    assert (tmp_path / "board" / "table.md").read_text().count("\n| ") == len(lines) + 1
