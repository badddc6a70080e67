"""The faults of `benchmarks.mutations` are still in the lines that they were made for."""

from __future__ import annotations

import pytest

from benchmarks.mutations import FAULTS, ROOT, chosen_for


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_fits_its_file(fault):
    assert (ROOT / fault.file).read_text(encoding="utf-8").count(fault.text) == 1
    assert fault.instead != fault.text
    for test in chosen_for(fault, ROOT / "tests"):
        file, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / file).read_text(encoding="utf-8")
