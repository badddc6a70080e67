"""What is left behind when a source changes between two runs, or fails in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vitm.data.fake.frames import write_fake_video_pair
from vitm.data.prepare import pair as pair_module
from vitm.data.prepare.data_folder import DataFolder
from vitm.data.prepare.samples import Cutting
from vitm.data.prepare.sources import VideoPair
from vitm.data.prepare.writing import DONE, Done
from vitm.video import VideoDecodeError


def test_a_source_that_changed_begins_anew(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "out", "vitm prepare clips", {})
    folder.begin()
    head: dict[str, Any] = {"split": "train", "stamp": {"sdr": 1}}
    work = folder.start("a", head)
    written = tmp_path / "out/train/sdr/a_000000/000000.png"
    written.parent.mkdir(parents=True)
    written.write_text("picture")
    Done(work / DONE).add(0, {"sdr/a_000000/000000.png": "0"})
    (work / "sdr.npz").write_text("survey")
    assert DataFolder(tmp_path / "out", "vitm prepare clips", {}).start("a", head) == work
    assert written.is_file()
    assert (work / "sdr.npz").is_file()
    folder.start("a", {**head, "stamp": {"sdr": 2}})
    assert not written.parent.exists()
    assert [p.name for p in work.iterdir()] == ["stamp.json"]


def test_a_torn_note_counts_for_nothing(tmp_path: Path) -> None:
    Done(tmp_path / DONE).add(7, {"sdr/a.png": "1"})
    with (tmp_path / DONE).open("a") as file:
        file.write('[9, {"sdr/b.p')
    done = Done(tmp_path / DONE)
    assert done.files == {7: {"sdr/a.png": "1"}}
    done.add(9, {"sdr/b.png": "2"})
    assert Done(tmp_path / DONE).files == {7: {"sdr/a.png": "1"}, 9: {"sdr/b.png": "2"}}


def test_a_pair_that_fails_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = VideoPair(*write_fake_video_pair(tmp_path, (30,)), "train")
    whole = pair_module.write_samples

    def failing(*args: Any) -> Iterator[Any]:
        yield next(whole(*args))
        raise VideoDecodeError("damaged at 1.000 s")

    monkeypatch.setattr(pair_module, "write_samples", failing)
    with pytest.raises(VideoDecodeError, match="damaged"):
        pair_module.prepare_pair(pair, "x", tmp_path / "out", tmp_path / "work", Cutting(1.0))
    assert not [*(tmp_path / "out").rglob("*.png")]
