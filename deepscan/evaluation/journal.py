"""The frame scores that an evaluation writes, video by video, so that a killed run can resume."""

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

#: `frames` is how many lines the video has: its last one tells that it is whole.
JOURNAL_COLUMNS = (
    *("dataset", "kind", "label", "split", "video", "group"),
    *("frames", "frame", "path", "status", "score"),
)
_HEADER = ",".join(JOURNAL_COLUMNS).encode("ascii") + b"\n"
#: What identifies a video: data set, kind, split and name.
FaceVideoKey = tuple[str, str, str, str]
#: Why a frame has no score, and why a video has none.
UNREADABLE, NO_FRAMES = "unreadable", "no_frames"


def face_video_key(video: FaceVideo) -> FaceVideoKey:
    """Return what identifies a video in a journal."""
    return video.dataset, video.kind, video.split, video.name


class FrameJournal(AppendFile):
    """Appends the scores of frames to a CSV file, video by video; a context manager.

    Whatever a crash leaves of its last video is cut off when the journal is opened again. Two runs at once
    are for the caller to prevent (`files.exclusive_lock`).

    Args:
        path: The file.
        resume: Whether to go on with the file, if it is there; else it must not be.

    Attributes:
        done: The videos that the file holds, as `face_video_key` has them.

    Raises:
        ContractError: The file is no such journal, or was changed.
        UsageError: It is there and not to be gone on with.
        DeepscanError: It cannot be written.
    """

    def __init__(self, path: Path, *, resume: bool = False) -> None:
        self.done: set[FaceVideoKey] = set()
        if not resume and path.exists():
            raise UsageError(f"{path} is there already", "go on with it by --resume, or name another folder")
        end = 0
        try:
            if path.exists():
                for key, offset in _whole(path):
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
        """Write the scores of a video and have them in the file.

        Args:
            video: The video.
            frames: Numbers of the frames, from 0 in the video's list, shape (F,); none at all for a video
                that has none, which is written as one line without a score.
            scores: Probability of fake, NaN for a frame without a score, shape (F,).
            group: What the video was made from, if that is known.
            status: Why frames, or the video, have no score; `UNREADABLE`, or `NO_FRAMES`, where empty.

        Raises:
            UsageError: The video is in the file, or a name cannot be written on one line.
            ValueError: Frames and scores differ in number.
            DeepscanError: There is no room for it.
        """
        key = face_video_key(video)
        if key in self.done:
            raise UsageError(f"{self.path} has the scores of {'/'.join(key)}", "give every video once")
        numbers, values = np.asarray(frames, dtype=np.int64).tolist(), np.asarray(scores, dtype=np.float64)
        named = (video.dataset, video.kind, video.label, video.split, video.name, group)
        lacking = status or UNREADABLE
        rows = [
            (*named, len(numbers), number, video.frames[number], lacking if np.isnan(score) else "ok", score)
            for number, score in zip(numbers, values.tolist(), strict=True)
        ] or [(*named, 1, "", "", status or NO_FRAMES, np.nan)]
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerows((*row, "" if np.isnan(score) else repr(score)) for *row, score in rows)
        if text.getvalue().count("\n") != len(rows) or "\r" in text.getvalue():
            raise UsageError(f"a name in {'/'.join(key)!r} has a line break", "rename the file or its folder")
        self.write(text.getvalue().encode("utf-8", "surrogateescape"))
        self.done.add(key)


def read_frames(path: Path) -> Scores:
    """Return the scores of the whole videos of a journal; a video that was broken off is left out.

    Raises:
        ContractError: The file is no such journal, or was changed.
        UsageError: It cannot be read, or holds no video.
    """
    try:
        end = max((offset for _, offset in _whole(path)), default=0)
        with path.open("rb") as file:
            return parse(_lines(file, end), path, spaces=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", "name the journal of an evaluation")


def _lines(file: IO[bytes], end: int) -> Iterator[str]:
    """Yield the lines of a file up to an offset."""
    offset = 0
    for line in file:
        offset += len(line)
        if offset > end:
            return
        yield line.decode("utf-8", "surrogateescape")


def _whole(path: Path) -> Iterator[tuple[FaceVideoKey, int]]:
    """Yield each whole video of a journal, and the offset of its end."""
    offset, left = 0, 0
    current: FaceVideoKey | None = None
    seen: set[FaceVideoKey] = set()
    with path.open("rb") as file:
        header = file.readline()
        if header != _HEADER:
            if _HEADER.startswith(header):
                return
            raise ContractError(f"{path} is no journal of this version", "name another folder")
        offset = len(header)

        def complete() -> Iterator[str]:
            nonlocal offset
            for line in file:
                # What a crash tore off.
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield line.decode("utf-8", "surrogateescape")

        for number, row in enumerate(csv.reader(complete()), start=2):
            try:
                dataset, kind, _, split, video, _, frames, *_ = row
                key = (dataset, kind, split, video)
                if not left:
                    current, left = key, int(frames)
                sound = key == current and key not in seen and left > 0
            except ValueError:
                sound = False
            if not sound:
                raise ContractError(
                    f"{path}, line {number}, does not follow from what stands above it",
                    "the file was changed: restore it, or begin anew in another folder",
                )
            left -= 1
            if not left:
                seen.add(key)
                yield key, offset
