"""Writes the lock files: exact versions and SHA-256 hashes of everything that `make` and the Dockerfiles install.

    python tools/make_locks.py          # or: make locks

`requirements.lock` is for every supported Python and platform at once (entries carry markers) and holds wheels alone,
but for SOURCES; each image in `docker/` has its own. Resolved by uv from the ranges in pyproject.toml. torch and what
only torch's CUDA build needs are left out: torch is installed by itself, from the index that suits the machine.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV = "uv==0.13.9"
OLDEST_PYTHON = "3.11"
DEVELOPMENT_EXTRAS = ("pipeline", "trainer", "s3", "export", "docs", "dev")
IMAGE_EXTRAS = {"pipeline": ("pipeline", "dataflow"), "trainer": ("trainer", "tensorboard", "export")}
CONSTRAINTS = ("backports-strenum<1.3",)
"""Later ones declare Python below 3.11, which pip obeys and uv does not (it ignores upper bounds)."""
SOURCES = ("jsonpath-rw",)
"""What has no wheel: one module of pure Python that mlcroissant needs, for tests alone."""
TORCH = re.compile(r"torch|triton|nvidia-.*|cuda-.*")
"""torch, and what is needed by its CUDA build alone."""


def main() -> int:
    """Remakes every lock; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="humandepth-locks-") as spool:
        uv = _installed_uv(Path(spool))
        _write(
            ROOT / "requirements.lock",
            _compiled(
                uv,
                DEVELOPMENT_EXTRAS,
                "--universal",
                "--only-binary=:all:",
                *(f"--no-binary={name}" for name in SOURCES),
            ),
            f"`make install` installs beside torch, on Python {OLDEST_PYTHON} and later",
        )
        for image, extras in IMAGE_EXTRAS.items():
            text = _compiled(uv, extras, "--python-platform=x86_64-manylinux_2_28")
            apart = " beside torch" if "\ntorch==" in text else ""
            _write(ROOT / "docker" / f"{image}.lock", text, f"docker/{image}.Dockerfile installs{apart}")
    return 0


def without_torch(text: str) -> str:
    """The entries of a lock (a requirement line, its indented hashes) whose package `TORCH` does not match."""
    kept: list[str] = []
    is_kept = True
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if line and not line.startswith(" "):
            is_kept = TORCH.fullmatch(line.split("==")[0]) is None
        if is_kept:
            kept.append(line)
    return "\n".join(kept) + "\n"


def _installed_uv(folder: Path) -> str:
    venv.create(folder, with_pip=True)
    subprocess.run([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", UV], check=True)
    return str(folder / "bin/uv")


def _compiled(uv: str, extras: tuple[str, ...], *arguments: str) -> str:
    """uv's resolution of the project with these extras and of its build requirement, with hashes."""
    build_requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    command = [
        uv,
        "pip",
        "compile",
        "--quiet",
        "--generate-hashes",
        "--no-annotate",
        "--no-header",
        *arguments,
    ]
    command += [f"--python-version={OLDEST_PYTHON}", *(f"--extra={extra}" for extra in extras)]
    done = subprocess.run(
        [*command, "pyproject.toml", "-"],
        cwd=ROOT,
        input="\n".join([*build_requires, *CONSTRAINTS]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def _write(path: Path, text: str, what: str) -> None:
    head = f"# What {what}.\n# Written by `make locks` from the ranges in pyproject.toml; not to be edited.\n"
    path.write_text(head + without_torch(text))
    print(f"{path.relative_to(ROOT)}: {len(re.findall(r'^[a-z0-9].*==', text, re.MULTILINE))} packages")


if __name__ == "__main__":
    sys.exit(main())
