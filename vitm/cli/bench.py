"""`vitm bench`: how fast things are on this machine."""

from __future__ import annotations

import argparse
import json
import re
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from vitm.cli.options import device, positive
from vitm.zoo import list_networks

if TYPE_CHECKING:
    from vitm.conversion.speed import Machine, Speed

_FORMS: dict[str, dict[str, Any]] = {  # options of the data modules of paired frames
    "files": {"tile_size": None, "cache": False},
    "tiles": {"cache": False},
    "packed": {"cache": True},
}
_TILE_SIZE = 480  # where the entry has no tiles


def main(arguments: list[str], console: Console) -> int:
    """Run a benchmark; return the exit status."""
    if arguments[:1] == ["data"]:
        return _data(arguments[1:], console)
    return _networks(_networks_parser().parse_args(arguments), console)


def _networks_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "vitm bench",
        description="Measure how fast networks convert a frame here, how much memory they need, and how near they are "
        "to the machine's own limits, which are measured first. `vitm bench data ENTRY` measures how fast training "
        "data are loaded; `vitm bench data --help` has its options.",
        epilog="On a CPU, times are processor seconds, which other work disturbs least. Untrained networks are as fast "
        "as trained ones.",
    )
    parser.add_argument(
        "networks",
        nargs="+",
        metavar="NETWORK",
        help="names of `vitm.list_networks()`; or all, without those that look at whole scenes",
    )
    parser.add_argument("--sizes", nargs="+", type=_size, default=[(540, 960)], metavar="HxW", help="(540x960)")
    parser.add_argument("--devices", nargs="+", type=device, default=["cpu"], help="cpu, cuda, cuda:1, ... (cpu)")
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "bf16", "fp16"), default=["fp32"], help="(fp32)")
    parser.add_argument(
        "--threads", type=positive, default=1, help="CPU threads (1, for times that do not depend on other work)"
    )
    parser.add_argument(
        "--rounds", type=positive, default=3, help="calls after the first, of which the best counts (3)"
    )
    parser.add_argument(
        "--plain", action="store_true", help="also measure whole maps by plain operations, without our bands of rows"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers, after each network")
    parser.add_argument(
        "--compare", type=Path, metavar="FILE", help="an earlier FILE of --json: how many times its time"
    )
    return parser


def _networks(options: argparse.Namespace, console: Console) -> int:
    import torch

    from vitm.console import progress
    from vitm.conversion.speed import measure_machine, measure_network
    from vitm.files import write_json
    from vitm.nets.interface import SpillingNetwork
    from vitm.zoo import load_network

    earlier = _earlier(options.compare)
    everything = options.networks == ["all"]
    names = list_networks() if everything else options.networks
    if unknown := [name for name in names if name not in list_networks() and "." not in name]:
        raise ValueError(f"unknown network {unknown[0]!r}; known: {', '.join(list_networks())}")
    torch.set_num_threads(options.threads)
    machines: list[Machine] = []
    speeds: list[Speed] = []
    failures: list[str] = []
    total = len(names) * len(options.devices) * len(options.sizes) * len(options.precisions)
    with progress(console) as shown:
        task = shown.add_task("the machine", total=total)
        for place in options.devices:
            for precision in options.precisions:
                machines.append(measure_machine(place, precision))
        for name in names:
            torch.manual_seed(0)
            network = load_network(name)
            if everything and isinstance(network, SpillingNetwork):
                shown.advance(task, total / len(names))
                continue
            for place in options.devices:
                for size in options.sizes:
                    expected = None
                    for machine in (m for m in machines if m.device == place):
                        shown.update(task, description=f"{name} {size[0]}x{size[1]} {place} {machine.precision}")
                        try:
                            speed, output = measure_network(
                                name, network, size, machine, options.rounds, options.plain, expected
                            )
                        except Exception as error:  # too large for this memory, too small a frame, no compiler
                            what = f"{name} {size[0]}x{size[1]} {place}"
                            failures.append(f"{what}: {str(error).partition(chr(10))[0] or type(error).__name__}")
                            break
                        finally:
                            shown.advance(task)
                        speeds.append(speed)
                        expected = output if machine.precision == "fp32" else expected
                    if options.json:
                        write_json(options.json, {"machines": [*map(asdict, machines)], "rows": [*map(asdict, speeds)]})
    for machine in machines:
        console.print(
            f"{machine.name}, {machine.device}, {machine.threads} thread(s), {machine.precision}: "
            f"{machine.gmacs:.0f} G multiply-adds/s, {machine.gbytes:.1f} GB/s",
            highlight=False,
        )
    console.print(_table(speeds, earlier, options.plain))
    for failure in failures:
        console.print(failure, style="red", highlight=False, soft_wrap=True, markup=False)
    return 1 if failures and not speeds else 0


def _table(speeds: list[Speed], earlier: dict[tuple[Any, ...], float], plain: bool) -> Table:
    """Return a row for each measurement."""
    table = Table()
    headings = [
        "network",
        "size",
        "",
        "M parameters",
        "GMAC",
        "G others",
        "s a frame",
        "peak MiB",
        "of the limit",
        "codes",
    ]
    headings += ["plain form"] * plain + ["before"] * bool(earlier)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("network", "size", "") else "right")
    for speed in speeds:
        cells = [
            speed.network,
            f"{speed.size[0]}x{speed.size[1]}",
            f"{speed.device} {speed.precision}",
            f"{speed.parameters / 1e6:.3f}",
            _number(speed.gmacs, ".1f"),
            _number(speed.elementwise, ".2f"),
            f"{speed.seconds:.3g}",
            f"{speed.peak_mib:.0f}",
            _number(speed.share, ".0%"),
            _number(speed.codes, ".2f"),
        ]
        if plain:
            cells.append(_number(speed.plain_seconds and speed.plain_seconds / speed.seconds, ".1f", " times"))
        if earlier:
            before = earlier.get(_key(asdict(speed)))
            cells.append(_number(before and before / speed.seconds, ".2f", " times"))
        table.add_row(*cells)
    return table


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what two measurements have in common."""
    return row["network"], *row["size"], row["device"], row["precision"]


def _earlier(file: Path | None) -> dict[tuple[Any, ...], float]:
    """Return the seconds of an earlier run."""
    if file is None:
        return {}
    try:
        return {_key(row): row["seconds"] for row in json.loads(file.read_text())["rows"]}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is no file of vitm bench --json") from error


def _size(text: str) -> tuple[int, int]:
    """Return a height and a width from the command line: 540x960."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or not (int(match[1]) and int(match[2])):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give height and width: 540x960")
    return int(match[1]), int(match[2])


def _data_parser() -> argparse.ArgumentParser:
    data = argparse.ArgumentParser(
        "vitm bench data",
        description="Measure training samples a second as an entry reads them: whole files, tiles on disk, or packed "
        "frames mapped into memory; by number of worker processes. Other options are the data module's (--data.KEY).",
    )
    data.add_argument("entry", metavar="ENTRY", help="its name, or its YAML file")
    data.add_argument("--forms", nargs="+", choices=_FORMS, default=[*_FORMS], help="forms to measure (all)")
    data.add_argument("--workers", nargs="+", type=int, default=[0, 2], help="worker processes (0 2)")
    data.add_argument("--seconds", type=float, default=5.0, help="seconds of each measurement (5)")
    data.add_argument("--steps", type=float, default=10.0, help="steps a second that are to be kept busy (10)")
    data.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")
    return data


def _data(arguments: list[str], console: Console) -> int:
    parser = _data_parser()
    options, flags = parser.parse_known_args(arguments)
    if strange := [flag for flag in flags if flag.startswith("-") and not flag.startswith("--data.")]:
        parser.error(f"unrecognized argument {strange[0]}")

    from vitm.data.paired.windows import HDR10Windows
    from vitm.data.speed import measure_loading, workers_needed
    from vitm.runs.entries import find_entry

    entry = find_entry(options.entry)
    module = entry.load_data_module()
    warnings.filterwarnings("ignore", ".*worker processes in total", UserWarning)  # their number is what is measured
    paired = issubclass(module, HDR10Windows)
    rows: list[dict[str, Any]] = []
    for form in options.forms if paired else ["files"]:
        for workers in options.workers:
            data = _module(entry, module, flags, (_FORMS[form] if paired else {}) | {"num_workers": workers}, form)
            with console.status(f"{form}, {workers} workers"):
                speed = measure_loading(data, options.seconds)
            rows.append({"form": form, **asdict(speed)})
    needed = f"workers for {options.steps:g} steps/s"
    table = Table("form", "workers", "samples/s", "CPU ms a sample", needed, "prepared in")
    for row in rows:
        cpu = row["cpu_seconds"]
        table.add_row(
            row["form"],
            str(row["workers"]),
            f"{row['samples_per_second']:.1f}",
            "" if cpu is None else f"{1000 * cpu:.1f}",
            "" if cpu is None else str(workers_needed(cpu, row["batch_size"], options.steps)),
            f"{row['preparation_seconds']:.1f} s",
        )
    console.print(table)
    if options.json:
        from vitm.files import write_json

        write_json(options.json, {"entry": options.entry, "rows": rows})
    return 0


def _module(entry: Any, module: Any, flags: list[str], changes: dict[str, Any], form: str) -> Any:
    """Return the data module of an entry with the options of the command line and of a form."""
    import yaml
    from jsonargparse import ArgumentError, ArgumentParser

    demo = entry.takes_demo_data({flag.partition("=")[0].removeprefix("--") for flag in flags})
    section = {**entry.config(demo=demo).get("data", {})}
    if demo:
        section["root"] = str(module.demo_root())
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(module, "data", fail_untyped=False)
    try:
        given = parser.parse_args(["--config", yaml.safe_dump({"data": section}), *flags])
    except ArgumentError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    for key, value in changes.items():
        given.data[key] = value
    if form == "tiles" and given.data["tile_size"] is None:
        crop = given.data["crop_size"]
        given.data["tile_size"] = crop if demo else max(_TILE_SIZE, crop)  # frames of the demo data are small
    return parser.instantiate(given).data
