"""`import vitm` is light, and Lightning stays in its rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ["files", "checkpoints", "console", "color", "ops", "nets", "papers", "baselines", "zoo", "tasks"]
LIGHTNING = ("vitm/training/", "vitm/data/", "vitm/runs/")
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


def test_lightning_stays_in_its_rooms():
    for path in modules():
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(LIGHTNING) and not any(fnmatch(name, task) for task in TASKS):
            assert not [m for m in imports(path) if m.split(".")[0] == "lightning"], name


def test_arrows_run_one_way():
    """color -> ops -> nets -> papers -> baselines -> zoo -> tasks, nothing from experiments, and no catch-all files."""
    for path in modules():
        name = path.relative_to(ROOT)
        assert path.stem not in ("utils", "misc", "common", "helpers"), name
        if name.parts[0] != "vitm" or len(name.parts) < 2:
            continue
        task = any(fnmatch(name.as_posix(), pattern) for pattern in TASKS)
        room = "tasks" if task else name.parts[1].removesuffix(".py")
        for module in imports(path):
            assert module.split(".")[0] != "experiments", name
            parts = module.split(".")
            if parts[0] == "vitm" and len(parts) > 1 and room in ROOMS and parts[1] in ROOMS:
                assert ROOMS.index(parts[1]) <= ROOMS.index(room), f"{name} imports {module}"
