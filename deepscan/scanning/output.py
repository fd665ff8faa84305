"""Manage the output files of a run: its journal, its description, and the formats made from them."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepscan.errors import UsageError, require_choice
from deepscan.files import atomic_write, exclusive_lock
from deepscan.outcomes import STATUSES, Status
from deepscan.scanning import runfile
from deepscan.scanning.journal import read_journal
from deepscan.scanning.paths import refuse_address
from deepscan.scanning.picture_folder import PictureFolder
from deepscan.scanning.writers import WRITERS


@dataclass(frozen=True, slots=True)
class ScanOutput:
    """Where the records go, and what to do if they exist.

    Attributes:
        out: The requested file: `.jsonl` or a format made from one. None to only return records.
        resume: Continue the existing run.
        overwrite: Replace existing files.
        retry: Statuses of videos that a resumed run scans again.
        verify_inputs: Whether a resumed run hashes every recorded file again, not only those whose size or
            time of modification differs.
    """

    out: Path | None = None
    resume: bool = False
    overwrite: bool = False
    retry: frozenset[Status] = frozenset()
    verify_inputs: bool = False

    def __post_init__(self) -> None:
        require_choice("--retry", sorted(self.retry), STATUSES)
        if self.out is not None and not self.out.parent.is_dir():
            refuse_address(str(self.out), "cannot be written")
        if self.out is None and (self.resume or self.overwrite or self.retry or self.verify_inputs):
            raise UsageError(
                "--resume, --retry, --verify-inputs and --overwrite need --out FILE", "add --out FILE.jsonl"
            )
        if self.out is None:
            return
        if not self.out.suffix:
            raise UsageError(
                f"--out {self.out} must end in .jsonl or .csv",
                "name a file, or end the name of a run folder in /",
            )
        WRITERS.get(self.out.suffix.removeprefix("."))
        if self.retry and not self.resume:
            raise UsageError("--retry needs --resume", "add --resume to scan those videos again")
        if self.verify_inputs and not self.resume:
            raise UsageError(
                "--verify-inputs needs --resume", "leave it out: a new run reads every file anyway"
            )
        if self.resume and self.overwrite:
            raise UsageError("--resume and --overwrite exclude each other", "use only one of them")

    @property
    def journal(self) -> Path:
        """The journal: the output itself, or the `.jsonl` from which it is made, with links resolved."""
        assert self.out is not None
        return self.out.with_suffix(".jsonl").resolve()

    @property
    def table(self) -> Path | None:
        """The output if it is made from the journal, None if it is the journal itself."""
        out = self.out.resolve() if self.out else None
        return out if out != self.journal else None

    @property
    def run(self) -> Path:
        """The file that describes the run.

        It is named after the output, so that two scans into one folder do not overwrite each other's.
        """
        return self.journal.with_suffix(".run.json")

    @property
    def pictures(self) -> PictureFolder:
        """The folder of the run's pictures, named after the output."""
        return PictureFolder(self.journal.with_suffix(".pictures"))

    @property
    def files(self) -> frozenset[Path]:
        """All files that are written, with links resolved; empty without an output."""
        return frozenset({self.out.resolve(), self.journal, self.run}) if self.out else frozenset()

    def begun(self) -> dict[str, Any] | None:
        """Return the record of the run to resume, None if there is none or it is not to be resumed.

        Raises:
            ContractError: There are records, but the run's file cannot be read.
        """
        return runfile.read(self.run) if self.resume and self.journal.exists() else None

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Keep other runs away from the files, and check that they may be written.

        Raises:
            UsageError: They already exist and are to be neither resumed nor replaced, or their folder cannot
                be written to.
            ContractError: Another run is using them.
        """
        if self.out is None:
            yield
            return
        with exclusive_lock(self.journal):
            existing = sorted(path for path in {*self.files, self.pictures.path} if path.exists())
            if existing and not (self.resume or self.overwrite):
                raise UsageError(
                    f"{existing[0]} already exists",
                    "resume its run with --resume, or replace it with --overwrite",
                )
            yield

    def convert(self) -> None:
        """Make the output from the journal, unless the output is the journal itself."""
        if self.out is None or (table := self.table) is None or not self.journal.exists():
            return
        with atomic_write(table) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
            write = WRITERS.get(self.out.suffix.removeprefix("."))
            write((record for _, _, record in read_journal(self.journal)), text)
            text.detach()
