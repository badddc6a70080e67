"""Runs on Weights & Biases."""

from __future__ import annotations

import pytest

from vitm.runs.command import parse
from vitm.runs.entries import find_entry
from vitm.runs.tracking import run_id


def test_equal_names_are_different_runs(tmp_path):
    """In two entries, and in two folders of all runs."""
    places = [tmp_path / runs / entry for runs in ("a", "b") for entry in ("kpn_mfi", "hdcfm")]
    ids = {run_id(find_entry(place.name), place / "mine") for place in places}
    assert len(ids) == 4
    assert all(name.endswith("-mine") for name in ids)
    assert "/" not in run_id(find_entry("hdcfm/pdcg"), tmp_path / "mine")


@pytest.mark.parametrize("first", ["3f09aa-kpn_mfi-mine", "mine"])
def test_a_resumed_run_goes_on_as_the_run_that_it_is(first, tmp_path):
    """Also one of before ids had more than the folder's name."""
    for time, offline in (("120000", "offline-"), ("130000", "")):
        (tmp_path / "wandb" / f"{offline}run-20261128_{time}-{first}").mkdir(parents=True)
    (tmp_path / "wandb" / "latest-run").symlink_to(tmp_path)
    assert run_id(find_entry("kpn_mfi"), tmp_path) == first


@pytest.mark.parametrize(
    ("options", "side"), [([], 1280), (["--previews", "640"], 640), (["--previews", "full"], None)]
)
def test_previews_are_as_large_as_asked_for(options, side):
    assert parse(["kpn_mfi", *options]).preview_side == side


def test_previews_of_no_size_are_refused():
    with pytest.raises(ValueError, match="expected a number of pixels or full, got 0"):
        parse(["kpn_mfi", "--previews", "0"])
