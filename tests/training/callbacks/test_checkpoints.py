from __future__ import annotations

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from vitm.training.callbacks import BestCheckpoint, WholeCheckpointIO


def test_saved_checkpoint_is_read_back(tmp_path):
    path = tmp_path / "new" / "last.ckpt"
    WholeCheckpointIO().save_checkpoint({"step": 3}, path)
    assert torch.load(path, weights_only=True) == {"step": 3}
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("error", [RuntimeError("file write failed"), OSError(28, "No space left on device")])
def test_a_failed_write_keeps_the_last_checkpoint(error, tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    WholeCheckpointIO().save_checkpoint({"step": 3}, path)

    def half(checkpoint, file):
        file.write_bytes(b"half")
        raise error

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match=r"No space left|is the disk full"):
        WholeCheckpointIO().save_checkpoint({"step": 4}, path)
    assert torch.load(path, weights_only=True) == {"step": 3}
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_runs_of_before_go_on_with_their_best_value(tmp_path):
    """Its state has the name that Lightning's own callback gave it."""
    options = {"monitor": "val/psnr", "mode": "max"}
    assert BestCheckpoint(tmp_path, **options).state_key == ModelCheckpoint(tmp_path, **options).state_key
