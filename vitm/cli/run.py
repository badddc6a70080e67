"""`vitm run`: one experiment."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from vitm.cli.options import add_runs, device, frame_rate

USAGE = """\
usage: vitm run ENTRY [fit|validate|test|predict] [options]
       vitm run --list

Without a command: fit, then test. Without --data.root: demo data, made on the spot.

  --list                list the entries
  --resume [RUN]        go on with a run (its folder; default: the newest run of ENTRY)
  --name NAME           name of the run's folder (default: the time); the same command again goes on with it
  --previews PIXELS     longest side of each picture of a preview (default: 1280), or full
  --checkpoint PATH     weights for validate, test and predict (default: the best of the newest run of ENTRY)
  --protocol paper      test: measure what the paper prints, and say how far off that is, of which weights and data
  --input PATH          predict: an SDR video or folder of frames (default: a demo clip)
  --output FOLDER       predict: where to write (default: the folder of the run)
  --assume TAGS         predict: the colour tags of an input without tags (bt709)
  --fps RATE            predict: frames a second of a folder of frames (default: 24)
  --device NAME         predict: cpu, cuda, ... (default: cuda where there is one)
  --runs FOLDER         where runs are kept (default: runs)
  --config PATH         one more YAML file; it wins over those of ENTRY
  --model.KEY, --data.KEY, --trainer.KEY, --seed_everything
                        anything else; `ENTRY --help` lists them all

Errors are one line; VITM_TRACEBACK=1 shows where they come from.
"""


def main(arguments: list[str], console: Console) -> int:
    """Run one experiment; return the exit status, of a run that a signal stopped 128 and its number."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    if arguments[0] == "--list":
        return _list()
    predicts = arguments[1:2] == ["predict"]
    if {"-h", "--help"} & {*arguments}:
        return _help(arguments[0], predicts)
    if predicts:
        return _predict(arguments[0], arguments[2:], console)
    from vitm.runs.command import parse

    request = parse(arguments)
    from vitm.runs.run import run

    return run(request)


def _list() -> int:
    from vitm.runs.entries import entry_names, find_entry

    names = entry_names()
    width = max(map(len, names))
    for name in names:
        print(f"{name:{width}}  {find_entry(name).title}")
    return 0


def _help(name: str, predicts: bool) -> int:
    from vitm.runs.entries import find_entry

    entry = find_entry(name)
    print(USAGE)
    if not predicts:
        from vitm.runs.lightning_cli import resolve

        resolve(entry, ["--help"])
    return 0


def _predict(name: str, arguments: list[str], console: Console) -> int:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--checkpoint", type=Path)
    add_runs(parser)
    parser.add_argument("--input", dest="source", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--assume")
    parser.add_argument("--fps", type=frame_rate)
    parser.add_argument("--device", type=device)
    try:
        options, unknown = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from error
    if unknown:
        raise ValueError(f"predict takes no {unknown[0]!r}; the checkpoint knows its network")

    from vitm.cli.convert import print_report
    from vitm.runs.entries import find_entry
    from vitm.runs.predict import predict

    if options.source is None:
        console.print("No --input: this converts the [bold]demo clip[/].")
    report = predict(find_entry(name), **vars(options))
    print_report(report, console)
    console.print(f"16-bit PNG, PQ BT.2020: {report.frames_folder}", soft_wrap=True, markup=False)
    return 0
