"""Panoramas from Poly Haven by its public API: resumed where they stopped, checked, and only those that are missing."""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

from vitm.files import check_folder

API = "https://api.polyhaven.com"
"""Its terms ask for a User-Agent of one's own; the panoramas are CC0."""
Resolution = Literal["1k", "2k", "4k", "8k"]
_USER_AGENT = "vitm-prepare-open (inverse tone mapping data; one file at a time)"
_SECONDS = 60.0
_CHUNK = 2**18


def download_panoramas(
    names: Sequence[str],
    folder: Path,
    resolution: Resolution = "4k",
    api: str = API,
    tell: Callable[[str], None] = print,
) -> list[Path]:
    """Download panoramas, one after another, `folder/NAME_4k.hdr`; what is there and whole is not asked for again.

    A download that was interrupted lies beside as `NAME_4k.hdr.part`, and goes on where it stopped.

    Args:
        names: names of panoramas at Poly Haven, such as `potsdamer_platz`.
        folder: where to write them; made if it is not there.
        resolution: size, by the width in thousands of pixels.
        api: address of the API.
        tell: takes a line for each panorama.

    Returns:
        The files.

    Raises:
        ValueError: there is no such panorama, or what arrived is not what the API announced.
        OSError: the server cannot be reached, or there is no room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    check_folder(folder)
    files = []
    for name in names:
        about = _about(name, resolution, api)
        path = folder / f"{name}_{resolution}.hdr"
        if path.is_file() and path.stat().st_size == about["size"] and _md5(path) == about["md5"]:
            tell(f"{path}: is there")
        else:
            _fetch(about, path)
            tell(f"{path}: {about['size'] / 1e6:.1f} MB")
        files.append(path)
    return files


def _about(name: str, resolution: str, api: str) -> dict[str, Any]:
    """Return `url`, `size` in bytes and `md5` of a panorama's .hdr file."""
    address = f"{api}/files/{name}"
    try:
        with _open(address) as answer:
            sizes = json.load(answer)["hdri"]
    except urllib.error.HTTPError as error:
        raise ValueError(f"Poly Haven has no panorama {name!r}: {address} answers {error.code}") from error
    except (KeyError, ValueError) as error:
        raise ValueError(f"{address} does not describe a panorama: expected JSON with `hdri`") from error
    try:
        about: dict[str, Any] = sizes[resolution]["hdr"]
    except KeyError as error:
        raise ValueError(f"Poly Haven has {name!r} in {', '.join(sizes)}, not in {resolution}") from error
    return about


def _fetch(about: dict[str, Any], path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    done = part.stat().st_size if part.is_file() else 0
    if done < about["size"]:
        with _open(about["url"], done) as answer, part.open("ab") as file:
            if answer.status != HTTPStatus.PARTIAL_CONTENT:
                file.truncate(0)  # the server sends all of it
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
    size, md5 = part.stat().st_size, _md5(part)
    if size < about["size"]:
        raise OSError(f"{about['url']} stopped at {size} of {about['size']} bytes; the same command goes on from there")
    if md5 != about["md5"]:
        part.unlink()
        raise ValueError(f"{about['url']} is not what Poly Haven announced (MD5 {md5}, not {about['md5']}); try again")
    part.replace(path)


def _open(address: str, start: int = 0) -> Any:
    headers = {"User-Agent": _USER_AGENT} | ({"Range": f"bytes={start}-"} if start else {})
    return urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=_SECONDS)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
