"""Scores of videos and frames in columns: read from and written to CSV, averaged per video."""

import csv
import io
import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.errors import UsageError
from deepscan.files import atomic_write

SCORE_COLUMNS = ("video", "label", "score")
#: Text columns that a file may have.
TEXTS = ("dataset", "kind", "split", "video", "frame", "group", "status", "folder")
#: Columns that identify a video, and a frame.
VIDEO_KEY = ("dataset", "kind", "split", "label", "video")
FRAME_KEY = (*VIDEO_KEY, "frame")
#: Columns of `write_scores`.
WRITTEN = ("dataset", "kind", "label", "split", "video", "frame", "group", "frames", "status", "score")
#: Lines that are parsed together, column by column; few enough for the processor's cache.
CHUNK_LINES = 256
#: Names of the labels 0 and 1, and the accepted spellings in files.
LABEL_NAMES = ("real", "fake")
LABEL_VALUES = {"0": 0, "1": 1, "real": 0, "fake": 1, "0.0": 0, "1.0": 1}


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """A categorical column of text.

    Attributes:
        names: The distinct values.
        codes: Index of each row's value in `names`, shape (N,), int32.
    """

    names: tuple[str, ...]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Column":
        """Return the column of these values."""
        codes: dict[str, int] = {}
        rows = [codes.setdefault(text, len(codes)) for text in texts]
        return cls(tuple(codes), np.array(rows, dtype=np.int32))

    @classmethod
    def constant(cls, text: str, rows: int) -> "Column":
        """Return a column of a single value, without memory for its rows."""
        return cls((text,), np.broadcast_to(np.int32(0), rows))

    @property
    def has_values(self) -> bool:
        """Whether any row is non-empty."""
        return any(self.names)

    def texts(self) -> list[str]:
        """Return the value of each row."""
        return [self.names[code] for code in self.codes.tolist()]

    def take(self, rows: NDArray[np.int64]) -> "Column":
        """Return a column of the selected rows."""
        if len(self.names) == 1:
            return Column.constant(self.names[0], len(rows))
        return Column(self.names, self.codes[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores with their columns; unknown values are empty.

    Attributes:
        labels: 0 for real, 1 for fake, shape (N,).
        scores: Probability of fake, NaN without a score, shape (N,).
        frames: Number of frames that each score averages, shape (N,).
        dataset: The data set.
        kind: Name of the label in the data set, which identifies the manipulation.
        split: Split of the data set.
        video: Name of the video.
        frame: The frame, in scores of frames.
        group: Source footage of the video.
        status: Reason for a missing score.
        folder: Folder of the frame's crop.
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    frames: NDArray[np.int64]
    dataset: Column
    kind: Column
    split: Column
    video: Column
    frame: Column
    group: Column
    status: Column
    folder: Column

    def __post_init__(self) -> None:
        lengths = {len(self.labels), len(self.scores), len(self.frames)}
        if {len(getattr(self, name).codes) for name in TEXTS} | lengths != {len(self)}:
            raise ValueError(f"columns of {len(self)} scores differ in length")

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: NDArray[np.int64]) -> "Scores":
        """Return the selected rows; the object itself for all rows in order."""
        if len(rows) == len(self) and bool((np.diff(rows, prepend=-1) == 1).all()):
            return self
        columns = {name: getattr(self, name).take(rows) for name in TEXTS}
        return Scores(self.labels[rows], self.scores[rows], self.frames[rows], **columns)

    def key(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return a number for each row, equal for rows with equal values in these columns, shape (N,)."""
        key, size = np.zeros(len(self), dtype=np.int64), 1
        for name in names:
            column = (
                Column(("0", "1"), self.labels.astype(np.int32)) if name == "label" else getattr(self, name)
            )
            if size * len(column.names) >= 2**62:
                _, key = np.unique(key, return_inverse=True)
                size = len(self)
            key = key * len(column.names) + column.codes
            size *= len(column.names)
        return key

    def groups(self) -> NDArray[np.int64]:
        """Return a number for each row's group within its data set, or for its video without a group."""
        empty = self.group.names.index("") if "" in self.group.names else -1
        names, video_key = self.key(("dataset", "group")), self.key(VIDEO_KEY)
        return np.where(self.group.codes == empty, 2 * video_key, 2 * names + 1)

    def group_names(self) -> list[str]:
        """Return the name of each row's group, or of its video without a group."""
        names = zip(self.group.texts(), self.video.texts(), strict=True)
        return [group or video for group, video in names]


def read_scores(path: Path) -> Scores:
    """Read the scores of a CSV file: of videos, or of frames if it has a column `frame`.

    The first line names the columns, in any case and order: `video`, `label` (0, 1, real or fake) and `score`
    (probability of fake; may be empty), and any of `dataset`, `kind`, `split`, `frame`, `group` and `status`.
    Other columns are ignored.

    Args:
        path: The file, UTF-8.

    Raises:
        UsageError: The file cannot be read; the hint tells how to correct a line.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            return parse(file, path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "give a CSV file of scores")


def parse(lines: Iterable[str], path: Path, *, spaces: bool = False) -> Scores:
    """Parse lines of CSV; see `read_scores`.

    Args:
        lines: The lines.
        path: Their file, for error messages.
        spaces: Whether leading spaces belong to a value.

    Raises:
        UsageError: See `read_scores`.
    """
    reader = csv.reader(lines, skipinitialspace=not spaces, strict=True)
    numbers, labels, scores = array("q"), array("b"), array("d")
    # A new value gets the next number.
    coded: dict[str, tuple[dict[str, int], array[int]]] = {}
    for name in TEXTS:
        codes: defaultdict[str, int] = defaultdict()
        codes.default_factory = codes.__len__
        coded[name] = codes, array("i")
    try:
        column_index = _header(next(reader, []), path)
        width, score_at, label_at, path_at = (
            column_index.pop(name) for name in ("", "score", "label", "path")
        )
        for part, rows in _parts(reader):
            _check_cells(rows, part, width, column_index["video"], path)
            columns = tuple(zip(*rows, strict=True))
            numbers.extend(part)
            labels.extend(_labels(columns[label_at], part, path))
            scores.extend(_probabilities(columns[score_at], part, path))
            texts = {name: columns[index] for name, index in column_index.items()}
            if path_at >= 0:
                texts["folder"] = tuple(text.rpartition("/")[0] for text in columns[path_at])
            for name, values in texts.items():
                coded[name][1].extend(map(coded[name][0].__getitem__, values))
    except csv.Error as error:
        raise _line_error(
            path, reader.line_num, f"is not valid CSV: {error}", "quote text that has commas or quotes"
        )
    if not scores:
        raise UsageError(f"{path} has no scores", "add a line for each video")
    probabilities = np.array(scores)
    columns_by_name = {
        name: Column(tuple(codes), np.array(of_rows, dtype=np.int32))
        if len(codes) > 1
        else Column.constant(next(iter(codes), ""), len(probabilities))
        for name, (codes, of_rows) in coded.items()
    }
    result = Scores(
        np.array(labels, dtype=np.int64),
        probabilities,
        (~np.isnan(probabilities)).astype(np.int64),
        **columns_by_name,
    )
    _check_unique(result, np.array(numbers), path)
    return result


def by_video(scores: Scores) -> Scores:
    """Average frame scores per video, in order of first appearance.

    A video is identified by data set, kind, split, label and name. Frames without a score are ignored; a
    video without any scored frame has no score, and the status of its first frame.
    """
    return mean_by(scores, scores.key(VIDEO_KEY))


def mean_by(scores: Scores, key: NDArray[np.int64]) -> Scores:
    """Average frame scores per video like `by_video`, with videos identified by a key.

    Args:
        scores: Scores of frames, or of videos.
        key: A number for each row, equal for rows of the same video, shape (N,).
    """
    _, first, video_of = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    video_of = np.argsort(order)[video_of]
    scored = scores.frames > 0
    number = np.bincount(video_of, weights=scores.frames, minlength=len(first)).astype(np.int64)
    # A row is weighted by its number of frames.
    weights = np.where(scored, scores.scores, 0) * scores.frames
    total = np.bincount(video_of, weights=weights, minlength=len(first))
    means = np.divide(total, number, out=np.full(len(first), np.nan), where=number > 0)
    videos = scores.take(first[order])
    empty = Column.constant("", len(videos))
    # Rounding may give a mean above 1.
    return replace(videos, scores=np.clip(means, 0, 1), frames=number, frame=empty, folder=empty)


def write_scores(path: Path, scores: Scores) -> None:
    """Write scores atomically as CSV, in the format of `read_scores`.

    Args:
        path: The file.
        scores: Scores of videos, or of frames, which get a column `frame`.

    Raises:
        DeepscanError: The file cannot be written.
    """
    names = [name for name in WRITTEN if name != "frame" or scores.frame.has_values]
    cells = {name: getattr(scores, name).texts() for name in names if name in TEXTS}
    cells |= {"label": scores.labels.tolist(), "frames": scores.frames.tolist()}
    cells["score"] = ["" if math.isnan(score) else repr(score) for score in scores.scores.tolist()]
    # The csv module does not quote these itself: a carriage return would end the line, and a reader skips
    # the space.
    values = [value for name in names if name in TEXTS for value in getattr(scores, name).names]
    needs_quotes = any("\r" in value or value.startswith(" ") for value in values)
    with atomic_write(path) as file:
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="")
        table = csv.writer(
            text, lineterminator="\n", quoting=csv.QUOTE_ALL if needs_quotes else csv.QUOTE_MINIMAL
        )
        table.writerow(names)
        table.writerows(zip(*(cells[name] for name in names), strict=True))
        text.detach()


def _header(row: Sequence[str], path: Path) -> dict[str, int]:
    """Return the index of each known column, and the number of columns under the empty name."""
    names = [name.strip().lower() for name in row]
    if missing := [name for name in SCORE_COLUMNS if name not in names]:
        raise UsageError(
            f"{path} has no column {', '.join(missing)}; its first line is {','.join(row)[:80]!r}",
            "start the file with a line such as video,label,score and separate cells by commas",
        )
    if repeated := [name for name in dict.fromkeys(names) if name and names.count(name) > 1]:
        raise UsageError(f"{path} has two columns {', '.join(repeated)}", "keep only one of each name")
    known = {
        name: index
        for index, name in enumerate(names)
        if name in (*TEXTS, "label", "score")
        if name != "folder"
    }
    return known | {"": len(names), "path": names.index("path") if "path" in names else -1}


def _parts(reader: Any) -> Iterator[tuple[list[int], list[list[str]]]]:
    """Yield chunks of rows, with the line number at which each row ends."""
    numbers: list[int] = []
    rows: list[list[str]] = []
    for row in reader:
        if row:
            rows.append(row)
            numbers.append(reader.line_num)
        if len(rows) == CHUNK_LINES:
            yield numbers, rows
            numbers, rows = [], []
    if rows:
        yield numbers, rows


def _check_cells(
    rows: Sequence[Sequence[str]], lines: Sequence[int], width: int, video_at: int, path: Path
) -> None:
    for line, row in zip(lines, rows, strict=True):
        if len(row) != width:
            raise _line_error(
                path, line, f"has {len(row)} cells, but the header {width}", "quote text that has commas"
            )
        if not row[video_at]:
            raise _line_error(path, line, "has no video", "give every line the name of its video")


def _labels(texts: Sequence[str], lines: Sequence[int], path: Path) -> list[int]:
    try:
        return [LABEL_VALUES[text] for text in texts]
    except KeyError:
        return [_label(text, path, line) for text, line in zip(texts, lines, strict=True)]


def _probabilities(texts: Sequence[str], lines: Sequence[int], path: Path) -> list[float]:
    try:
        scores = list(map(float, texts))
        valid = all(0 <= score <= 1 for score in scores)
    except ValueError:
        valid = False
    return scores if valid else [_score(text, path, line) for text, line in zip(texts, lines, strict=True)]


def _label(text: str, path: Path, line: int) -> int:
    label = LABEL_VALUES.get(text.strip().lower())
    if label is None:
        raise _line_error(path, line, f"has the label {text!r}", "write 0 or real, 1 or fake")
    return label


def _score(text: str, path: Path, line: int) -> float:
    try:
        score = float(text)
    except ValueError:
        if not text.strip():
            return math.nan
        raise _line_error(path, line, f"has the score {text!r}", "write a number, or leave the cell empty")
    if math.isnan(score):
        raise _line_error(path, line, f"has the score {text!r}", "leave the cell empty if there is no score")
    if not 0 <= score <= 1:
        hint = "give the probability of fake: 1 / (1 + exp(-logit)), or softmax(logits)[fake]"
        raise _line_error(path, line, f"has the score {text}, outside [0, 1]", hint)
    return score


def _line_error(path: Path, line: int, fault: str, hint: str) -> UsageError:
    return UsageError(f"{path}, line {line}, {fault}", hint)


def _check_unique(scores: Scores, lines: NDArray[np.int64], path: Path) -> None:
    key = scores.key(FRAME_KEY)
    order = np.argsort(key, kind="stable")
    repeats = np.flatnonzero(np.diff(key[order]) == 0)
    if len(repeats):
        first = repeats[np.argmin(order[repeats + 1])]
        earlier_row, later_row = order[first], order[first + 1]
        raise UsageError(
            f"{path}, line {lines[later_row]}, repeats line {lines[earlier_row]}: "
            f"{scores.video.names[scores.video.codes[later_row]]!r} ({len(repeats)} such lines)",
            "remove one of them, or distinguish them by the columns dataset, kind or frame",
        )
