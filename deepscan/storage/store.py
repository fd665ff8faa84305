"""Objects that are written once, in a local folder or in an object store.

Several machines may write the same object at the same time. The first one wins, and its object never changes.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from deepscan.errors import ContractError, UsageError
from deepscan.files import write_error

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
        """Delete an object that this process has written, such as an attempt. Never a part."""
        ...


def open_store(location: str) -> Store:
    """Return the store at a local folder or an address. The folder is created when something is written.

    Raises:
        UsageError: The location is not a folder, or its scheme is unknown.
        MissingError: A package for such an address is missing.
    """
    if "://" in location:
        raise UsageError(f"cannot open {location}", "name a local folder")
    return LocalStore(Path(location))


def require_put_once(store: Store) -> None:
    """Check, with a probe that is deleted again, that a store never replaces an object.

    Raises:
        ContractError: The store replaced the probe, or cannot say whether an object exists.
        DeepscanError: The probe cannot be written.
    """
    name = f"probes/{secrets.token_hex(8)}"
    try:
        first, second = store.put_once(name, b"first"), store.put_once(name, b"second")
        kept = store.read(name) == b"first"
    finally:
        with suppress(Exception):
            store.delete(name)
    if not first or second or not kept:
        raise ContractError(
            f"{store.location} replaces an object that exists, so two workers could overwrite each other's "
            "results",
            "use a store with conditional writes, such as S3, Google Cloud Storage, Azure or a local folder",
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

    def read(self, name: str) -> bytes:
        """See `Store.read`."""
        return self._path(name).read_bytes()

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
            finally:
                temporary.unlink(missing_ok=True)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise write_error(path, error)
        return True

    def delete(self, name: str) -> None:
        """See `Store.delete`."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"{name!r} is not the name of an object in a store")
        return self.folder / name
