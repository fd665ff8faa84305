"""Fetch whole objects into memory or temporary files, hashed while they come; several at once."""

import asyncio
import hashlib
import os
import re
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from deepscan.logs import get_logger
from deepscan.storage.address import filesystem, scheme_of
from deepscan.storage.copies import Copy, CopySpace
from deepscan.storage.errors import (
    FIRST_CONTACT,
    GIVE_UP,
    GIVE_UP_WEB,
    Backoff,
    ObjectError,
    object_error,
)
from deepscan.storage.listing import bare_etag, etag_of, is_weak, split_bucket

LOG = get_logger(__name__)
#: Bytes that are read at once.
_PART = 1 << 20
#: A web address that needs no encoding.
_ENCODED = re.compile(r"(?:[!#$&-;=?-Z\[\]_a-z~]|%[0-9A-Fa-f]{2})+")
#: After this many seconds, an object must have arrived at this rate in bytes per second.
_PATIENCE, _SLOWEST = 60.0, 10_000


@dataclass(frozen=True, slots=True)
class FetchedObject:
    """An object that has been fetched.

    Attributes:
        address: Its address.
        copy: Its content. Close it when it is no longer needed.
        sha256: SHA-256 of the content in hexadecimal.
        size: Size in bytes.
        etag: Its ETag, None if the server gives none.
        seconds: Seconds from the first request to the last byte, with the pauses of retries.
    """

    address: str
    copy: Copy
    sha256: str
    size: int
    etag: str | None
    seconds: float


class Fetcher:
    """Fetches objects in the background, in the thread that fsspec keeps for all its requests.

    Args:
        space: Where to put the copies.
        clock: Returns the time in seconds.
        sleep: Waits before an object is tried again, seconds.
    """

    def __init__(
        self,
        space: CopySpace,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._space, self._clock, self._sleep = space, clock, sleep
        self._answered = False

    def start(self, address: str, etag: str | None = None) -> "Future[FetchedObject]":
        """Begin to fetch an object.

        Args:
            address: Its address.
            etag: The ETag that it must still have, None if any content will do.

        Returns:
            The object to come, or the `ObjectError` why it does not. Cancelling it stops the transfer.

        Raises:
            DeepscanError: The scheme is unknown, or its package is missing.
        """
        opened = filesystem(address)
        return asyncio.run_coroutine_threadsafe(self._fetch(opened, address, etag), opened.loop)

    def fetch(self, address: str, etag: str | None = None) -> FetchedObject:
        """Fetch an object, and wait for it. See `start`.

        Raises:
            ObjectError: It cannot be fetched.
            DeepscanError: As for `start`.
        """
        transfer = self.start(address, etag)
        try:
            return transfer.result()
        except BaseException:
            transfer.cancel()
            raise

    async def _fetch(self, opened: Any, address: str, etag: str | None) -> FetchedObject:
        web = scheme_of(address) in ("http", "https")
        read = _read_s3 if scheme_of(address) == "s3" else _read_web if web else _read_other
        began = self._clock()
        unreachable = GIVE_UP if self._answered else FIRST_CONTACT
        backoff = Backoff(GIVE_UP_WEB if web else GIVE_UP, unreachable, clock=self._clock)
        while True:
            incoming = _Incoming(self._space, self._clock)
            try:
                now = bare_etag(await read(opened, address, etag, incoming))
                self._answered = True
                return incoming.fetched(address, now, self._clock() - began)
            except BaseException as error:
                incoming.drop()
                if not isinstance(error, Exception):
                    raise
                failure = object_error(error)
                pause = backoff.pause(failure)
                if pause is None:
                    raise failure from error
            LOG.info("%r: %s; trying again in %.1f s", address, failure.detail, pause)
            await self._sleep(pause)


class _Incoming:
    """The content of an object while it arrives."""

    def __init__(self, space: CopySpace, clock: Callable[[], float]) -> None:
        self._space, self._clock = space, clock
        self._began = clock()
        self._hash = hashlib.sha256()
        self.copy: Copy | None = None

    def begin(self, size: int | None) -> Copy:
        self.copy = self._space.copy(size)
        return self.copy

    def add(self, part: bytes) -> None:
        assert self.copy is not None
        self.copy.write(part)
        self._hash.update(part)
        spent = self._clock() - self._began - _PATIENCE
        if spent > 0 and self.copy.size < spent * _SLOWEST:
            raise ObjectError("failed", f"its server sends less than {_SLOWEST // 1000} kB per second")

    def require_size(self, size: int | None) -> None:
        assert self.copy is not None
        if size is not None and self.copy.size != size:
            raise ObjectError("truncated", f"only {self.copy.size} of its {size} bytes arrive")

    def hash_again(self) -> None:
        """Hash a copy that was written by its name."""
        assert self.copy is not None
        with open(self.copy.file, "rb") as file:
            while part := file.read(_PART):
                self._hash.update(part)
                self.copy.size += len(part)

    def fetched(self, address: str, etag: str | None, seconds: float) -> FetchedObject:
        assert self.copy is not None
        self.copy.finish()
        return FetchedObject(address, self.copy, self._hash.hexdigest(), self.copy.size, etag, seconds)

    def drop(self) -> None:
        if self.copy is not None:
            self.copy.close()


async def _read_s3(opened: Any, address: str, etag: str | None, incoming: _Incoming) -> str | None:
    bucket, key = split_bucket(address)
    condition = {"IfMatch": f'"{etag}"'} if etag else {}
    answer = await opened._call_s3("get_object", Bucket=bucket, Key=key, **condition)
    body, size = answer["Body"], answer.get("ContentLength")
    try:
        incoming.begin(size)
        while part := await body.read(_PART):
            incoming.add(part)
    finally:
        body.close()
    incoming.require_size(size)
    found: str | None = answer.get("ETag")
    return found


async def _read_web(opened: Any, address: str, etag: str | None, incoming: _Incoming) -> str | None:
    session = await opened.set_session()
    # What is hashed must be the file, not a compressed form of it.
    headers = {"Accept-Encoding": "identity"}
    if etag and not is_weak(etag):
        headers["If-Match"] = f'"{etag}"'
    async with session.get(_encoded(address), headers=headers) as answer:
        answer.raise_for_status()
        now: str | None = answer.headers.get("ETag")
        # Many servers ignore If-Match.
        if etag and bare_etag(now) not in (None, etag):
            raise ObjectError("changed", "it has changed since it was listed")
        encoded = "Content-Encoding" in answer.headers
        size = None if encoded else answer.content_length
        incoming.begin(size)
        async for part in answer.content.iter_chunked(_PART):
            incoming.add(part)
        incoming.require_size(size)
        return now


def _encoded(address: str) -> Any:
    """Return a web address as it is sent.

    What is encoded already must stay as it is, or its signature would no longer match.
    """
    import yarl

    return yarl.URL(address, encoded=_ENCODED.fullmatch(address) is not None)


async def _read_other(opened: Any, address: str, etag: str | None, incoming: _Incoming) -> str | None:
    path = opened._strip_protocol(address)
    info = await opened._info(path)
    before = etag_of(info)
    if etag and before not in (None, etag):
        raise ObjectError("changed", "it has changed since it was listed")
    copy = incoming.begin(info["size"])
    await opened._get_file(path, os.fsdecode(copy.file))
    incoming.hash_again()
    incoming.require_size(info["size"])
    if etag_of(await opened._info(path)) != before:
        raise ObjectError("changed", "it changed while it was read")
    return before
