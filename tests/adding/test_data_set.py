"""What docs/adding/data_set.md says, done in a package outside the repository."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from vitm.cli import main
from vitm.data.fake.frames import fake_frames
from vitm.data.fake.sequences import fake_light
from vitm.video import write_image

PAGE = (Path(__file__).parents[2] / "docs/adding/data_set.md").read_text()
LAYOUT, OPTION, SOURCE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(ENTRY,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
SIZE = ["--data.crop_size", "40", "--data.batch_size", "2", "--data.num_workers", "0"]
SMALL = ["--model.width", "8", "--model.trunk", "[1,1,1,1,1]", "--model.test_metrics", "[psnr]"]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with the page's classes in `mypackage.archive` and `mypackage.arrays`."""
    folder = tmp_path / "elsewhere"
    (folder / "mypackage").mkdir(parents=True)
    (folder / "mypackage/__init__.py").touch()
    (folder / "mypackage/archive.py").write_text(LAYOUT)
    (folder / "mypackage/arrays.py").write_text(SOURCE)
    (folder / "mypackage/options.py").write_text(
        f"from typing import Any\nfrom mypackage.archive import Archive\nclass Ours(Archive):\n{OPTION}"
    )
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two shots of seven frames, and one for each of the other splits."""
    root = tmp_path / "archive"
    for k, shot in enumerate(("a", "b", "c", "d")):
        (root / shot).mkdir(parents=True)
        for kind, bits, frames in zip(("sdr", "hdr"), (8, 16), fake_frames(7, 40, 48, seed=k), strict=True):
            for t, frame in enumerate(frames):
                write_image(root / shot / f"{kind}.{t:04d}.tif", frame, bits=8 if bits == 8 else 16)
    for split, shots in (("train", "a b"), ("val", "c"), ("test", "d")):
        (root / f"{split}.txt").write_text(shots)
    return root


def test_a_layout_gives_the_samples_that_it_names(package: Path, archive: Path) -> None:
    from mypackage.archive import Archive  # type: ignore[import-not-found]

    data = Archive(str(archive), crop_size=16, batch_size=2, num_workers=0)
    data.setup("fit")
    assert [w.name for w in data.find("train")] == ["a_0000", "a_0003", "b_0000", "b_0003"]
    (first, second) = list(data.val_dataloader())
    expected = fake_frames(7, 40, 48, seed=2)
    for batch, start in ((first, 0), (second, 3)):
        for key, codes, top in (("sdr", expected[0], 255), ("hdr_pq", expected[1], 65535)):
            frames = torch.from_numpy(codes[start : start + 3] / np.float32(top)).permute(0, 3, 1, 2)
            torch.testing.assert_close(batch[key][0], frames, atol=1e-7, rtol=0)
    assert next(iter(data.train_dataloader()))["hdr_pq"].shape == (2, 3, 3, 16, 16)
    write_image(archive / "c/hdr.0001.tif", np.zeros((40, 48, 3), np.uint8), bits=8)
    with pytest.raises(ValueError, match=r"hdr\.0001\.tif has uint8 samples; expected 16-bit RGB"):
        Archive(str(archive), crop_size=16).setup("fit")


def test_options_of_its_own_stand_beside_those_of_the_base(package: Path) -> None:
    from mypackage.options import Ours  # type: ignore[import-not-found]

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Ours, "data")
    defaults = vars(parser.get_defaults().data)
    assert (defaults["archive_year"], defaults["crop_size"], defaults["time_reversal"]) == (2024, 256, True)


@pytest.mark.slow
def test_an_entry_file_trains_on_it_resumes_and_is_measured(
    package: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    archive.rename(tmp_path / "ARCHIVE")
    Path("archive.yaml").write_text(ENTRY)
    (command,) = re.findall(r"vitm (run \./archive\.yaml)", PAGE)
    options = [*SIZE, *SMALL, "--trainer.max_epochs", "-1", "--name", "first"]
    assert main([*command.split(), "fit", *options, "--trainer.max_steps", "2"]) == 0
    assert main([*command.split(), *options, "--trainer.max_steps", "3"]) == 0  # the same name goes on with it
    (folder,) = Path("runs/archive").iterdir()
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["entry"]["data_module"], config["data"]["root"]) == ("mypackage.archive.Archive", "ARCHIVE")
    assert "psnr" in (folder / "metrics.json").read_text()
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", weights_only=False)
    assert checkpoint["global_step"] == 3


def test_a_source_gives_clips_of_light(package: Path, tmp_path: Path) -> None:
    from mypackage.arrays import ArraySequences  # type: ignore[import-not-found]

    lights: dict[str, Any] = {}
    for k, split in enumerate(("train", "train", "val", "test")):
        lights[f"clip{k}"] = np.stack([fake_light(36, 64, k, t) for t in range(9)])
        (tmp_path / "root" / split).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"root/{split}/clip{k}.npy", lights[f"clip{k}"])
    data = ArraySequences(str(tmp_path / "root"), size=32, crop_size=24, batch_size=2, num_workers=0)
    data.setup("fit")
    data.setup("test")
    batches = [data.on_after_batch_transfer(batch, 0) for batch in islice(data.train_dataloader(), 3)]
    assert {name for batch in batches for name in batch["name"]} == {"clip0", "clip1"}
    assert batches[0]["ldr"].shape == (2, 3, 3, 24, 24)
    (clip,) = data.test_dataloader()
    assert (clip.name, len(clip)) == ("clip3", 9)
    gains = [float(clip.linear(t).mean()) / 2 ** clip.ev(t) / float(lights["clip3"][t].mean()) for t in (4, 7)]
    assert gains[0] == pytest.approx(gains[1], rel=0.01)  # one gain for the clip
    np.save(tmp_path / "root/val/clip2.npy", np.zeros((9, 36, 64, 3), np.float32))
    with pytest.raises(ValueError, match="clip2 is all black"):
        ArraySequences(str(tmp_path / "root"), size=32, crop_size=24).setup("validate")
