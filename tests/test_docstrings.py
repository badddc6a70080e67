"""Docstrings: their examples run, the public names have one, and their words are plain."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "vitm").rglob("*.py"))
PUBLIC = {  # docs/architecture.md, "Public names"
    "vitm": "convert evaluate load_network list_networks",
    "vitm.color": "pq_eotf pq_inverse_eotf hlg_oetf hlg_inverse_oetf bt709_to_bt2020 bt2020_to_bt709 rgb2020_to_ictcp "
    "inverse_tone_map",
    "vitm.data": "HDR10Frames HDR10Triplets HDR10Clips LongSequences",
    "vitm.metrics": "MetricValue value_info value_order",
    "vitm.metrics.functional": "psnr ssim sr_sim delta_e_itp hdr_vdp3 hdr_vqm mabd",
    "vitm.papers.dslnet": "DSLNet DSLNetTask",
    "vitm.papers.hdcfm": "HDCFM PDCG HDCFMTask PDCGTask",
    "vitm.papers.kpn_mfi": "KPNMFI MFI KPNMFITask",
    "vitm.papers.vitm_tc": "ICAM FCPM VITMTC ICAMTask FCPMTask",
    "vitm.zoo": "load_network list_networks",
}


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def docstrings(path):
    """(line, docstring) of a module and of all classes and functions in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), text


@pytest.mark.parametrize("path", [p for p in FILES if ">>>" in p.read_text()], ids=module_name)
def test_examples_in_docstrings_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    module = importlib.import_module(module_name(path))
    results = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert results.attempted
    assert not results.failed


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in PUBLIC.items() for n in names.split()])
def test_public_names_say_what_they_do(module, name):
    first = (inspect.getdoc(getattr(importlib.import_module(module), name)) or "").partition("\n")[0]
    assert re.match(r"[A-Z].+\.$", first), f"{module}.{name}: {first!r} is no full sentence"
    assert len(first.split()) >= 3, f"{module}.{name}: {first!r} is no full sentence"


def test_the_first_line_of_a_docstring_is_a_sentence():
    """It begins with a capital letter (or a number, a quotation, code) and ends with a full stop."""
    odd = [
        f"{module_name(path)}:{line} {text.splitlines()[0]}"
        for path in FILES
        for line, text in docstrings(path)
        if not re.match(r"[A-Z0-9`'\"(]", text) or not re.search(r"[.!?:]$", text.partition("\n\n")[0])
    ]
    assert not odd, "\n".join(odd)


def test_no_docstring_needs_another_one():
    odd = [
        f"{module_name(path)}:{line} {text}"
        for path in FILES
        for line, text in docstrings(path)
        if re.fullmatch(r"(Likewise|The same|Ditto|See above)\b[^.]{0,20}\.", text)
    ]
    assert not odd, "\n".join(odd)


def test_arguments_are_described_by_noun_phrases():
    """No text of an argument begins with "of": `lr: of the optimiser` says nothing without its name."""
    argument = re.compile(r"^ +(\*{0,2}\w+)(?: \([^)]*\))?: (of|likewise)\b", re.MULTILINE)
    odd = [
        f"{module_name(path)}:{line} {match[1]}"
        for path in FILES
        for line, text in docstrings(path)
        for section in re.findall(r"^(?:Args|Attributes|Returns):\n((?: .*\n?|\n)*)", text, re.MULTILINE)
        for match in argument.finditer(section)
    ]
    assert not odd, "\n".join(odd)


def test_values_are_named_by_nouns():
    odd = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.id}"
        for folder in ("vitm", "experiments", "benchmarks")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Store)
        and node.id in ("found", "there", "made", "theirs")
    ]
    assert not odd, "\n".join(odd)
