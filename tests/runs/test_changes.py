"""A run's record says the truth about options that changed when it was resumed."""

from __future__ import annotations

import pytest
import torch
import yaml

from tests.runs.conftest import run as main
from vitm.runs.changes import check_changes, in_words
from vitm.runs.entries import find_entry
from vitm.runs.options import leaves
from vitm.runs.overrides import NO_EFFECT, entry_parser, option_names, recipe_changes, save_overrides

ENTRY = find_entry("kpn_mfi")


@pytest.fixture
def stopped(tmp_path):
    """Options -> what has changed if the run of a folder, stopped at a step, goes on with them."""
    parser = entry_parser(ENTRY)
    (tmp_path / "checkpoints").mkdir()

    def configuration(options):
        root = ["--data.root", "DATA", "--trainer.max_steps", "500"]
        return parser.parse_args(["--config", yaml.safe_dump(dict(ENTRY.recipe)), *root, *options])

    def go_on(step, options):
        torch.save({"global_step": step}, tmp_path / "checkpoints/last.ckpt")
        config = configuration(options)
        history = check_changes(tmp_path, parser, ENTRY, config)
        parser.save(config, tmp_path / "config.yaml", overwrite=True, skip_unset=False)
        return save_overrides(tmp_path / "overrides.yaml", parser, ENTRY, config, demo=False, history=history)

    parser.save(configuration([]), tmp_path / "config.yaml", overwrite=True, skip_unset=False)
    return go_on


OTHERWISE = {"lr": "1e-5", "betas": "[0.5, 0.9]", "schedule": "cosine", "milestones": "[7]", "alpha": "0.3"}


@pytest.mark.parametrize("option", OTHERWISE)
def test_options_of_optimiser_schedule_and_losses_are_refused_with_what_to_do(option, stopped):
    with pytest.raises(ValueError, match=rf"--model.{option} .*\(was .*--model.init_from .*last.ckpt"):
        stopped(120, [f"--model.{option}", OTHERWISE[option]])


def test_every_option_of_the_model_but_those_without_effect_is_refused(tmp_path):
    """So that one that is added later is too."""
    parser = entry_parser(ENTRY)
    (tmp_path / "checkpoints").mkdir()
    torch.save({"global_step": 120}, tmp_path / "checkpoints/last.ckpt")
    config = parser.parse_args(["--config", yaml.safe_dump(dict(ENTRY.recipe)), "--data.root", "DATA"])
    parser.save(config, tmp_path / "config.yaml", overwrite=True, skip_unset=False)
    refused = set()
    for name in option_names(ENTRY, "model"):
        other = config.clone()
        other[name] = "something else"
        try:
            check_changes(tmp_path, parser, ENTRY, other)
        except ValueError:
            refused.add(name)
    assert refused == option_names(ENTRY, "model") - NO_EFFECT


def test_the_seed_is_refused(stopped):
    with pytest.raises(ValueError, match=r"--seed_everything 3 \(was 0\)"):
        stopped(120, ["--seed_everything", "3"])


def test_what_takes_effect_is_kept_with_its_steps(stopped):
    small = ["--data.batch_size", "2"]
    assert stopped(120, small)["data.batch_size"] == {0: 8, 120: 2}
    assert stopped(200, [*small, "--trainer.gradient_clip_val", "0.5"]) == {
        **{"data.root": "DATA", "trainer.max_steps": 500},
        **{"data.batch_size": {0: 8, 120: 2}, "trainer.gradient_clip_val": {0: None, 200: 0.5}},
    }
    different = stopped(300, ["--data.batch_size", "3"])
    assert different["data.batch_size"] == {0: 8, 120: 2, 300: 3}
    assert "data.batch_size" in recipe_changes(different, ENTRY)


def test_without_a_step_in_between_nothing_has_changed(stopped):
    assert stopped(0, ["--data.batch_size", "2"])["data.batch_size"] == 2


def test_a_longer_run_is_one_that_was_longer_from_the_start(stopped):
    """With schedules that do not depend on the end."""
    assert stopped(120, ["--trainer.max_steps", "600"])["trainer.max_steps"] == 600


def test_a_longer_run_of_a_schedule_that_ends_with_it_is_another(tmp_path, stopped):
    config = tmp_path / "config.yaml"
    config.write_text(config.read_text().replace("schedule: constant", "schedule: cosine"))
    options = ["--model.schedule", "cosine", "--trainer.max_steps", "600"]
    assert stopped(120, options)["trainer.max_steps"] == {0: 500, 120: 600}


def test_a_resume_says_what_changes_and_writes_it_down(tiny, tmp_path, capsys):
    mine = ["kpn_mfi", "fit", *tiny, "--name", "mine", "--trainer.limit_val_batches", "0"]
    assert main([*mine, "--trainer.max_steps", "1"]) == 0
    folder = tmp_path / "runs/kpn_mfi/mine"
    before = (folder / "config.yaml").read_text()
    assert main([*mine, "--trainer.max_steps", "2", "--model.lr", "1e-5"]) == 2
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "error" in line]
    assert line.startswith("error: --model.lr 1e-05 (was 0.0005): a run keeps")
    assert (folder / "config.yaml").read_text() == before

    assert main([*mine, "--trainer.max_steps", "2", "--data.batch_size", "1"]) == 0
    said = "--data.batch_size is 2, from step 1 on 1"
    assert said in capsys.readouterr().out
    assert (folder / "config.yaml").read_text().startswith(f"# {said}\n")
    overrides = leaves(yaml.safe_load((folder / "overrides.yaml").read_text()))
    assert in_words({"data.batch_size": overrides["data.batch_size"]}) == [said]
