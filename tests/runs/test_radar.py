"""Radar charts of a table: KPN-MFI's Figure 2 from the numbers of its Table 1."""

from __future__ import annotations

import pytest

from vitm import cli
from vitm.runs.radar import unit_values, write_radar

TABLE_1 = {  # three rows of the paper's table
    "HuoPhysEO": {"psnr": 21.0278, "ssim_kpn": 0.9133, "delta_e_itp": 69.6043, "hdr_vdp3_kpn": 7.4001},
    "HDRUnet": {"psnr": 36.6332, "ssim_kpn": 0.9823, "delta_e_itp": 9.4729, "hdr_vdp3_kpn": 8.3054},
    "KPN-MFI": {"psnr": 37.7260, "ssim_kpn": 0.9856, "delta_e_itp": 9.1975, "hdr_vdp3_kpn": 8.5516},
}


def test_values_go_from_the_worst_to_the_best():
    """Also where less is better; a statistic has no better side, and a row that lacks a value is left out."""
    rows = {name: values | {"mabd_pred": 0.012} for name, values in TABLE_1.items()} | {"other": {"psnr": 50.0}}
    scaled = unit_values(rows)
    assert [*scaled] == [*TABLE_1]
    assert {*scaled["KPN-MFI"].values()} == {1.0}
    assert {*scaled["HuoPhysEO"].values()} == {0.0}
    assert scaled["HDRUnet"] == pytest.approx(
        {
            "psnr": (36.6332 - 21.0278) / (37.7260 - 21.0278),
            "ssim_kpn": (0.9823 - 0.9133) / (0.9856 - 0.9133),
            "delta_e_itp": (69.6043 - 9.4729) / (69.6043 - 9.1975),
            "hdr_vdp3_kpn": (8.3054 - 7.4001) / (8.5516 - 7.4001),
        }
    )


def test_few_values_are_no_chart(tmp_path):
    assert not write_radar(
        {"paper": {"a": {"psnr": 1.0, "ssim": 1.0}, "b": {"psnr": 2.0, "ssim": 2.0}}}, tmp_path / "x"
    )
    assert not [*tmp_path.iterdir()]


def test_a_paper_s_table_is_drawn_without_any_run(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    cli.main(["table", "kpn_mfi/table1", "--runs", str(tmp_path), "--radar"])
    drawing = (tmp_path / "kpn_mfi/table1/radar.svg").read_text(encoding="utf-8")
    assert all(name in drawing for name in ("HuoPhysEO", "DeepHDR", "KPN-MFI", "PSNR", "dE_ITP"))
    assert "Drawn: " in capsys.readouterr().out
