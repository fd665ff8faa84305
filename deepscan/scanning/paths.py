"""Which files a scan takes: named ones, those in folders, those of a list."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from deepscan.errors import UsageError
from deepscan.media.suffixes import STILLS, VIDEOS

#: Suffixes taken from folders; a file that is named itself is scanned whatever its suffix.
EXTENSIONS = frozenset({*VIDEOS, *STILLS})


@dataclass(slots=True)
class ScanPaths:
    """The files of a scan, each once, in the order in which they were found.

    Attributes:
        paths: Absolute, links not followed, encoded as the file system has them.
        repeated: How many more times a file among them was named.
        skipped: Suffix in lower case -> how many files of folders were left out for it.
    """

    paths: list[bytes] = field(default_factory=list)
    repeated: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    _seen: set[bytes] = field(default_factory=set)

    def add(self, path: bytes) -> None:
        """Take a file unless it is there already, by this name or another."""
        key = os.path.realpath(path)
        if key in self._seen:
            self.repeated += 1
        else:
            self._seen.add(key)
            self.paths.append(os.path.abspath(path))

    def add_folder(self, folder: bytes) -> None:
        """Take what has a known suffix below a folder, in the order of names.

        Links to folders are counted and not followed, so that a loop cannot catch the walk. A folder that
        cannot be read is an input, whose record says so. What a scan has kept there as evidence is none.
        """

        def unreadable(error: OSError) -> None:
            self.add(os.fsencode(error.filename))

        for root, folders, names in os.walk(folder, onerror=unreadable):
            runs = {name for name in names if name.endswith(b".run.json")}
            folders[:] = sorted(name for name in folders if not _of_scan(name, runs))
            links = sum(os.path.islink(os.path.join(root, name)) for name in folders)
            if links:
                self.skipped["linked folders"] += links
            for name in sorted(names):
                suffix = os.path.splitext(os.fsdecode(name))[1].lower()
                if suffix in EXTENSIONS:
                    self.add(os.path.join(root, name))
                else:
                    self.skipped[suffix or "no suffix"] += 1


def collect(named: Sequence[str], lists: Sequence[BinaryIO] = (), *, null: bool = False) -> ScanPaths:
    """Return the files that a command line means.

    Args:
        named: Files and folders.
        lists: Open lists of files and folders, one a line.
        null: The lists are separated by NUL bytes, as `find -print0` writes them.

    Raises:
        UsageError: A named path is not there (a missing line of a list becomes a record instead), or a list
            is separated otherwise than was said.
    """
    inputs = ScanPaths()
    for name in named:
        path = os.fsencode(name)
        if not os.path.lexists(path):
            raise UsageError(f"{name!r} is not there", "check the path; quote it if it has spaces")
        _take(inputs, path)
    for stream in lists:
        for line in _lines(stream, null=null):
            _take(inputs, line)
    return inputs


def open_list(name: str) -> BinaryIO:
    """Open a list of paths.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise UsageError(f"the list {name!r} cannot be read: {error.strerror}", "check --from-list")


def _of_scan(folder: bytes, runs: Collection[bytes]) -> bool:
    """Return whether a folder holds the pictures of a scan whose file lies beside it."""
    stem = folder.removesuffix(b".pictures")
    return stem != folder and stem + b".run.json" in runs


def _take(inputs: ScanPaths, path: bytes) -> None:
    if os.path.isdir(path):
        inputs.add_folder(path)
    else:
        inputs.add(path)


def _lines(stream: BinaryIO, *, null: bool) -> Iterator[bytes]:
    content = stream.read()
    if not null and b"\0" in content:
        raise UsageError("the list is separated by NUL bytes", "add --null")
    for line in content.split(b"\0" if null else b"\n"):
        path = line if null else line.removesuffix(b"\r")
        if path:
            yield path


def place_of(path: bytes, root: Path | None) -> bytes | None:
    """Return where a video of a record is now, None where it is not there.

    Args:
        path: As it is recorded.
        root: Folder that the videos are in now: the longest end of the path that is there counts. None for
            the path as it is recorded.
    """
    if root is None:
        return path if os.path.isfile(path) else None
    parts = path.lstrip(b"/").split(b"/")
    ends = (os.path.join(os.fsencode(root), *parts[start:]) for start in range(len(parts)))
    # Only a regular file is ever opened: reading a named pipe would wait for ever.
    return next((place for place in ends if os.path.isfile(place)), None)
