"""One run of `scan`: loads what it needs, resumes, scans, writes, and says how it ended."""

import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepscan import cards
from deepscan.errors import ExitCode, UsageError, exit_code_of
from deepscan.faces.mtcnn import FaceFinder
from deepscan.media.frames import FAILURES, Status
from deepscan.media.pool import DecodeOptions, DecodePool
from deepscan.scan import runfile
from deepscan.scan.journal import Journal, read_journal
from deepscan.scan.options import ScanOptions
from deepscan.scan.pipeline import Pipeline
from deepscan.scan.records import Record
from deepscan.scan.resume import Plan, plan
from deepscan.scan.scorer import Scorer
from deepscan.scan.writers import WRITERS

NO_MODEL = "none"


@dataclass(frozen=True, slots=True)
class Output:
    """Where the records go.

    Attributes:
        out: The file that was asked for, `.jsonl` or made from one, None to only hand records on.
        resume: Go on with the run that is there.
        overwrite: Replace what is there.
        retry: Statuses that a resumed run scans again.
    """

    out: Path | None = None
    resume: bool = False
    overwrite: bool = False
    retry: frozenset[Status] = frozenset()

    def __post_init__(self) -> None:
        if self.out is None:
            if self.resume:
                raise UsageError(
                    "--resume needs the run's --out FILE", "name the file of the run to go on with"
                )
            return
        WRITERS.get(self.out.suffix.removeprefix("."))
        if self.retry and not self.resume:
            raise UsageError("--retry belongs to --resume", "add --resume to scan those videos again")
        if self.resume and self.overwrite:
            raise UsageError("--resume and --overwrite exclude each other", "leave one of them out")
        for path in {self.out, self.journal}:
            if path.exists() and not (self.resume or self.overwrite):
                raise UsageError(
                    f"{path} is there already", "go on with it by --resume, or replace it by --overwrite"
                )

    @property
    def journal(self) -> Path:
        """The journal: the output itself, or the `.jsonl` that it is made from."""
        assert self.out is not None
        return self.out.with_suffix(".jsonl")


@dataclass(slots=True)
class Summary:
    """How a run ended.

    Attributes:
        statuses: Status -> how many videos, earlier sessions of a resumed run included.
        verdicts: Verdict -> how many videos, likewise.
        run: Identifier of the run.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    run: str = ""

    def count(self, record: Mapping[str, Any]) -> None:
        """Count a record."""
        self.statuses[record["status"]] += 1
        if record["verdict"]:
            self.verdicts[record["verdict"]] += 1

    def exit_code(self, fail_on: Collection[str] = ()) -> ExitCode:
        """Return what the run tells the shell.

        Args:
            fail_on: Verdicts that are to end in `FOUND_FAKE`, which wins over `SOME_FAILED`.
        """
        if any(self.verdicts[verdict] for verdict in fail_on):
            return ExitCode.FOUND_FAKE
        failed = any(self.statuses[status] for status in FAILURES)
        return ExitCode.SOME_FAILED if failed else ExitCode.OK


class Listener:
    """What a run tells whoever started it; each method may be overridden."""

    def loaded(self, run: Mapping[str, Any]) -> None:
        """Everything is loaded; `run` is the run's record."""

    def planned(self, todo: int, kept: Sequence[Mapping[str, Any]]) -> None:
        """So many videos are to be scanned, and these records of an interrupted run stand."""

    def ended(self, record: Mapping[str, Any]) -> None:
        """A video has ended; its record is on disk."""


def execute(
    paths: Sequence[bytes],
    options: ScanOptions,
    output: Output,
    *,
    command: Sequence[str] = (),
    listener: Listener | None = None,
    workers: int | None = None,
    fail_on: Collection[str] = (),
) -> Summary:
    """Scan videos.

    Args:
        paths: The files, see `inputs.collect`.
        options: The parameters.
        output: Where the records go.
        command: The command line, for the run's record.
        listener: Is told what happens.
        workers: Decoders at once, None for a number that suits the machine.
        fail_on: See `Summary.exit_code`.

    Raises:
        DeepscanError: Nothing was scanned: a model, a device or the run to resume is not as it must be.
    """
    listener = listener or Listener()
    finder = FaceFinder(options.faces, device="cpu")
    scorer = None if options.model == NO_MODEL else load_scorer(options)
    count = workers or max(1, (os.cpu_count() or 2) // 2)
    decoding = DecodeOptions(
        frames=options.frames,
        decoder=options.decoder,
        timeout=options.timeout,
        min_frames=options.min_frames,
        max_pixels=int(options.max_megapixels * 1e6),
    )
    with DecodePool(decoding, count) as pool:
        run = runfile.describe(
            options, scorer, cards.load("mtcnn"), frame_buffer=pool.buffer_kind, workers=count
        )
        resumed = output.resume and output.journal.exists()
        if resumed:
            earlier = runfile.read(runfile.run_path(output.journal))
            runfile.check_same(earlier, run)
            run = earlier
        listener.loaded(run)
        planned = (
            plan(paths, read_journal(output.journal), output.retry) if resumed else Plan((), tuple(paths))
        )
        listener.planned(len(planned.todo), planned.kept)
        summary = Summary(run=run["id"])
        for record in planned.kept:
            summary.count(record)
        runfile.begin(run, command, videos=len(planned.todo), kept=len(planned.kept), timeout=options.timeout)
        pipeline = Pipeline(options, pool, finder, scorer, run["id"])
        _scan(pipeline, planned, output, run, summary, listener, fail_on)
    return summary


def load_scorer(options: ScanOptions) -> Scorer:
    """Return the detector that the options name, its golden score checked."""
    return Scorer(
        cards.load(options.model), engine=options.engine, device=options.device, precision=options.precision
    )


def _scan(
    pipeline: Pipeline,
    planned: Plan,
    output: Output,
    run: dict[str, Any],
    summary: Summary,
    listener: Listener,
    fail_on: Collection[str],
) -> None:
    def tell(record: Record) -> Mapping[str, Any]:
        line = record.to_json()
        summary.count(line)
        return line

    if output.out is None:
        pipeline.scan(planned.todo, lambda record: listener.ended(tell(record)))
        return
    described = runfile.run_path(output.journal)
    runfile.write(run, described)
    exit_code: int | None = None
    try:
        with Journal(output.journal, planned.kept) as journal:

            def keep(record: Record) -> None:
                line = tell(record)
                journal.append(line)
                listener.ended(line)

            pipeline.scan(planned.todo, keep)
        exit_code = summary.exit_code(fail_on)
    except BaseException as error:
        exit_code = exit_code_of(error)
        raise
    finally:
        runfile.end(run, exit_code)
        runfile.write(run, described)
        _convert(output)


def _convert(output: Output) -> None:
    assert output.out is not None
    if output.out == output.journal or not output.journal.exists():
        return
    fresh = output.out.with_name(output.out.name + ".part")
    with fresh.open("w", encoding="utf-8", newline="") as file:
        WRITERS.get(output.out.suffix.removeprefix("."))(read_journal(output.journal), file)
    fresh.replace(output.out)
