"""Files that appear whole or not at all, locks between processes, lists, and digests."""

from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

NOT_FINITE = "not_finite"  # key of numbers that JSON does not have, by their places in a file


class WriteError(OSError):
    """An output cannot be written: no space, no permission, or a container that refuses a stream."""


class LockedError(BlockingIOError):
    """Another process holds the lock of a file."""


def check_writable(path: Path) -> None:
    """Raise before any work if `path` can be no output file: its folder is missing or read-only, or it is a folder."""
    if path.is_dir():
        raise WriteError(f"{path} is a folder: give the name of a file")
    if not path.parent.is_dir():
        raise WriteError(f"cannot write {path}: there is no folder {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise WriteError(f"cannot write {path}: no permission to write in {path.parent}")


def check_folder(folder: Path) -> None:
    """Make a folder if it is missing, and raise before any work if files cannot be written into it."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise WriteError(f"cannot use the folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise WriteError(f"cannot use the folder {folder}: no permission to write in it")


def write_error(error: OSError | Exception, path: Path) -> WriteError:
    """Return the error to raise for a failed write, with its number, in words."""
    code = getattr(error, "errno", None)
    reason = {
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "the disk quota is used up",
        errno.EFBIG: "the file would be larger than the system allows",
        errno.EACCES: "no permission",
        errno.EROFS: "the file system is read-only",
    }.get(code or 0, str(error))
    result = WriteError(f"cannot write {path}: {reason}; there is no output")
    result.errno = code
    return result


def temporary_beside(path: Path, suffix: str | None = None) -> Path:
    """Make an empty file in the folder of `path`, hidden, with its suffix: one rename away from it."""
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}.", suffix=f".partial{suffix or path.suffix}", dir=path.parent
        )
    except OSError as error:
        raise write_error(error, path) from error
    os.fchmod(handle, 0o666 & ~_umask())
    os.close(handle)
    return Path(name)


def folder_beside(path: Path) -> Path:
    """Make an empty folder in the folder of `path`, hidden: one rename away from it."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    except OSError as error:
        raise write_error(error, path) from error
    folder.chmod(0o777 & ~_umask())
    return folder


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


@contextmanager
def folder_when_whole(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder`; rename it to `folder` when the block ends well, remove it otherwise.

    If another process has made `folder` by then, that one stays.

    Raises:
        WriteError: if the parent is missing or read-only.
    """
    part = folder_beside(folder)
    try:
        yield part
        try:
            part.rename(folder)
        except OSError as error:
            if not folder.is_dir():
                raise write_error(error, folder) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def replace_when_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary file beside `path`; rename it to `path` when the block ends well, remove it otherwise.

    Raises:
        WriteError: if the folder is missing or read-only, or the disk is full.
    """
    path = Path(path)
    check_writable(path)
    temporary = temporary_beside(path)
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise error if isinstance(error, WriteError) else write_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], content: Mapping[str, Any], indent: int | None = 2) -> None:
    """Write a mapping as JSON, whole or not at all.

    JSON has no nan and no infinity: they are null, and `not_finite` says which they were, by their places.

    Raises:
        WriteError: if the folder is missing or read-only, or the disk is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder, "x.json"), {"psnr": float("inf"), "ssim": 1.0}, indent=None)
        ...     print(Path(folder, "x.json").read_text())
        {"psnr": null, "ssim": 1.0, "not_finite": {"psnr": "inf"}}
    """
    odd: dict[str, str] = {}
    plain = _finite(content, "", odd)
    text = json.dumps(plain | ({NOT_FINITE: odd} if odd else {}), indent=indent, default=str, allow_nan=False)
    with replace_when_whole(path) as part:
        part.write_text(text)


def read_json(path: Path) -> Any:
    """Return what `write_json` was given, or what another JSON file holds.

    Raises:
        OSError: The file is missing, or cannot be read.
        ValueError: It is no JSON.
    """
    content = json.loads(path.read_text())
    if isinstance(content, dict):
        for place, number in content.pop(NOT_FINITE, {}).items():
            *folders, name = place.split("/")
            inside: Any = content
            for key in folders:
                inside = inside[int(key) if isinstance(inside, list) else key]
            inside[int(name) if isinstance(inside, list) else name] = float(number)
    return content


def _finite(content: Any, place: str, odd: dict[str, str]) -> Any:
    """Return content with None for numbers that are not finite, and add those to `odd` by their places."""
    if isinstance(content, Mapping):
        return {str(key): _finite(value, f"{place}/{key}".lstrip("/"), odd) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value, f"{place}/{i}".lstrip("/"), odd) for i, value in enumerate(content)]
    if isinstance(content, float) and not math.isfinite(content):
        odd[place] = str(content)
        return None
    return content


def cache_folder() -> Path:
    """Return the folder of what is made once and kept for later runs: `VITM_CACHE`, or `vitm` in the user's cache."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return Path(os.environ.get("VITM_CACHE") or user / "vitm")


def lock(path: Path, *, wait: bool = False, shared: bool = False) -> IO[str]:
    """Take the lock of a file, which is made if it is missing, until the result is closed or the process ends.

    A file system without locks locks nothing.

    Args:
        path: The file.
        wait: Wait for a process that holds the lock, instead of raising an error.
        shared: Whether others may hold it too that take it in this way.

    Returns:
        The open file, at its end.

    Raises:
        LockedError: another process holds the lock.
    """
    file = path.open("a+")
    how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    if wait:
        with suppress(OSError):
            fcntl.flock(file, how)
        return file
    for patience in (0.2, 0.0):  # `is_locked` of another process holds the lock for an instant
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not patience:
                file.close()
                raise LockedError(f"{path} is locked by another process") from error
            time.sleep(patience)
        except OSError:
            break
        else:
            break
    return file


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Let one process after the other run the block; `path` is a file that exists only meanwhile.

    Raises:
        WriteError: The file cannot be made.
    """
    while True:
        try:
            file = lock(path, wait=True)
        except OSError as error:
            raise write_error(error, path) from error
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()  # the process before removed it
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of a file; False where there is no such file, or no locks."""
    if not path.is_file():
        return False
    try:
        lock(path).close()
    except LockedError:
        return True
    return False


def read_rows(path: Path, *columns: str, optional: Sequence[str] = ()) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a CSV file with their numbers of lines; no cell of `columns` is empty.

    Args:
        path: The file, in UTF-8. Spaces around names and cells do not count, and empty lines are left out.
        columns: Columns that it must have.
        optional: Columns that it may have; where one is absent, its cells are "".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no CSV file, a column or a cell of one is missing, or there is no row.
    """
    others = f", and perhaps {' and '.join(optional)}" if optional else ""
    expected = f"expected {', '.join(columns)}{others}"
    if not path.is_file():
        raise FileNotFoundError(f"there is no list at {path}; expected a CSV file with the columns {','.join(columns)}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            names = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            rows = [(reader.line_num, {k: (row.get(k) or "").strip() for k in (*columns, *optional)}) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV file ({error}); expected the columns {','.join(columns)}") from error
    if lacking := [column for column in columns if column not in names]:
        raise ValueError(f"{path} lacks the column {', '.join(lacking)}; {expected}")
    if not rows:
        raise ValueError(f"{path} is an empty list; expected a row for each {' and '.join(columns)}")
    for number, row in rows:
        for column in columns:
            if not row[column]:
                raise ValueError(f"{path}, line {number}: {column} is empty; {expected}")
    return rows


def digest(content: Path | str | bytes | memoryview) -> str:
    """Return the SHA-256 of a file (a `Path`), of a text in UTF-8, or of bytes, in hexadecimal digits."""
    if isinstance(content, Path):
        with content.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
