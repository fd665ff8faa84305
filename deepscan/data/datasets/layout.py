"""Base class of data set layouts, and functions that find videos, picture sequences and lists on disk."""

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
    """A video of a data set, or a sequence of pictures that represents one.

    Attributes:
        path: The video, or the folder of a sequence. A listed video is included even if its file is missing,
            so that it is counted.
        kind: Name of its label, which identifies the manipulation: `FF-DF`.
        split: `train`, `val` or `test`; a video in several splits is yielded once for each.
        name: Unique within kind, split and compression.
        compression: `raw`, `c23` or `c40`; empty if the data set has no compression levels.
        mask: Video or folder of pictures with the forged pixels of each frame; None if the data set has none.
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
    """Layout of a data set on disk.

    Attributes:
        dataset: Name in benchmark files: `Celeb-DF-v2`.
        kinds: Names of its labels, the real one first; the ending determines the label (see `label_of`).
        origin: Where its authors publish it, and under which terms: one line for a hint.
        expects: Expected files and folders under its root: one line for a hint.
        nested: Whether benchmark files have a compression level between split and video.
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
        """Yield the videos under a folder, in a deterministic order.

        Other files, hidden files and empty folders are ignored.

        Args:
            root: The data set's folder, in the layout of its authors.

        Raises:
            MissingError: A required list or folder is missing; the hint describes what to put where.
            UsageError: A list cannot be read.
        """

    def folder(self, root: Path, *choices: str) -> Path:
        """Return the first existing folder of several, ignoring case.

        Args:
            root: Their common root.
            choices: Their paths relative to the root, with `/`.

        Raises:
            MissingError: None of them exists.
        """
        found = subfolder(root, *choices)
        if found is None:
            raise self.missing(root / choices[0], f"put {choices[0]} into {root}")
        return found

    def filled(self, folder: Path, found: dict[str, T], what: str = "video") -> dict[str, T]:
        """Return the items found in a folder, after checking that there are any.

        Args:
            folder: The folder.
            found: The items found in it.
            what: The kind of items, in one word.

        Raises:
            MissingError: Nothing was found.
        """
        if not found:
            raise self.missing(folder, f"put its {what}s into {folder}", f"has no {what}s")
        return found

    def nearby(self, root: Path, name: str, part: str) -> Path:
        """Return the folder of another data set, which provides the reals of this one.

        Args:
            root: This data set's folder; the other may be the same folder, inside it or next to it.
            name: Name of the other data set.
            part: A path inside the other data set, which identifies it.

        Raises:
            MissingError: The other data set was not found.
        """
        root_folder = root.absolute()
        for base in (
            root_folder,
            root_folder / name,
            root_folder.parent / name,
            root_folder.parent.parent / name,
        ):
            if (base / part).exists():
                return base
        raise self.missing(root / name / part, f"put {part} of {name}, for the real videos, into {root}")

    def missing(self, path: Path, remedy: str = "", problem: str = "does not exist") -> MissingError:
        """Return the error for a missing list or folder.

        Args:
            path: Its expected path.
            remedy: What to do about it; by default, to put it there.
            problem: What is wrong with it.
        """
        remedy = remedy or f"put {path.name} into {path.parent}"
        return MissingError(
            f"{self.dataset}: {path} {problem}",
            f"{remedy}; full layout: {self.expects}; source: {self.origin}",
        )


#: Type of `DatasetLayout.videos`.
FindVideos = Callable[[Any, Path], Iterator[SourceVideo]]
#: Folders next to a benchmark's crops, with other pictures of the same faces.
_LAYER_FOLDERS = frozenset({"masks", "landmarks"})


@dataclass(frozen=True, slots=True)
class Found:
    """A video or a sequence of pictures on disk.

    Attributes:
        path: The video, the folder of a sequence, or a single picture.
        frames: The pictures of a sequence, in order; empty for a video.
    """

    path: Path
    frames: tuple[Path, ...] = ()


def as_videos(found: Mapping[str, Found], kind: str, split: str) -> Iterator[SourceVideo]:
    """Yield found items, by name, as videos of a kind and split."""
    for name, item in found.items():
        yield SourceVideo(item.path, kind, split, name, frames=item.frames)


def natural(name: str) -> tuple[str, str]:
    """Return a sort key that puts `frame10` after `frame9`."""
    return re.sub("[0-9]+", lambda number: number[0].zfill(20), name), name


def free(name: str, taken: Container[str]) -> str:
    """Return the name, or else the first of `name~2`, `name~3` and so on that is not taken."""
    number, chosen = 2, name
    while chosen in taken:
        number, chosen = number + 1, f"{name}~{number}"
    return chosen


def uniquely_named(videos: FindVideos) -> FindVideos:
    """Wrap `DatasetLayout.videos` so that names are unique within kind, split and compression."""

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
    """Return the first existing folder of several, ignoring case, or None.

    Args:
        root: Their common root.
        choices: Their paths relative to the root, with `/`.
    """
    for choice in choices:
        folder: Path | None = root
        for part in choice.split("/"):
            folder = _child(folder, part) if folder else None
        if folder:
            return folder
    return None


def _child(folder: Path, name: str) -> Path | None:
    if (folder / name).is_dir():
        return folder / name
    matches = (entry for entry in _entries(folder) if entry.name.lower() == name.lower() and entry.is_dir())
    return next((Path(entry.path) for entry in matches), None)


def videos_in(folder: Path) -> dict[str, Path]:
    """Return the videos in a folder, or else in its subfolder `videos`, by name without suffix."""
    found: dict[str, Path] = {}
    for entry in _files(folder, VIDEOS) or _files(folder / "videos", VIDEOS):
        found[free(Path(entry.name).stem, found)] = Path(entry.path)
    return found


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """Return the pictures in a folder, sorted by the numbers in their names."""
    return tuple(Path(entry.path) for entry in _files(folder, STILLS))


def below(folder: Path, skipped: Container[str] = ()) -> dict[str, Found]:
    """Return the videos and picture sequences below a folder, by relative path joined with `_`.

    A subfolder with pictures is a sequence; each picture directly in the folder is an item too. Symbolic
    links are followed, except into a parent folder.

    Args:
        folder: The folder.
        skipped: Names of folders, in lower case, to skip at any depth.
    """
    found: dict[str, Found] = {}
    for parts, item in _walk(folder, (), (os.path.realpath(folder),), skipped):
        found[free("_".join(parts), found)] = item
    return found


def videos_or_sequences(folder: Path) -> dict[str, Found]:
    """Return the videos of a folder, or else its picture sequences, by name.

    They may be in subfolders `videos` and `frames`, which are not part of the name. Folders of masks and
    landmarks are skipped.
    """
    videos = {name: Found(path) for name, path in videos_in(folder).items()}
    if videos:
        return videos
    found = below(folder / "frames", _LAYER_FOLDERS) or below(folder, _LAYER_FOLDERS)
    return {name: item for name, item in found.items() if not item.frames} or found


def read_lines(path: Path) -> list[str]:
    """Return the non-empty lines of a list, stripped of whitespace.

    Raises:
        UsageError: The list cannot be read, or is empty.
    """
    lines = [line.strip() for line in _read(path).splitlines() if line.strip()]
    if not lines:
        raise unreadable_list(path, "it is empty")
    return lines


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        UsageError: The file cannot be read.
    """
    try:
        return json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise unreadable_list(path, f"it is not JSON ({error})")


def unreadable_list(path: Path, reason: str) -> UsageError:
    """Return the error for a list of an unexpected format."""
    return UsageError(f"{path} cannot be read: {reason}", "download the file again with the data set")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable_list(path, str(error))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder without hidden ones, in natural order; none if there is no folder."""
    if not folder.is_dir():
        return []
    try:
        with os.scandir(folder) as found:
            return sorted((e for e in found if not e.name.startswith(".")), key=lambda e: natural(e.name))
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}", "make it readable, or move it away")


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[os.DirEntry[str]]:
    # Broken links count as files: the decoder reports them.
    return [e for e in _entries(folder) if e.name.lower().endswith(suffixes) and not e.is_dir()]


def _walk(
    folder: Path, parts: tuple[str, ...], within: tuple[str, ...], skipped: Container[str]
) -> Iterator[tuple[tuple[str, ...], Found]]:
    stills = []
    for entry in _entries(folder):
        path, suffix = Path(entry.path), os.path.splitext(entry.name)[1].lower()
        if entry.is_dir():
            real = os.path.realpath(path)
            if real not in within and entry.name.lower() not in skipped:
                yield from _walk(path, (*parts, entry.name), (*within, real), skipped)
        elif suffix in VIDEOS:
            yield (*parts, path.stem), Found(path)
        elif suffix in STILLS:
            stills.append(path)
    if parts and stills:
        yield parts, Found(folder, tuple(stills))
    for path in () if parts else stills:
        yield (path.stem,), Found(path, (path,))
