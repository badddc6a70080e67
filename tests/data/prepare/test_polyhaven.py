"""Downloads from Poly Haven, against a server of the test's own that speaks like its API."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vitm.data.prepare.open import places_to_download
from vitm.data.prepare.polyhaven import download_panoramas

CONTENT = bytes(range(256)) * 300


class PolyHaven(BaseHTTPRequestHandler):
    """`/files/NAME` describes, `/dl/NAME_4k.hdr` sends, also a part; the server keeps what it was asked."""

    def do_GET(self):
        server = self.server
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        server.asked.append((self.path, start, self.headers["User-Agent"]))
        if self.path == "/files/street":
            about = {"size": len(CONTENT), "md5": server.md5, "url": f"{server.address}/dl/street_4k.hdr"}
            body, status = json.dumps({"hdri": {"4k": {"hdr": about, "exr": {}}}}).encode(), 200
        elif self.path == "/dl/street_4k.hdr":
            body, status = CONTENT[start : server.stop], 206 if start and server.ranges else 200
            body = body if status == 206 else CONTENT[: server.stop]
        else:
            body, status = b"{}", 404
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), PolyHaven)
    server.address = f"http://127.0.0.1:{server.server_port}"
    server.asked, server.stop, server.ranges = [], None, True
    server.md5 = hashlib.md5(CONTENT).hexdigest()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_a_panorama_is_fetched_once(server, tmp_path):
    lines = []
    (path,) = download_panoramas(["street"], tmp_path / "new", "4k", server.address, lines.append)
    assert path == tmp_path / "new/street_4k.hdr"
    assert path.read_bytes() == CONTENT
    assert all("vitm" in agent for _, _, agent in server.asked)
    server.asked.clear()
    download_panoramas(["street"], tmp_path / "new", "4k", server.address, lines.append)
    assert [address for address, _, _ in server.asked] == ["/files/street"]
    assert lines[-1].endswith("is there")
    path.write_bytes(CONTENT[:-1] + b"!")
    download_panoramas(["street"], tmp_path / "new", "4k", server.address, lines.append)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on(server, tmp_path, ranges):
    """Where the server sends parts, only the rest; else all of it again."""
    server.stop, server.ranges = 50_000, ranges
    with pytest.raises(OSError, match="stopped at 50000 of 76800 bytes"):
        download_panoramas(["street"], tmp_path, "4k", server.address, str)
    assert not (tmp_path / "street_4k.hdr").exists()
    server.stop = None
    (path,) = download_panoramas(["street"], tmp_path, "4k", server.address, str)
    assert server.asked[-1][:2] == ("/dl/street_4k.hdr", 50_000)
    assert path.read_bytes() == CONTENT
    assert [p.name for p in tmp_path.iterdir()] == ["street_4k.hdr"]


def test_what_is_wrong_is_said(server, tmp_path):
    with pytest.raises(ValueError, match=r"no panorama 'nowhere'.*404"):
        download_panoramas(["nowhere"], tmp_path, "4k", server.address, str)
    with pytest.raises(ValueError, match="in 4k, not in 8k"):
        download_panoramas(["street"], tmp_path, "8k", server.address, str)
    server.md5 = "0" * 32
    with pytest.raises(ValueError, match="not what Poly Haven announced"):
        download_panoramas(["street"], tmp_path, "4k", server.address, str)
    assert not [*tmp_path.iterdir()]


def test_the_benchmark_names_what_poly_haven_has():
    names = places_to_download()
    assert {"potsdamer_platz", "satara_night"} <= {*names}
    assert not [name for name in names if name.startswith("pmndrs_")]
