"""Kernels compile where neither the package nor the home can be written, and another user's cache is not trusted."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeline
from pipeline.host import kernel_cache
from pipeline.host.kernel_cache import IDLE_S, kernel_folder, kernel_place

ROOT = Path(pipeline.__file__).parent.parent
WORK = """
import os
import numpy as np
import pipeline.geometry.kinematics, pipeline.geometry.procrustes, pipeline.refine.equation_kernels
from pipeline.host.kernel_cache import kernel_place
from pipeline.rendering.compiled import CompiledRasterizer
from pipeline.geometry.camera import Camera
camera = Camera(np.array([[50.0, 0, 16], [0, 50.0, 16], [0, 0, 1]]), (32, 32))
corners = np.array([[-1.0, -1, 4], [1, -1, 4], [0, 1, 4]])
ids = CompiledRasterizer().face_ids(corners, np.array([[0, 1, 2]]), camera)
print((ids == 0).sum() > 50, kernel_place()[0], os.getuid())
"""


@pytest.fixture
def fresh() -> Iterator[None]:
    """A process that has not looked for a place, and forgets it."""
    for function in (kernel_folder, kernel_place):
        function.cache_clear()
    yield
    for function in (kernel_folder, kernel_place):
        function.cache_clear()


@pytest.fixture
def locked(fresh: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which none of the lasting places can be written, and its folder of temporary files."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(kernel_cache, "__file__", "/proc/package/kernel_cache.py")
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/cache")
    monkeypatch.setattr(kernel_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_a_private_temporary_folder_is_the_last_resort(locked: Path) -> None:
    folder, stays = kernel_place()
    assert folder == locked / f"humandepth-kernels-{os.getuid()}"
    assert not stays
    assert folder.stat().st_mode & 0o777 == 0o700
    assert "NUMBA_CACHE_DIR" not in os.environ  # other packages' kernels stay where they are


@pytest.mark.parametrize("how", ["open to others", "a link", "a file"])
def test_a_folder_that_others_could_have_written_is_not_used(
    locked: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """numba unpickles what lies in its cache."""
    place = locked / f"humandepth-kernels-{os.getuid()}"
    if how == "a file":
        place.write_text("")
    elif how == "a link":
        (locked / "theirs").mkdir(mode=0o700)
        place.symlink_to(locked / "theirs")
    else:
        place.mkdir()
        place.chmod(0o777)
    assert kernel_place() == (None, False)
    assert kernel_folder(kernel_cache.__file__) is None


def test_a_given_folder_comes_first(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(locked / "mine"))
    assert kernel_place() == (locked / "mine/humandepth-kernels", True)


def test_folders_of_earlier_sources_go_once_they_are_idle(
    locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the same file, when a new one is made; a folder in use notes that by its time."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(locked))
    digests = iter(("b" * 16, "c" * 16, "b" * 16))
    monkeypatch.setattr(kernel_cache, "source_digest", lambda file: next(digests))
    place, now = locked / "humandepth-kernels", time.time()
    idle = {"one.kernels-old": IDLE_S + 60, "one.kernels-new": IDLE_S - 60, "two.kernels-old": 2 * IDLE_S}
    for name, idle_s in idle.items():
        (place / name / "one_path").mkdir(parents=True)
        (place / name / "one_path/kernel.nbc").write_text("")
        os.utime(place / name, (now - idle_s, now - idle_s))
    used = kernel_folder("/one/kernels.py")
    assert used == place / f"one.kernels-{'b' * 16}"
    assert {path.name for path in place.iterdir()} == {"one.kernels-new", "two.kernels-old", used.name}
    os.utime(used, (0, 0))
    kernel_folder.cache_clear()
    assert kernel_folder("/one/kernels.py") == place / f"one.kernels-{'c' * 16}"
    assert not used.exists()
    used.mkdir()
    os.utime(used, (0, 0))
    kernel_folder.cache_clear()
    assert kernel_folder("/one/kernels.py") == used
    assert used.stat().st_mtime > now - 1


def test_kernels_work_from_a_read_only_package_without_a_home(tmp_path: Path) -> None:
    """Another user's process (where root may make one), or this one's without the right to write."""
    package, temporary = tmp_path / "package", tmp_path / "temporary"
    for part in ("pipeline", "schemas"):
        shutil.copytree(ROOT / part, package / part, ignore=shutil.ignore_patterns("__pycache__"))
    temporary.mkdir()
    temporary.chmod(0o1777)
    for path in [*package.rglob("*"), package]:
        path.chmod(path.stat().st_mode & ~0o222)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(package), "TMPDIR": str(temporary)}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/proc/nonexistent", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WORK]
    if os.getuid() == 0:
        command = [*_as_somebody_else(tmp_path), *command]
    done = subprocess.run(
        command, env=environment, cwd="/", capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    worked, folder, uid = done.stdout.split()
    assert worked == "True"
    assert Path(folder) == temporary / f"humandepth-kernels-{uid}"
    assert list(Path(folder).rglob("*.nbc"))  # compiled code is there for the next process


def _as_somebody_else(folder: Path) -> list[str]:
    """What lets root run a command without the rights of root: as another user, or without overriding modes."""
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and setpriv (util-linux) is not there to give that up")
    places = [folder, *folder.parents, Path(sys.executable), *Path(sys.executable).resolve().parents]
    if all(path.stat().st_mode & (stat.S_IXOTH) for path in places):
        return ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"]
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all"]
