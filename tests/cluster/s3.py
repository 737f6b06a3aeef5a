"""A dataset made in a bucket of a real S3 server on this machine, and brought down."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pyarrow import fs

from pipeline.runner.driver import run
from pipeline.video.source import clips_from_arguments
from schemas.addresses import filesystem_of
from tests.support.fast_units import fast_resources, fast_settings
from tests.support.s3_server import MISSING, environment, is_installed, make_bucket, s3_server

BUCKET = "datasets"


def run_dataset(clips: Sequence[Path], folder: Path) -> Path:
    """Makes the dataset of the clips in a bucket and gives the folder it was copied to.

    Raises RuntimeError where the server is not installed.
    """
    if not is_installed():
        raise RuntimeError(MISSING)
    with s3_server() as endpoint, variables(environment(endpoint)):
        make_bucket(endpoint, BUCKET)
        address = f"s3://{BUCKET}/dataset"
        run(
            clips_from_arguments([str(clip) for clip in clips]),
            address,
            fast_settings(),
            make_resources=fast_resources,
        )
        return download(address, folder)


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
