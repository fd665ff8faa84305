"""List the objects below a prefix, and ask for the facts of one."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from deepscan.errors import UsageError
from deepscan.storage.address import ObjectInfo, filesystem, scheme_of
from deepscan.storage.errors import FIRST_CONTACT, GIVE_UP, GIVE_UP_WEB, ObjectError, retrying

_Answer = TypeVar("_Answer")


def list_objects(prefix: str) -> Iterator[ObjectInfo]:
    """Yield the objects below a prefix, in the order of the store; only one page is held in memory.

    Args:
        prefix: An address that ends in `/`, or that of a bucket. Empty objects whose key ends in `/`, which
            some programs write for folders, are left out.

    Raises:
        DeepscanError: It cannot be listed.
    """
    try:
        if scheme_of(prefix) == "s3":
            yield from _list_s3(prefix)
        elif scheme_of(prefix) in ("http", "https"):
            raise UsageError(f"web servers do not list what is at {prefix!r}", "name the files one by one")
        else:
            yield from _walk(prefix)
    except ObjectError as failure:
        raise failure.of_run(prefix) from failure


def object_info(address: str) -> ObjectInfo:
    """Return the facts of an object without reading it.

    Raises:
        ObjectError: It does not exist, or cannot be asked for.
    """
    opened, web = filesystem(address), scheme_of(address) in ("http", "https")
    if scheme_of(address) == "s3":
        bucket, key = split_bucket(address)
        answer = _call(lambda: opened.call_s3("head_object", Bucket=bucket, Key=key))
        return ObjectInfo(address, answer["ContentLength"], bare_etag(answer.get("ETag")))
    info = _call(lambda: opened.info(address), GIVE_UP_WEB if web else GIVE_UP)
    if info.get("type") == "directory":
        raise ObjectError("missing", "it is a folder, not an object")
    return ObjectInfo(address, info.get("size"), etag_of(info))


def is_prefix_address(address: str) -> bool:
    """Return whether an address is that of a prefix: of a bucket, or with a slash at the end."""
    _, key = split_bucket(address)
    return scheme_of(address) not in ("http", "https") and (not key or key.endswith("/"))


def require_object(address: str) -> ObjectInfo:
    """Return the facts of an object of a store that a person has named.

    Raises:
        DeepscanError: It does not exist, or the store cannot be read.
    """
    try:
        return object_info(address)
    except ObjectError as failure:
        if failure.problem == "forbidden":
            # Some may read objects but not ask for their facts; if not, its record will say so.
            return ObjectInfo(address)
        if failure.problem != "missing":
            raise failure.of_run(address) from failure
    try:
        below = is_prefix(address)
    except ObjectError as other:
        if other.problem != "forbidden":
            raise other.of_run(address) from other
        below = False
    hint = f"to scan what is below it, name {address + '/'!r}" if below else "check the address"
    raise UsageError(f"{address!r} does not exist", hint)


def is_prefix(address: str) -> bool:
    """Return whether there are objects below an address, as if it ended in `/`.

    Raises:
        ObjectError: The bucket does not exist, or cannot be listed.
    """
    opened = filesystem(address)
    if scheme_of(address) == "s3":
        bucket, key = split_bucket(address)
        page = _call(lambda: opened.call_s3("list_objects_v2", Bucket=bucket, Prefix=f"{key}/", MaxKeys=1))
        return bool(page.get("KeyCount"))
    return bool(_call(lambda: opened.isdir(address)))


def split_bucket(address: str) -> tuple[str, str]:
    """Return the bucket and the key of an address; the key is empty for the bucket itself."""
    bucket, _, key = address.split("://", 1)[1].partition("/")
    return bucket, key


def bare_etag(etag: str | None) -> str | None:
    """Return an ETag without quotes, or a weak one (`W/"..."`) as it is; None if there is none."""
    return (etag if is_weak(etag) else etag.strip('"')) or None if etag else None


def is_weak(etag: str) -> bool:
    """Return whether an ETag is weak: web servers then refuse every conditional request."""
    return etag.startswith("W/")


def etag_of(info: dict[str, Any]) -> str | None:
    """Return the ETag in what fsspec knows about an object, None if it has none."""
    return bare_etag(next((str(info[name]) for name in ("etag", "ETag") if info.get(name)), None))


def _call(call: Callable[[], _Answer], limit: float = GIVE_UP, *, first: bool = True) -> _Answer:
    return retrying(call, limit=limit, unreachable=FIRST_CONTACT if first else GIVE_UP)


def _list_s3(prefix: str) -> Iterator[ObjectInfo]:
    opened = filesystem(prefix)
    bucket, key = split_bucket(prefix)
    more: dict[str, str] = {}
    while True:
        page = _call(
            partial(opened.call_s3, "list_objects_v2", Bucket=bucket, Prefix=key, **more),
            first=not more,
        )
        for entry in page.get("Contents", ()):
            if not entry["Key"].endswith("/"):
                address = f"{prefix.split('://', 1)[0]}://{bucket}/{entry['Key']}"
                yield ObjectInfo(address, entry["Size"], bare_etag(entry.get("ETag")))
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _walk(prefix: str) -> Iterator[ObjectInfo]:
    """Yield the objects below a prefix, folder by folder."""
    opened, (bucket, _) = filesystem(prefix), split_bucket(prefix)
    root = f"{prefix.split('://', 1)[0]}://{bucket}"
    folders, first = [opened._strip_protocol(prefix)], True
    while folders:
        folder = folders.pop()
        entries, first = _call(partial(opened.ls, folder, detail=True), first=first), False
        for entry in sorted(entries, key=lambda entry: str(entry["name"])):
            # fsspec leaves out the scheme, and Azure's account.
            address = f"{root}/{str(entry['name']).lstrip('/').partition('/')[2]}"
            if entry["type"] == "directory":
                folders.append(entry["name"])
            elif not address.endswith("/"):
                yield ObjectInfo(address, entry.get("size"), etag_of(entry))
