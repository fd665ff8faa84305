"""Run a scan: load, resume, scan, write, and report how it ended."""

import json
import os
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepscan.devices import Budget
from deepscan.errors import ContractError, ExitCode, UsageError, exit_code_of
from deepscan.outcomes import FAILURES
from deepscan.scanning import runfile
from deepscan.scanning.journal import Journal, JournalEntry, entries, lines, read_journal
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.originals import Originals, RecordSpool, line_reader
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.paths import ScanInputs, identity
from deepscan.scanning.record_lines import RecordLine
from deepscan.scanning.recorded import RecordedEntries
from deepscan.scanning.resume import ResumePlan, plan
from deepscan.scanning.sources import listed_items
from deepscan.scanning.worker import Worker


@dataclass(slots=True)
class RunSummary:
    """Counts of the outcomes of a run.

    Attributes:
        statuses: Status -> number of videos, including earlier sessions of a resumed run.
        verdicts: Verdict -> number of videos, likewise.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)

    def count(self, status: str, verdict: str | None, videos: int = 1) -> None:
        """Count videos."""
        self.statuses[status] += videos
        if verdict:
            self.verdicts[verdict] += videos

    @property
    def outcomes(self) -> dict[str, int]:
        """Verdict, or status of a video without one -> number of videos."""
        judged = self.verdicts.total()
        return {**self.statuses, "ok": self.statuses["ok"] - judged, **self.verdicts}

    def exit_code(self, fail_on: Collection[str] = ()) -> ExitCode:
        """Return the run's exit code.

        Args:
            fail_on: Verdicts that make the run end with `FOUND_FAKE`, which takes precedence over
                `SOME_FAILED`.
        """
        if any(self.verdicts[verdict] for verdict in fail_on):
            return ExitCode.FOUND_FAKE
        failed = any(self.statuses[status] for status in FAILURES)
        return ExitCode.SOME_FAILED if failed else ExitCode.OK


class ScanListener:
    """Callbacks of a run, which do nothing by default; override those of interest."""

    def loaded(self, run: Mapping[str, Any]) -> None:
        """Handle that everything is loaded; `run` is the run's record."""

    def checking(self, recorded: int) -> None:
        """Handle that this many records of an interrupted run are being compared with their files."""

    def planned(self, todo: int, kept: Iterator[Mapping[str, Any]]) -> None:
        """Handle the plan: how many videos to scan, and the records of an interrupted run that are kept."""

    def at_work(self, path: bytes | None) -> None:
        """Handle that a video has started; None at least twice a second while videos are being scanned."""

    def warned(self, line: str) -> None:
        """Handle a warning; the scan continues."""

    def ended(self, record: Mapping[str, Any]) -> None:
        """Handle that a video has ended; its record is on disk."""


def run_scan(
    paths: Sequence[bytes],
    options: ScanOptions,
    output: ScanOutput,
    *,
    command: Sequence[str] = (),
    listener: ScanListener | None = None,
    workers: int | None = None,
    fail_on: Collection[str] = (),
    custody: runfile.Custody | None = None,
    inputs: ScanInputs | None = None,
    budget: Budget | None = None,
    etags: Sequence[bytes] = (),
    scratch: Path | None = None,
) -> RunSummary:
    """Scan videos.

    Args:
        paths: The files and the addresses of objects, see `scanning.paths.collect`.
        options: The scan's parameters.
        output: Where the records go.
        command: The command line, for the run's record.
        listener: Receives the callbacks.
        workers: Number of decoding processes, None for one per CPU of the budget: each has one thread.
        fail_on: See `RunSummary.exit_code`.
        custody: Information about the case for the run's record. A resumed run keeps entries that are not
            given.
        inputs: Where the paths come from, for the run's record, so that a resumed run finds them again.
        budget: What the scan may use of the machine, None for all that this process may use.
        etags: ETag of each object, see `ScanPaths.etags`.
        scratch: Folder for objects that are too large for memory, None for that of the system.

    Raises:
        DeepscanError: Nothing was scanned, because of a model, a device or the run to resume; or the scan
            ended because a store cannot be read.
    """
    listener = listener or ScanListener()
    if options.evidence and output.out is None:
        raise UsageError(
            "--evidence needs --out FILE", "add --out FILE.jsonl: pictures are stored next to it"
        )
    written = {os.fsencode(path) for path in output.files}
    overlap = next((path for path in paths if identity(path) in written), None) if written else None
    if overlap is not None:
        raise UsageError(f"{os.fsdecode(overlap)!r} is an input and an output", "name another --out")
    with output.claim():
        earlier = output.begun()
        with Worker(
            options,
            earlier,
            budget,
            decoders=workers,
            custody=custody,
            warn=listener.warned,
            scratch=scratch,
        ) as worker:
            run = worker.run
            listener.loaded(run)
            planned = ResumePlan((), paths, etags)
            if earlier is not None:
                planned = _resumed(paths, etags, output, run, listener)
            checked = "sha256" if output.verify_inputs else "mtime"
            pool = worker.start(output.pictures if options.evidence else None)
            runfile.begin(
                run,
                command,
                videos=len(planned.todo),
                kept=len(planned.kept),
                timeout=worker.options.timeout,
                workers=worker.decoders,
                frame_buffer=pool.buffer_kind,
                inputs=inputs and inputs.to_json(),
                inputs_checked=None if earlier is None else checked,
            )
            return _scan(worker, planned, output, run, listener, fail_on)


def iterate_scan(
    paths: Sequence[bytes],
    options: ScanOptions,
    *,
    workers: int | None = None,
    etags: Sequence[bytes] = (),
    scratch: Path | None = None,
) -> Generator[RecordLine, None, None]:
    """Scan videos and yield the record of each as it ends; nothing is written.

    The models are loaded and the decoding processes started when the first record is requested. The processes
    end with the iterator: at its end, when it is closed or dropped, or when an error is raised.

    Args:
        paths: As for `run_scan`.
        options: The parameters.
        workers: Number of decoding processes, None for one per CPU that this process may use, at most one per
            video.
        etags: As for `run_scan`.
        scratch: As for `run_scan`.

    Raises:
        DeepscanError: As for `run_scan`.
    """
    budget = Budget.here(options.device)
    count = workers or max(1, min(budget.cpus, len(paths)))
    with Worker(options, budget=budget, decoders=count, scratch=scratch) as worker:
        worker.start()
        with RecordSpool() as spool:
            originals = Originals(spool.read)
            for record in worker.scan(listed_items(paths, etags), originals=originals):
                originals.add(record, spool.append(record.to_json()))
                yield record


def _resumed(
    paths: Sequence[bytes],
    etags: Sequence[bytes],
    output: ScanOutput,
    run: Mapping[str, Any],
    listener: ScanListener,
) -> ResumePlan:
    recorded = RecordedEntries(entries(output.journal))
    if other_runs := recorded.runs - {run["id"]}:
        raise ContractError(
            f"{output.journal} has records of run {other_runs.pop()}, which is not the run of "
            f"{output.run.name}",
            "start a new run with another --out or with --overwrite",
        )
    runfile.require_unchanged(run, output.journal)
    listener.checking(len(recorded))
    return plan(paths, recorded, output.retry, etags=etags, verify_inputs=output.verify_inputs)


def _scan(
    worker: Worker,
    planned: ResumePlan,
    output: ScanOutput,
    run: dict[str, Any],
    listener: ScanListener,
    fail_on: Collection[str],
) -> RunSummary:
    summary = RunSummary()
    if output.out is None:
        listener.planned(len(planned.todo), iter(()))
        with RecordSpool() as spool:
            originals = Originals(spool.read)
            for record in worker.scan(planned.items(), listener.at_work, originals):
                line = record.to_json()
                originals.add(record, spool.append(line))
                summary.count(record.status, record.verdict)
                listener.ended(line)
        return summary
    originals, place = Originals(line_reader(output.journal)), 0
    for entry in planned.kept:
        summary.count(entry.status, entry.verdict)
        # They are written one after another to the beginning of the journal.
        originals.add(entry, place)
        place += entry.length
    if len(run["sessions"]) > 1:
        # Before the journal changes, remove its hash that an earlier session has recorded.
        runfile.write(run, output.run)
    with Journal(output.journal, lines(output.journal, planned.kept) if planned.kept else ()) as journal:
        runfile.write(run, output.run)
        listener.planned(len(planned.todo), _kept(output.journal, planned.kept))

        try:
            for record in worker.scan(planned.items(), listener.at_work, originals):
                line = record.to_json()
                originals.add(record, journal.append(line))
                summary.count(record.status, record.verdict)
                listener.ended(line)
        except BaseException as error:
            # Report the error that ended the run, even if the rest cannot be written either.
            with suppress(Exception):
                _finish(output, run, exit_code_of(error))
            raise
    output.pictures.sweep(record for _, _, record in read_journal(output.journal))
    table = output.table.name if output.table else None
    runfile.seal(run, output.journal, summary.statuses.total(), table)
    _finish(output, run, summary.exit_code(fail_on))
    return summary


def _kept(journal: Path, kept: Sequence[JournalEntry]) -> Iterator[Mapping[str, Any]]:
    # Read again from the beginning of the journal, where the kept records are now, in this order.
    with journal.open("rb") as file:
        for _ in kept:
            yield json.loads(file.readline())


def _finish(output: ScanOutput, run: dict[str, Any], exit_code: int) -> None:
    runfile.end(run, exit_code)
    runfile.write(run, output.run)
    output.convert()
