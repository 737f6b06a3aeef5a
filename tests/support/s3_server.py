"""A real S3 server on this machine (moto's, in a process of its own), and a proxy in front of it that misbehaves."""

from __future__ import annotations

import http.client
import importlib.util
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pyarrow import fs

REGION = "us-east-1"
MISSING = "the S3 server is missing: pip install 'humandepth[s3]' (moto, flask, flask-cors)"
_START_LIMIT_S = 120.0


def is_installed() -> bool:
    """Whether the server can be started."""
    return all(importlib.util.find_spec(name) for name in ("moto", "flask", "flask_cors"))


def environment(endpoint: str) -> dict[str, str]:
    """What a process needs to talk to a server: nobody else is asked."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def s3_server() -> Iterator[str]:
    """The endpoint of a server that is started, and stopped at the end. Raises RuntimeError where it does not start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        begin_s = time.monotonic()
        while not _answers(port):
            if server.poll() is not None or time.monotonic() - begin_s > _START_LIMIT_S:
                raise RuntimeError(f"the S3 server did not start (exit code {server.poll()})")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def make_bucket(endpoint: str, name: str) -> None:
    """An empty bucket."""
    fs.S3FileSystem(
        endpoint_override=endpoint,
        region=REGION,
        access_key="test",
        secret_key="test",
        allow_bucket_creation=True,
    ).create_dir(name)


class FaultyProxy:
    """Passes requests on to a server, some of them badly. Used as a context.

    `faults` are shares of requests: `error` is answered 500 and not passed on, `lost` is passed on but its connection
    breaks before the answer, `broken` breaks in the middle of the answer, `slow` answers in pieces over 0.3 s, `denied`
    is answered 403. No two faults follow each other more than twice, so that a client that tries again gets through.
    """

    def __init__(self, endpoint: str, faults: Mapping[str, float], *, seed: int = 0) -> None:
        self.happened: Counter[str] = Counter()
        self._rng, self._faults = random.Random(seed), dict(faults)
        self._in_a_row = 0
        self._lock = threading.Lock()
        host, _, port = endpoint.removeprefix("http://").partition(":")
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: object) -> None:
                pass

            def handle_request(self) -> None:
                body = self._body()
                fault = proxy._next()
                if fault in ("error", "denied"):
                    self._refuse(*((500, "InternalError") if fault == "error" else (403, "AccessDenied")))
                    return
                answer, content = self._passed_on(body)
                if fault == "lost":
                    self._reset()
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in (
                        "connection",
                        "transfer-encoding",
                        "content-length",
                        "server",
                        "date",
                    ):
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
                self.send_header("Content-Length", length or "0")
                self.end_headers()
                self._send(content, fault)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_request

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                while self.rfile.readline().strip():
                    pass  # trailers
                return b"".join(parts)

            def _passed_on(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
                left_out = ("transfer-encoding", "content-length", "expect", "connection")
                headers = {name: text for name, text in self.headers.items() if name.lower() not in left_out}
                server = http.client.HTTPConnection(host, int(port), timeout=60)
                try:
                    server.request(self.command, self.path, body, headers)
                    answer = server.getresponse()
                    return answer, answer.read()
                finally:
                    server.close()

            def _send(self, content: bytes, fault: str) -> None:
                if self.command == "HEAD":
                    return
                if fault == "broken" and content:
                    self.wfile.write(content[: len(content) // 2])
                    self.wfile.flush()
                    self._reset()
                elif fault == "slow":
                    step = max(1, len(content) // 3 + 1)
                    for first in range(0, len(content), step):
                        time.sleep(0.1)
                        self.wfile.write(content[first : first + step])
                else:
                    self.wfile.write(content)

            def _refuse(self, status: int, code: str) -> None:
                text = f"<Error><Code>{code}</Code><Message>planted</Message></Error>".encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/xml")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text)

            def _reset(self) -> None:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                self.rfile = self.wfile = open(os.devnull, "w+b")  # type: ignore[assignment]  # noqa: SIM115

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *arguments: object) -> None:
                pass  # clients hang up, as they may

        self._server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultyProxy:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *details: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _next(self) -> str:
        with self._lock:
            draw, fault = self._rng.random(), ""
            for name, share in self._faults.items():
                if draw < share:
                    fault = name
                    break
                draw -= share
            limit = 2 if self._faults.get("denied", 0) < 1 else 10**9
            if fault not in ("", "slow") and self._in_a_row >= limit:
                fault = ""
            self._in_a_row = self._in_a_row + 1 if fault not in ("", "slow") else 0
            self.happened[fault or "passed"] += 1
            return fault


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
