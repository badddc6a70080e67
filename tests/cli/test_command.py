"""The command `vitm`: light to start, and one place for what becomes of errors."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import vitm
from vitm import cli
from vitm.cli import COMMANDS, main
from vitm.files import LockedError, WriteError
from vitm.runs.entries import entry_names

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "lightning", "av", "cv2", "wandb", "kornia", "numpy", "jsonargparse", "matplotlib"}


def loaded_by(*args):
    """Call `vitm` in a process of its own: what it said, and the packages that it loaded."""
    code = """
import sys
from vitm.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as stop:
    status = stop.code
print(*sys.modules, file=sys.stderr)
sys.exit(status)
"""
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_loads_nothing_heavy(command):
    """And so takes under half a second of a CPU."""
    said, loaded = loaded_by(*([command] if command else []), "--help")
    assert f"usage: vitm {command or ''}".rstrip() in said
    assert not HEAVY & loaded
    assert command or all(f"\n    {name}" in said for name in COMMANDS)


def test_the_list_of_entries_loads_no_codec_and_no_torch():
    said, loaded = loaded_by("run", "--list")
    assert {*entry_names()} <= {*said.split()}
    assert not HEAVY & loaded


def test_the_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"vitm {vitm.__version__}\n"


@pytest.mark.parametrize(("args", "message"), [([], "required: COMMAND"), (["covnert"], "'covnert' (choose from")])
def test_commands_that_do_not_exist(args, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def failing(monkeypatch):
    """A command that raises what it is given."""

    def call(error, command="table"):
        def fail(arguments, console):
            raise error

        monkeypatch.setattr(cli, "_command", lambda name: fail)
        return main([command])

    return call


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("what was given [0, 1]"), 2),
        (FileNotFoundError("what was given [0, 1]"), 2),
        (LockedError("what was given [0, 1]"), 2),
        (ImportError("what was given [0, 1]"), 2),
        (TypeError("what was given [0, 1]"), 2),
        (OSError("what was given [0, 1]"), 1),
        (WriteError("what was given [0, 1]"), 1),
        (RuntimeError("what was given [0, 1]"), 1),
    ],
)
def test_an_error_is_one_line_and_a_status(error, status, failing, capsys):
    assert failing(error) == status
    assert capsys.readouterr().out == "error: what was given [0, 1]\n"


def test_full_disks_fail_and_interrupts_are_told_apart(failing, capsys):
    assert failing(OSError(errno.ENOSPC, "No space left on device")) == 1
    assert failing(KeyboardInterrupt("; go on with the same command")) == 130
    assert "interrupted ; go on with the same command" in capsys.readouterr().out


def test_errors_in_a_network_of_ones_own_show_where(failing):
    with pytest.raises(TypeError, match="unexpected keyword"):
        failing(TypeError("unexpected keyword"), command="run")


def test_a_traceback_on_request(failing, monkeypatch):
    monkeypatch.setenv("VITM_TRACEBACK", "1")
    with pytest.raises(ValueError, match="nonsense"):
        failing(ValueError("nonsense"))


@pytest.mark.slow
@pytest.mark.parametrize("command", ["run", "table", "sweep", "slurm", "report"])
def test_the_doors_in_experiments_lead_to_the_commands(command):
    door = [sys.executable, "-m", f"experiments.{command}", "--help"]
    said = subprocess.run(door, capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ).stdout
    assert (
        said
        == subprocess.run(
            [sys.executable, "-m", "vitm", command, "--help"], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout
    )
    assert said.startswith(f"usage: vitm {command} ")


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_freed_memory_is_kept():
    """A block of 32 MiB that is freed and asked for again comes without new pages: there are 8192 in it."""
    code = """
import ctypes, resource
from vitm.cli import keep_memory
keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
for turn in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(2**25)
    ctypes.memset(block, 1, 2**25)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert int(done.stdout) < 100
