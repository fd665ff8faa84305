"""What runs in an actor of a cluster: a worker that takes chunks from the ledger and writes their parts."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deepscan.cluster.ledger import ChunkLedger, ChunkTask, LedgerState
from deepscan.cluster.scoring import Scoring, load_remote
from deepscan.devices import Budget
from deepscan.errors import ContractError, UsageError, exit_code_of
from deepscan.scanning import runfile
from deepscan.scanning.attempts import AttemptLedger, scan_alone
from deepscan.scanning.chunks import Chunk, ManifestRow
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.run_folder import RunFolder
from deepscan.scanning.shard_run import put_records
from deepscan.scanning.worker import Worker

#: Seconds between two reports to the ledger.
REPORT = 2.0


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What all workers of a run have in common.

    Attributes:
        options: The scan's parameters.
        custody: Information about the case.
        scratch: Folder for objects that are too large for memory, None for that of the system.
        command: The command line, for the sessions' records.
        location: The run folder.
        make_worker: Class of the worker.
        scoring: The actors that score faces; empty if each worker does it itself.
    """

    options: ScanOptions
    custody: runfile.Custody | None
    scratch: Path | None
    command: Sequence[str]
    location: str
    make_worker: type[Worker]
    scoring: Sequence[Scoring] = ()


class LedgerActor:
    """The ledger of a run, in a process that ends with the driver's.

    Args:
        location: The run folder.
        todo: Indices of the chunks without a part.
    """

    def __init__(self, location: str, todo: frozenset[int]) -> None:
        folder = RunFolder.open(location)
        chunks = (chunk for chunk in folder.chunks() if chunk.index in todo) if todo else ()
        earlier = AttemptLedger(folder.store, "")
        self._ledger = ChunkLedger(chunks, len(todo), earlier.deaths)

    def take(self, worker: str, idle: bool) -> ChunkTask | None:
        """See `ChunkLedger.take`."""
        return self._ledger.take(worker, idle=idle)

    def report(self, worker: str, ended: int) -> bool:
        """See `ChunkLedger.report`."""
        return self._ledger.report(worker, ended)

    def finish(self, worker: str, chunk: str, outcomes: Mapping[tuple[str, str | None], int]) -> None:
        """See `ChunkLedger.finish`."""
        self._ledger.finish(worker, chunk, outcomes)

    def release(self, worker: str, died: bool = False, lost: bool = False) -> bool:
        """See `ChunkLedger.release`."""
        return self._ledger.release(worker, died=died, lost=lost)

    def stop(self) -> None:
        """See `ChunkLedger.stop`."""
        self._ledger.stop()

    def state(self) -> LedgerState:
        """See `ChunkLedger.state`."""
        return self._ledger.state()


class WorkerActor:
    """A worker of a run, in an actor.

    Args:
        plan: What it has in common with others.
        session: Identifier of its session.
        cpus: Number of CPUs that it may use.
        gpus: Number of GPUs that it may use, rounded up.
    """

    def __init__(self, plan: WorkerPlan, session: str, cpus: int, gpus: int) -> None:
        here = Budget.here(plan.options.device)
        budget = Budget(min(cpus, here.cpus), min(gpus, here.gpus))
        self._plan, self._session, self._budget = plan, session, budget
        self._worker: Worker | None = None

    def describe(self, run: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Load the models, and return the description of the run.

        Args:
            run: Description of the run to share with others; None for a new one.

        Raises:
            DeepscanError: A model, a package or a device is missing or unusable, or differs from the run's.
        """
        plan = self._plan
        if run is not None:
            _require_shared(plan.location, run)
        if run is not None and self._worker is not None:
            runfile.require_compatible(run, self._worker.run)
            return dict(run)
        make = partial(
            plan.make_worker,
            plan.options,
            run,
            self._budget,
            custody=plan.custody,
            scratch=plan.scratch,
        )
        if plan.scoring:
            own = plan.scoring[int(self._session, 16) % len(plan.scoring)]
            make = partial(make, load=partial(load_remote, own))
        self._worker = make()
        self._worker.open()
        return self._worker.run

    def work(self, run: Mapping[str, Any], ledger: Any, driver: str) -> None:
        """Scan chunks until there is none left.

        Args:
            run: Description of the run.
            ledger: Handle of the `LedgerActor`.
            driver: Identifier of the driver's session.

        Raises:
            DeepscanError: The store or a device cannot be used any more.
        """
        worker, plan = self._worker, self._plan
        assert worker is not None, "load the models first"
        folder = RunFolder(RunFolder.open(plan.location).store, run)
        worker.run = {**run, "sessions": []}
        with closing(worker):
            buffer = worker.start().buffer_kind
            runfile.begin(
                worker.run,
                plan.command,
                videos=0,
                kept=0,
                timeout=plan.options.timeout,
                workers=worker.decoders,
                frame_buffer=buffer,
                driver=driver,
            )
            session = {"id": self._session, **worker.run["sessions"][0]}
            folder.begin_session(session)
            share = _Share(folder, worker, self._session, LedgerClient(ledger, self._session))
            try:
                share.scan()
                code = 0
            except Stopped:
                share.withdraw()
                code = int(exit_code_of(KeyboardInterrupt()))
            except BaseException as error:
                with suppress(Exception):
                    share.withdraw()
                    self._end(folder, session, share.videos, int(exit_code_of(error)))
                raise
            self._end(folder, session, share.videos, code)

    def _end(self, folder: RunFolder, session: dict[str, Any], videos: int, code: int) -> None:
        assert self._worker is not None
        runfile.end(self._worker.run, code)
        folder.end_session({**session, **self._worker.run["sessions"][0], "videos": videos})


class Stopped(BaseException):
    """The driver has asked the workers to end. Not an Exception, so that no stage takes it for a failure."""


class LedgerClient:
    """A worker's side of the ledger.

    Args:
        ledger: Handle of the `LedgerActor`.
        worker: Identifier of the worker.
    """

    def __init__(self, ledger: Any, worker: str) -> None:
        from deepscan.cluster.connection import import_ray

        self._ray, self._ledger, self._worker = import_ray(), ledger, worker
        self._due = time.monotonic() + REPORT
        self._reply: Any = None

    def take(self, *, idle: bool) -> ChunkTask | None:
        """Return what to scan next, None if there is nothing for this worker; see `ChunkLedger.take`."""
        task: ChunkTask | None = self._ray.get(self._ledger.take.remote(self._worker, idle))
        return task

    def finish(self, chunk: str, outcomes: Mapping[tuple[str, str | None], int]) -> None:
        """Report that the part of a chunk is written."""
        self._ray.get(self._ledger.finish.remote(self._worker, chunk, outcomes))

    def report(self, ended: int) -> None:
        """Report now and then how many videos of unfinished chunks have a record; never waits.

        Raises:
            Stopped: The driver wants the workers to end.
        """
        if self._reply is not None:
            if not self._ray.wait([self._reply], timeout=0)[0]:
                return
            reply, self._reply = self._reply, None
            if not self._ray.get(reply):
                raise Stopped
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + REPORT
            self._reply = self._ledger.report.remote(self._worker, ended)


class _Share:
    """The chunks that a worker gets from the ledger."""

    def __init__(self, folder: RunFolder, worker: Worker, session: str, ledger: LedgerClient) -> None:
        self._folder, self._worker, self._session, self._ledger = folder, worker, session, ledger
        self._attempts = AttemptLedger(folder.store, session)
        #: Number of videos that this worker has scanned, and of those in chunks that are not finished.
        self.videos = self._unfinished = 0

    def scan(self) -> None:
        """Scan chunks until the ledger has nothing for an idle worker."""
        while (task := self._ledger.take(idle=True)) is not None:
            if task.alone:
                self._scan_alone(task.chunk)
            else:
                self._worker.scan_all(
                    self._chunks(task.chunk), self._write, on_progress=self._report, on_record=self._ended
                )

    def withdraw(self) -> None:
        """Delete the attempts of this worker, which ends in an orderly way."""
        self._attempts.withdraw()

    def _chunks(self, first: Chunk) -> Iterator[Chunk]:
        """Yield chunks as long as the ledger has some that need not be scanned alone."""
        task: ChunkTask | None = ChunkTask(first)
        while task is not None:
            self._attempts.begin(task.chunk.name)
            yield task.chunk
            task = self._ledger.take(idle=False)

    def _scan_alone(self, chunk: Chunk) -> None:
        # A new one, because attempts of other workers since the start of this one count too.
        attempts = AttemptLedger(self._folder.store, self._session)

        def scan_one(row: ManifestRow) -> dict[str, Any]:
            found: list[dict[str, Any]] = []
            self._worker.scan_all(
                (Chunk(0, (row,), ""),), lambda _, records: found.extend(records), on_progress=self._report
            )
            return found[0]

        records = []
        try:
            for record in scan_alone(chunk, scan_one, attempts, self._folder.run["id"]):
                records.append(record)
                self._ended(record)
        except BaseException:
            with suppress(Exception):
                attempts.withdraw()
            raise
        self._write(chunk, records)

    def _write(self, chunk: Chunk, records: Sequence[Mapping[str, Any]]) -> None:
        put_records(self._folder, chunk, records)
        self._attempts.end(chunk.name)
        self._unfinished -= len(records)
        self._ledger.finish(chunk.name, Counter((record["status"], record["verdict"]) for record in records))

    def _ended(self, record: Mapping[str, Any]) -> None:
        self.videos += 1
        self._unfinished += 1

    def _report(self, path: bytes | None) -> None:
        self._ledger.report(self._unfinished)


def _require_shared(location: str, run: Mapping[str, Any]) -> None:
    """Check that a machine sees the run folder of the driver.

    Raises:
        UsageError: It does not.
    """
    folder = RunFolder.existing(location)
    if folder is None:
        raise UsageError(
            f"{location} is empty on this machine",
            "use a folder that all machines share, or an address such as s3://bucket/run/",
        )
    if folder.run != run:
        raise ContractError(
            f"{location} has another run on this machine",
            "use a folder that all machines share, or an address such as s3://bucket/run/",
        )
