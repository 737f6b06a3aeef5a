"""A web server on 127.0.0.1 that hands out files, in parts where it is asked to, and misbehaves on request."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class VideoServer:
    """What is served, and what was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    breaks_after: dict[str, int] = field(default_factory=dict)
    """Bytes of a file's body after which the connection is dropped, once."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path, Range header."""
    url: str = ""


@contextmanager
def video_server() -> Iterator[VideoServer]:
    """Runs until the block ends."""
    server = VideoServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: object) -> None:
            """Silent."""

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            asked = self.headers.get("Range", "")
            server.requests.append((self.command, self.path, asked))
            if self.path in server.redirects:
                self._head(302, {"Location": server.redirects[self.path], "Content-Length": "0"})
                return
            if self.path not in server.files:
                self._head(server.statuses.get(self.path, 404), {"Content-Length": "0"})
                return
            data = server.files[self.path]
            span = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
            start = int(span[1]) if span else 0
            stop = int(span[2]) + 1 if span and span[2] else len(data)
            headers = {
                "Content-Type": "video/mp4",
                "Content-Length": str(len(data[start:stop])),
                "Accept-Ranges": "bytes",
            }
            if span:
                headers["Content-Range"] = f"bytes {start}-{min(stop, len(data)) - 1}/{len(data)}"
            self._head(206 if span else 200, headers)
            if with_body:
                most = server.breaks_after.get(self.path)
                if most is not None and len(data[start:stop]) > most:
                    del server.breaks_after[self.path]
                    self.wfile.write(data[start : start + most])
                    self.wfile.flush()
                    self.close_connection = True
                    return
                self.wfile.write(data[start:stop])

        def _head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
