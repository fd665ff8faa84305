"""What a process does in a run folder: its job and its share, and how it begins or joins the run."""

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from deepscan.errors import ContractError, UsageError
from deepscan.media.decoders import AUTO
from deepscan.scanning.chunks import ManifestRow, Shard
from deepscan.scanning.manifest import default_chunk
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.paths import ScanInputs
from deepscan.scanning.run import RunSummary, ScanListener
from deepscan.scanning.run_folder import RunFolder, put_manifest
from deepscan.storage.store import open_store, require_put_once


class Describer(Protocol):
    """What can describe a run: a worker, or something that asks one.

    Attributes:
        run: The description, complete after `open`.
    """

    run: dict[str, Any]

    def open(self) -> None:
        """Load the models."""


Joined = TypeVar("Joined", bound=Describer)


@dataclass(frozen=True, slots=True)
class ShardJob:
    """What a process does in a run folder.

    Attributes:
        location: The run folder, a path or an address.
        shard: Its share of the run.
        chunk: Rows of a chunk, None for the number of the run, or the default in a new one.
        inputs: Where the rows come from, for the run's record; empty to only continue an existing run.
        rows: Reads the rows. Only called if the folder has no run yet.
    """

    location: str
    shard: Shard
    chunk: int | None
    inputs: ScanInputs
    rows: Callable[[], Iterable[ManifestRow]]


@dataclass(frozen=True, slots=True)
class ShardShare:
    """The share of a shard, and how much of it is done.

    Attributes:
        shard: The shard.
        chunks: Number of its chunks.
        rows: Number of videos in them.
        run_rows: Number of videos of the whole run.
        todo: Numbers of the chunks without a part.
        todo_rows: Number of videos in them.
        kept: Names of the chunks that have a part.
    """

    shard: Shard
    chunks: int
    rows: int
    run_rows: int
    todo: Collection[int]
    todo_rows: int
    kept: Sequence[str]


@dataclass(slots=True)
class ShardSummary(RunSummary):
    """Counts of the outcomes of a shard, and the state of its run.

    Attributes:
        share: The share of the shard.
        owed: Number of chunks of other shards that have no part yet.
        sealed: Whether the run is complete, checked and sealed.
    """

    share: ShardShare | None = None
    owed: int = 0
    sealed: bool = False


class ShardListener(ScanListener):
    """Callbacks of a shard, which do nothing by default."""

    def listed(self, count: int) -> None:
        """Handle that so many rows of a new manifest have been read; called now and then."""

    def shared(self, share: ShardShare) -> None:
        """Handle the share of this shard; `planned` is not called."""

    def written(self, videos: int) -> None:
        """Handle that the records of a chunk with so many videos are in the run folder."""

    def alone(self, videos: int) -> None:
        """Handle that videos of chunks that killed their workers are now scanned one at a time."""

    def auditing(self, done: int, total: int) -> None:
        """Handle that so many parts of the run were checked."""


def share_of(folder: RunFolder, shard: Shard) -> ShardShare:
    """Return the share of a shard, and how much of it is done."""
    done, size, rows = folder.done(), folder.manifest.chunk, folder.manifest.rows
    block = shard.block(folder.manifest.chunks)
    todo, todo_rows, kept = array("Q"), 0, []
    for chunk in folder.chunks(shard):
        if chunk.name in done:
            kept.append(chunk.name)
        else:
            todo.append(chunk.index)
            todo_rows += len(chunk.rows)
    count = min(block.stop * size, rows) - min(block.start * size, rows)
    return ShardShare(shard, len(block), count, rows, frozenset(todo), todo_rows, kept)


def join_run(
    job: ShardJob,
    options: ScanOptions,
    make: Callable[..., Joined],
    listener: ShardListener,
    *,
    sharers: int | None = None,
) -> tuple[RunFolder, Joined]:
    """Return the run of a folder, begun if there is none, and a worker with its models loaded.

    Args:
        job: What to do, and where.
        options: The scan's parameters.
        make: Makes the worker from these and the run in the folder, if there is one.
        listener: Receives the callbacks.
        sharers: How many processes share a new run, None for as many as it has shards.
    """
    store = open_store(job.location)
    folder = RunFolder.existing(store)
    if folder is not None:
        _require_same(folder, job)
        worker = make(options, folder.run)
        worker.open()
        return folder, worker
    if not job.inputs:
        raise UsageError(f"there is no run in {job.location} to continue", "name videos to start a new run")
    require_put_once(store)
    manifest = put_manifest(store, _counted(job.rows(), listener), 1)
    if not manifest.rows:
        raise UsageError("no video to scan", "check the list, folder or prefix")
    chunk = job.chunk or default_chunk(manifest.rows, sharers or job.shard.count)
    worker = make(options)
    worker.open()
    described = {**worker.run, "inputs": job.inputs.to_json()}
    try:
        folder = RunFolder.begin(store, described, replace(manifest, chunk=chunk))
    except ContractError:
        # Another shard has begun the run meanwhile. A model that nobody named is taken from that run.
        begun = RunFolder.open(store)
        if options.model != AUTO or begun.run.get("choice") == worker.run["choice"]:
            raise
        worker = make(options, begun.run)
        worker.open()
        folder = RunFolder.begin(store, worker.run, replace(manifest, chunk=chunk))
    _require_same(folder, job)
    return folder, worker


def _require_same(folder: RunFolder, job: ShardJob) -> None:
    """Check that the command line names the inputs and the chunks of the run, as far as it names any.

    Raises:
        ContractError: It names others.
    """
    hint = "leave them out to continue the run, or start a new run with another --out"
    if job.chunk not in (None, folder.manifest.chunk):
        raise ContractError(
            f"the run in {job.location} has --chunk {folder.manifest.chunk}, not {job.chunk}", hint
        )
    recorded = folder.run.get("inputs")
    if not job.inputs or recorded is None:
        return
    given = job.inputs.to_json()
    for name in ("named", "lists", "stdin", "null"):
        old, new = recorded.get(name), given[name]
        old, new = (list(value) if isinstance(value, tuple) else value for value in (old, new))
        if old != new:
            raise ContractError(
                f"the run in {job.location} has other inputs: {_shown(recorded)}, not {_shown(given)}", hint
            )


def _shown(inputs: Mapping[str, Any]) -> str:
    """Return the inputs of a run for a message."""
    names = [*inputs["named"], *inputs["lists"], *(["a list on stdin"] if inputs["stdin"] else [])]
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more + (" (with --null)" if inputs["null"] else "")


def _counted(rows: Iterable[ManifestRow], listener: ShardListener) -> Iterator[ManifestRow]:
    for count, row in enumerate(rows, start=1):
        if count % 1000 == 0:
            listener.listed(count)
        yield row
