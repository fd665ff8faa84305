"""Build the overview of a page: a row per video, worst first, equal files, and the agreement of models."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from deepscan.errors import ContractError
from deepscan.report.standing import Standing
from deepscan.scanning.record_source import ScanRecords
from deepscan.scanning.summary import VideoSummary, shown_warnings, summarise_record

#: Progress callback: (what is counted, done, total).
OnPageProgress = Callable[[str, int, int], None]

_OPPOSITES = {"fake", "no_evidence"}


@dataclass(slots=True)
class OverviewRow:
    """A row of the overview.

    Attributes:
        summary: Summary of the record.
        place: Place of the record, for `ScanRecords.at`.
        sha256: SHA-256 of the file, empty if it could not be read.
        size: Size of the file in bytes, None likewise.
        warnings: The record's warnings.
        doubts: How the record contradicts its own frames.
        same_as: The first row with an equal file and outcome, None for that row itself.
        copies: In the first row, the paths of the equal files.
        number: Number among those shown in detail, from 1; None for the others.
    """

    summary: VideoSummary
    place: int
    sha256: str
    size: int | None
    warnings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    same_as: "OverviewRow | None" = None
    copies: tuple[str, ...] = ()
    number: int | None = None


@dataclass(frozen=True, slots=True)
class ModelPair:
    """Agreement of two models.

    Attributes:
        names: Names of both.
        videos: Number of videos judged by both.
        same: Number of these with the same verdict.
        opposite: Number of these with `fake` by one and `no_evidence` by the other.
    """

    names: tuple[str, str]
    videos: int
    same: int
    opposite: int


@dataclass(frozen=True, slots=True)
class Overview:
    """All videos of a scan.

    Attributes:
        rows: Doubtful ones first, then worst first.
        first: The first record, None if there are none.
        decoders: Name of the decoder -> number of videos it decoded.
        warned: Number of videos with a warning.
        shared: Warnings that all of several videos have, to be shown once.
    """

    rows: tuple[OverviewRow, ...]
    first: Mapping[str, Any] | None
    decoders: Mapping[str, int]
    warned: int
    shared: frozenset[str] = frozenset()

    @property
    def copied(self) -> int:
        """Number of videos that are copies of another."""
        return sum(row.same_as is not None for row in self.rows)


def read_overview(records: ScanRecords, standing: Standing, on_progress: OnPageProgress | None) -> Overview:
    """Read the overview of a scan.

    Args:
        records: The records.
        standing: Whether they are unchanged since the run.
        on_progress: Called with the megabytes or videos read.

    Raises:
        ContractError: A record is not from this version, or from another run than the first.
    """
    rows: list[OverviewRow] = []
    decoders: Counter[str] = Counter()
    first, warned, size = None, 0, records.size()
    what, unit = ("megabytes read", 10**6) if records.unit == "bytes" else ("videos read", 1)
    for each in records.placed():
        record = each.record
        first = first or record
        with understood(records, record):
            if record["run"] != first["run"]:
                raise ContractError(
                    f"{records.location} has records of two runs, {first['run']} and {record['run']}",
                    "make one page for each run",
                )
            summary = summarise_record(record)
            doubts = standing.doubts(record)
            warnings = tuple(shown_warnings(record))
            rows.append(
                OverviewRow(summary, each.place, record["sha256"] or "", record["bytes"], warnings, doubts)
            )
            warned += bool(warnings)
            if decoder := (record["media"] or {}).get("decoder"):
                decoders[decoder] += 1
        if on_progress is not None:
            on_progress(what, each.done // unit, size // unit)
    rows.sort(key=lambda row: (not row.doubts, row.summary.rank))
    _name_copies(rows)
    by_row = [set(row.warnings) for row in rows if row.summary.verdict]
    shared = frozenset(set.intersection(*by_row)) if len(by_row) > 1 else frozenset[str]()
    return Overview(tuple(rows), first, decoders, warned, shared)


@contextmanager
def understood(records: ScanRecords, record: Mapping[str, Any]) -> Iterator[None]:
    """Turn any failure on a malformed record into an error message for people.

    Raises:
        ContractError: The record is malformed.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ContractError(
            f"{records.location}: the record of {record['path']} was not written by this version of "
            f"deepscan: {error!r}",
            "scan again with this version",
        )


def model_pairs(rows: Sequence[VideoSummary]) -> list[ModelPair]:
    """Return the agreement of every two models with a vote."""
    verdicts: dict[tuple[str, str], list[set[str]]] = defaultdict(list)
    for row in rows:
        voting = [(model.name, model.verdict) for model in row.models if model.votes and model.verdict]
        for (a, of_a), (b, of_b) in combinations(voting, 2):
            verdicts[a, b].append({of_a, of_b})
    return [
        ModelPair(names, len(pairs), sum(len(pair) == 1 for pair in pairs), pairs.count(_OPPOSITES))
        for names, pairs in verdicts.items()
    ]


def _name_copies(rows: Sequence[OverviewRow]) -> None:
    """Mark copies among rows of equal files with equal outcomes; the rows are modified in place."""
    groups: dict[tuple[Any, ...], list[OverviewRow]] = defaultdict(list)
    for row in rows:
        if row.sha256:
            outcome = (row.summary.status, row.summary.verdict, row.summary.score, row.doubts)
            groups[row.sha256, *outcome].append(row)
    for group in groups.values():
        # One that was decoded comes first, whatever its name.
        first, *others = sorted(group, key=lambda row: bool(row.summary.copied_from))
        first.copies = tuple(other.summary.path for other in others)
        for other in others:
            other.same_as = first
