"""A table from run folders as `experiments.run` leaves them."""

from __future__ import annotations

import csv
import json
import os
import statistics

import pytest
import yaml
from rich.console import Console

from vitm import cli
from vitm.runs.entries import find_entry, find_table
from vitm.runs.table import collect


def main(args):
    """Call `vitm table`, and return its exit status."""
    return cli.main(["table", *args])


def finish(
    runs,
    name,
    run,
    *,
    psnr,
    seed=0,
    tag="data",
    stage="test",
    steps=7,
    age=0,
    unlike=(),
    by=None,
    wrote=False,
    **options,
):
    """A run of an entry with options as `model_lr=1e-3`, or a test `by` the weights of another run.

    It `wrote` what it overrides; or it did not, as runs of before.
    """
    folder, entry = runs / name / run, find_entry(name)
    folder.mkdir(parents=True)
    (folder / "tags").write_text(tag)
    config = {"model": {}, "data": {}, "trainer": {}, "seed_everything": seed}
    for section in ("model", "data", "trainer"):
        config[section] |= entry.config(demo=tag == "demo").get(section, {})
    config["data"]["root"] = "DATA"
    config["model"] |= {option.partition(".")[2]: "first.ckpt" for option in entry.after}
    for option, value in options.items():
        section, _, key = option.partition("_")
        config[section][key] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    if wrote:
        different = {"seed_everything": seed, "data": {"root": "DATA"}} if seed else {"data": {"root": "DATA"}}
        for option, value in options.items():
            section, _, key = option.partition("_")
            different.setdefault(section, {})[key] = value
        (folder / "overrides.yaml").write_text(yaml.safe_dump(different))
    content = {
        "stage": stage,
        "values": {"psnr": psnr, "sr_sim": 0.9, "delta_e_itp": 20.0},
        "unlike_paper": dict.fromkeys(unlike, "another way"),
        "protocol": {"psnr": "PQ"},
        "parameters": 123_456,
        "steps": steps,
        "checkpoint": str(runs / name / (by or run) / "checkpoints/best.ckpt"),
    }
    (folder / "metrics.json").write_text(json.dumps(content))
    os.utime(folder / "metrics.json", (1e9 - age, 1e9 - age))
    return folder


LKQE = "dslnet/table2/lkqe"


def test_a_seed_is_that_of_the_training_and_other_options_are_named(tmp_path, capsys):
    finish(tmp_path, LKQE, "trained", psnr=30.0, seed=2, age=50, model_lr=1.0, data_crop_size=7, trainer_max_steps=9)
    finish(tmp_path, LKQE, "again", psnr=31.0, seed=0, by="trained")
    assert main(["dslnet/table2", "--runs", str(tmp_path)]) == 0
    assert read(tmp_path)["M6"]["PSNR dB ours"] == "31.00"
    assert read(tmp_path)["M6"]["seeds"] == "1"
    out = capsys.readouterr().out.replace("\n", " ")
    assert "M6: trained or measured with another data.crop_size, model.lr, trainer.max_steps than its entry" in out


@pytest.mark.parametrize(
    "options", [{"model_lr": 1e-2}, {"model_kernel_size": 5}, {"model_radius": "1"}, {"trainer_precision": "16"}]
)
def test_a_later_run_with_other_options_does_not_become_the_papers_row(options, tmp_path, capsys):
    """What a sweep over a range leaves; the kernel size is in no file of the entry, only a default of its task."""
    finish(tmp_path, LKQE, "plain", psnr=30.0, age=50)
    finish(tmp_path, LKQE, "odd", psnr=10.0, **options)
    finish(tmp_path, LKQE, "seed1", psnr=20.0, seed=1, **options)  # there is no other of this seed
    assert main(["dslnet/table2", "--runs", str(tmp_path)]) == 0
    assert read(tmp_path)["M6"]["PSNR dB ours"].startswith("25.00")
    (option,) = (name.replace("_", ".", 1) for name in options)
    assert f"M6: trained or measured with another {option} than its entry" in capsys.readouterr().out


@pytest.mark.parametrize("wrote", [True, False])
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("data.flips", False),
        ("data.shuffle_order", True),
        ("data.val_split", "test"),
        ("trainer.gradient_clip_val", 0.1),
        ("trainer.limit_val_batches", 3),
    ],
)
def test_no_option_is_invisible(option, value, wrote, tmp_path, capsys):
    """Neither one of the data module's that the entry does not name, nor one of the trainer's."""
    row, odd = "kpn_mfi/table3/no_mfi", {option.replace(".", "_"): value}
    plain = finish(tmp_path, row, "plain", psnr=30.0, age=50, wrote=wrote)
    finish(tmp_path, row, "odd", psnr=10.0, wrote=wrote, **odd)
    assert main(["kpn_mfi/table3", "--runs", str(tmp_path)]) == 0
    assert read(tmp_path, "kpn_mfi/table3")["#1"]["PSNR dB ours"] == "30.0000"
    assert "another" not in capsys.readouterr().out
    (plain / "metrics.json").unlink()
    assert main(["kpn_mfi/table3", "--runs", str(tmp_path)]) == 0
    assert f"#1: trained or measured with another {option} than its entry" in capsys.readouterr().out


def test_options_that_do_not_affect_results_do_not_count(tmp_path, capsys):
    options = {"data_num_workers": 0, "trainer_devices": 2, "trainer_accelerator": "cpu", "data_cache": True}
    finish(tmp_path, LKQE, "a", psnr=30.0, wrote=True, **options)
    assert main(["dslnet/table2", "--runs", str(tmp_path)]) == 0
    assert "another" not in capsys.readouterr().out


def test_a_later_test_with_other_options_does_not_replace_a_number(tmp_path, capsys):
    """As those of vitm_tc/sweeps/clues.yaml."""
    table = "vitm_tc/fcpm/table3"
    name, row = next((e.name, e.row) for e in find_table(table).rows if not e.shared)
    finish(tmp_path, name, "trained", psnr=30.0, age=50, model_icam="first.ckpt")
    finish(tmp_path, name, "clues", psnr=10.0, by="trained", model_max_clues=2)
    assert main([table, "--runs", str(tmp_path)]) == 0
    assert "another" not in capsys.readouterr().out
    (found,) = next(r for r in collect(find_table(table), tmp_path, demo=False) if r.entry.row == row).results
    assert found.values["psnr"] == 30.0
    (tmp_path / name / "trained/metrics.json").unlink()
    assert main([table, "--runs", str(tmp_path)]) == 0
    said = f"{row}: trained or measured with another model.max_clues than its entry"
    assert said in capsys.readouterr().out.replace("\n", " ")


def test_weights_of_another_entry_are_not_the_rows_recipe(tmp_path, capsys):
    """Measured as the row without the consistency loss, but trained with it: the same network, another training."""
    finish(tmp_path, "kpn_mfi", "trained", psnr=30.0, wrote=True)
    finish(tmp_path, "kpn_mfi/table3/no_consistency", "a", psnr=31.0, by="../../../kpn_mfi/trained", wrote=True)
    assert main(["kpn_mfi/table3", "--runs", str(tmp_path)]) == 0
    assert "#2: trained or measured with another model.alpha than its entry" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["tags", "metrics.json", "config.yaml"])
def test_a_run_that_cannot_be_read_is_named(damage, tmp_path, capsys):
    folder = finish(tmp_path, LKQE, "a", psnr=30.0)
    if damage == "metrics.json":
        (folder / damage).write_text((folder / damage).read_text()[:50])
    else:
        (folder / damage).unlink()
    assert main(["dslnet/table2", "--runs", str(tmp_path)]) == 2
    assert f"{folder / damage} cannot be read" in capsys.readouterr().out.replace("\n", "")


def read(runs, table="dslnet/table2"):
    with (runs / table / "table.csv").open() as file:
        return {row["row"]: row for row in csv.DictReader(file)}


def test_rows_are_in_order_with_the_papers_numbers_and_the_difference(tmp_path, capsys):
    finish(tmp_path, "dslnet/table2/single_frame", "a", psnr=30.0)
    finish(tmp_path, "dslnet/table2/lkqe", "a", psnr=36.0)
    assert main(["dslnet/table2", "--runs", str(tmp_path)]) == 0
    rows = read(tmp_path)
    assert list(rows) == [f"M{i}" for i in range(8)]
    assert (rows["M0"]["PSNR dB paper"], rows["M0"]["PSNR dB ours"], rows["M0"]["PSNR dB diff"]) == (
        "33.80",
        "30.00",
        "-3.80",
    )
    assert rows["M6"]["PSNR dB diff"] == "+0.87"
    assert rows["M1"]["seeds"] == "not run"
    assert (tmp_path / "dslnet/table2/table.md").read_text().startswith("| row | PSNR dB paper |")
    assert r"dE\_ITP" in (tmp_path / "dslnet/table2/table.tex").read_text()


def test_seeds_give_a_mean_and_its_spread_and_the_newest_run_of_each_counts(tmp_path):
    finish(tmp_path, "dslnet/table2/lkqe", "old", psnr=10.0, seed=0, age=100)
    for seed, psnr in enumerate((30.0, 31.0, 35.0)):
        finish(tmp_path, "dslnet/table2/lkqe", f"s{seed}", psnr=psnr, seed=seed)
    assert main(["dslnet/table2", "--runs", str(tmp_path)]) == 0
    row = read(tmp_path)["M6"]
    assert row["PSNR dB ours"] == f"32.00 ± {statistics.stdev((30, 31, 35)):.2f}"
    assert row["seeds"] == "3"


@pytest.mark.parametrize(
    ("values", "text"), [((29.3, 29.34, 29.38), "29.34 ± 0.04"), ((1.2e-4, 1.4e-4), "1.30e-04 ± 1.41e-05")]
)
def test_a_spread_has_the_digits_of_its_mean(tmp_path, values, text):
    for seed, psnr in enumerate(values):
        finish(tmp_path, "dslnet/table2/lkqe", f"s{seed}", psnr=psnr, seed=seed)
    assert main(["dslnet/table2", "--runs", str(tmp_path)]) == 0
    assert read(tmp_path)["M6"]["PSNR dB ours"] == text


def test_a_row_that_changes_nothing_takes_runs_of_its_base(tmp_path):
    finish(tmp_path, "dslnet", "a", psnr=33.0)
    assert main(["dslnet/table2", "--runs", str(tmp_path)]) == 0
    assert read(tmp_path)["M7"]["PSNR dB ours"] == "33.00"
    assert read(tmp_path)["M6"]["seeds"] == "not run"


def test_unmeasured_and_demo_runs_stay_apart(tmp_path, capsys):
    finish(tmp_path, "dslnet/table2/lkqe", "fit", psnr=1.0, stage="fit")
    finish(tmp_path, "dslnet/table2/lkqe", "demo", psnr=2.0, tag="demo")
    assert main(["dslnet/table2", "--runs", str(tmp_path)]) == 1
    assert "No row has a finished run on your own data" in capsys.readouterr().out.replace("\n", " ")
    assert main(["dslnet/table2", "--runs", str(tmp_path), "--demo"]) == 0
    assert read(tmp_path)["M6"]["PSNR dB ours"] == "2.00"
    assert "PSNR dB diff" not in read(tmp_path)["M6"]


def test_every_measured_value_is_there_and_every_digit_that_the_paper_prints(tmp_path):
    folder = finish(tmp_path, "kpn_mfi", "a", psnr=37.5)
    content = json.loads((folder / "metrics.json").read_text())
    content["values"] = {"psnr": 37.5, "flicker": 0.25, "mse_mabd": 3.2e-6, "of_my_own": 7.0}
    content |= {"macs": 29_060_000_000, "parameters": 3_376_515}
    (folder / "metrics.json").write_text(json.dumps(content))
    assert main(["kpn_mfi/table3", "--runs", str(tmp_path)]) == 0
    row = read(tmp_path, "kpn_mfi/table3")["#3"]
    assert (row["PSNR dB paper"], row["PSNR dB ours"], row["PSNR dB diff"]) == ("37.7260", "37.5000", "-0.2260")
    assert (row["flicker ours"], row["MSE of MABD ours"], row["of_my_own ours"]) == ("0.2500", "3.20e-06", "7.00")
    assert not {"flicker paper", "flicker diff"} & row.keys()
    assert (row["M params paper"], row["M params ours"]) == ("3.3735", "3.3765")
    assert (row["GMAC paper"], row["GMAC ours"]) == ("29.0289", "29.0600")
    for name in ("table.md", "table.tex"):
        assert "37.7260" in (tmp_path / "kpn_mfi/table3" / name).read_text()


def test_a_value_that_no_row_measured_has_no_column_of_ours_and_a_note_says_how_to_get_it(tmp_path, capsys):
    finish(tmp_path, "kpn_mfi", "a", psnr=37.5)  # without SSIM, HDR-VDP-3 and MABD, which the paper prints
    assert main(["kpn_mfi/table1", "--runs", str(tmp_path)]) == 0
    titles = read(tmp_path, "kpn_mfi/table1")["KPN-MFI"].keys()
    assert {"PSNR dB paper", "PSNR dB ours", "PSNR dB diff", "VDP3 Q (KPN) paper"} <= titles
    assert not {"VDP3 Q (KPN) ours", "VDP3 Q (KPN) diff"} & titles
    for name in ("table.md", "table.tex"):
        assert "VDP3 Q (KPN) ours" not in (tmp_path / "kpn_mfi/table1" / name).read_text()
    note = "VDP3 Q (KPN): no row measured it; a test does with hdr_vdp3_kpn in --model.test_metrics."
    assert note in capsys.readouterr().out.replace("\n", " ")
    remarks = (tmp_path / "kpn_mfi/table1/table.md").read_text()
    assert f"- {note}\n" in remarks
    assert "- MABD: no row measured it; a test does with mabd in --model.test_metrics.\n" in remarks
    assert main(["kpn_mfi/table1", "--runs", str(tmp_path / "none")]) == 1
    assert "no row measured" not in capsys.readouterr().out


def test_a_number_that_the_paper_measured_otherwise_is_left_out(tmp_path, capsys):
    finish(tmp_path, "dslnet/table2/lkqe", "a", psnr=30.0, unlike=["psnr"])
    finish(tmp_path, "dslnet/table2/alignment", "a", psnr=30.0, steps=9)
    assert main(["dslnet/table2", "--runs", str(tmp_path)]) == 0
    assert read(tmp_path)["M6"]["PSNR dB paper"] == ""
    out = capsys.readouterr().out
    assert "psnr: the paper measured it otherwise" in out
    assert "different numbers of steps: [7, 9]" in out


def test_rows_without_a_run_have_the_papers_numbers(tmp_path):
    """And a run of the paper's own network is not one of theirs, though they say no more than their base."""
    finish(tmp_path, "dslnet", "a", psnr=33.0)
    assert main(["dslnet/table1", "--runs", str(tmp_path)]) == 0
    rows = read(tmp_path, "dslnet/table1")
    assert list(rows) == ["ResNet", "CSRNet", "Ada-3DLUT", "AdaInt", "SR-ITM", "HDRTVNet", "DSLNet"]
    assert rows["DSLNet"]["PSNR dB ours"] == "33.00"
    assert (rows["AdaInt"]["PSNR dB paper"], rows["AdaInt"]["PSNR dB ours"]) == ("30.99", "")
    assert (rows["AdaInt"]["seeds"], rows["CSRNet"]["seeds"]) == ("not run", "not run")


def test_rows_without_an_entry_say_why(tmp_path, monkeypatch, capsys):
    row = {"row": "Gone", "results": {"psnr": 1.0}, "missing": "its code was lost"}
    rows = {"gone": row, "ours": {"runs": "dslnet"}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"paper": "Mine", "table": 1, "rows": rows}))
    finish(tmp_path, "dslnet", "a", psnr=33.0)
    monkeypatch.chdir(tmp_path)
    assert main(["mine.yaml", "--runs", str(tmp_path)]) == 0
    assert "Gone, no entry: its code was lost" in capsys.readouterr().out
    assert "- Gone, no entry: its code was lost" in (tmp_path / "mine/table.md").read_text()


def test_what_needs_no_training_stands_below_from_the_newest_run(tmp_path, capsys):
    for i, entry in enumerate(("lkqe", "alignment")):
        finish(tmp_path, f"dslnet/table2/{entry}", "a", psnr=30.0)
        file = tmp_path / f"dslnet/table2/{entry}/a/metrics.json"
        yardsticks = {"hable": {"psnr": 20.0 + i, "delta_e_itp": 1.5}, "best gain (oracle)": {"psnr": 25.0}}
        content = json.loads(file.read_text()) | {
            "entry": entry,
            "finished": f"2026-0{2 - i}-01",
            "baselines": yardsticks,
        }
        file.write_text(json.dumps(content))
    assert main(["dslnet/table2", "--runs", str(tmp_path)]) == 0
    rows = read(tmp_path)
    assert list(rows)[-2:] == ["hable", "best gain (oracle)"]
    assert (rows["hable"]["PSNR dB ours"], rows["hable"]["dE_ITP ours"]) == ("20.00", "1.5000")
    assert (rows["hable"]["PSNR dB paper"], rows["hable"]["PSNR dB diff"], rows["hable"]["seeds"]) == ("", "", "")
    assert rows["best gain (oracle)"]["dE_ITP ours"] == ""
    assert "what needs no training, on the test frames of lkqe" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize("table", ["dslnet", "dslnet/table9", "x"])
def test_an_unknown_table_is_an_error(table, tmp_path, capsys):
    assert main([table, "--runs", str(tmp_path)]) == 2
    assert "dslnet/table2" in capsys.readouterr().out.replace("\n", "")


def test_an_operator_makes_no_step_which_is_no_difference(tmp_path, capsys):
    finish(tmp_path, "kpn_mfi/table1/huo", "a", psnr=20.0, steps=0)
    finish(tmp_path, "kpn_mfi/table1/hdrunet", "b", psnr=30.0, steps=7)
    assert main(["kpn_mfi/table1", "--runs", str(tmp_path)]) == 0
    assert "different numbers of steps" not in capsys.readouterr().out
    finish(tmp_path, "kpn_mfi/table1/jsinet", "c", psnr=30.0, steps=8)
    assert main(["kpn_mfi/table1", "--runs", str(tmp_path)]) == 0
    assert "different numbers of steps: [7, 8]" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize("width", [60, 90, 300])
def test_a_wide_table_is_printed_as_several_with_whole_numbers(tmp_path, capsys, monkeypatch, width):
    finish(tmp_path, "kpn_mfi/table1/hdrunet", "b", psnr=30.125)
    monkeypatch.setattr("vitm.runs.table.console", Console(width=width))
    assert main(["kpn_mfi/table1", "--runs", str(tmp_path)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("│", "┃"))]
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if "HDRUnet" in line]
    assert (len(rows) > 1) == (width < 300)
    numbers = " ".join(rows)
    for number in ("36.6332", "30.1250", "9.4729", "1.6515", "23.4223"):
        assert numbers.count(number) == 1, number
