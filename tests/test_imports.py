"""Which room may import which; `import vitm` is light, and Lightning stays in its rooms."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

import vitm

ROOT = Path(__file__).parents[1]
ROOMS = [  # a room imports from its own and those before it; rooms of one line do not import each other
    ["files"],
    ["checkpoints", "console", "weights"],
    ["color"],
    ["ops"],
    ["nets"],
    ["metrics", "video"],
    ["data"],
    ["training"],
    ["papers"],
    ["baselines"],
    ["zoo"],
    ["conversion", "evaluation"],
    ["runs"],
    ["cli"],
    ["__main__"],
]
RANKS = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}
LIGHTNING = ("vitm/training/", "vitm/data/", "vitm/runs/")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TASKS = ("vitm/papers/*/task.py", "vitm/baselines/*task.py")


def modules():
    return [p for folder in ("vitm", "experiments") for p in sorted((ROOT / folder).rglob("*.py"))]


def imports(path):
    """Dotted names that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            if node.module == "vitm":
                yield from (f"vitm.{alias.name}" for alias in node.names if alias.name in RANKS)


def our_imports(path, names):
    """Those of our modules that a file imports, wherever in it; what a package imports when asked for it, left out."""
    tree = ast.parse(path.read_text())
    for node in tree.body if path.name == "__init__.py" else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield from {submodule if submodule in names else node.module} & names


def loaded_by(code):
    out = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"], capture_output=True, check=True
    )
    return {name.split(".")[0] for name in out.stdout.decode().split()}


def test_import_is_light():
    heavy = {"torchvision", "timm", "kornia", "wandb", "av", "lightning", "cv2"}
    assert not heavy & loaded_by("import vitm")
    assert not heavy & loaded_by("import vitm.color")
    assert not (heavy - {"torchvision", "kornia"}) & loaded_by("from vitm.papers.kpn_mfi import KPNMFI")


def test_the_face_is_there_and_costs_nothing():
    """All names of it, for programs and for editors."""
    assert "torch" not in loaded_by("import vitm; assert {*vitm.__all__} <= {*dir(vitm)}")
    for name in vitm.__all__:
        assert getattr(vitm, name) is not None
    with pytest.raises(AttributeError, match="'vitm' has no attribute 'covnert'"):
        vitm.covnert  # noqa: B018
    tree = ast.parse(Path(vitm.__file__).read_text())
    shown = {alias.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {*vitm.__all__} - {"__version__"} <= shown


def first_imports(body):
    """Dotted names that are imported with a file: not inside its functions, nor for type checkers alone."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from first_imports(ast.iter_child_nodes(node))


@pytest.mark.parametrize("extra", [name for name in EXTRAS if name not in ("dev", "docs", "notebooks")])
def test_what_an_extra_brings_is_imported_where_it_is_used(extra):
    """So that all else works without it."""
    names = {re.split(r"[\[>=<]", requirement)[0] for requirement in EXTRAS[extra]}
    names = {{"scikit-image": "skimage"}.get(name, name) for name in names}
    for path in modules():
        first = {module.partition(".")[0] for module in first_imports(ast.parse(path.read_text()).body)}
        assert not names & first, path


def test_lightning_stays_in_its_rooms():
    for path in modules():
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(LIGHTNING) and not any(fnmatch(name, task) for task in TASKS):
            assert not [m for m in imports(path) if m.split(".")[0] == "lightning"], name


def test_arrows_run_one_way():
    """No room imports from one to its right, wherever in a file; nothing imports experiments; no catch-all files."""
    for path in modules():
        name = path.relative_to(ROOT)
        assert path.stem not in ("utils", "misc", "common", "helpers"), name
        if name.parts[0] != "vitm" or len(name.parts) < 2 or (name.name == "__init__.py" and len(name.parts) == 2):
            continue
        room = name.parts[1].removesuffix(".py")
        assert room in RANKS, f"{name} is in no room of docs/architecture.md: give it one, and its place in this test"
        for module in imports(path):
            assert module.split(".")[0] != "experiments", name
            other = module.split(".")[1:2]
            if module.split(".")[0] == "vitm" and other:
                left = RANKS[other[0]] < RANKS[room]
                assert left or other[0] == room, f"{name} imports {module}"


def test_modules_import_each_other_in_no_circle():
    """Not through an import inside a function either."""
    names = {
        path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in modules()
    }
    graph = {name: {*our_imports(path, {*names.values()})} - {name} for path, name in names.items()}
    ready = set()
    while len(ready) < len(graph):
        more = {name for name, needs in graph.items() if name not in ready and needs <= ready}
        assert more, f"a circle among {sorted(graph.keys() - ready)}"
        ready |= more


def test_names_of_networks_are_known_without_torch():
    assert "torch" not in loaded_by("import vitm.zoo; vitm.zoo.list_networks()")
    assert "timm" not in loaded_by("from vitm.zoo import network_class; network_class('csrnet')")
