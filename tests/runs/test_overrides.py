"""What a run has otherwise than its entry, as it writes it when it starts, and as older runs are read."""

from __future__ import annotations

import pytest
import yaml

from tests.runs.conftest import run as main
from vitm.runs.entries import find_entry
from vitm.runs.overrides import entry_parser, overrides, read_overrides, recipe_changes

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
    sizes = {"data.crop_size": 40, "data.batch_size": 2, "trainer.max_steps": 1, "model.width": 8}
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
