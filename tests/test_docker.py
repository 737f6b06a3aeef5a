"""What the Dockerfiles pin agrees with what the package asks for. (`make images` carries their steps out.)"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.images.dockerfile import commands, read_dockerfile

ROOT = Path(__file__).parents[1]
EXTRAS = {"pipeline": ("pipeline", "dataflow"), "trainer": ("trainer", "tensorboard", "export")}
TORCH = "2.13.0"


def pins(name: str) -> dict[str, str]:
    """Versions of a lock file, by canonical name."""
    lines = (ROOT / "docker" / f"{name}.lock").read_text().splitlines()
    parts = (line.removesuffix(" \\").split("==") for line in lines if line and line[0] not in "# ")
    return {package.partition("[")[0]: version for package, version in parts} | {"torch": TORCH}


@pytest.mark.parametrize("name", EXTRAS)
def test_the_lock_holds_what_the_package_needs(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = list(project["dependencies"])
    for extra in EXTRAS[name]:
        needed += project["optional-dependencies"][extra]
    pinned = pins(name)
    for requirement in map(Requirement, needed):
        version = pinned[requirement.name.lower().replace("_", "-")]
        assert requirement.specifier.contains(version), f"{name}.lock: {requirement} against {version}"


def test_the_worker_image_has_the_beam_of_the_lock() -> None:
    (image,) = [
        step.text for step in read_dockerfile(ROOT / "docker/pipeline.Dockerfile") if step.name == "FROM"
    ]
    assert image == f"apache/beam_python3.11_sdk:{pins('pipeline')['apache-beam']}"


def test_the_torch_of_the_trainers_image_is_the_one_of_make_and_the_pipelines_has_none() -> None:
    assert f"TORCH := torch=={TORCH}\n" in (ROOT / "Makefile").read_text()
    assert [command.split()[-1] for command in torch_installs("trainer")] == [f"torch=={TORCH}"]
    assert torch_installs("pipeline") == []


def torch_installs(name: str) -> list[str]:
    return [
        command
        for step in read_dockerfile(ROOT / "docker" / f"{name}.Dockerfile")
        if step.name == "RUN"
        for command in commands(step)
        if "torch" in command
    ]


@pytest.mark.parametrize("name", EXTRAS)
def test_everything_that_is_copied_passes_the_ignore_file(name: str) -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for step in read_dockerfile(ROOT / "docker" / f"{name}.Dockerfile"):
        if step.name == "COPY":
            for source in step.words[:-1]:
                assert (ROOT / source).exists()
                assert source in let_in or (source.endswith(".lock") and "docker/*.lock" in let_in)


def launched(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The launch script, with a Python that prints what it is called with, a line each."""
    return subprocess.run(
        ["bash", str(ROOT / "docker/launch_dataflow.sh"), *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )


def test_the_launch_script_gives_beam_what_the_graph_needs(tmp_path: Path) -> None:
    recorder = tmp_path / "python"
    recorder.write_text(f"#!{sys.executable}\nimport sys\nprint(*sys.argv[1:], sep='\\n')\n")
    recorder.chmod(0o755)
    names = {
        "PROJECT": "p",
        "REGION": "r",
        "BUCKET": "gs://b",
        "IMAGE": "registry/worker:1",
        "ACCELERATOR": "type:t4",
    }
    done = launched(
        "clips.csv", "gs://b/out", "--set", "pairs.max_references=3", PYTHON=str(recorder), **names
    )
    assert done.returncode == 0, done.stderr
    ours, beam = done.stdout.split("\n--\n")
    assert ours.splitlines() == [
        "-m", "pipeline", "run", "clips.csv", "--out", "gs://b/out",
        "--set", "pairs.max_references=3", "--set", "run.accelerator=type:t4",
    ]  # fmt: skip
    assert {
        "--runner=DataflowRunner",
        "--sdk_container_image=registry/worker:1",
        "--temp_location=gs://b/tmp",
    } <= set(beam.splitlines())


def test_the_launch_script_says_what_is_missing() -> None:
    done = launched("clips.csv", "gs://b/out", PROJECT="p", REGION="")
    assert done.returncode == 2
    assert "REGION is not set" in done.stderr
