"""Writing files: whole or not at all, and by one process at a time."""

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
    """Keep every other run off an output, for as long as the context lasts.

    Raises:
        ContractError: Another run has it.
        UsageError: Its folder cannot be written to.
    """
    name = path.with_name(f".{path.name}.lock")
    try:
        held = _locked(name)
    except BlockingIOError:
        raise ContractError(f"another run is writing {path}", "wait for it, or name another --out")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", "name another file with --out")
    try:
        yield
    finally:
        name.unlink(missing_ok=True)
        held.close()


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file that takes the path's place when the context ends well, whole and on disk.

    Raises:
        DeepscanError: It cannot be written; what was there before stays.
    """
    fresh = path.with_name(path.name + ".part")
    try:
        with fresh.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        # The name is on disk only when its folder is.
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
    """Make a folder that can be written into.

    Args:
        folder: The folder.
        option: What names it on the command line.

    Raises:
        UsageError: It cannot be made, or not written into.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(folder, os.W_OK) else "no permission"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise UsageError(f"{folder} cannot be written into: {reason}", f"name another folder with {option}")


class AppendFile:
    """A file that grows at its end; a context manager.

    Args:
        path: The file, made if need be.

    Raises:
        DeepscanError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("ab")
        except OSError as error:
            raise write_error(path, error)

    def write(self, data: bytes, *, sync: bool = False) -> None:
        """Write at the end.

        Args:
            data: What to write.
            sync: Whether to return only when it is on disk.

        Raises:
            DeepscanError: There is no room for it.
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
            # What could not be written has been reported by the append that failed.
            if error is None:
                raise write_error(self.path, failure)


def _locked(name: Path) -> IO[bytes]:
    while True:
        file = name.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before may have removed its name while this run was taking it.
            if os.path.samestat(os.fstat(file.fileno()), name.stat()):
                return file
        except FileNotFoundError:
            pass
        except OSError:
            file.close()
            raise
        file.close()


def write_error(path: Path, error: OSError) -> DeepscanError:
    """Return the error for a file that could not be written."""
    return DeepscanError(
        f"{path} cannot be written: {error.strerror}",
        "make room or mend it, then repeat the command, with --resume where it has that",
    )
