"""What the papers leave open: each choice that a README names has a row, a row of a table, or a sweep."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import vitm
from vitm.runs.entries import entry_names, experiments_folder, find_entry, find_table, table_names

READMES = Path(vitm.__file__).parent / "papers"
NEEDS_FILES = {"flow: liteflownet3", "flow: gma", "flow: raft"}  # weights that cannot be had with the project


def named_choices(paper):
    """`option: value` in the last columns of a README's tables of questions."""
    for line in (READMES / paper / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 3:
            yield from re.findall(r"`(\w+: [\w.]+)`", cells[2])


def compared(paper):
    """Every `option: value` that a row changes, of the recipe or of the demo's, and those of sweeps."""
    for name in entry_names():
        if name.startswith(f"{paper}/"):
            for recipe in (find_entry(name).change, find_entry(name).recipe):
                for option, value in recipe.get("model", {}).items():
                    yield f"{option}: {str(value).lower() if isinstance(value, bool) else value}"
    for sweep in experiments_folder().glob(f"{paper}/sweeps/*.yaml"):
        for option, values in yaml.safe_load(sweep.read_text())["parameters"].items():
            yield from (f"{option.removeprefix('model.')}: {value}" for value in values.get("values", ()))


@pytest.mark.parametrize("paper", ["kpn_mfi", "hdcfm", "dslnet", "vitm_tc"])
def test_each_choice_of_a_readme_can_be_compared(paper):
    choices = {*named_choices(paper)}
    assert len(choices) >= 2
    assert choices - NEEDS_FILES <= {*compared(paper)}


@pytest.mark.parametrize("paper", ["kpn_mfi", "hdcfm", "dslnet", "vitm_tc"])
def test_each_question_has_another_answer_or_a_reason_why_not(paper):
    """In the third column: an option, or "no row" with the reason."""
    lines = (READMES / paper / "README.md").read_text(encoding="utf-8").splitlines()
    questions = [line for i, line in enumerate(lines) if line.startswith("|") and _header(lines, i) == "question"]
    assert len(questions) > 10
    for line in questions:
        answer = line.strip("|").split("|")[2].strip()
        assert "`" in answer or answer.startswith("no row: "), line


def _header(lines, i):
    """The first cell of the header of the table that a row is in; empty for the header itself and its rule."""
    start = max(j for j in range(i + 1) if j == 0 or not lines[j - 1].startswith("|"))
    return lines[start].strip("|").split("|")[0].strip() if i > start + 1 else ""


READINGS = [name for name in table_names() if name.endswith("/readings")]


@pytest.mark.slow
@pytest.mark.parametrize("name", READINGS)
def test_readings_change_one_choice_each_beside_what_was_chosen(name):
    first, *others = find_table(name).rows
    assert first.runs.name == name.rpartition("/")[0]
    for row in others:
        assert row.base.name == first.runs.name
        if row.task != first.runs.task:
            continue  # the training of another network, which has a recipe of its own
        assert row.change.keys() <= {"model", "data"}
        assert (
            row.demo_recipe != first.runs.demo_recipe or row.after != first.runs.after or "vgg_layer" in str(row.change)
        )
        row.load_task()(**row.recipe["model"])


def test_the_readings_that_the_papers_themselves_disagree_on():
    """Transcribed: equation or figure against released code."""
    changes = {name: find_entry(name).change["model"] for name in (
        *("kpn_mfi/readings/softmax", "kpn_mfi/readings/official_mfi", "kpn_mfi/readings/single_skip"),
        *("kpn_mfi/readings/released_objective", "hdcfm/pdcg/readings/plain_patch_gan"),
    )}  # fmt: skip
    assert changes == {
        "kpn_mfi/readings/softmax": {"corr_norm": "softmax"},
        "kpn_mfi/readings/official_mfi": {"mfi_variant": "official"},
        "kpn_mfi/readings/single_skip": {"skips": "full"},
        "kpn_mfi/readings/released_objective": {"content": "l1", "consistency": "official", "alpha": 0.01},
        "hdcfm/pdcg/readings/plain_patch_gan": {"patches": "all"},
    }
