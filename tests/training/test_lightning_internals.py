"""Lightning still has all that this project takes of it beyond its documented interface."""

from __future__ import annotations

import re

import lightning
import pytest
from lightning.pytorch import Trainer

from tests.test_imports import ROOT, modules
from vitm.training import lightning_internals
from vitm.training.lightning_internals import CHECKED_WITH, PATHS, loss_scale


@pytest.fixture
def trainer():
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return Trainer(accelerator="cpu", devices=1, **quiet)


@pytest.mark.parametrize("path", PATHS)
def test_this_version_has_the_name(path, trainer):
    try:
        lightning_internals._get(trainer, path)
    except RuntimeError as error:
        pytest.fail(
            f"{error}. To take a new version: read how it does what vitm/training/lightning_internals.py describes, "
            "change that file alone, run tests/runs, and add the version to CHECKED_WITH"
        )


def test_a_name_that_vanished_is_named(trainer, monkeypatch):
    del trainer._signal_connector.received_sigterm
    wanted = f"lightning {lightning.__version__} has no trainer._signal_connector.received_sigterm.*{CHECKED_WITH[0]}"
    with pytest.raises(RuntimeError, match=re.escape(wanted).replace(r"\.\*", ".*")):
        lightning_internals.stop_after_batch(trainer, True)


def test_without_fp16_nothing_is_scaled(trainer):
    assert loss_scale(trainer) == 1


def test_private_names_are_in_this_file_alone():
    """Of trainers and loops, and of Lightning's modules."""
    private = re.compile(r"trainer\._|_loop\.|_connector|precision_plugin|strategy\.(launcher|optimizer_step)")
    for path in modules():
        if path.name not in ("lightning_internals.py", "module.py"):  # the other is vitm/data/module.py, see PATHS
            found = private.findall(path.read_text())
            assert not found, f"{path.relative_to(ROOT)} uses names that belong in vitm/training/lightning_internals.py"
