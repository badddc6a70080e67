from __future__ import annotations

import pytest

from vitm.data.fake import write_fake_triplets

TINY = [
    *("--model.width", "8"),
    *("--model.trunk", "[1,1,1,1,1]"),
    *("--data.crop_size", "40"),
    *("--data.batch_size", "2"),
    *("--data.num_workers", "0"),
    *("--trainer.accelerator", "cpu"),
    *("--trainer.enable_progress_bar", "false"),
    *("--trainer.enable_model_summary", "false"),
    *("--trainer.log_every_n_steps", "1"),
]


@pytest.fixture(scope="session")
def fake_data(tmp_path_factory):
    """Four triplets a split, 48 x 64, in the layout of KPN-MFI."""
    return write_fake_triplets(tmp_path_factory.mktemp("data"), n=4)


@pytest.fixture
def tiny(fake_data, tmp_path):
    """Options that make any entry run in seconds on fake data, into a folder of the test."""
    return [*TINY, "--data.root", str(fake_data), "--runs", str(tmp_path / "runs")]
