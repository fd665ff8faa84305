"""Copies of objects on this machine: in memory, or in a temporary file if they are large."""

import fcntl
import os
import platform
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

from deepscan.errors import UsageError
from deepscan.storage.errors import ObjectError

#: Linux has files in memory, and names for files without one.
_LINUX: bool = platform.system() == "Linux"
#: Objects up to this many bytes are copied into memory.
IN_MEMORY = 256 << 20
#: Copies in memory take at most this many bytes together; further objects are copied into files.
ALL_IN_MEMORY = 2 << 30


def require_scratch(folder: Path | None, option: str) -> None:
    """Check that a folder for large copies exists and can be written to.

    Args:
        folder: The folder, None for that of the system.
        option: What named it.

    Raises:
        UsageError: It does not, or cannot.
    """
    if folder is None:
        return
    if not folder.is_dir():
        raise UsageError(f"{option} {folder} is not a folder", "name a folder on a disk with enough space")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {folder} cannot be written to", "check its permissions")


class CopySpace:
    """Space for copies, with a bound on the memory that they take together. Threads may share it.

    Args:
        scratch: Folder for temporary files, None for that of the system.
        in_memory: Largest copy in memory, in bytes.
        all_in_memory: Most bytes of all copies in memory together.
    """

    def __init__(
        self,
        scratch: Path | None = None,
        *,
        in_memory: int = IN_MEMORY,
        all_in_memory: int = ALL_IN_MEMORY,
    ) -> None:
        self.scratch, self.in_memory = scratch, in_memory
        self._left = all_in_memory
        self._lock = threading.Lock()

    def copy(self, size: int | None) -> "Copy":
        """Return an empty copy.

        Args:
            size: Expected size in bytes, None if unknown.
        """
        return Copy(self, size or 0)

    def take(self, size: int) -> bool:
        """Reserve memory; return whether there is enough."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """Give reserved memory back."""
        with self._lock:
            self._left += size


class Copy:
    """The copy of one object, which has no name in any folder, so that nothing is left behind by a crash.

    Args:
        space: Where it takes its memory from.
        expected: Expected size in bytes, 0 if unknown.
    """

    def __init__(self, space: CopySpace, expected: int) -> None:
        self._space, self._reserved = space, 0
        self.size = 0
        self._closed = False
        self._lock = threading.Lock()
        in_memory = _LINUX and expected <= space.in_memory and self._reserve(expected)
        self._file = _memory() if in_memory else self._scratch_file()
        self._in_memory = in_memory

    @property
    def file(self) -> bytes:
        """The file's name, under which other processes of this user can open it too."""
        if _LINUX:
            return b"/proc/%d/fd/%d" % (os.getpid(), self._file.fileno())
        return os.fsencode(self._file.name)

    @property
    def in_memory(self) -> bool:
        """Whether it is in memory."""
        return self._in_memory

    def write(self, content: bytes) -> None:
        """Append bytes.

        Raises:
            ObjectError: `no_space`: the disk or the memory is full.
        """
        size = self.size + len(content)
        if self._in_memory and (
            size > self._space.in_memory or (size > self._reserved and not self._reserve(size))
        ):
            self._move_to_disk()
        self._write(content)
        self.size = size

    def finish(self) -> None:
        """Make a copy in memory unchangeable, so that no process can alter what was hashed."""
        if self._in_memory:
            seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
            with suppress(OSError):
                fcntl.fcntl(self._file.fileno(), fcntl.F_ADD_SEALS, seals)

    def close(self) -> None:
        """Delete it; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._file.close()
        self._space.give_back(self._reserved)

    def _reserve(self, size: int) -> bool:
        if not self._space.take(size - self._reserved):
            return False
        self._reserved = size
        return True

    def _scratch_file(self) -> IO[bytes]:
        folder = self._space.scratch
        try:
            if _LINUX:
                return tempfile.TemporaryFile(dir=folder, buffering=0)
            return tempfile.NamedTemporaryFile(dir=folder, buffering=0)
        except OSError as error:
            raise _no_space(error) from error

    def _move_to_disk(self) -> None:
        file = self._scratch_file()
        memory, self._file, self._in_memory = self._file, file, False
        try:
            memory.seek(0)
            while part := memory.read(1 << 20):
                self._write(part)
        finally:
            memory.close()
            self._space.give_back(self._reserved)
            self._reserved = 0

    def _write(self, content: bytes) -> None:
        try:
            _write_all(self._file, memoryview(content))
        except OSError as error:
            raise _no_space(error) from error


def _write_all(file: IO[bytes], content: memoryview) -> None:
    while content:
        content = content[file.write(content) :]


def _memory() -> IO[bytes]:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    return os.fdopen(os.memfd_create("deepscan", flags), "w+b", buffering=0)


def _no_space(error: OSError) -> ObjectError:
    return ObjectError(
        "no_space", f"its copy cannot be written to the scratch folder (--scratch): {error.strerror or error}"
    )
