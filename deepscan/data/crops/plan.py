"""Which videos of a data set are asked for, and which folder the crops of each go into."""

import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Literal

from deepscan.data.datasets.layout import DatasetLayout, SourceVideo
from deepscan.errors import ContractError, DeepscanError
from deepscan.media.sampling import sample_indices

#: Kind, split, compression and name: what a video is known by.
PlanKey = tuple[str, str, str, str]
#: Compression, kind and folder: what a video's crops are known by, whatever splits it is in.
CropsKey = tuple[str, str, str]

CropOutput = Literal["frames", "landmarks", "masks"]
#: What is written of a video.
OUTPUTS: tuple[CropOutput, ...] = ("frames", "landmarks", "masks")
#: Bytes that a folder takes of its video's name: file systems have room for 255, and more may follow.
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Place:
    """Where a video's crops lie: `FOLDER/frames/VIDEO/012.png`, its landmarks and masks beside `frames`.

    Attributes:
        folder: That of its kind.
        video: Name of its own folder, unique there.
    """

    folder: Path
    video: str

    def of(self, what: CropOutput) -> Path:
        """Return the folder of the video's frames, landmarks or masks."""
        return self.folder / what / self.video

    def file(self, what: CropOutput, index: int) -> Path:
        """Return the file of one frame."""
        return self.of(what) / f"{index:03d}{'.npy' if what == 'landmarks' else '.png'}"

    def clear(self, *what: CropOutput) -> None:
        """Remove what lies there.

        Raises:
            DeepscanError: It cannot be removed.
        """
        for part in what:
            folder = self.of(part)
            try:
                if folder.is_dir():
                    shutil.rmtree(folder)
            except OSError as error:
                raise DeepscanError(f"{folder} cannot be removed: {error.strerror}", "remove it by hand")


@dataclass(frozen=True, slots=True)
class PlannedVideo:
    """A video of a data set.

    Attributes:
        video: The video, its path absolute; of a sequence, with those pictures alone that are looked at.
        indices: Their positions in the sequence; empty for a video.
        folder: Name of the folder of its crops.
    """

    video: SourceVideo
    indices: tuple[int, ...]
    folder: str

    @property
    def key(self) -> PlanKey:
        """What it is known by."""
        return self.video.kind, self.video.split, self.video.compression, self.video.name

    @property
    def crops(self) -> CropsKey:
        """What its crops are known by."""
        return self.video.compression, self.video.kind, self.folder

    def size(self) -> int | None:
        """Return its bytes as it lies there now: of a sequence, of the pictures that are looked at.

        A video that cannot be read has None, a picture counts for nothing then.
        """
        if self.indices:
            return sum(_size(picture) or 0 for picture in self.video.frames)
        return _size(self.video.path)


def plan_videos(
    layout: DatasetLayout, root: Path, frames: int, owners: Mapping[CropsKey, bytes]
) -> tuple[list[PlannedVideo], int]:
    """Return a data set's videos, each once, and how many are named again.

    Args:
        layout: How the data set lies on disk.
        root: Its folder.
        frames: How many pictures of a sequence are looked at, evenly.
        owners: Crops that are there -> path of their video, which keeps them.

    Raises:
        MissingError: As the layout does.
        ContractError: A video has a name that no folder can have.
    """
    found: dict[PlanKey, PlannedVideo] = {}
    taken, repeated = dict(owners), 0
    for video in layout.videos(root):
        path = os.path.abspath(video.path)
        # Of a million pictures only those that are looked at are held.
        indices = sample_indices(len(video.frames), frames)
        pictures = tuple(video.frames[at] for at in indices)
        item = PlannedVideo(replace(video, path=Path(path), frames=pictures), indices, "")
        if item.key in found:
            repeated += 1
        else:
            folder = _folder(video, os.fsencode(path), taken, layout.dataset)
            found[item.key] = replace(item, folder=folder)
    return list(found.values()), repeated


def select_videos(
    items: Iterable[PlannedVideo],
    compression: str,
    splits: Collection[str] = (),
    kinds: Collection[str] = (),
    limit: int | None = None,
) -> Iterator[PlannedVideo]:
    """Yield the videos that are asked for.

    Args:
        items: All videos.
        compression: Theirs.
        splits: Only these; all where empty.
        kinds: Only these; all where empty.
        limit: The first so many of each kind and split; None for all.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for item in items:
        kind, split, level, _ = item.key
        if level != compression or (splits and split not in splits) or (kinds and kind not in kinds):
            continue
        counts[kind, split] += 1
        if limit is None or counts[kind, split] <= limit:
            yield item


def _size(path: Path) -> int | None:
    return path.stat().st_size if os.access(path, os.R_OK) and path.is_file() else None


def _folder(video: SourceVideo, path: bytes, taken: dict[CropsKey, bytes], dataset: str) -> str:
    """Return a video's name or, where another split has another video of that name, the next free one."""
    # Whoever reads a benchmark file takes a backslash for a slash.
    name = video.name.replace("/", "_").replace("\\", "_")
    if len(os.fsencode(name)) > _LONGEST:
        name = os.fsencode(name)[:_LONGEST].decode("utf-8", "ignore")
    if name in ("", ".", "..") or "\0" in name:
        raise ContractError(
            f"{dataset} has a video called {video.name!r}", "correct its lists, or rename the video"
        )
    others = (f"{name}~{video.split}{number or ''}" for number in count())
    return next(
        folder
        for folder in chain([name], others)
        if taken.setdefault((video.compression, video.kind, folder), path) == path
    )
