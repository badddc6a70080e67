"""Runs of earlier versions: their configurations have options that no longer exist."""

from __future__ import annotations

import pytest
import torch
import yaml

from vitm.cli import main as vitm
from vitm.runs.old_options import with_current_options

OLD = {"pairs": None, "interval_s": 2.0, "grid_crop": None, "grid_stride": None}


def test_unused_options_are_left_out_and_used_ones_refused():
    config = {"seed_everything": 0, "model": {"lr": 1.0}, "data": {"root": "DATA", "crop_size": 8}}
    assert with_current_options({**config, "data": {**config["data"], **OLD}}) == config
    assert with_current_options({"model": {}}) == {"model": {}}
    sequences = with_current_options({"data": {"root": "DATA", "source": "demo"}})
    assert sequences["data"] == {"root": "DATA", "source": "panoramas"}
    with pytest.raises(ValueError, match=r"pairs of videos in p\.csv.*vitm prepare.*--data\.root"):
        with_current_options({"data": {"root": "DATA", "pairs": "p.csv"}})


@pytest.mark.slow
def test_a_run_of_an_earlier_version_is_resumed(tiny, tmp_path, capsys):
    """To the weights of a run that was not interrupted."""
    whole, halves = ([*tiny, "--runs", str(tmp_path / name)] for name in ("whole", "halves"))
    assert vitm(["run", "kpn_mfi", "fit", *whole, "--name", "a", "--trainer.max_steps", "4"]) == 0
    assert vitm(["run", "kpn_mfi", "fit", *halves, "--name", "a", "--trainer.max_steps", "2"]) == 0
    folder = tmp_path / "halves/kpn_mfi/a"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "overrides.yaml").unlink()
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, "data": {**config["data"], **OLD}}))
    resume = ["run", "kpn_mfi", "fit", *halves, "--resume", str(folder), "--trainer.max_steps", "4"]
    assert vitm(resume) == 0
    states = [
        torch.load(tmp_path / name / "kpn_mfi/a/checkpoints/last.ckpt", weights_only=False)["state_dict"]
        for name in ("whole", "halves")
    ]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not OLD.keys() & yaml.safe_load((folder / "config.yaml").read_text())["data"].keys()
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, "data": {**config["data"], "pairs": "p.csv"}}))
    capsys.readouterr()
    assert vitm(resume) == 2
    assert "pairs of videos in p.csv" in capsys.readouterr().out.replace("\n", " ")
