"""`HDR10Triplets` against files whose pixels say where and when they are, and through Lightning's own loops."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from vitm.data import HDR10Triplets
from vitm.data.fake.frames import write_fake_triplets

H, W = 40, 48


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every pixel is (x, y, t + 10 sample) in SDR, and 257 times that in HDR: both are equal once in [0, 1]."""
    root = tmp_path_factory.mktemp("marked")
    for split, n in (("train", 7), ("val", 3), ("test", 2)):
        for kind in ("sdr", "hdr"):
            (root / split / kind).mkdir(parents=True)
        for i in range(n):
            for t in range(3):
                y, x = np.mgrid[:H, :W]
                code = np.stack([x, y, np.full_like(x, t + 10 * i)], axis=-1).astype(np.uint8)
                bgr = code[..., ::-1]
                cv2.imwrite(str(root / split / "sdr" / f"s{i}_{t + 1}.png"), bgr)
                cv2.imwrite(str(root / split / "hdr" / f"s{i}_{t + 1}.png"), bgr.astype(np.uint16) * 257)
    return root


def module(root: Path, **options: Any) -> HDR10Triplets:
    data = HDR10Triplets(str(root), **{"crop_size": 16, "batch_size": 2, "num_workers": 0, **options})
    data.setup("fit")
    return data


def codes(batch: dict[str, Any]) -> np.ndarray:
    """(B, T, 3, H, W) integer marks of a batch, after checking that SDR and HDR carry the same ones."""
    for key in ("sdr", "hdr_pq"):
        assert batch[key].dtype == torch.float32
        assert batch[key].is_contiguous()
    marks = torch.round(batch["sdr"] * 255)
    torch.testing.assert_close(batch["hdr_pq"] * 255, marks, atol=1e-4, rtol=0)
    return marks.int().numpy()


def test_evaluation_gives_whole_frames_in_order(marked: Path) -> None:
    loader = module(marked).val_dataloader()
    batches = list(loader)
    assert [b["name"] for b in batches] == [["s0"], ["s1"], ["s2"]]
    y, x = np.mgrid[:H, :W]
    for i, batch in enumerate(batches):
        for t in range(3):
            np.testing.assert_array_equal(codes(batch)[0, t], np.stack([x, y, np.full_like(x, t + 10 * i)]))


def test_values_are_code_over_full_scale(tmp_path: Path) -> None:
    write_fake_triplets(tmp_path, n=1, size=(8, 8))
    ends = np.zeros((8, 8, 3), np.uint16)
    ends[0, 0], ends[0, 1] = 65535, 1  # 1 / 65535 is lost by any 8-bit step
    cv2.imwrite(str(tmp_path / "val/hdr/val000_2.png"), ends)
    (batch,) = module(tmp_path, crop_size=8).val_dataloader()
    stored = cv2.imread(str(tmp_path / "val/sdr/val000_1.png"), cv2.IMREAD_UNCHANGED)[..., ::-1] / np.float32(255)
    np.testing.assert_array_equal(batch["sdr"][0, 0].permute(1, 2, 0).numpy(), stored)
    assert batch["hdr_pq"][0, 1, :, 0, 0].tolist() == [1.0] * 3
    assert batch["hdr_pq"][0, 1, :, 0, 1].tolist() == [np.float32(1) / np.float32(65535)] * 3


def test_plain_crops_are_windows_in_temporal_order(marked: Path) -> None:
    data = module(marked, flips=False, rotations=False, time_reversal=False)
    corners = set()
    for batch in islice(data.train_dataloader(), 12):
        assert batch["sdr"].shape == (2, 3, 3, 16, 16)
        for clip, name in zip(codes(batch), batch["name"], strict=True):
            x0, y0 = clip[0, 0, 0, 0], clip[0, 1, 0, 0]
            y, x = np.mgrid[y0 : y0 + 16, x0 : x0 + 16]
            for t in range(3):
                np.testing.assert_array_equal(clip[t], np.stack([x, y, np.full_like(x, t + 10 * int(name[1:]))]))
            corners.add((x0, y0))
    assert len(corners) > 15


def test_each_augmentation_happens_and_is_the_same_for_all_frames(marked: Path) -> None:
    seen = set()
    for batch in islice(module(marked).train_dataloader(), 60):
        for clip in codes(batch):
            times = tuple(clip[:, 2, 0, 0] % 10)
            assert times in {(0, 1, 2), (2, 1, 0)}
            assert (clip[:, :2] == clip[:1, :2]).all()
            # signs of the steps of x and y along columns and rows name the eight symmetries of a square
            steps = tuple(int(clip[0, c, r, q] - clip[0, c, 0, 0]) for c in (0, 1) for r, q in ((0, 1), (1, 0)))
            seen.add((steps, times))
    assert len({s for s, _ in seen}) == 8
    assert len(seen) == 16


def test_order_is_shuffled_on_request(marked: Path) -> None:
    data = module(marked, shuffle_order=True, time_reversal=False)
    orders = [tuple(c[:, 2, 0, 0] % 10) for b in islice(data.train_dataloader(), 60) for c in codes(b)]
    assert len({*orders}) == 6
    assert 0.4 < orders.count((0, 1, 2)) / len(orders) < 0.8  # 1/2 + 1/12 expected


def signature(batch: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(batch["name"]), codes(batch).tobytes()


@pytest.mark.parametrize("options", [{"num_workers": 2}, {"cache": True}, {"cache": True, "num_workers": 1}])
def test_samples_do_not_depend_on_workers_or_cache(marked: Path, options: dict[str, Any]) -> None:
    expected = [signature(b) for b in islice(module(marked).train_dataloader(), 8)]
    assert [signature(b) for b in islice(module(marked, **options).train_dataloader(), 8)] == expected
    assert [signature(b) for b in islice(module(marked, seed=1).train_dataloader(), 8)] != expected


def test_validation_split_may_be_test_or_none(marked: Path, tmp_path: Path) -> None:
    assert len(module(marked, val_split="test").val_dataloader()) == 2
    write_fake_triplets(tmp_path, n=2, splits=("train",))
    assert module(tmp_path, val_split=None).val_dataloader() == []
    with pytest.raises(FileNotFoundError, match="no 'val' split"):
        module(tmp_path)


def test_bad_options_are_refused(marked: Path) -> None:
    with pytest.raises(ValueError, match=r"crop_size is 41, but .* is 48x40; choose a crop_size of at most 40"):
        module(marked, crop_size=41)
    with pytest.raises(ValueError, match="batch_size is 0"):
        module(marked, batch_size=0)
    with pytest.raises(ValueError, match="stage is 'predict'"):
        module(marked).setup("predict")


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    write_fake_triplets(tmp_path, n=1)
    victim = tmp_path / "val/hdr/val000_2.png"
    content = bytearray(victim.read_bytes())
    if damage == "altered":
        content[len(content) // 2] ^= 255
    victim.write_bytes(content if damage == "altered" else content[: len(content) // 2])
    data = module(tmp_path)  # headers are whole
    with pytest.raises(ValueError, match=r"val000_2\.png"):
        list(data.val_dataloader())
    with pytest.raises(ValueError, match=r"val000_2\.png"):
        module(tmp_path, verify=True)


quiet = pytest.mark.filterwarnings("ignore:.*many workers", "ignore:.*is not empty", "ignore:The dirpath has changed")


class Toy(L.LightningModule):
    """A 1x1 convolution that notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Conv2d(3, 3, 1)
        self.seen: list[tuple[Any, ...]] = []
        self.validated: list[str] = []

    def training_step(self, batch: dict[str, Any], index: int) -> torch.Tensor:
        self.seen.append((tuple(batch["name"]), round(float(batch["sdr"].double().sum()), 4)))
        return (self.net(batch["sdr"].flatten(0, 1)) - batch["hdr_pq"].flatten(0, 1)).square().mean()

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        self.validated += batch["name"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-2)


def fit(
    root: Path, folder: Path, *, resume: Path | None = None, every: int = 0, workers: int = 0, **limits: Any
) -> Toy:
    """Trains on 3 batches an epoch; saves every `every` steps, and at the end."""
    toy, data = Toy(), HDR10Triplets(str(root), crop_size=16, batch_size=2, num_workers=workers)
    saver = ModelCheckpoint(folder, filename="{step}", save_top_k=-1, every_n_train_steps=every or None)
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[saver],
        **limits,
    )
    trainer.fit(toy, data, ckpt_path=resume)
    trainer.save_checkpoint(folder / "end.ckpt")
    return toy


@pytest.mark.slow
@quiet
@pytest.mark.parametrize("limits", [{"max_steps": 10}, {"max_epochs": 3}, {"max_steps": 10, "limit_train_batches": 2}])
@pytest.mark.parametrize("step", [2, 3, 5])
def test_resumed_run_is_the_uninterrupted_run(
    marked: Path, tmp_path: Path, limits: dict[str, Any], step: int, recwarn: pytest.WarningsRecorder
) -> None:
    whole = fit(marked, tmp_path / "whole", every=step, **limits)
    assert len({*whole.seen}) == len(whole.seen)
    resumed = fit(marked, tmp_path / "resumed", resume=tmp_path / f"whole/step={step}.ckpt", **limits)
    assert resumed.seen == whole.seen[step:]
    assert torch.equal(resumed.net.weight, whole.net.weight)
    assert not [w for w in recwarn if "not resumable" in str(w.message)]


@quiet
@pytest.mark.parametrize("workers", [0, 1])
def test_run_stopped_by_its_step_limit_goes_on(marked: Path, tmp_path: Path, workers: int) -> None:
    whole = fit(marked, tmp_path / "whole", max_steps=8)
    first = fit(marked, tmp_path / "first", max_steps=4, workers=workers)
    rest = fit(marked, tmp_path / "rest", resume=tmp_path / "first/end.ckpt", max_steps=8, workers=workers)
    assert first.seen + rest.seen == whole.seen
    assert torch.equal(rest.net.weight, whole.net.weight)


@pytest.mark.filterwarnings("ignore")
def test_overfit_batches_repeats_the_same_samples(marked: Path, tmp_path: Path) -> None:
    toy = fit(marked, tmp_path, max_epochs=3, overfit_batches=1)
    assert len(toy.seen) == 3
    assert len({*toy.seen}) == 1


class Noting(Toy):
    """Writes what each process saw to a file."""

    folder: Path

    def on_train_end(self) -> None:
        path = self.folder / f"{self.global_rank}.json"
        path.write_text(json.dumps({"seen": self.seen, "validated": self.validated}))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_processes_see_the_batches_of_one(marked: Path, tmp_path: Path) -> None:
    """Lightning's default `use_distributed_sampler=True` leaves the samplers as they are."""
    toy, data = Noting(), HDR10Triplets(str(marked), crop_size=16, batch_size=1, num_workers=0)
    toy.folder = tmp_path
    silent = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    trainer = L.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_spawn",
        max_steps=6,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
        **silent,
    )
    trainer.fit(toy, data)
    ranks = [json.loads((tmp_path / f"{r}.json").read_text()) for r in (0, 1)]
    alone = fit(marked, tmp_path / "alone", max_steps=6)
    together = [[a[0][0], b[0][0]] for a, b in zip(ranks[0]["seen"], ranks[1]["seen"], strict=True)]
    assert together == [list(names) for names, _ in alone.seen]
    sums = [round(a[1] + b[1], 2) for a, b in zip(ranks[0]["seen"], ranks[1]["seen"], strict=True)]
    assert sums == pytest.approx([s for _, s in alone.seen], abs=0.02)
    assert sorted(ranks[0]["validated"][:2] + ranks[1]["validated"][:1]) == ["s0", "s1", "s2"]
