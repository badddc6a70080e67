"""JSON that every reader takes, also where a number is none."""

from __future__ import annotations

import json
import math

import pytest

from vitm.files import read_json, write_json

CONTENT = {
    "values": {"psnr": math.inf, "ssim": 0.5, "bits": -math.inf, "none": None},
    "clips": [{"a/b": 1}, {"mabd": math.nan, "steps": (1, 2)}],
}


def test_numbers_that_json_does_not_have_are_null_with_a_note(tmp_path):
    write_json(tmp_path / "x.json", CONTENT)

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    content = json.loads((tmp_path / "x.json").read_text(), parse_constant=refuse)
    assert content["values"] == {"psnr": None, "ssim": 0.5, "bits": None, "none": None}
    assert content["clips"] == [{"a/b": 1}, {"mabd": None, "steps": [1, 2]}]
    assert content["not_finite"] == {"values/psnr": "inf", "values/bits": "-inf", "clips/1/mabd": "nan"}


def test_they_are_read_as_they_were(tmp_path):
    write_json(tmp_path / "x.json", CONTENT)
    content = read_json(tmp_path / "x.json")
    assert content["values"] == CONTENT["values"]
    assert math.isnan(content["clips"][1]["mabd"])
    assert "not_finite" not in content


def test_content_of_other_files_is_as_it_is(tmp_path):
    (tmp_path / "list.json").write_text("[1, 2]")
    assert read_json(tmp_path / "list.json") == [1, 2]
    with pytest.raises(ValueError, match="Expecting"):
        read_json(tmp_path / "list.json") if (tmp_path / "list.json").write_text("{") else None
