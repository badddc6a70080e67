"""`HDR10Frames` against files written with OpenCV whose pixels say where they are, and through Lightning's loops."""

from __future__ import annotations

import json
import os
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import lightning.pytorch as L
import numpy as np
import pytest
import torch

from vitm.cli import main
from vitm.data import HDR10Frames
from vitm.data.fake.frames import write_fake_frames, write_fake_triplets, write_fake_video_pair
from vitm.data.paired.layouts import find_windows
from vitm.data.paired.tiles import cut_tiles, tile_starts
from vitm.video import WriteError

H, W = 40, 56
HDRTV1K = ("training_set/train_{}", "test_set/test_{}")


def write_marked(root: Path, n: int = 5, folders: tuple[str, str] = HDRTV1K, size: tuple[int, int] = (H, W)) -> Path:
    """Every pixel is (x, y, 10 number) in SDR, and 257 times that in HDR: both are equal once in [0, 1]."""
    y, x = np.mgrid[: size[0], : size[1]]
    for folder in folders:
        for i in range(1, n + 1):
            bgr = np.stack([np.full_like(x, 10 * i), y, x], axis=-1).astype(np.uint8)
            for kind, image in (("sdr", bgr), ("hdr", bgr.astype(np.uint16) * 257)):
                path = root / folder.format(kind) / f"{i:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), image)
    return root


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_marked(tmp_path_factory.mktemp("marked"))


def module(root: Path, **options: Any) -> HDR10Frames:
    data = HDR10Frames(str(root), **{"crop_size": 16, "batch_size": 2, "num_workers": 0, **options})
    data.prepare_data()
    data.setup("fit")
    return data


def codes(batch: dict[str, Any]) -> np.ndarray:
    """(B, 3, H, W) integer marks of a batch, after checking that SDR and HDR carry the same ones."""
    for key in ("sdr", "hdr_pq"):
        assert batch[key].dtype == torch.float32
        assert batch[key].is_contiguous()
    marks = torch.round(batch["sdr"] * 255)
    torch.testing.assert_close(batch["hdr_pq"] * 255, marks, atol=1e-4, rtol=0)
    return marks.int().numpy()


def check_windows(batch: dict[str, Any], side: int) -> set[tuple[int, int]]:
    """Checks that every crop is an upright window of the frame in its name; returns the corners (y, x)."""
    corners = set()
    for crop, name in zip(codes(batch), batch["name"], strict=True):
        x0, y0 = crop[0, 0, 0], crop[1, 0, 0]
        y, x = np.mgrid[y0 : y0 + side, x0 : x0 + side]
        np.testing.assert_array_equal(crop, np.stack([x, y, np.full_like(x, 10 * int(name[:3]))]))
        corners.add((int(y0), int(x0)))
    return corners


@pytest.mark.parametrize(
    "folders",
    [
        HDRTV1K,
        ("train_{}", "test_{}"),
        ("train/{}", "test/{}"),
        ("training_set/train_{}_sub", "test_set/test_{}"),
        ("train_{}_sub", "test_{}"),
    ],
)
def test_hdrtv1k_as_it_is_shared(tmp_path: Path, folders: tuple[str, str]) -> None:
    data = module(write_marked(tmp_path, n=2, folders=folders))
    assert [w.sdr[0].relative_to(tmp_path).as_posix() for w in data.find("train")] == [
        f"{folders[0].format('sdr')}/{i:03d}.png" for i in (1, 2)
    ]
    data.setup("test")
    for loader in (data.val_dataloader(), data.test_dataloader()):
        batches = list(loader)
        assert [b["name"] for b in batches] == [["001"], ["002"]]
        y, x = np.mgrid[:H, :W]
        for i, batch in enumerate(batches, start=1):
            np.testing.assert_array_equal(codes(batch), np.stack([x, y, np.full_like(x, 10 * i)])[None])


def test_whole_frames_win_over_their_sub_images(tmp_path: Path) -> None:
    write_marked(tmp_path, n=1, folders=("train_{}_sub", "train_{}"))
    assert module(tmp_path, val_split=None).find("train")[0].hdr[0].parent.name == "train_hdr"


@pytest.mark.parametrize("layout", ["triplets", "scenes", "clips"])
def test_every_frame_of_other_layouts_is_a_sample(tmp_path: Path, layout: Any) -> None:
    write_fake_triplets(tmp_path, n=2, size=(16, 24), layout=layout)
    batches = list(module(tmp_path, val_split="val").val_dataloader())
    paths = sorted((tmp_path / "val/sdr").rglob("*.png"))
    assert len(batches) == len(paths) == 6
    assert [b["name"] for b in batches] == [
        ["_".join(p.relative_to(tmp_path / "val/sdr").with_suffix("").parts)] for p in paths
    ]
    for batch, path in zip(batches, paths, strict=True):
        hdr = cv2.imread(str(path).replace("/sdr/", "/hdr/"), cv2.IMREAD_UNCHANGED)[..., ::-1]
        np.testing.assert_array_equal(batch["hdr_pq"][0].permute(1, 2, 0).numpy(), hdr / np.float32(65535))


def test_values_are_code_over_full_scale(tmp_path: Path) -> None:
    write_fake_frames(tmp_path, n=1, size=(16, 16))
    ends = np.zeros((16, 16, 3), np.uint16)
    ends[0, 0], ends[0, 1] = 65535, 1  # 1 / 65535 is lost by any 8-bit step
    cv2.imwrite(str(tmp_path / "test_hdr/001.png"), ends)
    (batch,) = module(tmp_path).val_dataloader()
    assert batch["sdr"].shape == batch["hdr_pq"].shape == (1, 3, 16, 16)
    assert batch["hdr_pq"][0, :, 0, 0].tolist() == [1.0] * 3
    assert batch["hdr_pq"][0, :, 0, 1].tolist() == [np.float32(1) / np.float32(65535)] * 3


def test_crops_are_upright_windows_anywhere(marked: Path) -> None:
    batches = list(islice(module(marked).train_dataloader(), 60))
    corners = set.union(*(check_windows(b, 16) for b in batches))
    assert batches[0]["sdr"].shape == (2, 3, 16, 16)
    assert len(corners) > 60
    assert {min(c) for c in zip(*corners, strict=True)} <= {0, 1, 2}


def test_crops_can_be_placed_on_highlights(tmp_path: Path) -> None:
    """One spot of 8 x 8 in a frame: a random crop seldom holds it, a placed one always, anywhere within itself."""
    sdr = np.full((96, 128, 3), 120, np.uint8)
    sdr[40:48, 100:108, 1] = 250
    dark = np.full((96, 128, 3), 242, np.uint8)  # 0.949
    for name, frame in (("001", sdr), ("002", dark)):
        for folder, picture in (("train_sdr", frame), ("train_hdr", frame.astype(np.uint16) * 257)):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f"{name}.png"), picture)

    def spots(share: float) -> list[tuple[int, int] | None]:
        data = HDR10Frames(str(tmp_path), crop_size=24, val_split=None, num_workers=0, highlights=share)
        data.setup("fit")
        crops = [data._sets["train"][epoch, 0] for epoch in range(60)]
        for crop in crops:
            assert torch.equal(crop["sdr"], crop["hdr_pq"])  # of the same place
        highlights = [(crop["sdr"][1] > 0.95).nonzero() for crop in crops]
        assert all((data._sets["train"][epoch, 1]["sdr"] < 0.95).all() for epoch in range(3))  # there is none
        return [tuple(places[0].tolist()) if len(places) else None for places in highlights]

    assert sum(spot is not None for spot in spots(0.0)) < 15  # 31 x 31 of 73 x 105 places
    placed = spots(1.0)
    assert all(spot is not None for spot in placed)
    assert len({*placed}) > 30
    assert 30 < sum(spot is not None for spot in spots(0.5)) < 55
    with pytest.raises(ValueError, match="highlights is 2"):
        HDR10Frames(str(tmp_path), highlights=2)


def test_flips_and_rotations_on_request(marked: Path) -> None:
    def symmetries(**options: bool) -> int:
        batches = islice(module(marked, **options).train_dataloader(), 40)
        crops = [crop for b in batches for crop in codes(b)]
        # signs of the steps of x and y along columns and rows name the eight symmetries of a square
        return len({tuple(int(k[c, r, q] - k[c, 0, 0]) for c in (0, 1) for r, q in ((0, 1), (1, 0))) for k in crops})

    assert (symmetries(flips=True), symmetries(rotations=True), symmetries(flips=True, rotations=True)) == (4, 4, 8)


def signature(batch: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(batch["name"]), codes(batch).tobytes()


@pytest.mark.parametrize("options", [{"num_workers": 2}, {"cache": True, "num_workers": 1}])
def test_samples_do_not_depend_on_workers_or_cache(marked: Path, options: dict[str, Any]) -> None:
    expected = [signature(b) for b in islice(module(marked).train_dataloader(), 8)]
    assert [signature(b) for b in islice(module(marked, **options).train_dataloader(), 8)] == expected
    assert [signature(b) for b in islice(module(marked, seed=1).train_dataloader(), 8)] != expected


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (480, [0]),
        (528, [0]),  # 48 pixels remain
        (529, [0, 49]),  # 49 remain
        (1080, [0, 240, 480, 600]),
        (2160, list(range(0, 1681, 240))),  # 8
        (3840, list(range(0, 3361, 240))),  # 15: HDRTV1K's frames give 120 tiles
    ],
)
def test_tile_places_are_hdrtvnets(side: int, expected: list[int]) -> None:
    assert tile_starts(side, 480, 240) == expected


def tile_folder(root: Path) -> Path:
    (folder,) = root.glob("tiles_*")
    return folder


def test_tiles_hold_the_frames_pixels(tmp_path: Path) -> None:
    write_marked(tmp_path, n=3, size=(90, 140))
    data = module(tmp_path, tile_size=40, tile_stride=25)
    folder = tile_folder(tmp_path)
    assert folder.name.startswith("tiles_40_25_")
    assert not list(tmp_path.glob(".*"))
    # 90: 0, 25, 50 cover 90; 140: 0, 25, 50, 75, 100 cover 140
    places = [(y, x) for y in (0, 25, 50) for x in (0, 25, 50, 75, 100)]
    for kind, dtype, gain in (("sdr", np.uint8, 1), ("hdr", np.uint16, 257)):
        assert len(list(folder.glob(f"train/{kind}/*/*.png"))) == 3 * len(places)
        for y, x in places:
            tile = cv2.imread(str(folder / f"train/{kind}/002/y{y}x{x}.png"), cv2.IMREAD_UNCHANGED)
            assert tile.dtype == dtype
            rows, columns = np.mgrid[y : y + 40, x : x + 40]
            np.testing.assert_array_equal(tile[..., ::-1], gain * np.stack([columns, rows, 0 * rows + 20], axis=-1))
    names = [w.name for w in data.find("train")]
    assert names == [f"{i:03d}_y{y}x{x}" for i in (1, 2, 3) for y, x in places]
    corners = set.union(*(check_windows(b, 16) for b in islice(data.train_dataloader(), 45)))
    assert len(corners) > 60
    assert [b["sdr"].shape for b in data.val_dataloader()] == [(1, 3, 90, 140)] * 3  # evaluation keeps whole frames
    again = HDR10Frames(str(folder), crop_size=16, val_split=None)  # the tiles are a data set by themselves
    assert sorted(w.name for w in again.find("train")) == sorted(names)


def test_frames_of_the_size_of_a_tile_are_not_cut_again(tmp_path: Path) -> None:
    """The sub-images of HDRTVNet's script, say."""
    write_marked(tmp_path, n=2, size=(40, 40))
    data = module(tmp_path, tile_size=40, tile_stride=25)
    assert not list(tmp_path.glob("tiles_*"))
    assert len(data.find("train")) == 2


def test_a_stride_that_leaves_pixels_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tile_stride is 704, tile_size 512; expected a stride of at most a tile"):
        HDR10Frames(str(tmp_path), crop_size=16, tile_size=512, tile_stride=704)


def test_tiles_are_cut_once_and_again_for_other_data(tmp_path: Path) -> None:
    write_marked(tmp_path, n=2)
    module(tmp_path, tile_size=32)
    folder = tile_folder(tmp_path)
    assert folder.name.startswith("tiles_32_16_")
    stamps = {p: p.stat().st_mtime_ns for p in folder.rglob("*.png")}
    module(tmp_path, tile_size=32)
    assert {p: p.stat().st_mtime_ns for p in tile_folder(tmp_path).rglob("*.png")} == stamps
    shutil.copytree(tmp_path, tmp_path / "moved")  # with its times, as `cp -a` and `rsync -a` do
    module(tmp_path / "moved", tile_size=32)
    assert tile_folder(tmp_path / "moved").name == folder.name
    os.utime(tmp_path / "training_set/train_hdr/002.png", (1, 1))
    module(tmp_path, tile_size=32)
    module(tmp_path, tile_size=32, tile_stride=20)
    assert len(list(tmp_path.glob("tiles_32_16_*"))) == 2
    assert len(list(tmp_path.glob("tiles_32_20_*"))) == 1


def test_tiles_appear_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = write_marked(tmp_path, n=4) / "training_set/train_hdr/003.png"
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"train_hdr/003\.png: damaged PNG"):
        module(tmp_path, tile_size=16)
    victim.write_bytes(whole)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000))
        with pytest.raises(WriteError, match=r"tiles of 4 samples take about 0\.0 GB, but .* choose a larger"):
            module(tmp_path, tile_size=16)
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda path, mode: False)
        with pytest.raises(WriteError, match=r"no permission; give a folder of your own .*--data\.cache_dir"):
            module(tmp_path, tile_size=16)
    (tmp_path / "test_set/test_sdr/004.png").unlink()  # wrong validation data are found before training data are cut
    with pytest.raises(ValueError, match=r"test_sdr/004\.png is missing"):
        module(tmp_path, tile_size=16)
    assert not [*tmp_path.glob("tiles*"), *tmp_path.glob(".*")]


def test_samples_of_ten_frames_are_found_and_cut(tmp_path: Path) -> None:
    clips, sets = tmp_path / "clips", tmp_path / "sets"
    for kind, dtype in (("sdr", np.uint8), ("hdr", np.uint16)):
        for t in range(23):
            for path in (clips / f"train/{kind}/a/{t:06d}.png", sets / f"train/{kind}/s{t // 10}_{t % 10 + 1}.png"):
                path.parent.mkdir(parents=True, exist_ok=True)
                if t < 20 or "a" in path.parts:
                    cv2.imwrite(str(path), np.full((20, 30, 3), t, dtype))
    found = find_windows(clips, "train", 10)
    assert [[int(p.stem) for p in w.sdr] for w in found] == [list(range(10)), list(range(10, 20))]
    assert [w.name for w in find_windows(clips, "train", 10, clip_stride=13)] == ["a_000000", "a_000013"]
    assert [[p.stem for p in w.hdr] for w in find_windows(sets, "train", 10)] == [
        [f"s{s}_{t}" for t in range(1, 11)] for s in (0, 1)
    ]
    tiles = cut_tiles(found, clips, 20, 10)
    assert [t.name for t in tiles] == [f"a_{s:06d}_y0x{x}" for s in (0, 10) for x in (0, 10)]
    assert [cv2.imread(str(p), -1)[0, 0, 0] for p in tiles[3].hdr] == list(range(10, 20))
    (sets / "train/sdr/s1_10.png").unlink()
    (sets / "train/hdr/s1_10.png").unlink()
    with pytest.raises(ValueError, match=r"set of 10 s1 lacks s1_10\.png"):
        find_windows(sets, "train", 10)
    with pytest.raises(ValueError, match="clip a has 23 frames; expected 24 or more"):
        find_windows(clips, "train", 24)


def test_prepared_videos_give_one_frame_each_interval(tmp_path: Path) -> None:
    sdr, hdr = write_fake_video_pair(tmp_path, scenes=(16, 14))  # 12 frames/s
    for name in ("sdr", "hdr"):
        shutil.copy(tmp_path / f"{name}.mp4", tmp_path / f"{name}2.mp4")
    table, root = tmp_path / "p.csv", tmp_path / "root"
    table.write_text(f"sdr,hdr,split\n{sdr.name},{hdr.name},train\nsdr2.mp4,hdr2.mp4,test\n")
    prepare = ["prepare", "frames", str(table)]
    assert main([*prepare, str(root), "--interval", "0.5"]) == 0
    data = module(root, tile_size=32, tile_stride=16)
    batches = list(data.val_dataloader())
    assert [b["name"][0][-7:] for b in batches] == [f"_{t:06d}" for t in range(0, 30, 6)]
    with av.open(str(hdr)) as container:
        luma = [f.to_ndarray()[:48] for f in container.decode(video=0)][::6]
    weights = np.array([0.2627, 0.6780, 0.0593])  # BT.2100-2, tables 6 and 9: the 10-bit luma code
    for batch, expected in zip(batches, luma, strict=True):
        rgb = batch["hdr_pq"][0].permute(1, 2, 0).double().numpy()
        inside = (rgb > 0).all(-1) & (rgb < 1).all(-1)
        assert inside.mean() > 0.9
        assert np.abs(64 + 876 * rgb @ weights - expected)[inside].max() < 0.02
    assert len(data.find("train")) == 5 * 2 * 3  # frames, rows and columns of tiles
    assert next(iter(data.train_dataloader()))["sdr"].shape == (2, 3, 16, 16)
    with pytest.raises(FileNotFoundError, match="no 'val' split"):
        module(root, val_split="val")
    assert main([*prepare, str(tmp_path / "other"), "--interval", "0.01"]) == 2
    reasons = json.loads((tmp_path / "other/manifest.json").read_text())["rejected_sources"].values()
    assert all("interval_s is 0.01" in r and "expected the duration of 1 or more frames" in r for r in reasons)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda r: (r / "train_hdr/002.png").unlink(),
            r"train_sdr has 3 .*train_hdr has 2; .*train_hdr/002\.png is missing",
        ),
        (lambda r: (r / "train_sdr/003.png").unlink(), r"train_sdr/003\.png is missing"),
        (
            lambda r: cv2.imwrite(str(r / "train_hdr/002.png"), np.zeros((48, 64, 3), np.uint8)),
            r"HDR file .*train_hdr/002\.png has uint8 samples; expected 16-bit RGB",
        ),
        (
            lambda r: cv2.imwrite(str(r / "train_sdr/001.png"), np.zeros((48, 64, 3), np.uint16)),
            r"SDR file .*train_sdr/001\.png has uint16 samples; expected 8-bit RGB",
        ),
        (
            lambda r: cv2.imwrite(str(r / "test_hdr/003.png"), np.zeros((48, 60, 3), np.uint16)),
            r"differ in size: .*test_sdr/003\.png is 64x48, .*test_hdr/003\.png is 60x48",
        ),
        (
            lambda r: [
                cv2.imwrite(str(r / f"train_{k}/002.png"), np.zeros((15, 64, 3), t))
                for k, t in (("sdr", np.uint8), ("hdr", np.uint16))
            ],
            r"(crop|tile)_size is 16, but .*train_sdr/002\.png is 64x15; choose a (crop|tile)_size of at most 15",
        ),
    ],
)
@pytest.mark.parametrize("tile_size", [None, 16])
def test_bad_data_are_refused_before_any_work(tmp_path: Path, damage: Any, message: str, tile_size: int | None) -> None:
    write_fake_frames(tmp_path, n=3)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        module(tmp_path, tile_size=tile_size)
    assert not list(tmp_path.glob("tiles*"))


def test_bad_options_are_refused(tmp_path: Path) -> None:
    write_fake_triplets(tmp_path, n=1, splits=("train",))
    with pytest.raises(FileNotFoundError, match=r"no 'test' split.*found train"):
        module(tmp_path)
    assert module(tmp_path, val_split=None).val_dataloader() == []
    with pytest.raises(ValueError, match="tile_size is 15, crop_size 16; expected tiles that hold a crop"):
        module(tmp_path, tile_size=15)
    with pytest.raises(ValueError, match="tile_stride is 0; expected 1 or more"):
        module(tmp_path, tile_size=16, tile_stride=0)


class Toy(L.LightningModule):
    """A 1x1 convolution that notes what it is given."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = torch.nn.Conv2d(3, 3, 1)
        self.seen: list[Any] = []
        self.validated: list[str] = []
        self.folder = folder

    def training_step(self, batch: dict[str, Any], index: int) -> torch.Tensor:
        self.seen.append([list(batch["name"]), round(float(batch["sdr"].double().sum()), 3)])
        return (self.net(batch["sdr"]) - batch["hdr_pq"]).square().mean()

    def validation_step(self, batch: dict[str, Any], index: int) -> None:
        self.validated += batch["name"]

    def test_step(self, batch: dict[str, Any], index: int) -> None:
        self.validated += batch["name"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-2)

    def on_train_end(self) -> None:
        if self.folder:
            text = json.dumps({"seen": self.seen, "validated": self.validated})
            (self.folder / f"{self.global_rank}.json").write_text(text)


def trainer(folder: Path, **options: Any) -> L.Trainer:
    quiet = ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing")
    return L.Trainer(accelerator="cpu", default_root_dir=folder, **{**dict.fromkeys(quiet, False), **options})


@pytest.mark.filterwarnings("ignore")
def test_tiles_are_cut_for_a_fit_alone_and_a_resumed_run_goes_on(marked: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(marked, root)

    def data() -> HDR10Frames:
        return HDR10Frames(str(root), crop_size=16, batch_size=2, num_workers=0, tile_size=24, tile_stride=16)

    tested = Toy()
    trainer(tmp_path, devices=1).test(tested, data(), verbose=False)
    assert tested.validated == ["001", "002", "003", "004", "005"]
    assert not list(root.glob("tiles*"))
    whole, first, rest = Toy(), Toy(), Toy()
    trainer(tmp_path, devices=1, max_steps=20).fit(whole, data())
    assert tile_folder(root).is_dir()
    assert len(whole.seen) == 20
    half = trainer(tmp_path, devices=1, max_steps=7)
    half.fit(first, data())
    half.save_checkpoint(tmp_path / "half.ckpt")
    trainer(tmp_path, devices=1, max_steps=20).fit(rest, data(), ckpt_path=tmp_path / "half.ckpt")
    assert first.seen + rest.seen == whole.seen
    assert torch.equal(rest.net.weight, whole.net.weight)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_processes_see_the_batches_of_one(marked: Path, tmp_path: Path) -> None:
    shutil.copytree(marked, tmp_path / "data")

    def fit(folder: Path, devices: int, batch_size: int, **options: Any) -> list[dict[str, Any]]:
        folder.mkdir()
        data = HDR10Frames(str(tmp_path / "data"), crop_size=16, batch_size=batch_size, num_workers=0, tile_size=24)
        trainer(folder, devices=devices, max_steps=30, num_sanity_val_steps=0, **options).fit(Toy(folder), data)
        return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(devices)]

    ranks = fit(tmp_path / "two", 2, 1, strategy="ddp_spawn")
    (alone,) = fit(tmp_path / "one", 1, 2)
    together = [a[0] + b[0] for a, b in zip(ranks[0]["seen"], ranks[1]["seen"], strict=True)]
    assert together == [names for names, _ in alone["seen"]]
    sums = [a[1] + b[1] for a, b in zip(ranks[0]["seen"], ranks[1]["seen"], strict=True)]
    assert sums == pytest.approx([s for _, s in alone["seen"]], abs=0.01)
    assert len(list((tmp_path / "data").glob("tiles*"))) == 1
    shares = sorted(len(r["validated"]) for r in ranks)
    assert shares[0] < shares[1]  # 5 frames: 3 and 2, none twice
    assert {*ranks[0]["validated"], *ranks[1]["validated"]} == {f"{i:03d}" for i in range(1, 6)}
