"""`LongSequences` against files read back by OpenCV and OpenEXR, equation 14, and through Lightning's own loops."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as L
import numpy as np
import OpenEXR
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import ModelCheckpoint

from vitm.data.batch import SequenceBatch
from vitm.data.demo.panoramas import demo_file, write_demo_panoramas
from vitm.data.demo.scenes import demo_scenes
from vitm.data.fake.sequences import (
    write_fake_exr_sequence,
    write_fake_panoramas,
    write_fake_reds,
    write_fake_sice,
)
from vitm.data.filming.motion import homography_flow
from vitm.data.sequences.clue_schedule import ClueSchedule
from vitm.data.sequences.folders import kind_of
from vitm.data.sequences.long_clip import LongClip
from vitm.data.sequences.long_sequences import LongSequences
from vitm.data.sequences.panoramas import _log_light
from vitm.data.splits import Split
from vitm.ops.warp import warp
from vitm.video import write_exr, write_image

SPLITS: tuple[Split, ...] = ("train", "val", "test")
WRITERS: dict[str, Callable[..., Path]] = {
    "reds": write_fake_reds,
    "sice": write_fake_sice,
    "exr": write_fake_exr_sequence,
    "panoramas": write_fake_panoramas,
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: write(tmp_path_factory.mktemp(kind), 3) for kind, write in WRITERS.items()}


def module(root: Path | list[Path], stage: str = "fit", **options: Any) -> LongSequences:
    where = [str(r) for r in root] if isinstance(root, list) else str(root)
    given = {"size": 32, "crop_size": 24, "batch_size": 2, "num_workers": 0, "val_clips": 1, **options}
    data = LongSequences(where, **given)
    data.setup(stage)
    return data


def batches(data: LongSequences, n: int) -> list[dict[str, Any]]:
    return [data.on_after_batch_transfer(b, 0) for b in islice(data.train_dataloader(), n)]


@pytest.mark.parametrize("kind", [*WRITERS])
def test_a_batch_is_what_its_type_says(roots: dict[str, Path], kind: str) -> None:
    assert kind_of(roots[kind]) == kind
    (batch,) = batches(module(roots[kind], schedule=ClueSchedule(references=3)), 1)
    assert batch["ldr"].shape == batch["linear"].shape == (2, 4, 3, 24, 24)
    assert batch["homography"].shape == (2, 4, 3, 3)
    assert {k: batch[k].dtype for k in ("ldr", "linear", "ev", "homography")} == dict.fromkeys(
        ("ldr", "linear", "ev", "homography"), torch.float32
    )
    shapes = {"ev": (2, 4), "time": (2, 4), "window": (2, 1), "keys": (2, 1), "key_mask": (2, 1)}
    shapes |= {"references": (2, 1, 3), "reference_mask": (2, 1, 3)}
    assert {k: tuple(batch[k].shape) for k in shapes} == shapes
    assert {*batch} == {*shapes, "ldr", "linear", "homography", "name"} == {*SequenceBatch.__annotations__}
    assert bool(batch["homography"].isnan().all()) == (kind in ("reds", "exr"))
    assert batch["linear"].isfinite().all()
    assert batch["linear"].min() >= 0
    exposed = batch["linear"].double().clamp(0, 1) ** (1 / 2.2) * 255  # eq. 14
    assert (batch["ldr"].double() * 255 - exposed).abs().max() <= 0.5 + 1e-3
    common = batch["linear"] / 2 ** batch["ev"][..., None, None, None]
    absent = ~batch["reference_mask"][:, 0]
    for b, r in absent.nonzero().tolist():  # the key once more
        assert batch["time"][b, 1 + r] == batch["time"][b, 0]
    if kind in ("sice", "exr"):
        assert common.max() > 1  # light that clips even at 0 EV


@pytest.mark.parametrize("kind", [*WRITERS])
def test_a_window_has_its_keys_and_references(roots: dict[str, Path], kind: str) -> None:
    (batch,) = batches(module(roots[kind], sampling="window", frames=60), 1)
    assert batch["ldr"].shape == (2, 7 + 5 * 3, 3, 24, 24)
    rows = torch.arange(2)[:, None]
    window, keys = batch["time"][rows, batch["window"]], batch["time"][rows, batch["keys"]]
    assert (window.diff() == 1).all()
    last = 7 if kind in ("reds", "exr") else 59
    assert ((keys % 6 == 0) | (keys == last) | ~batch["key_mask"]).all()
    references = batch["time"][rows[..., None], batch["references"]]
    assert (((references - keys[..., None]) % 15 == 0) | ~batch["reference_mask"]).all()
    for b in range(2):  # a frame that serves twice is the same frame
        for n in range(22):
            first = batch["time"][b].tolist().index(int(batch["time"][b, n]))
            assert torch.equal(batch["linear"][b, n], batch["linear"][b, first])


def test_reds_frames_are_the_files_linearised_resized_and_cropped(roots: dict[str, Path]) -> None:
    data = module(roots["reds"], flips=False, rotations=False, schedule=ClueSchedule(clue_stride=2))
    positions = set()
    for batch in batches(data, 8):
        for b, name in enumerate(batch["name"]):
            at = set()
            for n, t in enumerate(batch["time"][b].tolist()):
                path = roots["reds"] / "train/train_sharp" / name.removeprefix("reds_") / f"{t:08d}.png"
                linear = (cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1] / 255.0) ** 2.2
                whole = cv2.resize(linear, (32, 32), interpolation=cv2.INTER_AREA) * 2.0 ** float(batch["ev"][b, n])
                crop = batch["linear"][b, n].permute(1, 2, 0).numpy()
                found = [
                    (x, y)
                    for x in range(9)
                    for y in range(9)
                    if np.allclose(whole[y : y + 24, x : x + 24], crop, rtol=1e-4, atol=1e-5)
                ]
                assert len(found) == 1
                at.add(found[0])
            assert len(at) == 1  # the same crop of all frames
            positions |= at
    assert len(positions) > 8


def test_exr_light_comes_to_one_exposure_a_clip(roots: dict[str, Path]) -> None:
    data = module(roots["exr"], "test", val_clips=3, eval_frames=5)
    for clip in data.test_dataloader():
        gains = []
        assert len(clip) == 5
        for t in range(5):
            path = roots["exr"] / clip.name.removeprefix("exr_")
            with OpenEXR.File(str(path / f"{path.name}_{t + 1:04d}.exr")) as file:
                light = cv2.resize(
                    np.asarray(file.channels()["RGB"].pixels, np.float32), (32, 32), interpolation=cv2.INTER_AREA
                )
            ratio = clip.linear(t).permute(1, 2, 0).numpy() / 2 ** clip.ev(t) / light
            np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-4)
            gains.append(np.median(ratio))
        np.testing.assert_allclose(gains, gains[0], rtol=1e-4)


@pytest.mark.parametrize("kind", ["sice", "panoramas"])
def test_exact_flow_holds_in_a_batch(roots: dict[str, Path], kind: str) -> None:
    """After resize, crop, flips and rotations; in stops at a common exposure."""
    worst = []
    for batch in batches(module(roots[kind], size=96, crop_size=64, schedule=ClueSchedule(references=1)), 4):
        flow, valid = homography_flow(batch["homography"][:, 0], batch["homography"][:, 1], (64, 64))
        common = (batch["linear"] / 2 ** batch["ev"][..., None, None, None]).clamp_min(1e-4)
        laid = warp(common[:, 1], flow)
        error = (laid.log2() - common[:, 0].log2()).abs()
        for b in range(2):
            if batch["reference_mask"][b, 0, 0] and valid[b].float().mean() > 0.2:
                worst.append(float(error[b][valid[b].expand(3, -1, -1)].mean()))
                unmoved = (common[b, 1].log2() - common[b, 0].log2()).abs().mean()
                assert worst[-1] < 0.15 * unmoved
    assert len(worst) >= 2
    assert max(worst) < 0.03


def signature(batch: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(batch["name"]), batch["time"].numpy().tobytes(), batch["ldr"].numpy().tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["reds", "sice", "panoramas"])
def test_samples_depend_on_seed_epoch_and_index_alone(roots: dict[str, Path], kind: str) -> None:
    expected = [signature(b) for b in batches(module(roots[kind]), 6)]
    assert len({*expected}) == 6
    assert [signature(b) for b in batches(module(roots[kind], num_workers=2), 6)] == expected
    assert [signature(b) for b in batches(module(roots[kind], seed=1), 6)] != expected
    halves = [signature(b) for b in batches(module(roots[kind], batch_size=1), 4)]
    assert [h[1] for h in halves] == [e[1][i : i + len(e[1]) // 2] for e in expected[:2] for i in (0, len(e[1]) // 2)]


@pytest.mark.parametrize("kind", ["reds", "sice", "panoramas"])
def test_every_epoch_draws_anew(roots: dict[str, Path], kind: str) -> None:
    data = module(roots[kind], frames=8).train_dataloader().dataset
    exposure, motion = set(), set()
    for epoch in range(40):  # eight frames: some are drawn again
        sample = data[epoch, 0]
        if sample["time"][0] == 3:
            exposure.add(float(sample["ev"][0]))
            motion.add(sample["homography"][0].numpy().tobytes())
    assert len(exposure) > 1
    assert (len(motion) == 1) == (kind == "reds")
    assert torch.equal(data[0]["planes"], data[0, 0]["planes"])  # a bare index is epoch 0's


def test_frames_may_be_asked_for_in_any_order(roots: dict[str, Path]) -> None:
    for kind in WRITERS:
        (forth,), (back,) = (module(roots[kind], "validate", frames=8).val_dataloader() for _ in range(2))
        frames = {t: back.ldr(t) for t in reversed(range(len(back)))}
        assert all(torch.equal(forth.ldr(t), frames[t]) for t in range(len(forth)))


def test_evaluation_gives_whole_clips_that_repeat(roots: dict[str, Path]) -> None:
    data = module(roots["panoramas"], "validate", frames=40)
    (clip,) = data.val_dataloader()
    assert isinstance(clip, LongClip)
    assert data.on_after_batch_transfer(clip, 0) is clip
    assert (clip.name, len(clip)) == ("panorama_world1", 40)
    ldr, linear = clip.frame(17)
    assert ldr.shape == linear.shape == (3, 32, 32)
    (again,) = module(roots["panoramas"], "validate", frames=40).val_dataloader()
    again.frame(3)
    assert torch.equal(again.ldr(17), ldr)
    assert torch.equal(again.to("cpu").linear(17), linear)
    flow, valid = homography_flow(clip.homography(17)[None], clip.homography(18)[None], (32, 32))
    assert torch.equal(clip.flow(17, 18)[0], flow)
    assert torch.equal(clip.flow(17, 18)[1], valid)
    assert valid.float().mean() > 0.9
    with pytest.raises(IndexError, match="panorama_world1 has frames 0 to 39; frame 40"):
        clip.ldr(40)
    (short,) = module(roots["panoramas"], "validate", frames=40, eval_frames=4).val_dataloader()
    assert torch.equal(short.ldr(3), clip.ldr(3))
    assert len(short) == 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sice", "panoramas"])
def test_memory_is_flat_however_long_the_clip(roots: dict[str, Path], kind: str) -> None:
    def peak(frames: int) -> tuple[int, int]:
        (clip,) = module(roots[kind], "validate", frames=frames, size=64).val_dataloader()
        clip.frame(0)
        tracemalloc.start()
        for t in range(1, frames):
            clip.frame(t)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        held = sum(v.nbytes for v in vars(clip).values() if isinstance(v, torch.Tensor))
        return most, held

    (short, held_short), (long, held_long) = peak(10), peak(100)
    assert long < 1.2 * short + 50_000
    assert held_long == held_short
    assert _log_light.cache_info().currsize <= 2  # panoramas in memory
    # a frame of a clip of a week costs what the first one costs
    (week,) = module(roots[kind], "validate", frames=15_000_000).val_dataloader()
    assert week.ldr(14_999_999).isfinite().all()


def test_several_roots_are_joined(roots: dict[str, Path]) -> None:
    data = module([roots["reds"], roots["sice"]], batch_size=3)
    names = {n for b in batches(data, 4) for n in b["name"]}
    assert names == {"reds_000", "reds_001", "reds_002", "sice_part1_001", "sice_part2_001"}
    assert [c.name for c in data.val_dataloader()] == ["reds_001", "sice_part1_002"]
    (mixed,) = batches(data, 1)
    assert mixed["ldr"].shape == (3, 3, 3, 24, 24)
    with pytest.raises(ValueError, match="two clips of the 'train' split are called reds_000"):
        module([roots["reds"], roots["reds"]])


def test_held_out_clips_are_not_trained_on(roots: dict[str, Path]) -> None:
    data = module(roots["panoramas"], batch_size=1)
    assert {n for b in batches(data, 6) for n in b["name"]} == {"panorama_world0", "panorama_world2"}
    assert [c.name for c in data.val_dataloader()] == ["panorama_world1"]
    everything = module(roots["panoramas"], val_clips=0)
    assert everything.val_dataloader() == []
    assert len(everything.find("train")) == len(everything.find("test")) == 3
    with pytest.raises(ValueError, match="leaves none to train on"):
        module(roots["panoramas"], val_clips=3)


def test_folders_of_splits_are_used(tmp_path: Path) -> None:
    for split, n in (("train", 2), ("val", 3), ("test", 1)):
        write_fake_panoramas(tmp_path / split, n, 16)
    data = module(tmp_path, val_clips=2)
    assert [len(data.find(split)) for split in ("train", "val", "test")] == [2, 2, 1]
    shutil.rmtree(tmp_path / "test")
    assert len(data.find("test")) == 3  # as of REDS, whose test frames are not public


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's panoramas, 128 rows: most of the time goes into the rooms, not into the rows."""
    return write_demo_panoramas(tmp_path_factory.mktemp("demo"), 128, furnishings=1)


@pytest.mark.slow
def test_demo_is_written_once_and_is_a_folder_of_panoramas(demo: Path) -> None:
    scenes = [s for split in SPLITS for s in demo_scenes(split)]
    files = {demo_file(demo, scene, 128): scene for scene in scenes}
    assert {*demo.rglob("*.exr")} == {*files}
    for file in (*files,)[-3:]:  # the same room as the demo films: the same picture, but for exposure and knee
        with OpenEXR.File(str(file)) as opened:
            light = np.asarray(opened.channels()["RGB"].pixels, np.float32).mean(-1)
        nits = files[file].world(128).nits.mean(-1)
        dim = nits < 500
        assert np.corrcoef(np.log(light[dim] + 1e-4), np.log(nits[dim] + 1e-2))[0, 1] > 0.97
        assert light.max() / np.median(light) > 1.2 * nits.max() / np.median(nits)  # no knee
    assert kind_of(demo) == "panoramas"
    times = {f: f.stat().st_mtime_ns for f in files}
    write_demo_panoramas(demo, 128, furnishings=1)
    assert {f: f.stat().st_mtime_ns for f in files} == times


def test_demo_does_not_mix_with_other_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(FileExistsError, match=r"mine\.txt"):
        write_demo_panoramas(tmp_path)


def break_size(root: Path) -> None:
    frame = root / "train/train_sharp/001/00000003.png"
    write_image(frame, np.zeros((10, 12, 3), np.uint8), bits=8)


def break_missing(root: Path) -> None:
    (root / "train/train_sharp/001/00000003.png").unlink()


def break_names(root: Path) -> None:
    folder = root / "train/train_sharp/001"
    shutil.copy(folder / "00000003.png", folder / "take2_00000004.png")


def break_depth(root: Path) -> None:
    for k in range(8):
        write_image(root / f"train/train_sharp/001/{k:08d}.png", np.zeros((36, 64, 3), np.uint16))


def break_empty(root: Path) -> None:
    (root / "train/train_sharp/009").mkdir()


def break_black(root: Path, code: int = 0) -> None:
    for k in range(8):
        write_image(root / f"train/train_sharp/001/{k:08d}.png", np.full((36, 64, 3), code, np.uint8), bits=8)


def break_clipped(root: Path) -> None:
    break_black(root, 255)


def break_file(root: Path) -> None:
    (root / "train/train_sharp/001/00000003.png").write_bytes(b"no picture")


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (break_size, ValueError, r"001/00000003\.png is 12x10, but 00000000\.png is 64x36"),
        (break_missing, ValueError, r"001: 00000004\.png follows 00000002\.png; expected consecutive numbers"),
        (break_names, ValueError, r"001 holds frames of two names, 00000000\.png and take2_00000004\.png"),
        (break_depth, ValueError, r"001/00000000\.png has uint16 samples; expected an 8-bit PNG"),
        (break_empty, FileNotFoundError, r"009 holds no numbered \.png frame"),
        (break_black, ValueError, "001 is all black"),
        (break_clipped, ValueError, "001 is all clipped"),
        (break_file, ValueError, r"001/00000003\.png"),
    ],
)
def test_damaged_clips_are_named_before_any_work(
    tmp_path: Path, damage: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    write_fake_reds(tmp_path)
    damage(tmp_path)
    with pytest.raises(error, match=message):
        module(tmp_path)


def test_a_black_middle_is_no_black_clip(tmp_path: Path) -> None:
    write_fake_reds(tmp_path)
    for k in (3, 4):
        write_image(tmp_path / f"train/train_sharp/001/{k:08d}.png", np.zeros((36, 64, 3), np.uint8), bits=8)
    assert all(b["linear"].isfinite().all() for b in batches(module(tmp_path), 4))


def test_black_light_is_named(tmp_path: Path) -> None:
    write_fake_panoramas(tmp_path / "p", 2, 16)
    write_exr(tmp_path / "p/world1.exr", np.zeros((16, 32, 3)), "bt709")
    with pytest.raises(ValueError, match=r"world1\.exr: more than half of the panorama is black"):
        module(tmp_path / "p")
    write_fake_exr_sequence(tmp_path / "e", 2, 3)
    for k in range(1, 4):
        write_exr(tmp_path / f"e/clip0/clip0_{k:04d}.exr", np.zeros((36, 64, 3)), "bt709")
    with pytest.raises(ValueError, match="clip0 is all black"):
        module(tmp_path / "e")
    write_exr(tmp_path / "p/world1.exr", np.ones((16, 31, 3)), "bt709")
    with pytest.raises(ValueError, match="is 31x16; expected an equirectangular panorama"):
        module(tmp_path / "p")


def test_a_single_frame_trains_without_references_and_is_no_window(tmp_path: Path) -> None:
    write_fake_reds(tmp_path, frames=1)
    for batch in batches(module(tmp_path), 3):
        assert not batch["reference_mask"].any()
        assert batch["ldr"].shape == (2, 3, 3, 24, 24)
    with pytest.raises(ValueError, match=r"reds_000 has 1 frame\(s\); a window has 7"):
        module(tmp_path, sampling="window")
    (clip,) = module(tmp_path, "validate").val_dataloader()
    assert len(clip) == 1


def test_bad_options_are_refused(roots: dict[str, Path], tmp_path: Path) -> None:
    for options, message in (
        ({"crop_size": 33}, "crop_size is 33, size 32"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"ev_range": (2.0, 1.0)}, "ev_range"),
        ({"sampling": "both"}, "sampling is 'both'"),
        ({"source": "hdm"}, "source is 'hdm'"),
        ({"stage": "predict"}, "stage is 'predict'"),
    ):
        with pytest.raises(ValueError, match=message):
            module(roots["reds"], **options)
    with pytest.raises(FileNotFoundError, match="no data folder"):
        module(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="holds no known data"):
        module(tmp_path)


def test_options_are_read_from_a_command_line(roots: dict[str, Path]) -> None:
    parser = ArgumentParser()
    parser.add_class_arguments(LongSequences, "data")
    given = parser.parse_args(
        [
            "--data.root",
            str(roots["reds"]),
            "--data.schedule.references=3",
            "--data.ev_range=[0, 2]",
            "--data.source=reds",
        ]
    )
    data = parser.instantiate(given).data
    assert isinstance(data.schedule, ClueSchedule)
    assert (data.schedule.references, data.ev_range, data.source) == (3, (0.0, 2.0), "reds")
    roots_given = parser.parse_args([f"--data.root=[{roots['reds']},{roots['sice']}]"])
    assert len(parser.instantiate(roots_given).data.roots) == 2


class Recorder(L.LightningModule):
    """Trains one number, and writes down what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(()))
        self.seen: list[tuple[Any, ...]] = []
        self.clips: list[str] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.seen.append((tuple(batch["name"]), batch["time"].tolist(), float(batch["ldr"].sum())))
        return (batch["ldr"] * self.gain - batch["linear"]).abs().mean()

    def validation_step(self, batch: LongClip, batch_idx: int) -> None:
        self.clips.append(batch.name)
        self.log("mean", batch.ldr(0).mean(), batch_size=1)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01)


def fit(root: list[Path], folder: Path, steps: int, resume: str | None = None, precision: Any = "32-true") -> Recorder:
    model = Recorder()
    trainer = L.Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[ModelCheckpoint(folder, every_n_train_steps=3, save_top_k=-1)], default_root_dir=folder,
        precision=precision,
    )  # fmt: skip
    where = [str(r) for r in root]
    data = LongSequences(where, size=32, crop_size=24, batch_size=2, num_workers=0, val_clips=1, eval_frames=2)
    trainer.fit(model, data, ckpt_path=resume)
    return model


def test_training_resumes_with_the_next_batch(roots: dict[str, Path], tmp_path: Path) -> None:
    root = [roots["reds"], roots["panoramas"]]
    whole = fit(root, tmp_path / "a", 8)
    assert len(whole.seen) == 8
    assert {*whole.clips} == {"reds_001", "panorama_world1"}
    fit(root, tmp_path / "b", 3)
    (checkpoint,) = (tmp_path / "b").glob("*.ckpt")
    assert fit(root, tmp_path / "b", 8, str(checkpoint)).seen == whole.seen[3:]


def test_half_precision_leaves_clips_alone(roots: dict[str, Path], tmp_path: Path) -> None:
    assert fit([roots["panoramas"]], tmp_path, 2, precision="bf16-true").clips


def recoverable(clip: LongClip, t: int, reach: int = 90, stride: int = 15) -> tuple[float, float]:
    """Share of the pixels that clip in frame t, and how many of those another frame within `reach` shows unclipped."""
    clipped = (clip.ldr(t).amax(0) >= 1)[None, None]
    found = torch.zeros_like(clipped)
    size = clipped.shape[-2:]
    for s in range(max(0, t - reach), min(len(clip), t + reach + 1), stride):
        flow, valid = homography_flow(clip.homography(t)[None], clip.homography(s)[None], size)
        free = (clip.ldr(s).amax(0) < 1)[None, None].float()
        found |= (warp(free, flow) > 0.99) & valid
    return float(clipped.float().mean()), float((found & clipped).sum() / clipped.sum().clamp_min(1))


@pytest.mark.slow
def test_what_the_demo_clips_is_seen_in_other_frames(demo: Path) -> None:
    shares = []
    for clip in module(demo, "test", size=96, crop_size=96).test_dataloader():
        brightest = max(range(0, 181, 15), key=lambda t: clip.ev(t))
        shares.append(recoverable(clip, brightest))
    assert np.mean([clipped for clipped, _ in shares]) > 0.03
    assert np.mean([found for _, found in shares]) > 0.5
