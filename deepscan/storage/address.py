"""Addresses of objects, such as `s3://bucket/key`, and the file systems that read them."""

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from deepscan.errors import MissingError, UsageError, install_hint, package_hint

#: How an address begins. Windows drives do not: a scheme has at least two letters.
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.I)
#: Sites that show videos in a player: their addresses are pages, not videos.
_PLAYERS = re.compile(
    r"(?:[\w-]+\.)*(?:youtube\.com|youtu\.be|vimeo\.com|tiktok\.com|instagram\.com|facebook\.com)"
)
#: Scheme -> its file system in fsspec, the module that this needs, and the package that has the module; an
#: empty package is in the extra `store`.
_FILE_SYSTEMS = {
    "s3": ("s3", "s3fs", ""),
    "http": ("http", "aiohttp", ""),
    "https": ("http", "aiohttp", ""),
    "gs": ("gs", "gcsfs", "gcsfs"),
    "gcs": ("gs", "gcsfs", "gcsfs"),
    "az": ("abfs", "adlfs", "adlfs"),
    "abfs": ("abfs", "adlfs", "adlfs"),
    "abfss": ("abfs", "adlfs", "adlfs"),
}
#: Schemes that can be read; `file` addresses are paths.
SCHEMES = (*_FILE_SYSTEMS, "file")
#: Seconds to wait for a connection, and for the next bytes of an answer.
CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 30.0
#: Most connections of this process to one store.
_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object in a listing.

    Attributes:
        address: Its address.
        size: Its size in bytes, None if the listing does not have it.
        etag: Its ETag without quotes, None likewise. It changes with the content.
    """

    address: str
    size: int | None = None
    etag: str | None = None


def is_address(name: str) -> bool:
    """Return whether a name is an address instead of a path; its scheme need not be known."""
    return _SCHEME.match(name) is not None


def scheme_of(address: str) -> str:
    """Return the scheme of an address in lower case, such as `s3`.

    Raises:
        ValueError: It is a path.
    """
    found = _SCHEME.match(address)
    if found is None:
        raise ValueError(f"{address!r} is not an address")
    return found[1].lower()


def join(address: str, *parts: str) -> str:
    """Return the address of an object below another address, with one slash between the parts."""
    return "/".join([address.rstrip("/"), *(part.strip("/") for part in parts)])


def local_path(address: str) -> str:
    """Return the path of a `file://` address.

    Raises:
        UsageError: It names another machine.
    """
    host, path = urlsplit(address).netloc, address.split("://", 1)[1]
    if host not in ("", "localhost"):
        raise UsageError(
            f"{address!r} names the machine {host!r}", "write three slashes, as in file:///folder/clip.mp4"
        )
    return os.fsdecode(unquote_to_bytes(path.removeprefix(host)))


def require_readable_scheme(address: str) -> None:
    """Check that objects at an address can be read, as far as the address shows.

    Raises:
        UsageError: The scheme is unknown, or it is the page of a player.
        MissingError: A package is missing.
    """
    scheme = scheme_of(address)
    try:
        parts = urlsplit(address)
        host, password = parts.hostname or "", parts.password
    except ValueError as error:
        raise UsageError(f"{address!r} is not an address: {error}", "check it")
    if password is not None:
        raise UsageError(
            f"an address at {host} has a password in it, which would be in every record",
            "leave it out, and put it into ~/.netrc",
        )
    if scheme not in SCHEMES:
        raise UsageError(
            f"the address {address!r} cannot be read: unknown scheme {scheme!r}",
            f"use one of {', '.join(f'{known}://' for known in SCHEMES)}, or download it first",
        )
    if scheme in ("http", "https") and _PLAYERS.fullmatch(host):
        raise UsageError(
            f"the address {address!r} is the page of a player, not a video",
            "download it first (for example with yt-dlp), then scan the file",
        )
    if scheme == "file":
        local_path(address)
        return
    _, module, package = _FILE_SYSTEMS[scheme]
    for name in ("fsspec", module):
        try:
            import_module(name)
        except ImportError:
            hint = package_hint(package) if package and name == module else install_hint("store")
            raise MissingError(
                f"reading {scheme}:// needs the package {name!r}, which is not installed", hint
            )


def filesystem(address: str) -> Any:
    """Return the fsspec file system of an address: one a process, without cached listings.

    It retries nothing: see `storage.errors.retrying`. Call it in the process that uses it, not before a fork.

    Raises:
        UsageError: The scheme is unknown, or a page of a player.
        MissingError: A package is missing.
    """
    require_readable_scheme(address)
    scheme = scheme_of(address)
    if scheme == "file":
        raise ValueError(f"{address!r} is a path: see local_path")
    # Other credentials or another endpoint need another client.
    settings = tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith("AWS_")))
    protocol = _FILE_SYSTEMS[scheme][0]
    # Azure's addresses may name the account, as in abfss://container@account.dfs.core.windows.net/clip.mp4.
    account = (urlsplit(address).hostname or "").partition(".")[0] if "@" in urlsplit(address).netloc else ""
    return _opened(protocol, os.getpid(), settings, account if protocol == "abfs" else "")


@lru_cache(maxsize=4)
def _opened(protocol: str, process: int, settings: tuple[tuple[str, str], ...], account: str = "") -> Any:
    import fsspec

    common: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if protocol == "s3":
        opened = fsspec.filesystem(
            "s3",
            **common,
            # s3fs only checks whether there are credentials when it is asked to; botocore does it anyway.
            config_kwargs={
                "connect_timeout": CONNECT_TIMEOUT,
                "read_timeout": READ_TIMEOUT,
                "max_pool_connections": _CONNECTIONS,
                "retries": {"max_attempts": 0},
            },
        )
        opened.retries = 1
        return opened
    if protocol == "http":
        import aiohttp

        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT, connect=CONNECT_TIMEOUT
        )
        return fsspec.filesystem("http", **common, client_kwargs={"timeout": timeout, "trust_env": True})
    if account:
        common["account_name"] = account
    return fsspec.filesystem(protocol, **common)
