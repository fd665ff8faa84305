"""A run as a folder of parts, in which several machines write: its layout, and what is left to do.

run.json                what decided the outcome, written once
manifest/*.parquet      the rows, in order
sessions/ID.json        the start of a worker, and ID.end.json its end
attempts/               attempts at chunks that may have killed a worker
parts/NAME.parquet      the records of one chunk, written once
sealed.json             hashes of all parts, see `scanning.run_audit`
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from deepscan.errors import ContractError, UsageError
from deepscan.scanning import runfile
from deepscan.scanning.chunks import Chunk, ManifestRow, Shard, chunked, read_rows, write_rows
from deepscan.scanning.parts import PART_HINT, Part, read_part
from deepscan.storage.store import Store, open_store

RUN, SEAL = "run.json", "sealed.json"
MANIFEST, PARTS, SESSIONS = "manifest", "parts", "sessions"
#: Rows in a file of the manifest.
FILE_ROWS = 65_536
#: File name of a part.
_PART = re.compile(r"([0-9a-f]{16})\.parquet")
#: Objects that are read at the same time.
_READERS = 16


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of a run.

    Attributes:
        rows: Number of rows.
        chunk: Rows of a chunk; the last one may have fewer.
        digest: SHA-256 of all rows.
        files: Name, number of rows and SHA-256 of each file.
    """

    rows: int
    chunk: int
    digest: str
    files: tuple[Mapping[str, Any], ...]

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.rows // self.chunk)

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as its entry in run.json."""
        return {"rows": self.rows, "chunk": self.chunk, "digest": self.digest, "files": list(self.files)}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Manifest":
        """Read such an entry."""
        return cls(entry["rows"], entry["chunk"], entry["digest"], tuple(entry["files"]))


class RunFolder:
    """A run folder; see the module.

    Args:
        store: Where it is.
        run: Content of its run.json.
    """

    def __init__(self, store: Store, run: Mapping[str, Any]) -> None:
        self.store, self.run = store, run
        self.manifest = Manifest.from_json(run["manifest"])

    @classmethod
    def open(cls, location: str | Store) -> "RunFolder":
        """Open an existing run folder.

        Args:
            location: A folder or an address, or its store.

        Raises:
            UsageError: There is no run in it.
            ContractError: Its run.json is damaged, or of another version.
        """
        folder = cls.existing(location)
        if folder is None:
            place = location if isinstance(location, str) else location.location
            raise UsageError(f"{place} is not a run folder: {RUN} is missing", "name the folder of a run")
        return folder

    @classmethod
    def existing(cls, location: str | Store) -> "RunFolder | None":
        """Return the run in a folder as `open` does, None if there is none yet."""
        store = open_store(location) if isinstance(location, str) else location
        run = _read_run(store)
        return None if run is None else cls(store, run)

    @classmethod
    def begin(cls, location: str | Store, run: Mapping[str, Any], manifest: Manifest) -> "RunFolder":
        """Create a run folder, or join the run that is in it.

        Args:
            location: As for `open`.
            run: The run's description by `runfile.describe`. Its `id` is replaced by one that depends on the
                parameters, the models and the manifest only.
            manifest: The manifest, whose files `put_manifest` has written.

        Raises:
            ContractError: The run in it differs; the message names what.
        """
        store = open_store(location) if isinstance(location, str) else location
        described = {
            **run,
            "id": runfile.derived_id(run, manifest.digest),
            "manifest": manifest.to_json(),
        }
        store.put_once(RUN, runfile.content(described))
        # Also the winner reads it, so that every worker has the same values.
        folder = cls.open(store)
        folder.require_compatible(described)
        return folder

    def require_compatible(self, run: Mapping[str, Any]) -> None:
        """Check that a worker with this description may add parts; its manifest is compared if it has one.

        Raises:
            ContractError: Something that decides the outcome differs. The message names it.
        """
        hint = "restore what differs, or start a new run with another --out"
        runfile.require_compatible(self.run, run)
        if "manifest" not in run:
            return
        old, new = self.manifest, Manifest.from_json(run["manifest"])
        if old.digest != new.digest:
            change = f"{old.rows} rows then, {new.rows} now" if old.rows != new.rows else "other rows"
            raise ContractError(f"{self.store.location}: the run has another manifest ({change})", hint)
        if old.chunk != new.chunk:
            raise ContractError(f"{self.store.location}: --chunk was {old.chunk}, is {new.chunk}", hint)

    def rows(self, first: int = 0, stop: int | None = None) -> Iterator[ManifestRow]:
        """Yield rows of the manifest. Only the files that contain them are read.

        Args:
            first: Index of the first row.
            stop: Index after the last row, None for all.

        Raises:
            ContractError: A file is missing or changed.
        """
        stop = self.manifest.rows if stop is None else min(stop, self.manifest.rows)
        begin = 0
        for file in self.manifest.files:
            end = begin + file["rows"]
            if begin < stop and first < end:
                yield from islice(self._manifest_file(file), max(0, first - begin), stop - begin)
            begin = end

    def chunks(self, shard: Shard | None = None) -> Iterator[Chunk]:
        """Yield the chunks of the run, or of a shard, in the order of the manifest."""
        size = self.manifest.chunk
        block = (shard or Shard()).block(self.manifest.chunks)
        yield from chunked(self.rows(block.start * size, block.stop * size), size, block.start)

    def todo(self, shard: Shard | None = None) -> Iterator[Chunk]:
        """Yield the chunks of a shard that have no part yet. The parts are listed once, at the start."""
        done = self.done()
        return (chunk for chunk in self.chunks(shard) if chunk.name not in done)

    def done(self) -> frozenset[str]:
        """Return the names of the chunks that have a part."""
        return frozenset(found[1] for name in self.store.names(PARTS) if (found := _PART.fullmatch(name)))

    def put_part(self, chunk: str, content: bytes) -> bool:
        """Write a part, by `parts.write_part`; return False if another worker has written it before."""
        return self.store.put_once(part_name(chunk), content)

    def read_part(self, chunk: str, columns: Sequence[str] | None = None) -> Part:
        """Read the part of a chunk.

        Raises:
            FileNotFoundError: The chunk has no part yet.
            ContractError: The part is damaged, or belongs to another run.
        """
        content = self.store.read(part_name(chunk))
        try:
            return self.parse_part(chunk, content, columns)
        except ContractError as error:
            raise ContractError(f"{self.store.location}: {error.message}", error.hint)

    def parse_part(self, chunk: str, content: bytes, columns: Sequence[str] | None = None) -> Part:
        """Return the part of a chunk that has this content.

        Raises:
            ContractError: It is damaged, or belongs to another run or chunk.
        """
        name = part_name(chunk)
        part = read_part(content, name, columns)
        if part.run != self.run["id"]:
            raise ContractError(f"{name} belongs to run {part.run}, not {self.run['id']}", PART_HINT)
        if part.chunk != chunk:
            raise ContractError(f"{name} has the records of chunk {part.chunk}", PART_HINT)
        return part

    def begin_session(self, session: Mapping[str, Any]) -> None:
        """Record that a worker has started; `session` is by `runfile.begin`, with an `id` added."""
        self.store.put_once(f"{SESSIONS}/{session['id']}.json", _json(session))

    def end_session(self, session: Mapping[str, Any]) -> None:
        """Record that a worker has ended; `session` has `ended` and `exit_code`."""
        self.store.put_once(f"{SESSIONS}/{session['id']}.end.json", _json(session))

    def describe(self) -> dict[str, Any]:
        """Return the run as the readers of a run.json expect it: with its sessions and its seal.

        `records` is None until the run is sealed.
        """
        names = sorted(self.store.names(SESSIONS), key=lambda name: (name.endswith(".end.json"), name))
        with ThreadPoolExecutor(_READERS) as threads:
            contents = list(threads.map(lambda name: self.store.read(f"{SESSIONS}/{name}"), names))
        # The end of a session replaces its start.
        sessions: dict[str, dict[str, Any]] = {
            name.split(".")[0]: json.loads(content) for name, content in zip(names, contents, strict=True)
        }
        ordered = sorted(sessions.values(), key=lambda session: str(session.get("started")))
        # The hash in run.json is of the file without sessions.
        run = {key: value for key, value in self.run.items() if key != runfile.OWN_HASH}
        return {**run, "sessions": ordered, "records": self.sealed()}

    def sealed(self) -> dict[str, Any] | None:
        """Return the content of sealed.json, None if the run is not sealed."""
        try:
            sealed: dict[str, Any] = json.loads(self.store.read(SEAL))
        except FileNotFoundError:
            return None
        return sealed

    def _manifest_file(self, file: Mapping[str, Any]) -> Iterator[ManifestRow]:
        name = f"{MANIFEST}/{file['name']}"
        try:
            content = self.store.read(name)
        except FileNotFoundError:
            raise ContractError(f"{name} of the run is missing", "restore it, or start a new run")
        if hashlib.sha256(content).hexdigest() != file["sha256"]:
            raise ContractError(f"{name} of the run was changed", "restore it, or start a new run")
        return read_rows(content, name)


def put_manifest(store: Store, rows: Iterable[ManifestRow], chunk: int) -> Manifest:
    """Write the rows of a manifest, a file at a time, and return what run.json records.

    The names of the files contain their hashes: if inputs change between two workers that begin a run
    together, the files of one are not mixed with those of the other.

    Args:
        store: The store of the run; check it first with `require_put_once`.
        rows: The rows; there may be millions.
        chunk: Rows of a chunk, at least 1.

    Raises:
        DeepscanError: The store cannot be written.
    """
    if chunk < 1:
        raise ValueError(f"a chunk needs at least one row, not {chunk}")
    files: list[dict[str, Any]] = []
    total, digest = 0, hashlib.sha256()

    def hashed_rows() -> Iterator[ManifestRow]:
        for row in rows:
            digest.update(b"\0".join([row.key, repr((row.id, row.label)).encode()]) + b"\n")
            yield row

    left = hashed_rows()
    while True:
        content, count = write_rows(islice(left, FILE_ROWS))
        if not count:
            break
        hashed = hashlib.sha256(content).hexdigest()
        name = f"{len(files):05}-{hashed[:12]}.parquet"
        store.put_once(f"{MANIFEST}/{name}", content)
        files.append({"name": name, "rows": count, "sha256": hashed})
        total += count
    return Manifest(total, chunk, digest.hexdigest(), tuple(files))


def part_name(chunk: str) -> str:
    """Return the name of a chunk's part in the store."""
    return f"{PARTS}/{chunk}.parquet"


def _read_run(store: Store) -> dict[str, Any] | None:
    try:
        content = store.read(RUN)
    except FileNotFoundError:
        return None
    source = f"{store.location.rstrip('/')}/{RUN}"
    run = runfile.parse(content, source)
    if not runfile.is_unchanged(run):
        raise ContractError(f"{source} was edited", "restore it, or start a new run")
    if run.get("schema") != 1 or not isinstance(run.get("manifest"), dict):
        raise ContractError(f"{source} does not describe a run folder of this version", "name another folder")
    return run


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode("ascii") + b"\n"
