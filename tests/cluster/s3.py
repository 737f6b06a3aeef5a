"""A dataset made in a bucket of a real S3 server on this machine, and brought down."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pyarrow import fs

from schemas.addresses import filesystem_of
from tests.cluster import Unavailable
from tests.support.s3_server import MISSING, environment, is_installed, make_bucket, s3_server

BUCKET = "datasets"


def run_dataset(clips: Sequence[Path], folder: Path) -> Path:
    """The dataset of these clips, made in a bucket and copied below the folder."""
    if not is_installed():
        raise Unavailable(MISSING)
    with s3_server() as endpoint, variables(environment(endpoint)):
        make_bucket(endpoint, BUCKET)
        address = f"s3://{BUCKET}/dataset"
        words = ["-m", "pipeline", "run", *map(str, clips), "--out", address]
        subprocess.run([sys.executable, *words], check=True)
        return download(address, folder / "dataset")


def download(address: str, folder: Path) -> Path:
    """Copies a dataset from a bucket into a folder."""
    filesystem, path = filesystem_of(address)
    fs.copy_files(
        path, str(folder), source_filesystem=filesystem, destination_filesystem=fs.LocalFileSystem()
    )
    return folder


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
