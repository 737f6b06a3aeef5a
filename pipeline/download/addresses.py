"""Which addresses may be asked for a video, and which machines may be connected to while it is fetched."""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from schemas.errors import SourceError

_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_YOUTUBE_HOSTS = ("youtube.com", "youtu.be", "youtube-nocookie.com")
_guard = threading.Lock()


def video_address(text: str, *, allow_private: bool = False) -> str:
    """The https address of a YouTube id (11 letters, digits, '_', '-') or of a URL.

    Raises SourceError for anything else: other schemes, paths, credentials inside the URL. `allow_private` also lets
    http:// through.
    """
    if _YOUTUBE_ID.fullmatch(text):
        return f"https://www.youtube.com/watch?v={text}"
    try:
        parts = urlsplit(text)
        host, has_password = parts.hostname, parts.username is not None
        _ = parts.port
    except ValueError:
        host, has_password, parts = None, False, urlsplit("")
    if any(character.isspace() or not character.isprintable() for character in text) or not host:
        raise SourceError(
            f"{text[:200]!r} is neither a YouTube id (11 letters, digits, '_' or '-') nor a web address.",
            remedy="Give ids or https:// addresses; local files need no download.",
        )
    if has_password:
        raise SourceError(f"the address at {host} holds a user name.", remedy="Remove it from the address.")
    checked_scheme(text, allow_private=allow_private)
    return text


def checked_scheme(url: str, *, allow_private: bool) -> None:
    """Raises SourceError unless a URL is https, or http where private servers are allowed."""
    scheme = urlsplit(url).scheme.lower()
    if scheme != "https" and not (allow_private and scheme == "http"):
        raise SourceError(
            f"{url[:200]}: {scheme or 'no'}:// is refused, only https:// is fetched.",
            remedy="Use the https address; for a server of your own give --allow-private.",
        )


def is_youtube(url: str) -> bool:
    """Whether an address belongs to YouTube."""
    host = (urlsplit(url).hostname or "").lower()
    return any(host == site or host.endswith(f".{site}") for site in _YOUTUBE_HOSTS)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet: not private, loopback, link-local, reserved, multicast."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    return found.is_global and not found.is_multicast and (inner is None or is_public(str(inner)))


@contextmanager
def public_addresses_only(*, allow_private: bool = False) -> Iterator[None]:
    """While inside, names that resolve to anything but public addresses cannot be connected to from this process.

    The check sits where names become addresses, so it holds for redirects and for names that change their address,
    whichever library connects. A proxy from the environment may be private: it then does the connecting.
    Raises SourceError inside the block.
    """
    if allow_private:
        yield
        return
    proxies = {urlsplit(proxy).hostname for proxy in getproxies().values()}
    resolve = socket.getaddrinfo

    def checked(host: Any, *arguments: Any, **options: Any) -> Any:
        found = resolve(host, *arguments, **options)
        name = host.decode() if isinstance(host, bytes) else host
        if name not in proxies and any(not is_public(str(entry[4][0])) for entry in found):
            raise PrivateAddressError(
                f"{name} is an address in a private network, which was not asked for.",
                remedy="If the server is your own, give --allow-private.",
            )
        return found

    with _guard:
        socket.getaddrinfo = checked
        try:
            yield
        finally:
            socket.getaddrinfo = resolve


class PrivateAddressError(SourceError, OSError):
    """A connection to a private address. Also an OSError, so that libraries close what they had opened."""
