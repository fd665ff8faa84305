"""The overview of a page: a row a video, the worst first, which files are equal, how far models agree."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from deepscan.errors import ContractError
from deepscan.report.standing import Standing
from deepscan.scanning.journal import read_journal
from deepscan.scanning.summary import VideoSummary, summarise_record

#: Progress callback: what is counted, how many are done, and how many there are.
OnPageProgress = Callable[[str, int, int], None]

_OPPOSITES = {"fake", "no_evidence"}


@dataclass(slots=True)
class OverviewRow:
    """A video of the overview.

    Attributes:
        summary: What its record says, in short.
        offset: Where its record begins in the journal, in bytes.
        sha256: Of the file, empty where it could not be read.
        size: Of the file in bytes, None likewise.
        warnings: Of the record.
        doubts: What of the record is not what its own frames give.
        same_as: The first row of an equal file with an equal outcome, None for that one itself.
        copies: Paths of those files, of the first row.
        number: Its place among those shown in detail, from 1; None for the others.
    """

    summary: VideoSummary
    offset: int
    sha256: str
    size: int | None
    warnings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    same_as: "OverviewRow | None" = None
    copies: tuple[str, ...] = ()
    number: int | None = None


@dataclass(frozen=True, slots=True)
class ModelPair:
    """How two models agree.

    Attributes:
        names: Of both.
        videos: That both have judged.
        same: Of these, where they say the same.
        opposite: Where one says fake and the other no_evidence.
    """

    names: tuple[str, str]
    videos: int
    same: int
    opposite: int


@dataclass(frozen=True, slots=True)
class Overview:
    """All videos of a scan.

    Attributes:
        rows: Those in doubt, then the worst first.
        first: The first record, None where there is none.
        decoders: Which decoder gave the frames of how many videos.
        warned: How many videos have a warning.
        shared: Warnings of every one of several videos, which need to be said but once.
    """

    rows: tuple[OverviewRow, ...]
    first: Mapping[str, Any] | None
    decoders: Mapping[str, int]
    warned: int
    shared: frozenset[str] = frozenset()

    @property
    def copied(self) -> int:
        """How many videos are copies of another."""
        return sum(row.same_as is not None for row in self.rows)


def read_overview(records: Path, standing: Standing, on_progress: OnPageProgress | None) -> Overview:
    """Return all videos of a scan.

    Args:
        records: The journal.
        standing: Whether it is as its run left it.
        on_progress: Called with the megabytes that were read.

    Raises:
        ContractError: A record is not of this version, or of another run than the first.
    """
    rows: list[OverviewRow] = []
    decoders: Counter[str] = Counter()
    first, warned, size = None, 0, records.stat().st_size
    for offset, line, record in read_journal(records):
        first = first or record
        with understood(records, record):
            if record["run"] != first["run"]:
                raise ContractError(
                    f"{records} holds records of two runs, {first['run']} and {record['run']}",
                    "make a page of each run",
                )
            summary = summarise_record(record)
            doubts = standing.doubts(record)
            warnings = tuple(record["warnings"])
            rows.append(
                OverviewRow(summary, offset, record["sha256"] or "", record["bytes"], warnings, doubts)
            )
            warned += bool(warnings)
            if decoder := (record["media"] or {}).get("decoder"):
                decoders[decoder] += 1
        if on_progress is not None:
            on_progress("megabytes read", (offset + len(line)) // 10**6, size // 10**6)
    rows.sort(key=lambda row: (not row.doubts, row.summary.rank))
    _name_copies(rows)
    each = [set(row.warnings) for row in rows if row.summary.verdict]
    shared = frozenset(set.intersection(*each)) if len(each) > 1 else frozenset[str]()
    return Overview(tuple(rows), first, decoders, warned, shared)


@contextmanager
def understood(records: Path, record: Mapping[str, Any]) -> Iterator[None]:
    """Turn what goes wrong with a record that is not of this version into an error for people.

    Raises:
        ContractError: Something did.
    """
    try:
        yield
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ContractError(
            f"{records}: the record of {record['path']} is not as this version writes it: {error!r}",
            "scan with this version",
        )


def model_pairs(rows: Sequence[VideoSummary]) -> list[ModelPair]:
    """Return how every two models that have a vote agree."""
    said: dict[tuple[str, str], list[set[str]]] = defaultdict(list)
    for models in (one.models for one in rows):
        voting = [(each.name, each.verdict) for each in models if each.votes and each.verdict]
        for (a, of_a), (b, of_b) in combinations(voting, 2):
            said[a, b].append({of_a, of_b})
    return [
        ModelPair(names, len(both), sum(len(each) == 1 for each in both), both.count(_OPPOSITES))
        for names, both in said.items()
    ]


def _name_copies(rows: Sequence[OverviewRow]) -> None:
    """Say of equal files with an equal outcome which of them are copies; rows are changed in place."""
    groups: dict[tuple[Any, ...], list[OverviewRow]] = defaultdict(list)
    for row in rows:
        if row.sha256:
            outcome = (row.summary.status, row.summary.verdict, row.summary.score, row.doubts)
            groups[row.sha256, *outcome].append(row)
    for first, *others in groups.values():
        first.copies = tuple(other.summary.path for other in others)
        for other in others:
            other.same_as = first
