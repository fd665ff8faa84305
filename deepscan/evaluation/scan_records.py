"""Reads the records of a scan and the labels of its videos, as scores that can be measured."""

import csv
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from deepscan.errors import ContractError, UsageError
from deepscan.evaluation.scores import LABEL_VALUES, Column, Scores, by_video, read_scores
from deepscan.scanning.fusion import select_model
from deepscan.scanning.journal import read_journal
from deepscan.scanning.record_lines import recorded_path

LABEL_COLUMNS = ("file", "label")


def read_given(
    scores: Path | None,
    records: Path | None,
    labels: Path | None,
    where: Sequence[str],
    vote: str,
    model: str | None = None,
) -> Scores:
    """Return the scores of a file, or of a scan's records.

    Args:
        scores: As `read_scores` takes it, or None.
        records: As `read_scan_scores` takes it, or None.
        labels: The index that belongs to the records.
        where: As `read_labels` takes it.
        vote: `video`, or `group` for one vote a group and label.
        model: As `read_scan_scores` takes it.

    Raises:
        UsageError: Records come without labels, or a file cannot be read.
    """
    if bool(records) != bool(labels):
        raise UsageError("--records and --labels go together", "name both")
    if records and labels:
        found = read_scan_scores(records, read_labels(labels, where), labels.stem, model)
    else:
        assert scores is not None
        found = read_scores(scores)
    return group_votes(found) if vote == "group" else found


def read_labels(path: Path, where: Sequence[str] = ()) -> dict[Path, dict[str, str]]:
    """Return the rows of an index of videos, by the file that each is of.

    Args:
        path: A CSV file with the columns file (relative to its folder), label (real or fake) and, if known,
            group and method.
        where: `column=value` each, several values with commas between: only rows that have one of them.

    Raises:
        UsageError: It cannot be read, has no such column, names a file twice, or nothing is left.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            # A short row has empty cells, not none.
            rows = list(csv.DictReader(file, restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read: {error}", "name a CSV file with the columns file, label")
    wanted = {}
    for condition in where:
        column, equals, values = condition.partition("=")
        if not equals:
            raise UsageError(f"{condition!r} is not column=value", "write for example: --where tier=A,B")
        wanted[column] = set(values.split(","))
    known = list(rows[0]) if rows else []
    for column in (*LABEL_COLUMNS, *wanted):
        if column not in known:
            raise UsageError(f"{path} has no column {column!r}", f"its columns are: {', '.join(known)}")
    chosen = [row for row in rows if all(row[column] in values for column, values in wanted.items())]
    if not chosen:
        raise UsageError(f"{path} has no row with {', '.join(where) or 'a video'}", "leave --where out")
    for row in chosen:
        if row["label"].strip().lower() not in LABEL_VALUES:
            raise UsageError(f"{path}: {row['file']} has the label {row['label']!r}", "write real or fake")
    labels: dict[Path, dict[str, str]] = {}
    for row in chosen:
        if labels.setdefault((path.parent / row["file"]).resolve(), row) is not row:
            raise UsageError(f"{path} names {row['file']} twice", "leave one of the rows")
    return labels


def read_scan_scores(
    records: Path, labels: Mapping[Path, Mapping[str, str]], name: str, model: str | None = None
) -> Scores:
    """Return the raw scores that a scan gave to labelled videos; those that it has no record of have none.

    A video's raw score is that of the person whom its score was taken from.

    Args:
        records: The scan's `.jsonl`.
        labels: As `read_labels` gives them.
        name: Name of the videos as a data set.
        model: Name of the model whose scores to read; None for those of all models together.

    Raises:
        UsageError: It cannot be read, has a record of none of the videos, or no scores of the model.
    """
    try:
        lines = (record for _, _, record in read_journal(records))
        found = {Path(os.fsdecode(recorded_path(record))).resolve(): record for record in lines}
    except OSError as error:
        raise UsageError(f"{records} cannot be read: {error.strerror}", "name what scan --out has written")
    except ContractError as error:
        raise UsageError(error.message, "name what scan --out FILE.jsonl has written")
    if not found.keys() & labels.keys():
        raise UsageError(
            f"{records} has a record of none of the {len(labels)} labelled videos",
            "scan the very files that the index names, relative to its own folder",
        )
    if model is not None:
        found = {path: select_model(record, model) for path, record in found.items()}
    rows = [(path, row, found.get(path)) for path, row in labels.items()]
    scores = [_raw(record) for _, _, record in rows]
    count = len(rows)
    nothing = Column.constant("", count)
    return Scores(
        labels=np.array([LABEL_VALUES[row["label"].strip().lower()] for _, row, _ in rows], dtype=np.int64),
        scores=np.array(scores, dtype=np.float64),
        frames=np.array([0 if np.isnan(score) else 1 for score in scores], dtype=np.int64),
        dataset=Column.of([name] * count),
        kind=Column.of([row.get("method") or row["label"] for _, row, _ in rows]),
        split=nothing,
        video=Column.of([row["file"] for _, row, _ in rows]),
        frame=nothing,
        group=Column.of([row.get("group") or row["file"] for _, row, _ in rows]),
        status=Column.of([record["status"] if record else "not_scanned" for _, _, record in rows]),
        folder=nothing,
    )


def group_votes(scores: Scores) -> Scores:
    """Return one score for each group and label: the mean of its videos' scores.

    Several clips of one footage say little more than one, so each group counts once. A video without a
    group is its own group.

    Args:
        scores: Of videos, or of frames, which are made videos first.

    Raises:
        UsageError: No video states a group.
    """
    if not scores.group.has_values:
        raise UsageError("the scores state no groups to vote by", "give them a column group, or --vote video")
    videos = by_video(scores)
    groups = videos.groups()
    kinds: dict[tuple[int, int], dict[str, None]] = defaultdict(dict)
    keys = list(zip(groups.tolist(), videos.labels.tolist(), strict=True))
    for key, kind in zip(keys, videos.kind.texts(), strict=True):
        kinds[key][kind] = None
    kind_names = [" + ".join(sorted(kinds[key])) for key in keys]
    # However many frames a video has, it is one of its group.
    once = np.minimum(videos.frames, 1)
    named = Column.of(videos.group_names())
    return by_video(replace(videos, video=named, kind=Column.of(kind_names), frames=once))


def _raw(record: Mapping[str, Any] | None) -> float:
    if record is None or record["score"] is None:
        return float("nan")
    # Others may have been seen too seldom, and still share a score that calibration made the same.
    deciding = (track for track in record["tracks"] if track["counted"] and track["score"] == record["score"])
    return float(max(track["raw"] for track in deciding))
