"""The options of the data modules: each is shown with its text and type-checked, wherever in the classes it stands."""

from __future__ import annotations

from typing import Any

import pytest
from jsonargparse import ArgumentError, ArgumentParser, Namespace

from vitm.data import HDR10Clips, HDR10Frames, HDR10Triplets, LongSequences
from vitm.data.module import ResumableDataModule

WINDOWS = {
    "num_workers": 2, "tile_size": None, "tile_stride": None, "flips": False, "rotations": False, "val_split": "val",
    "cache": False, "cache_dir": None, "verify": False, "seed": 0, "highlights": 0.0,
    "unit_nits": None,
}  # fmt: skip
DEFAULTS: list[tuple[type[ResumableDataModule], dict[str, Any]]] = [  # of the papers' recipes: changed with care
    (HDR10Frames, {**WINDOWS, "crop_size": 480, "batch_size": 4, "val_split": "test"}),
    (
        HDR10Triplets,
        {
            **WINDOWS,
            "crop_size": 256,
            "batch_size": 8,
            "flips": True,
            "rotations": True,
            "time_reversal": True,
            "shuffle_order": False,
            "clip_stride": 3,
            "still": "error",
        },
    ),
    (HDR10Clips, {**WINDOWS, "crop_size": 256, "batch_size": 8, "radius": 2, "clip_stride": 10}),
    (
        LongSequences,
        {
            "source": "auto",
            "sampling": "references",
            "size": 512,
            "crop_size": 384,
            "batch_size": 4,
            "num_workers": 4,
            "frames": 181,
            "ev_range": (0.0, 2.5),
            "flips": True,
            "rotations": True,
            "val_clips": 8,
            "eval_frames": None,
            "seed": 0,
            "aim": Namespace(tries=1, clipped=0.0, shown=0.0, by_show=0.0),  # blind, as the paper's
        },
    ),
]


def parser_of(module: type[ResumableDataModule]) -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(module, "data")
    return parser


@pytest.mark.parametrize(("module", "defaults"), DEFAULTS)
def test_every_option_is_there_with_its_default_and_its_text(
    module: type[ResumableDataModule], defaults: dict[str, Any]
) -> None:
    parser = parser_of(module)
    options = vars(parser.get_defaults().data)
    options.pop("schedule", None)
    assert options == {"root": None, **defaults}
    texts = {action.dest: str(action.help) for action in parser._actions if action.dest.startswith("data.")}
    assert {*texts} >= {f"data.{name}" for name in options}
    assert not [name for name, text in texts.items() if len(text.split()) < 3]


@pytest.mark.parametrize("wrong", ["--data.seed=x", "--data.val_split=train", "--data.tile_size=1.5", "--data.pairs=p"])
@pytest.mark.parametrize("module", [HDR10Frames, HDR10Triplets, HDR10Clips])
def test_options_of_the_base_are_checked(module: type[ResumableDataModule], wrong: str) -> None:
    with pytest.raises(ArgumentError):
        parser_of(module).parse_args(["--data.root=DATA", wrong])


def test_a_module_of_ones_own_takes_the_options_of_the_base() -> None:
    class Mine(HDR10Frames):
        def __init__(self, root: str, gain: float = 1.0, **common: Any) -> None:
            super().__init__(root, **common)
            self.gain = gain

    parser = parser_of(Mine)
    given = parser.parse_args(["--data.root=DATA", "--data.gain=2", "--data.flips=true", "--data.seed=3"])
    data = parser.instantiate(given).data
    assert (data.gain, data.crop_size, data.seed, len(data.augmentations)) == (2.0, 480, 3, 1)
