"""A package's tarball from an npm registry without npm: one request, for machines that have no Node.js."""

from __future__ import annotations

import http.client
import os
import shutil
from pathlib import Path
from urllib.error import URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from schemas.errors import AssetError

REGISTRY = "https://registry.npmjs.org"
_SETTING = "npm_config_registry"
_TIMEOUT_S = 60.0


def tarball_address(package: str, version: str) -> str:
    """Where a registry serves a package: below $npm_config_registry, in small or capital letters as npm takes it, or
    below npm's own."""
    registry = os.environ.get(_SETTING) or os.environ.get(_SETTING.upper()) or REGISTRY
    return f"{registry.rstrip('/')}/{package}/-/{package.rsplit('/', 1)[-1]}-{version}.tgz"


def download_tarball(package: str, version: str, folder: Path) -> Path:
    """The tarball in `folder`; proxies are those of the environment. What it holds is for the caller to verify.

    Raises AssetError where the registry cannot be reached, or does not have it.
    """
    address = tarball_address(package, version)
    path = folder / "package.tgz"
    try:
        with _opener().open(Request(address), timeout=_TIMEOUT_S) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file)
    except (URLError, http.client.HTTPException, OSError, ValueError) as error:
        raise AssetError(
            f"{address} could not be downloaded: {getattr(error, 'reason', None) or error}.",
            remedy="Check the network and its proxies (https_proxy), or install npm, which knows its own registry and "
            "passwords; then run the same command again.",
        ) from None
    return path


def _opener() -> OpenerDirector:
    """Of http and https alone: an address is never a file of this machine."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPRedirectHandler(),
        HTTPErrorProcessor(),
        HTTPDefaultErrorHandler(),
        UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
