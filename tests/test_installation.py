"""The installed environment: what the lock says, one OpenCV, and nothing that a bare machine would miss."""

from __future__ import annotations

import importlib.metadata
import re
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from packaging.requirements import Requirement

from tests.test_docker import TORCH
from tools.make_locks import DEVELOPMENT_EXTRAS, without_torch

ROOT = Path(__file__).resolve().parents[1]
SITE_PACKAGES = Path(sysconfig.get_path("platlib"))
GLIBC = {
    "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1", "libc.so.6", "libdl.so.2", "libm.so.6", "libmvec.so.1",
    "libpthread.so.0", "librt.so.1", "libutil.so.1",
}  # fmt: skip
OF_PYTHON = {"libgcc_s.so.1", "libstdc++.so.6", "libz.so.1"}
"""Part of every Debian that has apt and python3."""
NEVER_LOADED = ("ai_edge_litert/vendors/", "numba/np/ufunc/", "nvidia/", "torch/", "triton/")
"""Plug-ins for accelerators and thread pools that are not asked for, and CUDA where a GPU is."""


def shared_objects(folder: Path) -> Iterator[tuple[str, DynamicSection]]:
    """Path below the folder and dynamic section of every ELF shared object."""
    for path in sorted(folder.rglob("*.so*")):
        if not path.is_file():
            continue
        with path.open("rb") as file:
            if file.read(4) == b"\x7fELF":
                section = ELFFile(file).get_section_by_name(".dynamic")
                if section is not None:
                    yield path.relative_to(folder).as_posix(), section


def libraries_missing(folder: Path) -> dict[str, str]:
    """Libraries (DT_NEEDED) that neither the folder nor every Debian holds, each with a file that needs it."""
    needed: dict[str, str] = {}
    held = {path.name for path in folder.rglob("*.so*")}
    for name, section in shared_objects(folder):
        for tag in section.iter_tags():
            if tag.entry.d_tag == "DT_SONAME":
                held.add(tag.soname)
            elif tag.entry.d_tag == "DT_NEEDED" and not name.startswith(NEVER_LOADED):
                needed.setdefault(tag.needed, name)
    return {library: name for library, name in needed.items() if library not in held | GLIBC | OF_PYTHON}


def test_no_shared_object_needs_a_library_that_a_bare_machine_lacks() -> None:
    assert not libraries_missing(SITE_PACKAGES)


def test_a_library_that_is_not_there_is_seen(tmp_path: Path) -> None:
    """numpy's kernels need the OpenBLAS that its wheel brings in a folder beside them."""
    (core,) = Path(np.__file__).parent.glob("_core/_multiarray_umath.*.so")
    (tmp_path / "alone.so").write_bytes(core.read_bytes())
    assert any("openblas" in library for library in libraries_missing(tmp_path))


def test_one_distribution_holds_opencv() -> None:
    """Two would overwrite each other's files, and the desktop build needs libraries of a desktop."""
    assert importlib.metadata.packages_distributions()["cv2"] == ["opencv-python-headless"]


def locked() -> list[Requirement]:
    """The entries of the lock that hold for this Python and platform."""
    lines = re.findall(r"^[a-z0-9].*?(?= \\$)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    entries = [Requirement(line) for line in lines]
    return [entry for entry in entries if entry.marker is None or entry.marker.evaluate()]


@pytest.mark.parametrize("entry", locked(), ids=lambda entry: entry.name)
def test_the_environment_is_the_locks(entry: Requirement) -> None:
    found = importlib.metadata.version(entry.name)
    assert entry.specifier.contains(found), f"{entry.name} {found} is installed; `make install` takes {entry}"


def test_the_lock_holds_what_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"]]
    for extra in DEVELOPMENT_EXTRAS:
        needed += project["optional-dependencies"][extra]
    pinned = {entry.name: str(entry.specifier).removeprefix("==") for entry in locked()} | {"torch": TORCH}
    for requirement in map(Requirement, needed):
        version = pinned[requirement.name]
        assert requirement.specifier.contains(version), f"{requirement} against {version}"


def test_every_entry_of_the_lock_has_hashes() -> None:
    entries = re.split(r"^(?=[a-z0-9])", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) > 100
    assert all("--hash=sha256:" in entry for entry in entries)


def test_torch_and_its_cuda_stay_out_of_a_lock() -> None:
    text = "".join(f"{name}==1 \\\n    --hash=x\n" for name in ("a", "nvidia-cublas", "torch", "torchlike"))
    kept = "".join(f"{name}==1 \\\n    --hash=x\n" for name in ("a", "torchlike"))
    assert without_torch(text) == kept
