"""Writing files completely or not at all, and by one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from deepscan.errors import ContractError, DeepscanError, UsageError


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Lock an output against other runs while the context lasts.

    Raises:
        ContractError: Another run has the lock.
        UsageError: The folder of the output is not writable.
    """
    name = path.with_name(f".{path.name}.lock")
    try:
        held = _locked(name)
    except BlockingIOError:
        raise ContractError(f"another run is writing {path}", "wait for it to end, or name another --out")
    except OSError as error:
        create = "" if path.parent.is_dir() else f"create the folder {path.parent}, or "
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", f"{create}name another file with --out"
        )
    try:
        yield
    finally:
        name.unlink(missing_ok=True)
        held.close()


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Yield a temporary file that replaces `path` when the context ends without an error.

    Raises:
        DeepscanError: The file cannot be written; the old file is unchanged.
    """
    fresh = path.with_name(path.name + ".part")
    try:
        with fresh.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        # The new name is safe on disk only when the folder is synced too.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException as error:
        fresh.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise write_error(path, error)
        raise


def make_folder(folder: Path, option: str = "--out") -> None:
    """Create a folder, and check that it is writable.

    Args:
        folder: The folder; it may exist.
        option: Option that names the folder on the command line.

    Raises:
        UsageError: The folder cannot be created, or is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK) else "no permission"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise UsageError(f"cannot write to folder {folder}: {reason}", f"name another folder with {option}")


class AppendFile:
    """A file opened for appending; a context manager.

    Args:
        path: The file; created if it does not exist.

    Raises:
        DeepscanError: The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("ab")
        except OSError as error:
            raise write_error(path, error)

    def write(self, data: bytes, *, sync: bool = False) -> None:
        """Append data to the file.

        Args:
            data: The data.
            sync: Whether to wait until the data is on disk.

        Raises:
            DeepscanError: The file cannot be written, for example because the disk is full.
        """
        try:
            self._file.write(data)
            self._file.flush()
            if sync:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise write_error(self.path, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError as failure:
            # The failed write has already been reported.
            if error is None:
                raise write_error(self.path, failure)


def _locked(name: Path) -> IO[bytes]:
    while True:
        file = name.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous holder may have deleted the lock file while this run was opening it.
            if os.path.samestat(os.fstat(file.fileno()), name.stat()):
                return file
        except FileNotFoundError:
            pass
        except OSError:
            file.close()
            raise
        file.close()


def write_error(path: Path, error: OSError) -> DeepscanError:
    """Return the error for a file that cannot be written."""
    return DeepscanError(
        f"{path} cannot be written: {error.strerror}",
        "free disk space or check permissions, then repeat the command, with --resume if it has that",
    )
