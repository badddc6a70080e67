"""The documentation agrees with the tree: links, names, commands and targets exist, and the site builds."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(p for f in ("docs", "vitm", "benchmarks") for p in (ROOT / f).rglob("*.md"))])
READMES = sorted((ROOT / "vitm").rglob("README.md"))
FENCE = re.compile(r"^(```+).*?^\1$", re.MULTILINE | re.DOTALL)


def ids(path):
    return path.relative_to(ROOT).as_posix()


def anchors(page):
    """The anchors of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_to_files_and_anchors(page):
    text = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text()))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{ids(page)} links to {target}, which is missing"
        assert not anchor or anchor in anchors(file), f"{ids(page)} links to {target}: no such heading"


def definitions(file):
    """`name` and `Class.name` of what a Python file defines, attributes of `self` included."""
    names = set()

    def add(body, prefix):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(prefix + node.name)
                names.update(
                    prefix + a.attr for a in ast.walk(node) if isinstance(a, ast.Attribute) and a.attr and prefix
                )
                if isinstance(node, ast.ClassDef):
                    add(node.body, f"{node.name}.")
            elif isinstance(node, ast.ImportFrom):
                names.update(prefix + alias.asname for alias in node.names if alias.asname)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names.update(prefix + t.id for t in targets if isinstance(t, ast.Name))

    add(ast.parse(file.read_text()).body, "")
    return names


@pytest.mark.parametrize("page", READMES, ids=ids)
def test_readmes_name_files_and_functions_that_exist(page):
    """`network.py`: `DSLNet.forward`, `enhance` in a table: the file is there and defines them."""
    for name, rest in re.findall(r"`([\w/]+\.py)`((?:(?:: |, )`[\w.]+(?:\([^`]*\))?`)*)", page.read_text()):
        file = next((f for f in (page.parent / name, ROOT / name) if f.is_file()), None)
        assert file, f"{ids(page)} names {name}, which is missing"
        if rest.startswith(": "):
            known = definitions(file)
            short = {k.rpartition(".")[2] for k in known}
            for wanted in re.findall(r"`([\w.]+?)(?:\([^`]*\))?`", rest):
                if not wanted.endswith(".py"):
                    assert wanted in (known if "." in wanted else short), f"{ids(page)}: {name} has no {wanted}"


def commands(page):
    """Command lines in a page's shell blocks, without comments."""
    for block in re.findall(r"^```(?:bash|sh|console)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.split(r"(?:^|\s)#\s", line)[0].strip()
            if line:
                yield line


@cache
def help_of(*words):
    """What a command prints for --help."""
    from vitm.cli import main

    with redirect_stdout(StringIO()) as text:
        try:
            status = main([*words, "--help"])
        except SystemExit as end:  # argparse's way
            status = end.code
    assert status == 0, f"there is no command vitm {' '.join(words)}"
    return text.getvalue()


def check_vitm(words, line):
    """The sub-command, its options before `--`, and the entry or table exist."""
    from vitm.runs.entries import entry_names

    command, *rest = words[: words.index("--")] if "--" in words else words
    help_of(command)
    kind = rest[:1] if command == "prepare" or rest[:1] == ["convert"] else []
    if command in ("run", "table", "sweep", "slurm") and not kind and rest and re.match(r"[a-z]", rest[0]):
        assert any(f"{name}/".startswith(f"{rest[0]}/") for name in entry_names()), line
    for word in rest:
        if re.match(r"--[a-z]", word) and not re.match(r"--(model|data|trainer)\.", word):
            assert word.partition("=")[0] in help_of(command, *kind), line


@pytest.mark.parametrize("page", [p for p in PAGES if list(commands(p))], ids=ids)
def test_commands_exist(page):
    """Commands, their options, entries, make targets and modules in the shell blocks of a page."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in commands(page):
        words = re.sub(r"^(\w+=\S+ )+", "", line).split()
        if words[0] == "make":
            assert set(words[1:]) <= targets, line
        elif words[0] == "vitm":
            check_vitm(words[1:], line)
        elif words[0].endswith("python") and words[1] == "-m" and words[2].startswith(("experiments", "benchmarks")):
            assert (ROOT / (words[2].replace(".", "/") + ".py")).is_file(), line
            if words[2].startswith("experiments"):
                check_vitm([words[2].rpartition(".")[2], *words[3:]], line)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_python_examples_call_functions_as_they_are(page):
    """`vitm.convert(...)` and its neighbours have the arguments that a page gives them."""
    import vitm

    for block in re.findall(r"^```python[^\n]*\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse("" if block.startswith(" ") else block)):  # an indented one is part of a file
            call = isinstance(node, ast.Call) and ast.unparse(node.func)
            if call in ("vitm.convert", "vitm.evaluate", "vitm.load_network", "load_network", "convert"):
                function = getattr(vitm, call.removeprefix("vitm."))
                inspect.signature(function).bind(*node.args, **{k.arg: k.value for k in node.keywords})


def test_make_help_lists_every_target():
    text = (ROOT / "Makefile").read_text()
    for target in re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split():
        assert re.search(rf"^{target}:.*## [A-Z]", text, re.MULTILINE), target


def test_every_page_is_in_the_navigation():
    """mkdocs checks it too, but slowly."""
    names = re.findall(r"([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(names) == sorted(p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md"))


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "site/api/color.html").read_text()
    assert 'id="vitm.color.pq_eotf"' in page
    assert "fonts.googleapis" not in page
