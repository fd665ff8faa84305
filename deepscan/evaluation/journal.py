"""The journal of an evaluation: frame scores, written video by video, so that a killed run can resume."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import ArrayLike

from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.errors import ContractError, UsageError
from deepscan.evaluation.scores import Scores, parse
from deepscan.files import AppendFile, write_error

#: `frames` is the number of lines of the video, which tells whether it is complete.
JOURNAL_COLUMNS = (
    *("dataset", "kind", "label", "split", "video", "group"),
    *("frames", "frame", "path", "status", "score"),
)
_HEADER = ",".join(JOURNAL_COLUMNS).encode("ascii") + b"\n"
#: What identifies a video: data set, kind, split and name.
FaceVideoKey = tuple[str, str, str, str]
#: Default status of a frame and of a video without a score.
UNREADABLE, NO_FRAMES = "unreadable", "no_frames"


def face_video_key(video: FaceVideo) -> FaceVideoKey:
    """Return the key of a video in a journal."""
    return video.dataset, video.kind, video.split, video.name


class FrameJournal(AppendFile):
    """Context manager that appends frame scores to a CSV file, video by video.

    An incomplete last video, after a crash, is truncated when the journal is opened again. The caller must
    prevent concurrent runs (`files.exclusive_lock`).

    Args:
        path: The file.
        resume: Whether to continue an existing file; without it, the file must not exist.

    Attributes:
        done: Keys of the videos in the file, from `face_video_key`.

    Raises:
        ContractError: The file is not a journal, or was modified.
        UsageError: The file exists, and `resume` is not set.
        DeepscanError: The file cannot be written.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.done: set[FaceVideoKey] = set()
        if not resume and path.exists():
            raise UsageError(f"{path} already exists", "choose another folder")
        end = 0
        try:
            if path.exists():
                for key, offset in _complete_videos(path):
                    self.done.add(key)
                    end = offset
                end = min(end, path.stat().st_size)
                with path.open("ab") as file:
                    file.truncate(end if end >= len(_HEADER) else 0)
        except OSError as error:
            raise write_error(path, error)
        super().__init__(path)
        if end < len(_HEADER):
            self.write(_HEADER)

    def append(
        self,
        video: FaceVideo,
        frames: ArrayLike,
        scores: ArrayLike,
        *,
        group: str = "",
        status: str = "",
    ) -> None:
        """Append the scores of a video and flush them to the file.

        Args:
            video: The video.
            frames: Indices of the frames in the video's list, shape (F,); empty for a video without frames,
                which is written as one line without a score.
            scores: Probability of fake, NaN for a frame without a score, shape (F,).
            group: Source footage of the video, if known.
            status: Reason for missing scores; empty for `UNREADABLE` or `NO_FRAMES`.

        Raises:
            UsageError: The video is in the file already, or a name has a line break.
            ValueError: The numbers of frames and scores differ.
            DeepscanError: The file cannot be written.
        """
        key = face_video_key(video)
        if key in self.done:
            raise UsageError(
                f"{self.path} already has the scores of {'/'.join(key)}", "list every video once"
            )
        numbers, values = np.asarray(frames, dtype=np.int64).tolist(), np.asarray(scores, dtype=np.float64)
        columns = (video.dataset, video.kind, video.label, video.split, video.name, group)
        missing_status = status or UNREADABLE
        rows = [
            (
                *columns,
                len(numbers),
                number,
                video.frames[number],
                missing_status if np.isnan(score) else "ok",
                score,
            )
            for number, score in zip(numbers, values.tolist(), strict=True)
        ] or [(*columns, 1, "", "", status or NO_FRAMES, np.nan)]
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerows((*row, "" if np.isnan(score) else repr(score)) for *row, score in rows)
        if text.getvalue().count("\n") != len(rows) or "\r" in text.getvalue():
            raise UsageError(f"a name in {'/'.join(key)!r} has a line break", "rename the file or its folder")
        self.write(text.getvalue().encode("utf-8", "surrogateescape"))
        self.done.add(key)


def read_frames(path: Path) -> Scores:
    """Return the scores of the complete videos of a journal.

    Raises:
        ContractError: The file is not a journal, or was modified.
        UsageError: The file cannot be read, or has no videos.
    """
    try:
        end = max((offset for _, offset in _complete_videos(path)), default=0)
        with path.open("rb") as file:
            return parse(_lines(file, end), path, spaces=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "give the journal of an evaluation")


def _lines(file: IO[bytes], end: int) -> Iterator[str]:
    """Yield the lines of a file up to an offset."""
    offset = 0
    for line in file:
        offset += len(line)
        if offset > end:
            return
        yield line.decode("utf-8", "surrogateescape")


def _complete_videos(path: Path) -> Iterator[tuple[FaceVideoKey, int]]:
    """Yield each complete video of a journal, with the offset of its end."""
    offset, remaining = 0, 0
    current: FaceVideoKey | None = None
    seen: set[FaceVideoKey] = set()
    with path.open("rb") as file:
        header = file.readline()
        if header != _HEADER:
            if _HEADER.startswith(header):
                return
            raise ContractError(
                f"{path} is not a journal of this version",
                "choose another folder with --out, or add --overwrite",
            )
        offset = len(header)

        def complete() -> Iterator[str]:
            nonlocal offset
            for line in file:
                # A crash may have cut the last line.
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield line.decode("utf-8", "surrogateescape")

        for number, row in enumerate(csv.reader(complete()), start=2):
            try:
                dataset, kind, _, split, video, _, frames, *_ = row
                key = (dataset, kind, split, video)
                if not remaining:
                    current, remaining = key, int(frames)
                valid = key == current and key not in seen and remaining > 0
            except ValueError:
                valid = False
            if not valid:
                raise ContractError(
                    f"{path}, line {number}, was modified",
                    "restore the file, or start over with --overwrite or in another folder",
                )
            remaining -= 1
            if not remaining:
                seen.add(key)
                yield key, offset
