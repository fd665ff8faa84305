"""Open a file so that its name cannot mislead and its content cannot change unnoticed."""

import hashlib
import os
import stat
from typing import Self

from deepscan.media.frames import MediaError


class SourceFile:
    """A regular file held open by descriptor.

    Libraries are given `/dev/fd/N` instead of the name: a name may contain bytes that are not text, a colon
    that libav takes for a protocol, or a percent sign that it takes for a numbered series of files. It also
    ensures that the file that was hashed is the one that is decoded, even if another takes its name in the
    meantime.

    Args:
        path: The file's name as bytes.

    Raises:
        MediaError: Status `error`: the file does not exist, may not be read, or is not a regular file.
    """

    def __init__(self, path: bytes) -> None:
        self._path = path
        try:
            # Never open a pipe or a device: opening alone can block or have side effects.
            mode = os.stat(path).st_mode
            if stat.S_ISDIR(mode) and not os.access(path, os.R_OK | os.X_OK):
                raise MediaError("error", "no permission to read the folder")
            _require_regular(mode)
            self.fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(error) from None
        except ValueError:
            raise MediaError("error", "a path cannot hold a NUL byte") from None
        try:
            self._opened = os.fstat(self.fd)
            _require_regular(self._opened.st_mode)
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """Size in bytes when it was opened."""
        return self._opened.st_size

    @property
    def mtime_ns(self) -> int:
        """Time of its last modification when it was opened, in nanoseconds since 1970."""
        return self._opened.st_mtime_ns

    def url(self) -> str:
        """Return a name under which a library can open the file."""
        return f"/dev/fd/{self.fd}"

    def head(self, count: int) -> bytes:
        """Return the first `count` bytes, or fewer if the file is shorter."""
        return os.pread(self.fd, count, 0)

    def digest(self) -> str:
        """Return the SHA-256 of the current content, in hexadecimal.

        Raises:
            MediaError: Status `error`: the storage device reports a read error.
        """
        os.lseek(self.fd, 0, os.SEEK_SET)
        try:
            with os.fdopen(self.fd, "rb", closefd=False) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _unreadable(error) from None

    def change(self, digest: str, *, rehash: bool = True) -> str | None:
        """Describe how the file differs from its first `digest`, or return None if it does not.

        An identical copy in the file's place does not count as a change.

        Args:
            digest: The result of `digest` before the file was decoded.
            rehash: Whether to read it again. Without that, only a change of its size, or another file in its
                place, is noticed.

        Raises:
            MediaError: Status `error`: it cannot be read again, or the file now in its place cannot.
        """
        try:
            now = os.fstat(self.fd)
        except OSError as error:
            raise _unreadable(error) from None
        if now.st_size != self.size:
            return f"its size went from {self.size} to {now.st_size} bytes while it was read"
        if rehash and self.digest() != digest:
            return "its content changed while it was read"
        try:
            current = os.stat(self._path)
        except OSError:
            return "it was removed while it was read"
        if _identity(current) == _identity(now):
            return None
        if stat.S_ISREG(current.st_mode) and current.st_size == self.size:
            with SourceFile(self._path) as other:
                if other.digest() == digest:
                    return None
        return "it was replaced by another file while it was read"

    def close(self) -> None:
        """Close the descriptor; a second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def _identity(info: os.stat_result) -> tuple[int, ...]:
    """Return a key that stays the same while a file is unchanged.

    If it differs, the content must be compared. Some file systems (FUSE, SMB) assign new inode numbers at
    each lookup, others give all files the same one, so size and time are part of the key.
    """
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns


def _require_regular(mode: int) -> None:
    if stat.S_ISREG(mode):
        return
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    raise MediaError("error", f"it is {kinds.get(stat.S_IFMT(mode), 'a special file')}, not a regular file")


def _unreadable(error: OSError) -> MediaError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return MediaError("error", "the file does not exist")
    if isinstance(error, PermissionError):
        return MediaError("error", "no permission to read it")
    return MediaError("error", f"cannot be read: {error.strerror or error}")
