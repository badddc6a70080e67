"""Weights and data that stand in for released ones, checked by the paper's protocol."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
import yaml

from tests.runs.conftest import COMMON, CROPS
from tests.runs.conftest import run as main
from vitm import cli
from vitm.data import HDR10Frames, LongSequences
from vitm.data.fake.frames import write_fake_frames
from vitm.data.paired.fingerprint import fingerprint
from vitm.papers.hdcfm import HDCFM
from vitm.runs.entries import find_entry
from vitm.runs.results import chosen_on
from vitm.training.task import constructor_arguments
from vitm.video import read_image


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """A set in HDRTV1K's layout, a checkpoint, and the PSNR of the one on the other, by NumPy."""
    folder = tmp_path_factory.mktemp("published")
    root = write_fake_frames(folder / "data", n=3)
    torch.manual_seed(0)
    network = HDCFM().eval()
    state = {f"network.{k}": v for k, v in network.state_dict().items()}
    about = {"network": "hdcfm", "arguments": constructor_arguments(HDCFM, {})}
    version = {"pytorch-lightning_version": lightning.__version__, "global_step": 0}
    torch.save({"vitm": about, "state_dict": state} | version, folder / "Stand-in.pth.tar")
    data = HDR10Frames(str(root), num_workers=0)
    values = []
    for window in data.windows("test"):
        sdr, hdr = (read_image(paths[0]) for paths in (window.sdr, window.hdr))
        with torch.no_grad():
            out = network(torch.from_numpy(sdr.astype(np.float32) / 255).permute(2, 0, 1)[None])[0].clamp(0, 1)
        codes = (out.permute(1, 2, 0).double().numpy() * 65535).round() / 65535
        values.append(-10 * np.log10(((codes - hdr / 65535) ** 2).mean()))
    return root, folder / "Stand-in.pth.tar", float(np.mean(values)), data.windows("test")


def entry(tmp_path, checkpoint, windows, results, **published):
    about = {"data": "the stand-in", "split": "test", "samples": len(windows)}
    about |= {"size": [windows[0].width, windows[0].height]}
    about |= {"weights": {"Released.pth": hashlib.sha256(checkpoint.read_bytes()).hexdigest()}}
    content = {"entry": {"base": "hdcfm", "paper": "A paper", "results": results, "published": about | published}}
    path = tmp_path / "stand_in.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.slow
def test_released_weights_give_the_paper_s_numbers_or_are_so_far_off(stand_in, tmp_path, capsys):
    root, checkpoint, psnr, windows = stand_in
    results = {"psnr": round(psnr, 2), "delta_e_itp": 1.0}
    address = entry(tmp_path, checkpoint, windows, results)
    where = ["--data.root", str(root), "--checkpoint", str(checkpoint), "--runs", str(tmp_path / "runs")]
    assert main([address, "test", *where, "--protocol", "paper", *COMMON]) == 0
    out = capsys.readouterr().out
    assert f"PSNR dB: the paper {round(psnr, 2)}, here {psnr:.4f}: agrees in all printed digits" in out
    (report,) = tmp_path.glob("runs/stand_in/*/paper.json")
    content = json.loads(report.read_text())
    measured = json.loads(report.with_name("metrics.json").read_text())["values"]
    assert measured.keys() >= {"psnr", "delta_e_itp"}
    assert not measured.keys() & {"ssim", "sr_sim"}  # what this paper does not print
    assert content["off_by"] == {"psnr": 0.0, "delta_e_itp": pytest.approx(measured["delta_e_itp"] - 1.0)}
    assert f"here {measured['delta_e_itp']:.4f}: off by {measured['delta_e_itp'] - 1:+.4f}" in out
    assert content["weights"]["released"] == "Released.pth"
    assert content["is_published_data"]
    assert "This has the number and the size of the test split of the stand-in" in out

    # Another number of frames, and another file.
    address = entry(tmp_path, checkpoint, windows, results, samples=117, weights={"Released.pth": "0" * 64})
    assert main([address, "test", *where, "--protocol", "paper", *COMMON]) == 0
    out = capsys.readouterr().out
    assert "This is not the test split of the stand-in, which has 117 samples of" in out
    assert "not a released file that is known here" in out


def test_a_fingerprint_is_of_the_files_and_not_of_their_place(stand_in, tmp_path):
    root, _, _, windows = stand_in
    here = fingerprint(windows)
    assert here.samples == len(windows)
    assert here.sizes == ((windows[0].width, windows[0].height),)
    files = [path for window in windows for path in (*window.sdr, *window.hdr)]
    assert here.bytes == sum(len(path.read_bytes()) for path in files)
    copy = tmp_path / "copy"
    for path in files:
        (copy / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        (copy / path.relative_to(root)).write_bytes(path.read_bytes())
    moved = HDR10Frames(str(copy), num_workers=0).windows("test")
    assert fingerprint(moved) == here
    changed = Path(moved[0].sdr[0])
    changed.write_bytes(changed.read_bytes() + b"\0")
    assert fingerprint(moved).sha256 != here.sha256


def test_the_released_files_are_those_that_the_loaders_know(shared):
    """The digests of the entries are those of the reference files, and every reference file has an entry."""
    files = [path for path in (shared / "weights").iterdir() if path.suffix != ".md"]
    known = [
        digest
        for name in ("hdcfm", "hdrtvnet_plus", "hdrtvdm")
        for digest in find_entry(name).published["weights"].values()
    ]
    assert sorted(known) == sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "file", "released"),
    [("hdrtvnet_plus", "hdrtvnet_plus_AGCM", "AGCM.pth"), ("hdrtvdm", "hdrtvdm_3DM", "params_3DM.pth")],
)
def test_released_files_without_a_paper_s_numbers_are_named(name, file, released, stand_in, shared, tmp_path, capsys):
    """On a stand-in for HDRTV1K, which is recognised as such."""
    root, _, _, windows = stand_in
    where = ["--data.root", str(root), "--checkpoint", str(shared / f"weights/{file}.pth"), "--runs", str(tmp_path)]
    assert main([name, "test", *where, "--protocol", "paper", *COMMON, "--model.test_metrics", "[psnr]"]) == 0
    out = capsys.readouterr().out
    size = f"{windows[0].width} x {windows[0].height}"
    assert f"data: {len(windows)} samples of {size}" in out
    assert "This is not the test split of HDRTV1K, which has 117 samples of 3840 x 2160." in out
    assert f"the released {released}" in out
    assert "No numbers of a paper are known here" in out


def test_what_cannot_be_checked_is_refused(tmp_path, capsys):
    for arguments, message in (
        (["kpn_mfi", "test", "--data.root", "DATA"], "kpn_mfi has none"),
        (["hdcfm", "test"], "belongs to test, on the paper's data"),
        (["hdcfm", "fit", "--data.root", "DATA"], "belongs to test, on the paper's data"),
        (["hdcfm", "test", "--data.root", "DATA", "--trainer.limit_test_batches=1"], "measures every sample"),
    ):
        checkpoint = tmp_path / "any.ckpt"
        torch.save({}, checkpoint)
        given = ["--checkpoint", str(checkpoint)] if arguments[1] == "test" else []
        assert main([*arguments, *given, "--protocol", "paper"]) == 2
        assert message in capsys.readouterr().out


@pytest.mark.slow
def test_a_checkpoint_chosen_on_the_measured_frames_is_marked(stand_in, tmp_path, capsys):
    """HDRTV1K has no validation split: by default its test frames choose the best checkpoint, as HDRTVNet does."""
    root, *_ = stand_in
    tiny = ["--data.root", str(root), *CROPS, "--trainer.max_steps", "1", *COMMON]
    tiny += ["--trainer.val_check_interval", "1", "--model.test_metrics", "[psnr]", "--runs", str(tmp_path)]
    table = ["table", "hdcfm/table2", "--runs", str(tmp_path)]
    for options, marked in (([], True), (["--data.val_split", "null"], False)):
        assert main(["hdcfm", *tiny, *options]) == 0
        assert ("chosen on the frames that are measured" in capsys.readouterr().out) is marked
        assert cli.main(table) == 0
        assert ("chosen on the frames that are measured" in capsys.readouterr().out) is marked
        assert ("M1+M2+M4 †" in (tmp_path / "hdcfm/table2/table.md").read_text(encoding="utf-8")) is marked
        assert (r"M4 $\dagger$" in (tmp_path / "hdcfm/table2/table.tex").read_text(encoding="utf-8")) is marked
        for folder in tmp_path.glob("hdcfm/2*"):
            kept = {path.name: torch.load(path, weights_only=True) for path in folder.glob("checkpoints/*.ckpt")}
            assert {name for name, file in kept.items() if "chosen_on" in file} == ({"best.ckpt"} if marked else set())
            shutil.rmtree(folder)


def test_the_mark_follows_what_chose_a_checkpoint(stand_in, tmp_path):
    """Not its name, nor what would choose one now: the frames, wherever they lie."""
    root, *_ = stand_in
    copy = shutil.copytree(root, tmp_path / "copy")
    other = write_fake_frames(tmp_path / "other", n=3, seed=7)
    fit, test, moved, elsewhere = (
        HDR10Frames(str(folder), crop_size=40, num_workers=0, val_split=split)
        for folder, split in ((root, "test"), (root, None), (copy, "val"), (other, "test"))
    )
    fit.setup("fit")
    for data in (test, moved, elsewhere):
        data.setup("test")
    chosen, left, old = {"chosen_on": fit.pictures("val"), "vitm": {}}, {"vitm": {}}, {"vitm": {}}
    assert chosen_on(chosen, Path("any.ckpt"), test, "test")
    assert chosen_on(chosen, Path("best.ckpt"), moved, "test")
    assert not chosen_on(chosen, Path("best.ckpt"), elsewhere, "test")
    assert not chosen_on(left, Path("last.ckpt"), test, "test")
    assert chosen_on(old, Path("best.ckpt"), elsewhere, "test")  # of an earlier version
    assert not chosen_on(old, Path("best.ckpt"), test, "test")
    assert not chosen_on({"weight": 1}, Path("best.ckpt"), elsewhere, "test")  # a released file


def test_clips_that_are_held_out_choose_and_are_measured(fake_panoramas):
    """Where there is no folder for validation, VITM-TC's clips for validation are those of the test."""
    data = LongSequences(str(fake_panoramas), size=48, crop_size=40, frames=12, val_clips=1, num_workers=0)
    for stage in ("fit", "test"):
        data.setup(stage)
    assert data.pictures("val")
    assert chosen_on({"chosen_on": data.pictures("val")}, Path("x"), data, "test")
