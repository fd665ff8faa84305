"""Write the records of a run folder into one file, with the run's description, as a scan writes them."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deepscan.errors import ContractError, UsageError
from deepscan.files import atomic_write, exclusive_lock
from deepscan.scanning import runfile
from deepscan.scanning.folder_records import FolderRecords
from deepscan.scanning.parts import COLUMNS
from deepscan.scanning.record_source import TABLE, JournalRecords
from deepscan.scanning.record_table import TableWriter
from deepscan.scanning.run_audit import AuditError
from deepscan.scanning.writers import WRITERS

#: Suffixes of files that can be written.
SUFFIXES = (".jsonl", ".csv", TABLE)
#: Progress callback: (`parts` that were checked or `videos` that were written, done, total).
OnCompacting = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Compaction:
    """What was written.

    Attributes:
        written: Number of records.
        rows: Number of videos of the run.
        lacking: What is missing or wrong in the run, a line each; of many, the first.
    """

    written: int
    rows: int
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompactFile:
    """A file to write.

    Attributes:
        out: The file. Its suffix says what it is.
        overwrite: Whether to replace files that exist.

    Raises:
        UsageError: It cannot be written under this name.
    """

    out: Path
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.out.suffix not in SUFFIXES:
            raise UsageError(
                f"--out {self.out} must end in .jsonl, .csv or {TABLE}",
                "JSON lines have every detail, CSV a row for each video, Parquet both",
            )
        if not self.out.parent.is_dir():
            raise UsageError(
                f"folder {self.out.parent} does not exist", "create it, or name another file with --out"
            )

    @property
    def records(self) -> Path:
        """The file of all records: for a CSV file, the JSON lines next to it."""
        out = self.out.resolve()
        return out if out.suffix == TABLE else out.with_suffix(".jsonl")

    @property
    def run(self) -> Path:
        """The file that describes the run."""
        return self.records.with_suffix(".run.json")

    def require_free(self) -> None:
        """Check that nothing is overwritten unless it was asked for.

        Raises:
            UsageError: A file exists.
        """
        existing = [path for path in (self.out, self.records, self.run) if path.exists()]
        if existing and not self.overwrite:
            raise UsageError(
                f"{existing[0]} already exists", "name another --out, or replace it with --overwrite"
            )


def compact_run(
    records: FolderRecords,
    file: CompactFile,
    *,
    partial: bool = False,
    on_progress: OnCompacting | None = None,
) -> Compaction:
    """Check a run folder, and write its records into one file.

    Args:
        records: The records of the run folder.
        file: The file to write. Its run's description is written next to it, with the hash of the records.
        partial: Whether to write what is there of a run that is not complete. Parts that are wrong are left
            out.
        on_progress: Called while parts are checked, and while records are written.

    Raises:
        AuditError: The run is not complete, and `partial` is false.
        ContractError: The parts were changed after the run was sealed.
        UsageError: A file exists.
        DeepscanError: A file cannot be written.
    """
    show = on_progress or (lambda what, done, total: None)
    file.require_free()
    with exclusive_lock(file.records):
        file.require_free()
        audit = records.audit(lambda done, total: show("parts", done, total))
        if not partial:
            try:
                audit.require_complete()
            except AuditError as error:
                raise AuditError(error.message, f"{error.hint}; --partial writes the records that exist")
        sealed = records.run()["records"]
        if audit.complete and sealed is not None and sealed["sha256"] != audit.sha256:
            raise ContractError(
                f"parts of {records.location} were changed after the run ended",
                f"see what was changed with: deepscan verify {records.location}",
            )
        written = _write(records.lenient() if partial else records, file, show)
        table = file.out.resolve()
        if table != file.records:
            with atomic_write(table) as stream:
                text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
                WRITERS.get("csv")(JournalRecords(file.records), text)
                text.detach()
        run = dict(records.run())
        runfile.seal(run, file.records, written, table.name if table != file.records else None)
        runfile.write(run, file.run)
    return Compaction(written, records.size(), () if audit.complete else audit.lines)


def _write(records: FolderRecords, file: CompactFile, show: OnCompacting) -> int:
    """Write the file of all records; return their number."""
    whole = file.records.suffix == TABLE
    passed = written = 0
    with atomic_write(file.records) as stream:
        table = TableWriter(stream, records.folder.run["id"]) if whole else None
        for chunk, part in records.parts(COLUMNS if whole else ("path", "path_bytes", "record")):
            passed += len(chunk.rows)
            if part is not None:
                if table is not None:
                    table.add(part.table)
                else:
                    stream.writelines(line.encode("ascii") + b"\n" for line in part.lines())
                written += len(part.table)
            show("videos", passed, records.size())
        if table is not None:
            table.close()
    return written
