"""The contract that every data set's layout keeps, and how videos, sequences and lists are found on disk."""

import json
import os
import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from deepscan.data.benchmarks.benchmark_file import label_of
from deepscan.errors import MissingError, UsageError
from deepscan.media.suffixes import STILLS, VIDEOS

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SourceVideo:
    """One video of a data set, or a sequence of pictures that stands for one.

    Attributes:
        path: The video; of a sequence, its folder. A listed video is given even if its file is missing, so
            that it is counted.
        kind: Name of its label, which tells the manipulation: `FF-DF`.
        split: `train`, `val` or `test`; a video that is in several is given once for each.
        name: Unique among the videos of its kind, split and compression.
        compression: `raw`, `c23` or `c40`, empty where the data set knows no such thing.
        mask: The video that shows what was forged, frame by frame, or the folder of such pictures; None where
            the data set has none.
        frames: The pictures of a sequence, in order; empty for a video.
    """

    path: Path
    kind: str
    split: str
    name: str
    compression: str = ""
    mask: Path | None = None
    frames: tuple[Path, ...] = ()


class DatasetLayout(ABC):
    """How a data set lies on disk.

    Attributes:
        dataset: Its name in benchmark files: `Celeb-DF-v2`.
        kinds: Names of its labels, the real one first; each says by its end what it is (see `label_of`).
        origin: Where its authors give it out, and under which terms: one line for a hint.
        expects: What has to lie under its root: one line for a hint.
        nested: Whether benchmark files have a level of compressions between split and video.
    """

    dataset: str
    kinds: tuple[str, ...]
    origin: str
    expects: str
    nested: bool = False

    @property
    def labels(self) -> dict[str, int]:
        """Name of each kind -> 0 for real, 1 for fake."""
        return {kind: label_of(kind) for kind in self.kinds}

    @abstractmethod
    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder, in an order that does not change.

        Files that are no videos or pictures, hidden files and empty folders beside them are passed over.

        Args:
            root: The data set's folder as its authors lay it out.

        Raises:
            MissingError: A list or a folder that has to be there is not; the hint says what to put where.
            UsageError: A list cannot be read.
        """

    def folder(self, root: Path, *choices: str) -> Path:
        """Return the first of some folders that is there, the case of their names aside.

        Args:
            root: Where they are.
            choices: Their paths from there, with `/`.

        Raises:
            MissingError: None of them is there.
        """
        found = subfolder(root, *choices)
        if found is None:
            raise self.missing(root / choices[0], f"put {choices[0]} into {root}")
        return found

    def filled(self, folder: Path, found: dict[str, T], what: str = "video") -> dict[str, T]:
        """Return what was found in a folder.

        Args:
            folder: The folder.
            found: What was found in it.
            what: What belongs there, in one word.

        Raises:
            MissingError: Nothing was found.
        """
        if not found:
            raise self.missing(folder, f"put its {what}s into {folder}", f"holds no {what}")
        return found

    def nearby(self, root: Path, name: str, part: str) -> Path:
        """Return the folder of another data set, from which this one has its reals.

        Args:
            root: This data set's folder; the other may be the same folder, lie in it or beside it.
            name: The other's name.
            part: What is in it, by which it is known.

        Raises:
            MissingError: It is nowhere there.
        """
        near = root.absolute()
        for base in (near, near / name, near.parent / name, near.parent.parent / name):
            if (base / part).exists():
                return base
        raise self.missing(root / name / part, f"put {part} of {name}, for the real videos, into {root}")

    def missing(self, path: Path, remedy: str = "", problem: str = "is not there") -> MissingError:
        """Return the error for a list or a folder that has to be there.

        Args:
            path: Where it was looked for.
            remedy: What to do about it; by default, to put it there.
            problem: What is wrong with it.
        """
        remedy = remedy or f"put {path.name} into {path.parent}"
        return MissingError(
            f"{self.dataset}: {path} {problem}",
            f"{remedy}; the whole layout: {self.expects}; given out at {self.origin}",
        )


#: How a layout finds its videos under a root: `DatasetLayout.videos`.
FindVideos = Callable[[Any, Path], Iterator[SourceVideo]]
#: Folders beside a benchmark's crops that hold other pictures of the same faces.
_BESIDE = frozenset({"masks", "landmarks"})


@dataclass(frozen=True, slots=True)
class Found:
    """A video or a sequence of pictures on disk.

    Attributes:
        path: The video; of a sequence, its folder; of a picture that stands for itself, the picture.
        frames: The pictures of a sequence, in order; empty for a video.
    """

    path: Path
    frames: tuple[Path, ...] = ()


def as_videos(found: Mapping[str, Found], kind: str, split: str) -> Iterator[SourceVideo]:
    """Yield what was found, by name, as videos of a kind and split."""
    for name, item in found.items():
        yield SourceVideo(item.path, kind, split, name, frames=item.frames)


def natural(name: str) -> tuple[str, str]:
    """Return a key that puts `frame10` after `frame9`."""
    return re.sub("[0-9]+", lambda number: number[0].zfill(20), name), name


def free(name: str, taken: Container[str]) -> str:
    """Return the name, or the first of `name~2`, `name~3` and so on that is not taken."""
    number, chosen = 2, name
    while chosen in taken:
        number, chosen = number + 1, f"{name}~{number}"
    return chosen


def uniquely_named(videos: FindVideos) -> FindVideos:
    """Rename what a layout yields where an earlier video of the kind, split and compression has the name."""

    @wraps(videos)
    def renamed(layout: DatasetLayout, root: Path) -> Iterator[SourceVideo]:
        taken: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        for video in videos(layout, root):
            names = taken[video.kind, video.split, video.compression]
            name = free(video.name, names)
            names.add(name)
            yield video if name == video.name else replace(video, name=name)

    return renamed


def subfolder(root: Path, *choices: str) -> Path | None:
    """Return the first of some folders that is there, the case of their names aside; None where none is.

    Args:
        root: Where they are.
        choices: Their paths from there, with `/`.
    """
    for choice in choices:
        at: Path | None = root
        for part in choice.split("/"):
            at = _child(at, part) if at else None
        if at:
            return at
    return None


def _child(folder: Path, name: str) -> Path | None:
    if (folder / name).is_dir():
        return folder / name
    same = (entry for entry in _entries(folder) if entry.name.lower() == name.lower() and entry.is_dir())
    return next((Path(entry.path) for entry in same), None)


def videos_in(folder: Path) -> dict[str, Path]:
    """Return the videos in a folder, or else in its folder `videos`, by their names without suffix."""
    found: dict[str, Path] = {}
    for entry in _of(folder, VIDEOS) or _of(folder / "videos", VIDEOS):
        found[free(Path(entry.name).stem, found)] = Path(entry.path)
    return found


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """Return the pictures in a folder, by the numbers in their names."""
    return tuple(Path(entry.path) for entry in _of(folder, STILLS))


def below(folder: Path, leave: Container[str] = ()) -> dict[str, Found]:
    """Return the videos and the sequences of pictures below a folder, by their paths from it joined with `_`.

    A folder below it that holds pictures is a sequence; each picture in the folder itself stands for itself.
    Links are followed, but not into a folder that they lie in.

    Args:
        folder: The folder.
        leave: Names of folders, in lower case, that are left out at any depth.
    """
    found: dict[str, Found] = {}
    for parts, item in _walk(folder, (), (os.path.realpath(folder),), leave):
        found[free("_".join(parts), found)] = item
    return found


def videos_or_sequences(folder: Path) -> dict[str, Found]:
    """Return the videos of a folder or, where there is none, its sequences of pictures, by name.

    They may lie in its folders `videos` and `frames`, which are no part of a name; folders of masks and
    landmarks beside them are left out.
    """
    videos = {name: Found(path) for name, path in videos_in(folder).items()}
    if videos:
        return videos
    found = below(folder / "frames", _BESIDE) or below(folder, _BESIDE)
    return {name: item for name, item in found.items() if not item.frames} or found


def read_lines(path: Path) -> list[str]:
    """Return the lines of a list that are not empty, without the space around them.

    Raises:
        UsageError: The list cannot be read, or is empty.
    """
    lines = [line.strip() for line in _read(path).splitlines() if line.strip()]
    if not lines:
        raise unreadable_list(path, "it is empty")
    return lines


def read_json(path: Path) -> Any:
    """Return what a JSON file says.

    Raises:
        UsageError: It cannot be read.
    """
    try:
        return json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise unreadable_list(path, f"it is not JSON ({error})")


def unreadable_list(path: Path, why: str) -> UsageError:
    """Return the error for a list that does not say what it should."""
    return UsageError(
        f"{path} cannot be read: {why}", "take the file again from where the data set is given out"
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable_list(path, str(error))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder but for hidden files, in natural order; nothing where there is no folder."""
    if not folder.is_dir():
        return []
    try:
        with os.scandir(folder) as found:
            return sorted((e for e in found if not e.name.startswith(".")), key=lambda e: natural(e.name))
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}", "make it readable, or leave it out")


def _of(folder: Path, suffixes: tuple[str, ...]) -> list[os.DirEntry[str]]:
    # Broken links count as files: the decoder reports them.
    return [e for e in _entries(folder) if e.name.lower().endswith(suffixes) and not e.is_dir()]


def _walk(
    folder: Path, parts: tuple[str, ...], within: tuple[str, ...], leave: Container[str]
) -> Iterator[tuple[tuple[str, ...], Found]]:
    stills = []
    for entry in _entries(folder):
        path, suffix = Path(entry.path), os.path.splitext(entry.name)[1].lower()
        if entry.is_dir():
            real = os.path.realpath(path)
            if real not in within and entry.name.lower() not in leave:
                yield from _walk(path, (*parts, entry.name), (*within, real), leave)
        elif suffix in VIDEOS:
            yield (*parts, path.stem), Found(path)
        elif suffix in STILLS:
            stills.append(path)
    if parts and stills:
        yield parts, Found(folder, tuple(stills))
    for path in () if parts else stills:
        yield (path.stem,), Found(path, (path,))
