"""Which files a scan takes: named ones, those in folders, those of a list."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

from deepscan.errors import UsageError
from deepscan.media.suffixes import STILLS, VIDEOS

#: Suffixes taken from folders; a file that is named itself is scanned whatever its suffix.
EXTENSIONS = frozenset({*VIDEOS, *STILLS})
#: What an address of the web or of a store begins with; as a path it has lost its second slash.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/|(?:www|m)\.[^/]+\.[a-z]+/|(?:youtube\.com|youtu\.be)/", re.I)
_PLAYERS = re.compile(r"youtube\.com|youtu\.be|vimeo\.com|tiktok\.com|instagram\.com|facebook\.com", re.I)
#: Of addresses of stores, by what these begin with: the command that copies a file from there.
_COPIES = {
    "s3": "aws s3 cp",
    "gs": "gcloud storage cp",
    "az": "azcopy copy",
    "abfs": "azcopy copy",
    "abfss": "azcopy copy",
}


@dataclass(frozen=True, slots=True)
class ScanInputs:
    """What a command line names, kept with a run so that a resumed one finds it again.

    Attributes:
        named: Files and folders, absolute.
        lists: Files with lists of paths, absolute.
        stdin: Whether a list came on stdin.
        null: Whether the lists are separated by NUL bytes.
        folder: What the paths of a list are relative to.
    """

    named: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    stdin: bool = False
    null: bool = False
    folder: str = ""

    def __bool__(self) -> bool:
        return bool(self.named or self.lists or self.stdin)

    def to_json(self) -> dict[str, Any]:
        """Return them for the run's record."""
        return asdict(self)

    @classmethod
    def from_json(cls, stated: Mapping[str, Any]) -> Self:
        """Return what a run's record states."""
        return cls(**{**stated, "named": tuple(stated["named"]), "lists": tuple(stated["lists"])})


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


def collect(
    named: Sequence[str], lists: Sequence[BinaryIO] = (), *, null: bool = False, folder: str = ""
) -> ScanPaths:
    """Return the files that a command line means.

    Args:
        named: Files and folders.
        lists: Open lists of files and folders, one a line.
        null: The lists are separated by NUL bytes, as `find -print0` writes them.
        folder: What paths of the lists are relative to; empty for the current one.

    Raises:
        UsageError: A named path is not there (a missing line of a list becomes a record instead), one is an
            address, or a list is separated otherwise than was said.
    """
    inputs = ScanPaths()
    for name in named:
        require_there(name)
        _take(inputs, os.fsencode(name))
    for stream in lists:
        for number, line in enumerate(_lines(stream, null=null), start=1):
            path = os.path.join(os.fsencode(folder), line)
            if not os.path.lexists(path):
                refuse_address(os.fsdecode(line), f"cannot be scanned (path {number} of the list)")
            _take(inputs, path)
    return inputs


def require_there(name: str) -> None:
    """Make sure that a named path is there.

    Raises:
        UsageError: It is not, or it is an address.
    """
    if not os.path.lexists(name):
        refuse_address(name, "cannot be scanned")
        raise UsageError(f"{name!r} is not there", "check the path; quote it if it has spaces")


def refuse_address(name: str, what: str) -> None:
    """Make sure that a name is no address of the web or of a store.

    Args:
        name: What was given for a path.
        what: What cannot be done with an address.

    Raises:
        UsageError: It is one.
    """
    found = _ADDRESS.match(name)
    if not found:
        return
    scheme = (found[1] or "").lower()
    if scheme == "file":
        raise UsageError(f"the address {name!r} {what}", "give the path alone, such as /folder/clip.mp4")
    if what == "cannot be written":
        whole = re.sub(":/+", "://", name, count=1)
        raise UsageError(f"the address {whole!r} {what}", "write to a file here, and copy it there")
    with_what = _COPIES.get(scheme) or ("yt-dlp" if _PLAYERS.search(name) else "curl -LO")
    raise UsageError(
        f"the address {name!r} {what}",
        f"download it first (for instance with {with_what}), then scan the file",
    )


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
