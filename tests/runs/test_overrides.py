"""What a run has otherwise than its entry, as it writes it when it starts, and as older runs are read."""

from __future__ import annotations

from typing import Union, get_args

import pytest
import yaml
from lightning.pytorch import Trainer

from tests.runs.conftest import run as main
from vitm.runs.entries import find_entry
from vitm.runs.lightning_cli import resolve
from vitm.runs.overrides import _parser_of, entry_parser, overrides, read_overrides, recipe_changes

ONCE_UNSEEN = {
    "data.flips": False,
    "data.shuffle_order": True,
    "data.val_split": "test",
    "trainer.gradient_clip_val": 0.1,
}


def test_a_run_writes_what_it_has_otherwise_when_it_starts(tiny, tmp_path):
    """Options of no effect too, so that `--config overrides.yaml` gives the same run; tables leave them out."""
    options = [x for k, v in ONCE_UNSEEN.items() for x in (f"--{k}", str(v).lower())]
    assert main(["kpn_mfi", "fit", *tiny, *options, "--trainer.max_steps", "1"]) == 0
    (file,) = (tmp_path / "runs/kpn_mfi").glob("*/overrides.yaml")
    assert file.read_text().startswith("# What this run has otherwise than kpn_mfi.\n")
    entry, different = find_entry("kpn_mfi"), read_overrides(file.parent, find_entry("kpn_mfi"), demo=False)
    sizes = {
        "data.crop_size": 40,
        "data.tile_size": None,
        "data.batch_size": 2,
        "trainer.max_steps": 1,
        "model.width": 8,
    }
    assert recipe_changes(different, entry) == ONCE_UNSEEN | sizes | {"model.trunk": [1, 1, 1, 1, 1]}
    assert different["data.num_workers"] == 0
    assert different["data.root"] == tiny[tiny.index("--data.root") + 1]
    content = yaml.safe_load(file.read_text())
    assert content["model"] == {"width": 8, "trunk": [1, 1, 1, 1, 1]}

    file.unlink()
    assert read_overrides(file.parent, entry, demo=False) == different  # the same of a run of before


@pytest.mark.parametrize("name", ["kpn_mfi/table3/no_mfi", "hdcfm/pdcg"])
@pytest.mark.parametrize("demo", [False, True])
def test_the_recipe_alone_is_nothing_else(name, demo):
    entry = find_entry(name)
    parser, recipe = entry_parser(entry), entry.config(demo=demo)
    given = {"data.root": "DATA"} | dict.fromkeys(entry.after, "first.ckpt")
    flags = [x for option, value in given.items() for x in (f"--{option}", value)]
    config = parser.parse_args(["--config", yaml.safe_dump(recipe), *flags])
    different = overrides(parser, recipe, config)
    assert different == given
    assert not recipe_changes(different, entry)


def test_a_whole_number_is_a_number_of_batches_and_a_fraction_is_a_part(monkeypatch):
    """Of every option that may be both: 1 is one batch, and 1.0 all of them.

    The types are as Python gives them where Kornia was imported before Lightning: `float | int`, which makes 1.0 of 1.
    """
    hints = Trainer.__init__.__annotations__
    both = [name for name, hint in hints.items() if {int, float} <= {*get_args(hint)}]
    assert {"limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches"} < {*both}
    assert {"overfit_batches", "val_check_interval"} < {*both}
    for name in both:
        monkeypatch.setitem(hints, name, Union[(float, *(kind for kind in get_args(hints[name]) if kind is not float))])
    _parser_of.cache_clear()
    entry = find_entry("kpn_mfi")
    recipe = ["--config", yaml.safe_dump(dict(entry.recipe)), "--data.root", "DATA"]
    for text, value in (("1", 1), ("1.0", 1.0), ("0.5", 0.5)):
        options = [*recipe, *(x for name in both for x in (f"--trainer.{name}", text))]
        for config in (resolve(entry, options), entry_parser(entry).parse_args(options)):
            values = [config.trainer[name] for name in both]
            assert (values, {*map(type, values)}) == ([value] * len(both), {type(value)})
