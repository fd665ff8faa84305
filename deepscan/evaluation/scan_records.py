"""Reads the records of a scan with the labels of its videos, as scores to measure."""

import csv
import os
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deepscan.errors import ContractError, UsageError
from deepscan.evaluation.scores import LABEL_VALUES, Column, Scores, by_video, read_scores
from deepscan.scanning.fusion import select_model
from deepscan.scanning.reading import open_records
from deepscan.scanning.record_lines import recorded_path
from deepscan.scanning.record_source import JournalRecords, RecordsLocation, ScanRecords
from deepscan.storage.address import is_address

LABEL_COLUMNS = ("file", "label")


def read_scores_or_records(
    scores: Path | None,
    records: ScanRecords | None,
    labels: Path | None,
    where: Sequence[str],
    vote: str,
    model: str | None = None,
) -> Scores:
    """Read the scores of a file or of a scan's records.

    Args:
        scores: A file for `read_scores`, or None.
        records: Records for `read_scan_scores`, or None.
        labels: The labels of the records, None for those in the manifest of their run.
        where: Conditions for `read_labels`.
        vote: `video`, or `group` for one vote per group and label.
        model: See `read_scan_scores`.

    Raises:
        UsageError: Records are given without labels, or a file cannot be read.
    """
    if records is not None:
        if labels is None and (where or isinstance(records, JournalRecords)):
            raise UsageError("--records and --labels must be used together", "give both, or neither")
        known = run_labels(records) if labels is None else read_labels(labels, where)
        name = Path(records.name).stem if labels is None else labels.stem
        found = read_scan_scores(records, known, name, model)
    else:
        assert scores is not None
        found = read_scores(scores)
    return group_votes(found) if vote == "group" else found


def read_labels(path: Path, where: Sequence[str] = ()) -> dict[Path, dict[str, str]]:
    """Read an index of labelled videos, by file.

    Args:
        path: A CSV file with the columns file (relative to its folder), label (real or fake) and, if known,
            group and method.
        where: Conditions `column=value` or `column=value,value`, which all selected rows meet.

    Raises:
        UsageError: The file cannot be read, lacks a column, lists a file twice, or no row is selected.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            # Fill short rows with empty cells instead of None.
            rows = list(csv.DictReader(file, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {error}", "give a CSV file with the columns file,label")
    conditions = {}
    for condition in where:
        column, equals, values = condition.partition("=")
        if not equals:
            raise UsageError(
                f"--where {condition!r} is not of the form column=value", "for example: --where tier=A,B"
            )
        conditions[column] = set(values.split(","))
    known = list(rows[0]) if rows else []
    for column in (*LABEL_COLUMNS, *conditions):
        if column not in known:
            raise UsageError(f"{path} has no column {column!r}", f"its columns are: {', '.join(known)}")
    chosen = [row for row in rows if all(row[column] in values for column, values in conditions.items())]
    if not chosen:
        raise UsageError(f"{path} has no rows with {', '.join(where) or 'a video'}", "leave --where out")
    for row in chosen:
        if row["label"].strip().lower() not in LABEL_VALUES:
            raise UsageError(f"{path}: {row['file']} has the label {row['label']!r}", "write real or fake")
    labels: dict[Path, dict[str, str]] = {}
    for row in chosen:
        if labels.setdefault(_key(row["file"], path.parent), row) is not row:
            raise UsageError(f"{path} lists {row['file']} twice", "remove one of the rows")
    return labels


def run_labels(records: ScanRecords) -> dict[Path, dict[str, str]]:
    """Return the labels in the manifest of a run, as `read_labels` does. Videos without one are left out.

    Raises:
        UsageError: There are none, or one is neither real nor fake.
    """
    labels = {}
    for path, label in records.labels():
        file = os.fsdecode(path)
        if label.strip().lower() not in LABEL_VALUES:
            raise UsageError(
                f"{records.location}: {file} has the label {label!r} in its manifest",
                "only real and fake can be evaluated: give the labels with --labels FILE.csv",
            )
        labels[_key(file)] = {"file": file, "label": label}
    if not labels:
        raise UsageError(f"{records.location} has no labels", "give them with --labels FILE.csv")
    return labels


def read_scan_scores(
    location: RecordsLocation | ScanRecords,
    labels: Mapping[Path, Mapping[str, str]],
    name: str,
    model: str | None = None,
) -> Scores:
    """Read the raw scores of labelled videos from a scan; videos without a record have no score.

    A video's raw score is that of the person who determined its score.

    Args:
        location: The records, see `open_records`.
        labels: The labels from `read_labels`.
        name: Name of the videos as a data set.
        model: Name of the model whose scores to read; None for the combined scores of all models.

    Raises:
        UsageError: The file cannot be read, has no record of the videos, or no scores of the model.
    """
    records = open_records(location)
    # Only these two of each record: there may be millions.
    found: dict[Path, tuple[float, str]] = {}
    try:
        for record in records:
            if (path := _key(os.fsdecode(recorded_path(record)))) in labels:
                found[path] = (
                    _raw(record if model is None else select_model(record, model)),
                    sys.intern(record["status"]),
                )
    except OSError as error:
        raise UsageError(
            f"{records.location} cannot be read: {error.strerror}",
            "give a file from deepscan scan --out FILE.jsonl",
        )
    except ContractError as error:
        if not isinstance(records, JournalRecords):
            raise
        raise UsageError(error.message, "give a file from deepscan scan --out FILE.jsonl")
    if not found:
        raise UsageError(
            f"{records.location} has no record of any of the {len(labels)} labelled videos",
            "scan the files listed in the index; their paths are relative to its folder",
        )
    outcomes = [found.get(path, (float("nan"), "not_scanned")) for path in labels]
    scores = [score for score, _ in outcomes]
    rows, count = labels.values(), len(labels)
    empty = Column.constant("", count)
    return Scores(
        labels=np.array([LABEL_VALUES[row["label"].strip().lower()] for row in rows], dtype=np.int64),
        scores=np.array(scores, dtype=np.float64),
        frames=np.array([0 if np.isnan(score) else 1 for score in scores], dtype=np.int64),
        dataset=Column.of([name] * count),
        kind=Column.of([row.get("method") or row["label"] for row in rows]),
        split=empty,
        video=Column.of([row["file"] for row in rows]),
        frame=empty,
        group=Column.of([row.get("group") or row["file"] for row in rows]),
        status=Column.of([status for _, status in outcomes]),
        folder=empty,
    )


def group_votes(scores: Scores) -> Scores:
    """Return the mean score of the videos of each group and label.

    Several clips of the same footage add little information, so each group counts once. A video without a
    group is its own group.

    Args:
        scores: Scores of videos, or of frames, which are averaged per video first.

    Raises:
        UsageError: No video has a group.
    """
    if not scores.group.has_values:
        raise UsageError("the scores have no groups", "add a column group, or use --vote video")
    videos = by_video(scores)
    groups = videos.groups()
    kinds: dict[tuple[int, int], dict[str, None]] = defaultdict(dict)
    keys = list(zip(groups.tolist(), videos.labels.tolist(), strict=True))
    for key, kind in zip(keys, videos.kind.texts(), strict=True):
        kinds[key][kind] = None
    kind_names = [" + ".join(sorted(kinds[key])) for key in keys]
    # Each video has the same weight in its group, whatever its number of frames.
    one_each = np.minimum(videos.frames, 1)
    names = Column.of(videos.group_names())
    return by_video(replace(videos, video=names, kind=Column.of(kind_names), frames=one_each))


def _key(file: str, folder: Path | None = None) -> Path:
    """Return what identifies a video: its address, or its path with links resolved.

    Args:
        file: Its path or address.
        folder: The folder that a path is relative to, None for the current one.
    """
    return Path(file) if is_address(file) else (folder or Path()).joinpath(file).resolve()


def _raw(record: Mapping[str, Any]) -> float:
    if record["score"] is None:
        return float("nan")
    # Persons with too few frames do not count, even if their calibrated score is the same.
    deciding = (track for track in record["tracks"] if track["counted"] and track["score"] == record["score"])
    return float(max(track["raw"] for track in deciding))
