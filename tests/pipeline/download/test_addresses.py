"""What may be asked for, and which machines may be connected to."""

from __future__ import annotations

import socket

import pytest

from pipeline.download.addresses import is_public, is_youtube, public_addresses_only, video_address
from schemas.errors import SourceError


def test_ids_become_addresses() -> None:
    assert video_address("dQw4w9WgXcQ") == "https://www.youtube.com/watch?v=dQw4w9WgXcQ"
    assert video_address("-_-_-_-_-_-") == "https://www.youtube.com/watch?v=-_-_-_-_-_-"
    assert video_address("https://example.org/a.mp4") == "https://example.org/a.mp4"


@pytest.mark.parametrize(
    "text",
    ["", "../../etc/passwd", "/etc/passwd", "dQw4w9WgXc", "dQw4w9WgXcQ\n", "../w4w9WgXcQ", "http://example.org/a.mp4",
     "file:///etc/passwd", "ftp://example.org/a.mp4", "https://", "https://a b/c", "https://user:secret@example.org/a",
     "https://example.org:port/a", "https://[::1/a"],
)  # fmt: skip
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(SourceError) as caught:
        video_address(text)
    assert caught.value.remedy
    assert "secret" not in str(caught.value)


def test_http_is_for_private_servers_only() -> None:
    assert video_address("http://127.0.0.1:8000/a.mp4", allow_private=True).startswith("http://127")
    for refused in ("ftp://example.org/a.mp4", "gopher://example.org/"):
        with pytest.raises(SourceError, match="refused"):
            video_address(refused, allow_private=True)


@pytest.mark.parametrize(
    ("address", "public"),
    [("8.8.8.8", True), ("2606:4700:4700::1111", True), ("127.0.0.1", False), ("10.1.2.3", False),
     ("192.168.0.1", False), ("172.16.0.1", False), ("169.254.169.254", False), ("100.64.0.1", False),
     ("0.0.0.0", False),
     ("::1", False), ("fe80::1%eth0", False), ("fd00::1", False), ("::ffff:10.0.0.1", False), ("2002:7f00:1::", False),
     ("224.0.0.1", False), ("no address", False)],
)  # fmt: skip
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_youtube_hosts() -> None:
    assert is_youtube("https://www.youtube.com/watch?v=x")
    assert is_youtube("https://youtu.be/x")
    assert not is_youtube("https://notyoutube.com/x")
    assert not is_youtube("https://youtube.com.example.org/x")


def test_private_addresses_cannot_be_connected_to() -> None:
    before = socket.getaddrinfo
    with public_addresses_only():
        with pytest.raises(SourceError, match="private network"):
            socket.create_connection(("127.0.0.1", 9), timeout=1)
        with pytest.raises(SourceError, match="localhost"):
            socket.getaddrinfo("localhost", 80)
        assert socket.getaddrinfo("8.8.8.8", 53)
    assert socket.getaddrinfo is before
    with public_addresses_only(allow_private=True):
        assert socket.getaddrinfo("127.0.0.1", 80)


def test_the_proxy_may_be_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:3128")
    with public_addresses_only():
        assert socket.getaddrinfo("127.0.0.1", 3128)
        with pytest.raises(SourceError):
            socket.getaddrinfo("127.0.0.2", 3128)
