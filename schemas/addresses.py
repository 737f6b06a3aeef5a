"""Addresses of buckets, and the Arrow file systems that read and write them: gs://, s3://, hdfs://, abfs://, hf://,
file:// and, with the package fsspec, fsspec+PROTOCOL:// for anything else.

The standard environment variables count: AWS_ENDPOINT_URL (or AWS_ENDPOINT_URL_S3), AWS_REGION, AWS_PROFILE,
AWS_ACCESS_KEY_ID and their like for s3://.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TypeVar

import pyarrow as pa
from pyarrow import fs

from schemas.errors import DatasetError

T = TypeVar("T")
SCHEMES = ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss", "hf", "file")
"""What Arrow reads and writes itself."""
ATTEMPTS = 8
"""Of a request to s3:// that was answered with a server's error, or whose connection broke; the waits double."""
CONNECT_LIMIT_S = 5.0
ANSWER_LIMIT_S = 20.0
"""Without a byte from the server."""
_CREDENTIALS = (
    "ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE_DOES_NOT_MATCH", "INVALID_CLIENT_TOKEN", "HTTP status 403",
    "MISSING_AUTHENTICATION", "INVALID_SIGNATURE", "EXPIRED_TOKEN", "HTTP response code: 403",
)  # fmt: skip
_NETWORK = (
    "NETWORK_CONNECTION", "REQUEST_TIMEOUT", "ould not connect", "ould not resolve", "ouldn't resolve", "timed out",
)  # fmt: skip
_NO_BUCKET = ("NO_SUCH_BUCKET", "bucket does not exist")


def is_remote(root: object) -> bool:
    """Whether it names a place by scheme, as in gs://bucket/folder."""
    return "://" in str(root)


def is_for_arrow(address: str) -> bool:
    """Whether Arrow has a file system for an address."""
    scheme = address.partition("://")[0].lower()
    return scheme in SCHEMES or scheme.startswith("fsspec+")


def filesystem_of(address: str) -> tuple[fs.FileSystem, str]:
    """The file system of an address, made once a process, and the path in it. Raises what Arrow raises."""
    if not address.startswith("s3://"):
        return _opened_from_uri(address)
    bucket = address.removeprefix("s3://").partition("/")[0]
    return _s3(bucket, _endpoint(), os.getpid()), address.removeprefix("s3://").rstrip("/")


def check_reachable(root: str) -> None:
    """Raises DatasetError where the bucket of an address does not exist, does not answer, or refuses us.

    For s3:// within ANSWER_LIMIT_S or little more; other places are asked for when they are read.
    """
    if not root.startswith("s3://"):
        return
    bucket = root.removeprefix("s3://").partition("/")[0]
    with reaching(root):
        begin_s = time.monotonic()
        try:
            found = _s3(bucket, _endpoint(), os.getpid(), attempts=3).get_file_info(bucket)
        except OSError as error:
            said = str(error) or f"no answer within {time.monotonic() - begin_s:.0f} s"
            raise OSError(said) from error
        if found.type == fs.FileType.NotFound:
            raise OSError(f"NO_SUCH_BUCKET {bucket!r}")


@contextmanager
def reaching(root: str, doing: str = "read") -> Iterator[None]:
    """What a file system says becomes an error that names the place, and says what to do about it."""
    try:
        yield
    except (OSError, ValueError, ImportError, pa.ArrowException) as error:
        why, remedy = explained(root, error)
        raise DatasetError(f"{root} cannot be {doing}: {why}.", remedy=remedy) from error


def persistently(address: str, call: Callable[[], T]) -> T:
    """What a call gives that reads or writes an address, made again where an answer broke off: s3:// clients try
    requests again, but not answers that they have begun to read.
    """
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except OSError as error:
            if attempt == ATTEMPTS - 1 or not _is_broken_answer(address, error):
                raise
        time.sleep(min(2.0, 0.05 * 2**attempt))
    raise AssertionError("unreachable")


def _is_broken_answer(address: str, error: OSError) -> bool:
    said = str(error)
    return (
        address.startswith("s3://")
        and "AWS Error" in said
        and not isinstance(error, FileNotFoundError)
        and not any(word in said for word in (*_CREDENTIALS, *_NETWORK, *_NO_BUCKET))
    )


def explained(root: str, error: Exception) -> tuple[str, str]:
    """Why a place cannot be reached, from what its file system said, and what to do about it."""
    said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if root.startswith("s3://"):
        endpoint = _endpoint()
        at = f"the endpoint {endpoint} (AWS_ENDPOINT_URL)" if endpoint else "S3"
        if any(word in said for word in _NO_BUCKET):
            bucket = root.removeprefix("s3://").partition("/")[0]
            return f"{at} has no bucket {bucket!r}", "Check the address, or make the bucket first."
        if any(word in said for word in _CREDENTIALS):
            return (
                f"{at} refuses the request: {said}",
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and check what they may do there.",
            )
        if any(word in said for word in _NETWORK):
            return (
                f"{at} does not answer: {said}",
                "Check the network, AWS_ENDPOINT_URL and AWS_REGION, then run the same command again.",
            )
    return said, "Check the address and the credentials; fsspec+PROTOCOL:// needs the package fsspec."


def _endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


@lru_cache(maxsize=32)
def _s3(bucket: str, endpoint: str, process: int, attempts: int = ATTEMPTS) -> fs.FileSystem:
    """The client of a bucket. Clients hold threads, which a fork does not take along: one for each process."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region and endpoint:
        region = "us-east-1"  # servers other than Amazon's have no regions
    if not region:
        with suppress(OSError, pa.ArrowException):
            region = fs.resolve_s3_region(bucket)
    return fs.S3FileSystem(
        region=region or None,
        endpoint_override=endpoint or None,
        connect_timeout=CONNECT_LIMIT_S,
        request_timeout=ANSWER_LIMIT_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=attempts),
        allow_delayed_open=True,  # a small file is one request
    )


def _opened_from_uri(address: str) -> tuple[fs.FileSystem, str]:
    scheme, _, rest = address.partition("://")
    place, slash, path = rest.partition("/")
    if scheme.startswith("fsspec+") or scheme == "file":  # what a path is depends on the file system
        filesystem, found = fs.FileSystem.from_uri(address)
        return filesystem, found.rstrip("/")
    filesystem, root = _cached(f"{scheme}://{place}", os.getpid())
    return filesystem, f"{root.rstrip('/')}{slash}{path}".rstrip("/")


@lru_cache(maxsize=32)
def _cached(place: str, process: int) -> tuple[fs.FileSystem, str]:
    filesystem, root = fs.FileSystem.from_uri(place)
    return filesystem, str(root)
