"""`vitm bench`: how fast things are on this machine."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

_FORMS: dict[str, dict[str, Any]] = {  # options of the data modules of paired frames
    "files": {"tile_size": None, "cache": False},
    "tiles": {"cache": False},
    "packed": {"cache": True},
}
_TILE_SIZE = 480  # where the entry has no tiles


def main(arguments: list[str], console: Console) -> int:
    """Run a benchmark; return the exit status."""
    parser = argparse.ArgumentParser("vitm bench", description="Measure how fast things are on this machine.")
    kinds = parser.add_subparsers(title="benchmarks", required=True, metavar="WHAT")
    data = kinds.add_parser(
        "data",
        help="training samples a second",
        description="Measure training samples a second as an entry reads them: whole files, tiles on disk, or packed "
        "frames mapped into memory; by number of worker processes. Other options are the data module's (--data.KEY).",
    )
    data.add_argument("entry", metavar="ENTRY", help="its name, or its YAML file")
    data.add_argument("--forms", nargs="+", choices=_FORMS, default=[*_FORMS], help="forms to measure (all)")
    data.add_argument("--workers", nargs="+", type=int, default=[0, 2], help="worker processes (0 2)")
    data.add_argument("--seconds", type=float, default=5.0, help="seconds of each measurement (5)")
    data.add_argument("--steps", type=float, default=10.0, help="steps a second that are to be kept busy (10)")
    data.add_argument("--json", type=Path, metavar="FILE", help="write the numbers")
    data.set_defaults(run=_data)
    options, rest = parser.parse_known_args(arguments)
    if strange := [flag for flag in rest if flag.startswith("-") and not flag.startswith("--data.")]:
        parser.error(f"unrecognized argument {strange[0]}")
    status: int = options.run(options, rest, console)
    return status


def _data(options: argparse.Namespace, flags: list[str], console: Console) -> int:
    from vitm.data.paired.windows import HDR10Windows
    from vitm.data.speed import measure_loading, workers_needed
    from vitm.runs.entries import find_entry

    entry = find_entry(options.entry)
    module = entry.load_data_module()
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
        given.data["tile_size"] = max(_TILE_SIZE, given.data["crop_size"])
    return parser.instantiate(given).data
