"""Makes `.venv` with pip in it, also where the system's Python comes without `ensurepip` (Debian's python3-venv).

    python3.11 tools/make_venv.py .venv

Standard library only. Where `ensurepip` is missing, one pinned pip wheel is fetched from PyPI and checked.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

PIP_WHEEL = "pip-25.3-py3-none-any.whl"
PIP_SHA256 = "9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd"
PIP_INDEX = "https://pypi.org/simple/pip/"


def main(folder: str) -> int:
    """Makes the environment; returns the exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 - run by whatever Python `make` found
        print(f"error: Python 3.11 or newer is needed, this is {sys.version.split()[0]}.", file=sys.stderr)
        return 1
    has_ensurepip = (
        subprocess.run([sys.executable, "-c", "import ensurepip"], capture_output=True).returncode == 0
    )
    venv.create(folder, with_pip=has_ensurepip, clear=True, symlinks=True)
    if not has_ensurepip:
        print("this Python has no ensurepip; fetching pip from PyPI")
        with tempfile.TemporaryDirectory() as spool:
            wheel = fetch_pip(Path(spool))
            interpreter = str(Path(folder) / "bin" / "python")
            command = [interpreter, f"{wheel}/pip", "install", "--no-index", str(wheel)]
            subprocess.run(command, check=True)
    return 0


def fetch_pip(spool: Path) -> Path:
    """The pinned pip wheel, checked against its SHA-256."""
    request = urllib.request.Request(PIP_INDEX, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        files = json.load(reply)["files"]
    url = next(file["url"] for file in files if file["filename"] == PIP_WHEEL)
    with urllib.request.urlopen(url, timeout=120) as reply:
        data = reply.read()
    if hashlib.sha256(data).hexdigest() != PIP_SHA256:
        raise SystemExit(f"error: {PIP_WHEEL} from PyPI does not have the pinned SHA-256.")
    wheel = spool / PIP_WHEEL
    wheel.write_bytes(data)
    return wheel


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ".venv"))
