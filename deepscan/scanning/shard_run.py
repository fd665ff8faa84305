"""Run one shard of a scan: begin or join the run in a folder, scan its chunks, and seal a complete run."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from deepscan.devices import Budget
from deepscan.errors import exit_code_of
from deepscan.logs import get_logger
from deepscan.outcomes import Status
from deepscan.scanning import runfile
from deepscan.scanning.attempts import MOST_DEATHS, AttemptLedger, scan_alone
from deepscan.scanning.chunks import Chunk, ManifestRow
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.parts import PartRow, write_part
from deepscan.scanning.run_audit import audit_run, seal_run
from deepscan.scanning.run_folder import RunFolder
from deepscan.scanning.shard_job import ShardJob, ShardListener, ShardShare, ShardSummary, join_run, share_of
from deepscan.scanning.worker import Worker

LOG = get_logger(__name__)
#: Parts that are read at the same time.
_READERS = 16


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
