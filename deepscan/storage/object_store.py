"""A store in an object store, through fsspec."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from deepscan.errors import ContractError, DeepscanError
from deepscan.storage import address
from deepscan.storage.address import filesystem, scheme_of
from deepscan.storage.errors import ObjectError, retrying

_Result = TypeVar("_Result")
#: Names in a page of a listing; S3 gives no more.
PAGE = 1000


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
                # Some programs write an empty object for a folder.
                if not entry["Key"].endswith("/"):
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

        def write() -> bool:
            try:
                self._files.pipe_file(self._address(name), content, mode="create")
            except FileExistsError:
                return False
            return True

        try:
            return self._call(write, "written", name)
        except FileExistsError:
            return False

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
            if error.problem == "changed" and done == "written":
                # The condition was that there is no such object.
                raise FileExistsError(self._address(name))
            if error.problem == "unsupported" and done == "written":
                raise no_conditional_writes(self.location)
            raise _store_error(error, self._address(name), done)


def no_conditional_writes(location: str) -> ContractError:
    """Return the error for a store that cannot be asked to write an object only if it does not exist."""
    return ContractError(
        f"the store of {location!r} has no conditional writes: "
        "two workers could overwrite each other's results",
        "use a store that has them, such as Amazon S3, Google Cloud Storage, Azure, or a local folder",
    )


def _store_error(error: ObjectError, place: str, done: str) -> DeepscanError:
    """Return the error that ends a command because an object cannot be read or written."""
    found = error.of_run(place)
    detail = "no permission" if error.problem == "forbidden" else error.detail
    return type(found)(f"{place!r} cannot be {done}: {detail}", found.hint)
