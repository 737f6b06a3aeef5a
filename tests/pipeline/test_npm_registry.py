"""Files of npm packages on machines without npm, against a registry of this test."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.assets import Asset
from pipeline.download import packages
from pipeline.download.npm_registry import REGISTRY, download_tarball, tarball_address
from pipeline.download.packages import fetch
from schemas.errors import AssetError

PAYLOAD = bytes(range(256)) * 9
ASSET = Asset(
    name="toy.bin",
    registry="npm",
    package="@humandepth/toy",
    version="1.2.3",
    member="package/toy.bin",
    sha256=hashlib.sha256(PAYLOAD).hexdigest(),
    size_bytes=len(PAYLOAD),
    licence="CC0-1.0",
    source="made by this test",
)


def tarball(data: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo(ASSET.member)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """What the registry has, by path; no npm, and no proxy before it."""
    files: dict[str, bytes] = {}

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/old":
                self.send_response(302)
                self.send_header("Location", "/new.tgz")
                self.end_headers()
                return
            data = files.get(self.path)
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setattr(packages.shutil, "which", lambda _: None)
        yield files
        server.shutdown()


def test_a_scoped_package_lies_where_npm_looks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("npm_config_registry", raising=False)
    assert tarball_address("@mediapipe/pose", "0.5") == f"{REGISTRY}/@mediapipe/pose/-/pose-0.5.tgz"
    assert tarball_address("plain", "1") == f"{REGISTRY}/plain/-/plain-1.tgz"


def test_without_npm_the_registry_is_asked_itself(served: dict[str, bytes], tmp_path: Path) -> None:
    served["/@humandepth/toy/-/toy-1.2.3.tgz"] = tarball(PAYLOAD)
    found = fetch(cache_dir=tmp_path, progress=[].append, table={ASSET.name: ASSET})
    assert found["toy.bin"].read_bytes() == PAYLOAD
    assert [path.name for path in tmp_path.iterdir()] == ["toy.bin"]


def test_another_file_is_refused(served: dict[str, bytes], tmp_path: Path) -> None:
    served["/@humandepth/toy/-/toy-1.2.3.tgz"] = tarball(PAYLOAD[::-1])
    with pytest.raises(AssetError):
        fetch(cache_dir=tmp_path, progress=[].append, table={ASSET.name: ASSET})
    assert not any(tmp_path.iterdir())


def test_what_the_registry_lacks_is_said_with_its_address(served: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"toy-1\.2\.3\.tgz could not be downloaded: Not Found"):
        fetch(cache_dir=tmp_path, progress=[].append, table={ASSET.name: ASSET})


@pytest.mark.parametrize("registry", ["http://127.0.0.1:9", "file:///etc", "nonsense", "ftp://127.0.0.1"])
def test_a_registry_that_is_none_is_an_error_in_one_line(
    registry: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing listens; a file of this machine; no address; another protocol."""
    monkeypatch.setenv("npm_config_registry", registry)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(AssetError, match="could not be downloaded") as caught:
        download_tarball("plain", "1", tmp_path)
    assert "\n" not in str(caught.value)
    assert "npm" in caught.value.remedy
