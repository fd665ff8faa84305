"""Objects that are written once, in a local folder or in an object store.

Several machines may write the same object at the same time. The first one wins, and its object never changes.
"""

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from deepscan.errors import ContractError, DeepscanError, UsageError
from deepscan.files import write_error
from deepscan.storage import address
from deepscan.storage.address import filesystem, is_address, local_path, require_readable_scheme, scheme_of
from deepscan.storage.errors import ObjectError, retrying

_Result = TypeVar("_Result")
#: Names in a page of a listing; S3 gives no more.
PAGE = 1000
#: What a file system answers that has no hard links.
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
#: Temporary files begin with this; a listing leaves them out.
TEMPORARY = ".writing-"


class Store(Protocol):
    """A folder of objects. Names have `/` between their parts, such as `parts/0f.parquet`.

    Attributes:
        location: The folder or address, as shown to users.
    """

    location: str

    def names(self, folder: str) -> Iterator[str]:
        """Yield the names of the objects in a folder, without the folder; empty if it does not exist.

        There may be millions, in no particular order. Folders below this one are left out.
        """
        ...

    def names_below(self, folder: str) -> Iterator[str]:
        """Yield the names of the objects in a folder and below it, such as `a/b`; otherwise as `names`."""
        ...

    def read(self, name: str) -> bytes:
        """Return the content of an object.

        Raises:
            FileNotFoundError: It does not exist.
            DeepscanError: It cannot be read.
        """
        ...

    def exists(self, name: str) -> bool:
        """Return whether an object exists."""
        ...

    def put_once(self, name: str, content: bytes) -> bool:
        """Write an object unless it exists, completely or not at all.

        Returns:
            True if it was written, False if an object of this name exists, which is then unchanged. A lost
            reply of the store may make this False although this call has written the object.

        Raises:
            DeepscanError: It cannot be written, for example because the disk is full.
        """
        ...

    def delete(self, name: str) -> None:
        """Delete an object that this process has written, such as an attempt, if it exists. Never a part."""
        ...

    def remove_leftovers(self, folder: str) -> None:
        """Delete what killed writers have left in a folder, in which nothing may be written any more."""
        ...


def open_store(location: str) -> Store:
    """Return the store at a local folder or an address. The folder is created when something is written.

    Raises:
        UsageError: The location is not a folder, or its scheme is unknown.
        MissingError: A package for such an address is missing.
    """
    if not is_address(location):
        return LocalStore(Path(location))
    if scheme_of(location) == "file":
        return LocalStore(Path(local_path(location)))
    require_readable_scheme(location)
    if scheme_of(location) in ("http", "https"):
        raise UsageError(
            f"nothing can be written to {location!r}",
            "name a local folder, or an address such as s3://bucket/run/",
        )
    return ObjectStore(location)


def require_put_once(store: Store) -> None:
    """Check, with a probe that is deleted again, that a store never replaces an object.

    Raises:
        ContractError: The store replaced the probe, or checks and writes in two steps.
        DeepscanError: The probe cannot be written.
    """
    name = f".probe-{secrets.token_hex(8)}"
    atomic = not isinstance(store, ObjectStore) or store.creates_atomically
    try:
        held = (
            atomic
            and store.put_once(name, b"first")
            and not store.put_once(name, b"second")
            and store.read(name) == b"first"
        )
    finally:
        with suppress(Exception):
            store.delete(name)
    if not held:
        raise ContractError(
            f"the store of {store.location!r} has no conditional writes: two workers could overwrite each "
            "other's results",
            "use a store that has them, such as Amazon S3, Google Cloud Storage, Azure, or a local folder",
        )


class LocalStore:
    """A folder on a disk or a network file system with hard links.

    Args:
        folder: The folder; it is created when something is written.

    Raises:
        UsageError: It exists and is not a folder.
    """

    def __init__(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is not a folder", "name a folder")
        self.folder, self.location = folder, str(folder)

    def names(self, folder: str) -> Iterator[str]:
        """See `Store.names`."""
        try:
            with os.scandir(self._path(folder)) as entries:
                for entry in entries:
                    if not entry.name.startswith(TEMPORARY) and entry.is_file():
                        yield entry.name
        except FileNotFoundError:
            return

    def names_below(self, folder: str) -> Iterator[str]:
        """See `Store.names_below`."""
        top = self._path(folder)
        for place, _, names in os.walk(top):
            for name in names:
                if not name.startswith(TEMPORARY):
                    yield (Path(place) / name).relative_to(top).as_posix()

    def read(self, name: str) -> bytes:
        """See `Store.read`."""
        path = self._path(name)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DeepscanError(
                f"{path} cannot be read: {error.strerror}", "check the disk and the permissions"
            )

    def exists(self, name: str) -> bool:
        """See `Store.exists`."""
        return self._path(name).exists()

    def put_once(self, name: str, content: bytes) -> bool:
        """See `Store.put_once`. A temporary file is complete on disk before it gets its name."""
        path = self._path(name)
        temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
        try:
            if path.exists():
                return False
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.link(temporary, path)
            except FileExistsError:
                # Over NFS a lost reply makes a link that succeeded look like one that did not.
                return temporary.stat().st_nlink > 1
            except FileNotFoundError:
                # All parts exist, so the worker that seals the run has removed the temporary file.
                if path.exists():
                    return False
                raise
            finally:
                temporary.unlink(missing_ok=True)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            if error.errno in _NO_LINKS and error.filename2 is not None:
                raise ContractError(
                    f"the file system of {self.location} has no hard links, so two workers could overwrite "
                    "each other's results",
                    "name a folder on another disk, or an object store",
                )
            raise write_error(path, error)
        return True

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        self._path(name).unlink(missing_ok=True)

    def remove_leftovers(self, folder: str) -> None:
        """See `Store.remove_leftovers`."""
        for path in self._path(folder).glob(f"{TEMPORARY}*"):
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"{name!r} is not the name of an object in a store")
        return self.folder / name


class ObjectStore:
    """A prefix in an object store.

    Args:
        location: Its address.
        files: The fsspec file system, None for the one of the address in the process that uses it.
    """

    def __init__(self, location: str, files: Any = None) -> None:
        self.location, self._given = location, files

    @property
    def creates_atomically(self) -> bool:
        """Whether the store itself checks; fsspec's default looks first, and writes then."""
        from fsspec.asyn import AsyncFileSystem
        from fsspec.spec import AbstractFileSystem

        kind = type(self._files)
        if issubclass(kind, AsyncFileSystem):
            return kind._pipe_file is not AsyncFileSystem._pipe_file
        return kind.pipe_file is not AbstractFileSystem.pipe_file

    def names(self, folder: str) -> Iterator[str]:
        """See `Store.names`."""
        if self._is_s3:
            yield from self._s3_names(folder, {"Delimiter": "/"})
            return
        try:
            entries = self._call(lambda: self._files.ls(self._address(folder), detail=True), "read", folder)
        except FileNotFoundError:
            return
        for entry in entries:
            if entry["type"] == "file":
                yield entry["name"].rsplit("/", 1)[-1]

    def names_below(self, folder: str) -> Iterator[str]:
        """See `Store.names_below`."""
        if self._is_s3:
            yield from self._s3_names(folder, {})
            return
        try:
            found = self._call(lambda: self._files.find(self._address(folder)), "read", folder)
        except FileNotFoundError:
            return
        top = f"{self._files._strip_protocol(self._address(folder))}/"
        yield from (path.removeprefix(top) for path in found)

    def _s3_names(self, folder: str, options: dict[str, str]) -> Iterator[str]:
        # `ls` would keep all pages in memory, and ask twice for an empty folder.
        bucket, _, prefix = f"{self._address(folder)}/".split("://", 1)[1].partition("/")
        request = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": PAGE, **options}
        while True:
            page = self._call(partial(self._files.call_s3, "list_objects_v2", **request), "read", folder)
            for entry in page.get("Contents", ()):
                yield entry["Key"].removeprefix(prefix)
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def read(self, name: str) -> bytes:
        """See `Store.read`."""
        # By default s3fs asks for the size first, to read large objects in pieces.
        options = {"max_concurrency": 1} if self._is_s3 else {}
        content: bytes = self._call(
            lambda: self._files.cat_file(self._address(name), **options), "read", name
        )
        return content

    def exists(self, name: str) -> bool:
        """See `Store.exists`."""
        return bool(self._call(lambda: self._files.exists(self._address(name)), "read", name))

    def put_once(self, name: str, content: bytes) -> bool:
        """See `Store.put_once`. It takes one request."""
        try:
            self._call(
                lambda: self._files.pipe_file(self._address(name), content, mode="create"), "written", name
            )
        except FileExistsError:
            return False
        return True

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        with suppress(FileNotFoundError):
            self._call(lambda: self._files.rm_file(self._address(name)), "written", name)

    def remove_leftovers(self, folder: str) -> None:
        """See `Store.remove_leftovers`; an object that was not written completely does not exist."""

    @property
    def _is_s3(self) -> bool:
        return scheme_of(self.location) == "s3"

    @property
    def _files(self) -> Any:
        return filesystem(self.location) if self._given is None else self._given

    def _address(self, name: str) -> str:
        return address.join(self.location, name) if name else self.location.rstrip("/")

    def _call(self, call: Callable[[], _Result], done: str, name: str) -> _Result:
        """Return the result of a call, with retries.

        Raises:
            FileNotFoundError: The object does not exist.
            FileExistsError: It exists.
            DeepscanError: It could not be read or written.
        """
        try:
            return retrying(call)
        except ObjectError as error:
            if error.problem == "missing":
                raise FileNotFoundError(self._address(name))
            if error.problem == "exists" or (error.problem == "changed" and done == "written"):
                raise FileExistsError(self._address(name))
            raise _store_error(error, self._address(name), done)


def _store_error(error: ObjectError, place: str, done: str) -> DeepscanError:
    """Return the error that ends a command because an object cannot be read or written."""
    found = error.of_run(place)
    detail = "no permission" if error.problem == "forbidden" else error.detail
    return type(found)(f"{place!r} cannot be {done}: {detail}", found.hint)
