"""`vitm prepare`: data sets from pairs of SDR and HDR10 videos, and from HDR panoramas."""

from __future__ import annotations

import argparse
import math
import os
import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_WORKERS = max(1, min(4, (os.cpu_count() or 1) // 2))

_USUAL_DEGREES = 57  # the mean field of view of the virtual cameras


@dataclass(frozen=True)
class _Kind:
    """What a sample is: its frames, and the tiles of training frames, 0 for whole frames."""

    frames: int
    tile_size: int
    tile_stride: int
    about: str


_KINDS = {  # KPN-MFI: 5x3 tiles of a 4K frame; DSLNet: HDRTVNet's tiles
    "triplets": _Kind(3, 1024, 704, "three frames every two seconds (KPN-MFI): NAME_1.png, NAME_2.png, NAME_3.png"),
    "clips": _Kind(10, 480, 240, "ten frames of each scene (DSLNet): CLIP/000000.png to CLIP/000009.png"),
    "frames": _Kind(1, 0, 0, "single frames every two seconds (HDRTV1K, HDCFM): NAME.png"),
}
_PAIRS = """\
PAIRS.csv has a row for each pair of videos, with the columns
  sdr, hdr   the files, relative to PAIRS.csv
  split      train, val or test; without it: by --test-share
  offset     SDR frame t + offset shows what HDR frame t shows; without it: found by content

OUT/SPLIT/sdr has 8-bit PNG (BT.709), OUT/SPLIT/hdr 16-bit PNG (PQ codes, BT.2020), OUT/manifest.json says how all was
made. Black bars are cut off; static and near-duplicate scenes, samples with a cut or a repeated frame, and pairs that
do not show the same are left out, with the reason in the manifest. Interrupted, the same command goes on.
Exit status: 0 if at least one pair gave samples, 2 if none did."""
_PANORAMA = """\
OUT/SPLIT/sdr/CLIP/000000.png has 8-bit frames (BT.709), OUT/SPLIT/hdr/CLIP/000000.png 16-bit ones (PQ codes, BT.2020):
the same light, by a camera that turns slowly. A panorama of 8192x4096 fills frames of about 1300 pixels in width.
Interrupted, the same command goes on. Exit status: 0 if at least one panorama gave clips, 2 if none did."""

_OPEN = """\
OUT/SPLIT/hdr/PLACE_000.png has 16-bit PQ codes in BT.2020, OUT/ATTRIBUTION.md the credits. The package knows the places
of the benchmark, their splits and licences; of others, a manifest.json beside them must state a free licence: a list of
{"file": ..., "licence": ..., "source": ...}. SDR is made in training (vitm.data.open_scenes) and in `benchmarks.open`.
With --download 4k the panoramas of Poly Haven (CC0, about 1 GB) are fetched first, by its public API; those that are
there are not asked for again.
Interrupted, the same command goes on. Exit status: 0 if at least one place gave views, 2 if none did."""
_ULTRAHDR = """\
OUT/SPLIT/sdr/NAME.png is the camera's own SDR in BT.709, OUT/SPLIT/hdr/NAME.png the HDR that its gain map makes, as
PQ codes in BT.2020 with SDR white at 203 cd/m2. Interrupted, the same command goes on."""


def main(arguments: list[str], console: Console) -> int:
    """Prepare a data set and print; return the exit status: 2 if no source gave samples."""
    options = _parser().parse_args(arguments)
    status: int = options.run(options, console)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "vitm prepare", description="Make data sets from SDR and HDR10 videos, HDR panoramas or photographs."
    )
    kinds = parser.add_subparsers(title="data sets", required=True, metavar="KIND")
    for name, kind in _KINDS.items():
        command = _kind_parser(kinds, name, kind.about, _PAIRS)
        command.add_argument("pairs", metavar="PAIRS.csv", type=Path, help="table of the videos, see below")
        command.add_argument("out", metavar="OUT", type=Path, help="the data set's folder: a new one, or to go on with")
        if name != "clips":
            command.add_argument(
                "--interval",
                metavar="S",
                type=_number(0.01, float),
                default=2.0,
                help="seconds from one sample to the next (2)",
            )
        _add_tiles(command, kind)
        command.add_argument(
            "--resample",
            action="store_true",
            help="match videos of different frame rates by time, at the slower one's rate, instead of refusing them",
        )
        _add_shared(command, "videos")
        command.set_defaults(run=_videos, kind=name)
    command = _kind_parser(
        kinds, "panorama", "clips filmed in HDR panoramas (.exr, .hdr) by a virtual camera", _PANORAMA
    )
    command.add_argument(
        "panoramas", metavar="PANORAMA", type=Path, nargs="+", help="equirectangular picture, linear BT.709"
    )
    command.add_argument("out", metavar="OUT", type=Path, help="the data set's folder: a new one, or to go on with")
    command.add_argument("--clips", metavar="N", type=_number(1, int), default=8, help="clips of each panorama (8)")
    command.add_argument(
        "--frames", metavar="N", type=_number(1, int), default=10, help="frames of a clip (10), 24 a second"
    )
    command.add_argument("--size", metavar="WxH", type=_size, default=(960, 540), help="size of a frame (960x540)")
    command.add_argument(
        "--grey-nits", type=_number(0.01, float), default=30.0, help="log-average luminance at the horizon, cd/m2 (30)"
    )
    command.add_argument(
        "--peak-nits",
        type=_number(1000, float, 10_000),
        default=2000.0,
        help="mastering peak, 1000 to 10000 cd/m2 (2000)",
    )
    command.add_argument("--seed", type=_number(0, int), default=0, help="seed of the camera's ways (0)")
    _add_shared(command, "panoramas")
    command.set_defaults(run=_panoramas)
    _add_open(kinds)
    _add_ultrahdr(kinds)
    return parser


def _add_open(kinds: Any) -> None:
    command = _kind_parser(kinds, "open", "the open benchmark: views of free HDR panoramas, split by place", _OPEN)
    command.add_argument(
        "panoramas", metavar="PANORAMAS", type=Path, nargs="+", help="folders of .exr and .hdr panoramas, or files"
    )
    command.add_argument("out", metavar="OUT", type=Path, help="the data set's folder: a new one, or to go on with")
    command.add_argument("--views", metavar="N", type=_number(1, int), default=116, help="views of each place (116)")
    command.add_argument("--size", metavar="WxH", type=_size, default=(160, 90), help="size of a view (160x90)")
    command.add_argument("--seed", type=_number(0, int), default=0, help="seed of where the camera looks (0)")
    command.add_argument(
        "--photographs",
        metavar="FOLDER",
        type=Path,
        nargs="+",
        default=[],
        help="SDR photographs too (.jpg, .png), made HDR by random inverse operators, for training alone",
    )
    command.add_argument(
        "--download",
        choices=("1k", "2k", "4k", "8k"),
        help="download the benchmark's panoramas from Poly Haven to the first of PANORAMAS, a folder, in this size",
    )
    _add_shared(command, "places")
    command.set_defaults(run=_open)


def _add_ultrahdr(kinds: Any) -> None:
    command = _kind_parser(kinds, "ultrahdr", "pairs from Ultra HDR photographs (JPEG with a gain map)", _ULTRAHDR)
    command.add_argument("photographs", metavar="PHOTO.jpg", type=Path, nargs="+", help="Ultra HDR JPEG files")
    command.add_argument("out", metavar="OUT", type=Path, help="the data set's folder: a new one, or to go on with")
    command.add_argument(
        "--longest", metavar="PX", type=_number(16, int), default=1920, help="longest side of a picture (1920)"
    )
    _add_shared(command, "photographs")
    command.set_defaults(run=_ultrahdr)


def _kind_parser(kinds: Any, kind: str, what: str, epilog: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(
        kind,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _add_tiles(parser: argparse.ArgumentParser, kind: _Kind) -> None:
    usual = (
        f"{kind.tile_size} where pictures are larger, every {kind.tile_stride}" if kind.tile_size else "whole frames"
    )
    for flag, least, about in (
        ("size", 0, f"side of the tiles that training frames are cut into, 0 for whole frames (default: {usual})"),
        ("stride", 1, "pixels from one tile to the next (default: half of --tile-size)"),
    ):
        parser.add_argument(f"--tile-{flag}", metavar="PX", type=_number(least, int), help=about)
    for old, new in (("--crop", "tile_size"), ("--stride", "tile_stride")):  # their names in earlier versions
        parser.add_argument(old, dest=new, type=_number(0, int), default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def _add_shared(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--test-share",
        metavar="P",
        type=_share,
        default=0.1,
        help=f"share of the {what} without a split that is test (0.1): those of the smallest SHA-256 of their names",
    )
    parser.add_argument("--workers", metavar="N", type=_number(1, int), default=_WORKERS, help=f"{what} at a time")


def _number(least: float, kind: type[int] | type[float], most: float = math.inf) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(least) - 1
        if not least <= value <= most or math.isinf(value):
            raise argparse.ArgumentTypeError(
                f"{text!r}: expected a number, {least:g} {'or more' if math.isinf(most) else f'to {most:g}'}"
            )
        return value

    return parse


def _share(text: str) -> float:
    value = _number(0, float)(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a share from 0 up to, not including, 1")
    return value


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and min(int(width), int(height)) >= 16):
        raise argparse.ArgumentTypeError(f"{text!r}: expected WIDTHxHEIGHT in pixels, 16 or more, as 960x540")
    return int(width), int(height)


def _videos(options: argparse.Namespace, console: Console) -> int:
    from vitm.data.paired.tiles import half
    from vitm.data.prepare.samples import Cutting
    from vitm.data.prepare.videos import prepare_videos

    kind = _KINDS[options.kind]
    size, stride = kind.tile_size, kind.tile_stride
    if options.tile_size is not None:
        size, stride = options.tile_size, half(options.tile_size)
    if options.tile_stride and not size:
        raise ValueError(f"--tile-stride {options.tile_stride} is for tiles; give --tile-size too")
    interval = getattr(options, "interval", 2.0)
    cutting = Cutting(
        interval, size or None, (options.tile_stride or stride) if size else None, kind.frames, options.kind == "clips"
    )
    tiles = {"tile-size": options.tile_size, "tile-stride": options.tile_stride}
    given = [f"--{name}={value}" for name, value in tiles.items() if value is not None]
    given += [] if options.kind == "clips" else [f"--interval={interval:g}"]
    given += ["--resample"] if options.resample else []
    records = prepare_videos(
        options.kind,
        options.pairs,
        options.out,
        cutting,
        whole_if_small=options.tile_size is None,
        resample=options.resample,
        test_share=options.test_share,
        workers=options.workers,
        command=_command(options.kind, [options.pairs, options.out], [*given, f"--test-share={options.test_share:g}"]),
        console=console,
    )
    return _print(console, options.out, records)


def _panoramas(options: argparse.Namespace, console: Console) -> int:
    from vitm.data.prepare.panorama import Filming, prepare_panoramas

    width, height = options.size
    filming = Filming(options.clips, options.frames, width, height, options.grey_nits, options.peak_nits, options.seed)
    given = [f"--clips={options.clips}", f"--frames={options.frames}", f"--size={width}x{height}"]
    given += [f"--grey-nits={options.grey_nits:g}", f"--peak-nits={options.peak_nits:g}", f"--seed={options.seed}"]
    records = prepare_panoramas(
        options.panoramas,
        options.out,
        filming,
        test_share=options.test_share,
        workers=options.workers,
        command=_command(
            "panorama", [*options.panoramas, options.out], [*given, f"--test-share={options.test_share:g}"]
        ),
        console=console,
    )
    for name, record in records.items():
        fine = record.get("panorama_pixels_per_degree", 0) * _USUAL_DEGREES / width
        if 0 < fine < 0.5:
            console.print(
                f"{name}: a frame shows only {fine * width:.0f} pixels of the panorama in width, of {width}: its "
                "pictures are soft; give a finer panorama, or a smaller --size",
                soft_wrap=True,
                markup=False,
                highlight=False,
            )
    return _print(console, options.out, records)


def _open(options: argparse.Namespace, console: Console) -> int:
    from vitm.data.prepare.open import Views, places_to_download, prepare_open
    from vitm.data.prepare.polyhaven import download_panoramas

    if options.download:
        folder = options.panoramas[0]
        download_panoramas(places_to_download(), folder, options.download, tell=partial(console.print, markup=False))
    width, height = options.size
    given = [f"--views={options.views}", f"--size={width}x{height}", f"--seed={options.seed}"]
    if options.photographs:
        given += ["--photographs", *map(str, options.photographs)]
    records = prepare_open(
        options.panoramas,
        options.out,
        Views(options.views, width, height, seed=options.seed),
        photographs=options.photographs,
        test_share=options.test_share,
        workers=options.workers,
        command=_command("open", [*options.panoramas, options.out], [*given, f"--test-share={options.test_share:g}"]),
        console=console,
    )
    return _print(console, options.out, records)


def _ultrahdr(options: argparse.Namespace, console: Console) -> int:
    from vitm.data.prepare.ultrahdr import prepare_ultrahdr

    given = [f"--longest={options.longest}", f"--test-share={options.test_share:g}"]
    records = prepare_ultrahdr(
        options.photographs,
        options.out,
        longest=options.longest,
        test_share=options.test_share,
        workers=options.workers,
        command=_command("ultrahdr", [*options.photographs, options.out], given),
        console=console,
    )
    return _print(console, options.out, records)


def _command(kind: str, paths: list[Path], given: list[str]) -> str:
    """Return the command line, with all that the result depends on."""
    return shlex.join(["vitm", "prepare", kind, *map(str, paths), *given])


def _print(console: Console, out: Path, records: Mapping[str, dict[str, Any]]) -> int:
    """Print a row for each source; return the exit status."""
    rows = [_row(name, record) for name, record in records.items()]
    used = [title for title in rows[0] if any(row[title] for row in rows)]
    table = Table()
    for title in used:
        table.add_column(title, justify="right" if title in ("offset", "samples") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(row[title] for title in used))
    console.print(table)
    good = [record for record in records.values() if "files" in record]
    splits = Counter({record["split"]: 0 for record in good})
    for record in good:
        splits[record["split"]] += len(record["samples"])
    counts = ", ".join(f"{n} {split}" for split, n in splits.items()) or "nothing could be prepared"
    console.print(
        f"{out}: {counts}; {len(records) - len(good)} of {len(records)} sources rejected; see {out / 'manifest.json'}",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    return 0 if good else 2


def _row(name: str, record: dict[str, Any]) -> dict[str, str]:
    left_out = Counter(sample["reason"].partition(":")[0] for sample in record.get("rejected", ()))
    tiles, picture, offset = record.get("tiles"), record.get("picture"), record.get("offset_frames")
    rejected = record.get("rejected_because")
    return {
        "source": escape(name),
        "split": record["split"],
        "offset": "" if offset is None else f"{offset:g}",
        "picture": f"{picture['width']}x{picture['height']}" if picture else "",
        "samples": str(len(record.get("samples", ()))) + (f" x {len(tiles)} tiles" if tiles else ""),
        "left out": (
            f"[yellow]all: {escape(rejected)}[/]"
            if rejected
            else ", ".join(f"{n} {reason}" for reason, n in left_out.items())
        ),
    }
