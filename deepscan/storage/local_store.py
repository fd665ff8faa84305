"""A store in a local folder or on a network file system."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from deepscan.errors import ContractError, DeepscanError, UsageError
from deepscan.files import write_error

#: What a file system answers that has no hard links.
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
#: Temporary files begin with this.
TEMPORARY = ".writing-"


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
                    if not _is_hidden(entry.name) and entry.is_file():
                        yield entry.name
        except FileNotFoundError:
            return

    def names_below(self, folder: str) -> Iterator[str]:
        """See `Store.names_below`."""
        top = self._path(folder)
        for place, _, names in os.walk(top):
            for name in names:
                if not _is_hidden(name):
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
        for place, folders, names in os.walk(self._path(folder), topdown=False):
            for name in names:
                if name.startswith(TEMPORARY):
                    Path(place, name).unlink(missing_ok=True)
            for name in folders:
                with suppress(OSError):  # it is not empty
                    Path(place, name).rmdir()

    def _path(self, name: str) -> Path:
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"{name!r} is not the name of an object in a store")
        return self.folder / name


def _is_hidden(name: str) -> bool:
    """Return whether a file is not an object: a temporary one, or one of the system, such as `.nfs0123`."""
    return name.startswith(".")
