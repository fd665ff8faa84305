"""Objects that are written once, in a local folder or in an object store.

Several machines may write the same object at the same time. The first one wins, and its object never changes.
"""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from deepscan.errors import UsageError
from deepscan.storage.address import SCHEMES, is_address, local_path, require_readable_scheme, scheme_of
from deepscan.storage.local_store import LocalStore
from deepscan.storage.object_store import ObjectStore, no_conditional_writes


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
        """Delete what killed writers have left in a folder, and folders without objects.

        Nothing may be written there any more.
        """
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
    if scheme_of(location) in ("http", "https") or scheme_of(location) not in SCHEMES:
        raise UsageError(
            f"nothing can be written to {location!r}",
            "name a local folder, or an address such as s3://bucket/run/",
        )
    require_readable_scheme(location)
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
        raise no_conditional_writes(store.location)
