"""Collect the inputs of a scan: files and objects that are named, in folders, in prefixes or in lists."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

from deepscan.errors import DeepscanError, UsageError
from deepscan.media.suffixes import STILLS, VIDEOS
from deepscan.scanning.chunks import ManifestRow
from deepscan.scanning.path_spool import PathSet, PathSpool
from deepscan.scanning.sources import ScanItem, append_item, fetch_object, is_object
from deepscan.storage.address import is_address, local_path, require_readable_scheme, scheme_of
from deepscan.storage.errors import ObjectError
from deepscan.storage.listing import is_prefix_address, list_objects, require_object

#: Suffixes taken from folders. A file that is named directly is scanned whatever its suffix.
EXTENSIONS = frozenset({*VIDEOS, *STILLS})
#: How web and cloud storage addresses begin. As a path, an address has lost its second slash.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/|(?:www|m)\.[^/]+\.[a-z]+/|(?:youtube\.com|youtu\.be)/", re.I)
_PLAYERS = re.compile(r"youtube\.com|youtu\.be|vimeo\.com|tiktok\.com|instagram\.com|facebook\.com", re.I)
#: Bytes of a list that are read at once.
_LIST_PART = 1 << 20


@dataclass(frozen=True, slots=True)
class ScanInputs:
    """The inputs on a command line, kept in the run's record so that a resumed run finds them again.

    Attributes:
        named: Files and folders, as absolute paths; objects and prefixes, as addresses.
        lists: Files with lists of paths, as absolute paths.
        stdin: Whether a list was read from stdin.
        null: Whether the lists are separated by NUL bytes.
        folder: The folder that paths in lists are relative to.
    """

    named: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    stdin: bool = False
    null: bool = False
    folder: str = ""

    def __bool__(self) -> bool:
        return bool(self.named or self.lists or self.stdin)

    def to_json(self) -> dict[str, Any]:
        """Return the inputs for the run's record."""
        return asdict(self)

    @classmethod
    def from_json(cls, inputs: Mapping[str, Any]) -> Self:
        """Build the inputs from a run's record."""
        return cls(**{**inputs, "named": tuple(inputs["named"]), "lists": tuple(inputs["lists"])})


@dataclass(slots=True)
class ScanPaths:
    """The files of a scan without duplicates, in the order in which they were found; there may be millions.

    Attributes:
        paths: Absolute paths as bytes, with links not resolved.
        repeated: How many times a file was named again.
        skipped: Suffix in lower case -> number of files in folders that were skipped because of it.
        etags: ETag of each object in a listing, at the place of its address; empty for other inputs. It may
            end before the paths do.
    """

    paths: PathSpool = field(default_factory=PathSpool)
    repeated: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    etags: PathSpool = field(default_factory=PathSpool)
    _seen: PathSet = field(default_factory=PathSet)

    def add(self, path: bytes) -> None:
        """Add a file unless it is already there under this or another name."""
        if self._seen.add(identity(path)):
            self.paths.append(os.path.abspath(path))
        else:
            self.repeated += 1

    def add_object(self, address: str, etag: str | None = None) -> None:
        """Add an object unless it is already there.

        Args:
            address: Its address.
            etag: Its ETag, None if unknown.
        """
        name = os.fsencode(address)
        if not self._seen.add(identity(name)):
            self.repeated += 1
            return
        append_item(self.paths, self.etags, ScanItem(name, etag=etag))

    def add_row(self, row: ManifestRow) -> None:
        """Add a video of a manifest unless it is already there."""
        if is_object(row.path):
            self.add_object(os.fsdecode(row.path), row.etag)
        else:
            self.add(row.path)

    def add_prefix(self, prefix: str) -> None:
        """Add the objects with a known suffix below a prefix, in the order of the store.

        Raises:
            DeepscanError: It cannot be listed, or has no objects.
        """
        empty = True
        for found in list_objects(prefix):
            empty = False
            suffix = os.path.splitext(found.address.rpartition("/")[2])[1].lower()
            if suffix in EXTENSIONS:
                self.add_object(found.address, found.etag)
            else:
                self.skipped[suffix or "no suffix"] += 1
        if empty:
            raise UsageError(f"there are no objects below {prefix!r}", "check the prefix")

    def add_folder(self, folder: bytes) -> None:
        """Add the files with a known suffix below a folder, in order of their names.

        Links to folders are counted but not followed, so that a loop cannot trap the walk. A folder that
        cannot be read is added as an input, so that its record says so. Pictures kept by a scan are skipped.
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
    """Return the files that a command line names.

    Args:
        named: Files and folders.
        lists: Open lists of files and folders, one per line.
        null: Whether the lists are separated by NUL bytes, as written by `find -print0`.
        folder: The folder that paths in the lists are relative to; empty for the current one.

    Raises:
        UsageError: A named path does not exist (a missing path in a list becomes a record instead), a path is
            a web address, or a list has another separator than announced.
    """
    inputs = ScanPaths()
    for name in named:
        if is_remote(name):
            _take_address(inputs, name)
            continue
        path = path_of(name)
        require_exists(path)
        _take(inputs, os.fsencode(path))
    for stream in lists:
        for number, line in enumerate(_lines(stream, null=null), start=1):
            _take_line(inputs, os.fsdecode(line), number, folder)
    return inputs


def identity(path: bytes) -> bytes:
    """Return what two names of the same input have in common: a file's path without links, or an address."""
    return path if is_object(path) else os.path.realpath(path)


def is_remote(name: str) -> bool:
    """Return whether an input is an address of another machine. A file of that name takes precedence."""
    return is_address(name) and scheme_of(name) != "file" and not os.path.lexists(name)


def path_of(name: str) -> str:
    """Return the path of an input, which may be a `file://` address."""
    return local_path(name) if is_address(name) and not os.path.lexists(name) else name


def absolute_input(name: str) -> str:
    """Return an input as it can be named in any folder: an absolute path, or an address."""
    return name if is_remote(name) else os.path.abspath(path_of(name))


def require_exists(name: str) -> None:
    """Check that an input exists: a path, or an object in a store. Web servers are not asked.

    Raises:
        UsageError: It does not exist.
        DeepscanError: The store cannot be read.
    """
    if is_remote(name):
        require_readable_scheme(name)
    elif not os.path.lexists(path_of(name)):
        refuse_address(name, "cannot be scanned")
        raise UsageError(f"{name!r} does not exist", "check the path; quote it if it has spaces")


def _take_address(inputs: ScanPaths, address: str) -> None:
    """Take an address of the command line: an object that must exist, or a prefix."""
    require_readable_scheme(address)
    if is_prefix_address(address):
        inputs.add_prefix(address)
    elif scheme_of(address) in ("http", "https"):
        # Many servers answer only requests for the file itself.
        inputs.add_object(address)
    else:
        inputs.add_object(address, require_object(address).etag)


def _take_line(inputs: ScanPaths, line: str, number: int, folder: str) -> None:
    """Take line `number` of a list. What does not exist becomes a record that says so."""
    path = os.path.join(folder, line)
    if os.path.lexists(path):
        _take(inputs, os.fsencode(path))
        return
    try:
        if not is_address(line):
            refuse_address(line, "cannot be scanned")
        elif scheme_of(line) == "file":
            path = local_path(line)
        else:
            require_readable_scheme(line)
            if is_prefix_address(line):
                inputs.add_prefix(line)
            else:
                inputs.add_object(line)
            return
    except DeepscanError as error:
        raise type(error)(f"{error.message} (path {number} of the list)", error.hint) from error
    _take(inputs, os.fsencode(path))


def refuse_address(name: str, problem: str) -> None:
    """Check that a path is not a web or cloud storage address.

    Args:
        name: The path as given.
        problem: What cannot be done with an address, for the message.

    Raises:
        UsageError: It is an address.
    """
    found = _ADDRESS.match(name)
    if not found:
        return
    if problem == "cannot be written":
        whole = re.sub(":/+", "://", name, count=1)
        raise UsageError(f"the address {whole!r} {problem}", "write to a local file, and copy it there")
    if _PLAYERS.search(name):
        raise UsageError(
            f"the address {name!r} {problem}",
            "download it first (for example with yt-dlp), then scan the file",
        )
    whole = re.sub(":/*", "://", name, count=1) if found[1] else f"https://{name}"
    raise UsageError(f"the address {name!r} {problem}", f"did you mean {whole!r}?")


def open_list(name: str) -> BinaryIO:
    """Open a list of paths, or a manifest. One at an address is fetched first.

    Raises:
        UsageError: It cannot be read.
        DeepscanError: Its store cannot be read.
    """
    if is_remote(name):
        try:
            copy = fetch_object(name).copy
        except ObjectError as failure:
            raise failure.of_run(name) from failure
        try:
            return Path(os.fsdecode(copy.file)).open("rb")
        finally:
            copy.close()
    try:
        return Path(path_of(name)).open("rb")
    except OSError as error:
        raise UsageError(
            f"the list {name!r} cannot be read: {error.strerror}", "name an existing list with --from-list"
        )


def _of_scan(folder: bytes, runs: Collection[bytes]) -> bool:
    """Return whether a folder holds the pictures of a scan whose run file is next to it."""
    stem = folder.removesuffix(b".pictures")
    return stem != folder and stem + b".run.json" in runs


def _take(inputs: ScanPaths, path: bytes) -> None:
    if os.path.isdir(path):
        inputs.add_folder(path)
    else:
        inputs.add(path)


def _lines(stream: BinaryIO, *, null: bool) -> Iterator[bytes]:
    """Yield the paths of a list, which is read in parts: it may have millions."""
    if null:
        yield from _null_separated(stream)
        return
    for line in stream:
        if b"\0" in line:
            raise UsageError("the list is separated by NUL bytes", "add --null")
        if path := line.removesuffix(b"\n").removesuffix(b"\r"):
            yield path


def _null_separated(stream: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while part := stream.read(_LIST_PART):
        *paths, rest = (rest + part).split(b"\0")
        yield from filter(None, paths)
    if rest:
        yield rest


def place_of(path: bytes, root: Path | None) -> bytes | None:
    """Return the current path of a recorded video, None if it is not found.

    Args:
        path: The path in the record.
        root: Folder in which the videos are now; the longest matching end of the recorded path is used. None
            to use the path as recorded.
    """
    if root is None:
        return path if os.path.isfile(path) else None
    parts = path.lstrip(b"/").split(b"/")
    ends = (os.path.join(os.fsencode(root), *parts[start:]) for start in range(len(parts)))
    # Only open regular files: reading a named pipe would block forever.
    return next((place for place in ends if os.path.isfile(place)), None)
