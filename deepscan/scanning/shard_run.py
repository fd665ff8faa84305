"""Run one shard of a scan: begin or join the run in a folder, scan its chunks, and seal a complete run."""

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from deepscan.devices import Budget
from deepscan.errors import ContractError, UsageError, exit_code_of
from deepscan.logs import get_logger
from deepscan.media.decoders import AUTO
from deepscan.outcomes import Status
from deepscan.scanning import runfile
from deepscan.scanning.attempts import MOST_DEATHS, AttemptLedger, scan_alone
from deepscan.scanning.chunks import Chunk, ManifestRow, Shard
from deepscan.scanning.manifest import default_chunk
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.parts import PartRow, write_part
from deepscan.scanning.paths import ScanInputs
from deepscan.scanning.run import RunSummary, ScanListener
from deepscan.scanning.run_audit import audit_run, seal_run
from deepscan.scanning.run_folder import RunFolder, put_manifest
from deepscan.scanning.worker import Worker
from deepscan.storage.store import open_store, require_put_once

LOG = get_logger(__name__)
#: Parts that are read at the same time.
_READERS = 16


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


def run_shard(
    job: ShardJob,
    options: ScanOptions,
    *,
    command: Sequence[str] = (),
    listener: ShardListener | None = None,
    workers: int | None = None,
    fail_on: Collection[str] = (),
    custody: runfile.Custody | None = None,
    budget: Budget | None = None,
    scratch: Path | None = None,
    make_worker: type[Worker] = Worker,
) -> ShardSummary:
    """Scan the chunks of a shard that have no part yet, and seal the run if it is then complete.

    Args:
        job: What to do, and where.
        options: The scan's parameters.
        command: The command line, for the session's record.
        listener: Receives the callbacks.
        workers: Number of decoding processes, None for one per CPU of the budget.
        fail_on: See `RunSummary.exit_code`.
        custody: Information about the case.
        budget: What the scan may use of the machine, None for all that this process may use.
        scratch: Folder for objects that are too large for memory, None for that of the system.
        make_worker: Class of the worker.

    Raises:
        ContractError: The run in the folder differs; the message says in what.
        AuditError: All chunks have a part, but some parts are wrong.
        DeepscanError: Nothing was scanned.
    """
    listener = listener or ShardListener()
    make = partial(
        make_worker,
        budget=budget,
        decoders=workers,
        custody=custody,
        warn=listener.warned,
        scratch=scratch,
    )
    folder, worker = join_run(job, options, make, listener)
    with worker:
        run = {**folder.run, "sessions": []}
        worker.run = run
        listener.loaded(run)
        share = share_of(folder, job.shard)
        listener.shared(share)
        buffer = worker.start().buffer_kind if share.todo else None
        runfile.begin(
            run,
            command,
            videos=share.todo_rows,
            kept=share.rows - share.todo_rows,
            timeout=options.timeout,
            workers=worker.decoders,
            frame_buffer=buffer,
            inputs=job.inputs.to_json() if job.inputs else None,
            inputs_checked=None,  # the parts decide what is left, not the files
            shard=str(job.shard),
        )
        session = {"id": runfile.new_id(), **run["sessions"][0]}
        folder.begin_session(session)
        ledger = AttemptLedger(folder.store, session["id"])
        summary = ShardSummary(share=share)
        try:
            _scan_share(folder, share, worker, ledger, summary, listener)
            finish_run(folder, summary, listener)
        except BaseException as error:
            # Report the error that ended the shard, even if the store no longer answers.
            with suppress(Exception):
                ledger.withdraw()
                end_session(folder, session, run, int(exit_code_of(error)))
            raise
        end_session(folder, session, run, int(summary.exit_code(fail_on)))
    return summary


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


def _scan_share(
    folder: RunFolder,
    share: ShardShare,
    worker: Worker,
    ledger: AttemptLedger,
    summary: ShardSummary,
    listener: ShardListener,
) -> None:
    suspects: list[Chunk] = []

    def sound() -> Iterator[Chunk]:
        for chunk in folder.chunks(share.shard) if share.todo else ():
            if chunk.index not in share.todo:
                continue
            if ledger.deaths(chunk.name) >= MOST_DEATHS:
                suspects.append(chunk)
                continue
            ledger.begin(chunk.name)
            yield chunk

    def write(chunk: Chunk, records: Sequence[dict[str, Any]]) -> None:
        put_records(folder, chunk, records)
        ledger.end(chunk.name)
        listener.written(len(records))
        for record in records:
            summary.count(record["status"], record["verdict"])

    def scan_one(row: ManifestRow) -> dict[str, Any]:
        found: list[dict[str, Any]] = []
        worker.scan_all(
            [Chunk(0, (row,), "")], lambda _, records: found.extend(records), on_progress=listener.at_work
        )
        return found[0]

    if share.todo:
        worker.scan_all(sound(), write, on_progress=listener.at_work, on_record=listener.ended)
    # Last, so that everything else is safe if they kill this process too.
    if suspects:
        listener.alone(sum(len(chunk.rows) for chunk in suspects))
    for chunk in suspects:
        records = []
        for record in scan_alone(chunk, scan_one, ledger, folder.run["id"]):
            records.append(record)
            listener.ended(record)
        write(chunk, records)


def put_records(folder: RunFolder, chunk: Chunk, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the part of a chunk, unless another worker has written it."""
    rows = [PartRow(record, row.id, row.label) for row, record in zip(chunk.rows, records, strict=True)]
    if not folder.put_part(chunk.name, write_part(rows, run=folder.run["id"], chunk=chunk.name)):
        LOG.info("another worker has written the part of chunk %s", chunk.name)


def finish_run(folder: RunFolder, summary: ShardSummary, listener: ShardListener) -> None:
    """Count the outcomes of earlier sessions and the chunks of other shards, and seal a complete run."""
    assert summary.share is not None
    for status, verdict in _outcomes(folder, summary.share.kept):
        summary.count(status, verdict)
    summary.owed = folder.manifest.chunks - len(folder.done())
    if summary.owed > 0:
        return
    seal_run(folder, audit_run(folder, listener.auditing))
    summary.owed, summary.sealed = 0, True


def _outcomes(folder: RunFolder, chunks: Sequence[str]) -> Iterator[tuple[Status, str | None]]:
    """Yield status and verdict of each video of chunks that have a part."""

    def read(chunk: str) -> list[tuple[Status, str | None]]:
        table = folder.read_part(chunk, ("status", "verdict")).table
        return list(zip(*(table.column(name).to_pylist() for name in ("status", "verdict")), strict=True))

    with ThreadPoolExecutor(_READERS) as threads:
        for start in range(0, len(chunks), 4 * _READERS):
            for pairs in threads.map(read, chunks[start : start + 4 * _READERS]):
                yield from pairs


def end_session(folder: RunFolder, session: dict[str, Any], run: dict[str, Any], exit_code: int) -> None:
    """Record the end of a session."""
    runfile.end(run, exit_code)
    folder.end_session({"id": session["id"], **run["sessions"][0]})
