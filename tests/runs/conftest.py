from __future__ import annotations

import inspect

import pytest
import torch

from vitm.baselines.hdrtvnet import HDRTVNet
from vitm.cli import main
from vitm.data.fake.frames import write_fake_triplets
from vitm.data.fake.sequences import write_fake_panoramas
from vitm.papers.hdcfm import HDCFM
from vitm.papers.vitm_tc import VITMTC
from vitm.runs.entries import find_entry


def run(args):
    """Call `vitm run`, and return its exit status."""
    return main(["run", *args])


CLIPS = ["--data.size", "48", "--data.frames", "12", "--data.val_clips", "1", "--data.eval_frames", "6"]
SEQUENCES = [
    *CLIPS,
    *("--data.schedule", "{references: 1, clue_stride: 2, window: 3, key_stride: 3, neighbours: 2}"),
    *("--model.clue_stride", "2", "--model.clues_per_direction", "1"),
]
MEASURED = ["--model.test_metrics", "null", *CLIPS]
MODEL = {
    "vitm.baselines.table_task.Ada3DLUTTask": ["--model.size", "5"],
    "vitm.baselines.table_task.AdaIntTask": ["--model.size", "5"],
    "vitm.baselines.clip_task.DeepHDRTask": ["--model.widths", "[8,8]"],
    "vitm.baselines.clip_task.HDRUNetTask": ["--model.width", "8", "--model.blocks", "[1,1,1]"],
    "vitm.baselines.clip_task.KPNiTMTask": ["--model.widths", "[8,8]"],
    "vitm.baselines.sequence_task.HDRCNNTask": [
        *("--model.widths", "[8,8,8,8,8]", "--model.pretrained", "false", *MEASURED),
    ],
    "vitm.baselines.sequence_task.FMNetTask": ["--model.width", "8", "--model.blocks", "1", *MEASURED],
    "vitm.baselines.sequence_task.DiffHDRTask": ["--model.widths", "[4,4]", "--model.steps", "2", *MEASURED],
    "vitm.baselines.sequence_task.SingleHDRTask": [
        *("--model.widths", "[4,4]", "--model.vgg_widths", "[4,4,4,4,4]", "--model.pretrained", "false"),
        *("--model.perceptual_weight", "0", *MEASURED),
    ],
    "vitm.baselines.sequence_task.DeepVITMTask": [
        *("--model.widths", "[4,4]", "--model.radius", "1", "--data.schedule.window", "3", *MEASURED),
    ],
    "vitm.baselines.sequence_task.BasicVSRPPTask": [
        *("--model.width", "8", "--model.blocks", "1", "--data.schedule.window", "3", *MEASURED),
    ],
    "vitm.baselines.task.CSRNetTask": ["--model.width", "8"],
    "vitm.baselines.task.HDRNetTask": ["--model.places", "64", "--model.brightnesses", "2"],
    "vitm.baselines.task.DeepSRITMTask": ["--model.width", "4"],
    "vitm.baselines.task.JSInetTask": ["--model.width", "4"],
    "vitm.baselines.jsi_gan_task.JSIGANTask": ["--model.width", "4", "--model.gan_start", "0"],
    "vitm.baselines.highlight_task.HighlightTask": [
        *("--model.width", "8", "--model.blocks", "1", "--model.highlights", "2", "--model.perceptual_weight", "0"),
    ],
    "vitm.baselines.task.HDRTVNetPlusTask": ["--model.width", "8"],
    "vitm.baselines.task.HDRTVNetTask": ["--model.width", "8", "--model.blocks", "1"],
    "vitm.baselines.task.LSNTask": ["--model.width", "8"],
    "vitm.baselines.task.ResNetTask": ["--model.width", "8", "--model.blocks", "1"],
    "vitm.baselines.translation_task.Pixel2PixelTask": ["--model.width", "4", "--model.blocks", "1"],
    "vitm.baselines.translation_task.CycleGANTask": ["--model.width", "4", "--model.blocks", "1"],
    "vitm.papers.dslnet.DSLNetTask": ["--model.width", "8"],
    "vitm.baselines.window_task.MResNetTask": ["--model.width", "8", "--model.blocks", "1"],
    "vitm.papers.vitm_tc.ICAMTask": [
        *("--model.widths", "[8,8,8,8,8]", "--model.perceptual_weight", "0", "--model.test_metrics", "null"),
        *("--model.every", "2", *SEQUENCES),
    ],
    "vitm.papers.vitm_tc.BlendTask": [*MEASURED, "--model.clue_stride", "2", "--model.clues_per_direction", "1"],
    "vitm.papers.vitm_tc.CluesTask": [*MEASURED, "--model.clue_stride", "2", "--model.clues_per_direction", "1"],
    "vitm.papers.vitm_tc.FCPMTask": [
        *("--model.perceptual_weight", "0", "--model.test_metrics", "null", "--model.gan_weight", "0"),
        *("--model.key_stride", "3", *SEQUENCES),
    ],
    "vitm.papers.kpn_mfi.KPNMFITask": ["--model.width", "8", "--model.trunk", "[1,1,1,1,1]"],
    "vitm.papers.hdcfm.HDCFMTask": ["--model.test_metrics", "null"],
    "vitm.papers.scene_map.OperatorsTask": ["--model.table_size", "9"],
    "vitm.papers.scene_map.OperatorMapTask": ["--model.table_size", "9", "--model.hidden", "8"],
    "vitm.papers.hdcfm.PDCGTask": [
        *("--model.width", "20", "--model.blocks", "1"),
        *("--model.perceptual_weight", "0", "--model.accumulate", "2", "--model.test_metrics", "null"),
    ],
}
DATA = {
    "vitm.data.open_scenes.OpenScenes": ["--data.val_views", "2", "--data.test_views", "1"],
    "vitm.data.LongSequences": ["--data.crop_size", "40"],
}
CROPS = ["--data.crop_size", "40", "--data.tile_size", "null"]
COMMON = [
    *("--data.batch_size", "2"),
    *("--data.num_workers", "0"),
    *("--trainer.accelerator", "cpu"),
    *("--trainer.enable_progress_bar", "false"),
    *("--trainer.enable_model_summary", "false"),
    *("--trainer.log_every_n_steps", "1"),
]
TINY = [*MODEL["vitm.papers.kpn_mfi.KPNMFITask"], *CROPS, *COMMON]


@pytest.fixture(autouse=True)
def one_thread():
    """The frames are tiny: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def fake_data(tmp_path_factory):
    """Four triplets a split, 48 x 64, in the layout of KPN-MFI."""
    return write_fake_triplets(tmp_path_factory.mktemp("data"), n=4)


@pytest.fixture(scope="session")
def fake_clips(tmp_path_factory):
    """Two clips of ten frames a split, 48 x 64."""
    return write_fake_triplets(tmp_path_factory.mktemp("clips"), n=2, layout="clips", frames=10)


@pytest.fixture(scope="session")
def fake_panoramas(tmp_path_factory):
    """Three panoramas."""
    return write_fake_panoramas(tmp_path_factory.mktemp("panoramas"), 3)


@pytest.fixture(scope="session")
def first_stage(tmp_path_factory):
    """Entry -> a checkpoint of its network, untrained."""

    def save(entry):
        torch.manual_seed(0)
        name, made, arguments = "hdcfm", HDCFM, {}
        if entry == "kpn_mfi/table1/hdrtvnet":
            name, made, arguments = "hdrtvnet", HDRTVNet, {"width": 8, "blocks": 1, "highlights": 2}
        if entry.startswith("vitm_tc"):
            name, made, arguments = "vitm_tc", VITMTC, {"widths": (8, 8, 8, 8, 8), "propagation": "none"}
            of_network = inspect.signature(VITMTC).parameters
            arguments |= {k: v for k, v in find_entry(entry).change.get("model", {}).items() if k in of_network}
        state = {f"network.{k}": v for k, v in made(**arguments).state_dict().items()}
        path = tmp_path_factory.mktemp(name) / "best.ckpt"
        torch.save({"vitm": {"network": name, "arguments": arguments}, "state_dict": state}, path)
        return path

    return save


@pytest.fixture
def tiny_of(fake_data, fake_clips, fake_panoramas, first_stage, tmp_path):
    """Entry name -> options that make it run in seconds on fake data, into a folder of the test."""

    def options(entry):
        found = find_entry(entry)
        after = [x for option, first in found.after.items() for x in (f"--{option}", str(first_stage(first)))]
        roots = {"vitm.data.HDR10Clips": fake_clips, "vitm.data.LongSequences": fake_panoramas}
        root = roots.get(found.data_module, fake_data)
        sizes = [*MODEL.get(found.task, ()), *DATA.get(found.data_module, CROPS)]
        return [*sizes, *after, *COMMON, "--data.root", str(root), "--runs", str(tmp_path / "runs")]

    return options


@pytest.fixture
def tiny(tiny_of):
    """The same of `kpn_mfi`."""
    return tiny_of("kpn_mfi")
