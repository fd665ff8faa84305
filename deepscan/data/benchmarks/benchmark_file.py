"""A benchmark's JSON file: its entries, in every form that is published, and where their crops lie."""

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from deepscan.errors import MissingError, UsageError, choice_hint

COMPRESSIONS = ("raw", "c23", "c40")
#: The one that is read where a file has several and none is asked for: what published figures are of.
DEFAULT_COMPRESSION = "c23"

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_LEVEL = re.compile(rf"(.+)_({'|'.join(COMPRESSIONS)})")
_STRUCTURE = "a benchmark file reads {data set: {label: {split: {video: {label, frames: [paths]}}}}}"


@dataclass(frozen=True, slots=True)
class BenchmarkEntry:
    """A video as a file lists it.

    Attributes:
        kind: Name of the label that it stands under.
        label: What it says of its label itself, which nearly always is that name.
        split: `train`, `val` or `test`.
        level: Of compression, empty where the file has no such level.
        name: Its name.
        frames: Paths of its crops, with `/`.
        masks: Paths of its masks, with `/`.
        repeated: Whether an entry of that name stood in the same place before; its paths are not read.
    """

    kind: str
    label: Any
    split: str
    level: str
    name: str
    frames: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    repeated: bool = False


def label_of(name: str) -> int:
    """Return what the name of a label says: 0 for real if it ends in `real`, in any case, else 1.

    Ends in, not contains: of `whichisreal_Fake` and `whichisreal_Real` one is fake.
    """
    return 0 if name.lower().endswith("real") else 1


def split_level(name: str) -> tuple[str, str]:
    """Return a data set's name and its level of compression apart: `FF-DF_c40` -> `FF-DF`, `c40`.

    The level is empty where the name states none.
    """
    match = _LEVEL.fullmatch(name)
    return (match[1], match[2]) if match else (name, "")


def unknown(path: Path, what: str, name: str, known: Collection[str]) -> UsageError:
    """Return the error for something that is asked of a file and that it does not have."""
    return UsageError(f"{path} has no {what} {name!r}", choice_hint(name, known))


class BenchmarkFile:
    """A benchmark's JSON file, parsed.

    {data set: {label: {split: {video: {"label": label, "frames": [paths], "masks": [paths]}}}}}, with a level
    of compressions between split and video or without it, whatever the data set.

    Args:
        path: The file.

    Raises:
        MissingError: It is not there.
        UsageError: It is not JSON, or of another structure.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts = [
            (kind, self._split(kind, split), part)
            for kind, of_kind in self._data_set().items()
            for split, part in self._object(kind, of_kind).items()
        ]
        self.kinds = tuple(dict.fromkeys(kind for kind, _, _ in self._parts))
        there = {split for _, split, _ in self._parts}
        self.splits = tuple(split for split in dict.fromkeys(_SPLITS.values()) if split in there)

    def entries(self, splits: Collection[str] | None, compression: str | None) -> Iterator[BenchmarkEntry]:
        """Yield its videos in its order.

        Args:
            splits: Only of these; of all where None.
            compression: At this level, where it has levels; if None, at the one that its name states, or the
                only one that there is, or c23.

        Raises:
            UsageError: It has no such level, or is of another structure.
        """
        asked = compression or split_level(self.path.stem)[1]
        if asked and asked not in COMPRESSIONS:
            raise unknown(self.path, "compression", asked, COMPRESSIONS)
        for kind, split, part in self._parts:
            if splits is None or split in splits:
                level, videos = self._level(f"{kind}/{split}", part, asked)
                for name, entry in _videos(videos):
                    yield self._entry(BenchmarkEntry(kind, kind, split, level, name), entry)
                if isinstance(videos, _Repeating):
                    for name in videos.repeated:
                        yield BenchmarkEntry(kind, kind, split, level, name, repeated=True)

    def _data_set(self) -> dict[str, Any]:
        path = self.path
        try:
            with path.open(encoding="utf-8-sig") as file:
                stored = self._object("", json.load(file, object_pairs_hook=_parsed))
        except FileNotFoundError:
            raise MissingError(f"there is no {path}", "make it with: deepscan prepare")
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}", "name a benchmark's JSON file")
        except ValueError as error:
            raise UsageError(
                f"{path} is not JSON: {error}", "name a benchmark's JSON file, or fetch it again"
            )
        name = next((name for name in (path.stem, split_level(path.stem)[0]) if name in stored), None)
        if name is None and len(stored) == 1:
            name = next(iter(stored))
        if name is None:
            hint = "name the file after the data set that is to be read" if stored else _STRUCTURE
            raise UsageError(f"{path} holds {len(stored)} data sets, none of them {path.stem}", hint)
        return self._object(name, stored[name])

    def _object(self, where: str, value: Any) -> dict[str, Any]:
        """Return what is above the videos: an object that states each name once."""
        if not isinstance(value, dict):
            raise self._odd(where, "no object")
        if isinstance(value, _Repeating):
            raise self._odd(where, f"{value.repeated[0]!r} stands there twice")
        return value

    def _split(self, kind: str, name: str) -> str:
        if name.lower() not in _SPLITS:
            raise self._odd(f"{kind}/{name}", "no split")
        return _SPLITS[name.lower()]

    def _level(self, where: str, part: Any, asked: str) -> tuple[str, Mapping[str, Any]]:
        """Return the level of compression and its videos, all there are where there is no such level."""
        if not isinstance(part, dict):
            raise self._odd(where, "no object")
        # A video may be named like a level, but a video has frames.
        levels = {
            name: videos
            for name, videos in part.items()
            if name in COMPRESSIONS and isinstance(videos, dict) and "frames" not in videos
        }
        if not levels or len(levels) < len(part):
            return "", part
        self._object(where, part)
        level = asked or (next(iter(levels)) if len(levels) == 1 else DEFAULT_COMPRESSION)
        if level not in levels:
            raise unknown(self.path, f"compression in {where}", level, levels)
        return level, levels[level]

    def _entry(self, known: BenchmarkEntry, stated: Any) -> BenchmarkEntry:
        where = f"{known.kind}/{known.split}/{known.name}"
        stated = self._object(where, stated)
        return replace(
            known,
            label=stated.get("label", known.kind),
            frames=self._paths(where, stated.get("frames") or []),
            masks=self._paths(where, stated.get("masks") or []),
        )

    def _paths(self, where: str, stated: Any) -> tuple[str, ...]:
        if not isinstance(stated, list) or not all(isinstance(item, str) for item in stated):
            raise self._odd(where, "no list of paths")
        return tuple(item.replace("\\", "/") for item in stated)

    def _odd(self, where: str, what: str) -> UsageError:
        return UsageError(f"{self.path} is of another structure: {where or 'the file'}: {what}", _STRUCTURE)


class _Repeating(dict[str, Any]):
    """An object that states a name more than once; the first one counts."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__()
        self.repeated: list[str] = []
        for name, value in pairs:
            if name in self:
                self.repeated.append(name)
            else:
                self[name] = value


def _parsed(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else _Repeating(pairs)


def _videos(part: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the videos of a part with their names."""
    frames = part.get("frames")
    if not isinstance(frames, list):
        yield from part.items()
        return
    # DeepfakeBench's own script for DFDC puts one video, without its name, in place of all of `val`.
    named = str(frames[0]).replace("\\", "/").split("/") if frames else []
    yield named[-2] if len(named) > 1 else "", part
    yield from ((name, entry) for name, entry in part.items() if isinstance(entry, dict))


#: Folders that published files name in front of the data sets' own; what follows them is what counts.
_HOLDERS = ("datasets/rgb/", "datasets/", "deepfakes_detection_datasets/")
_DIGITS = re.compile(r"(\d+)")
Order = tuple[str | int, ...]


def frame_order(path: str) -> Order:
    """Return what frames are sorted by: the numbers in their names as numbers."""
    name = path.rpartition("/")[2]
    stem = name.rpartition(".")[0] or name
    # The form that the split below gives too, without its cost: nearly all frames are numbers.
    if stem.isdecimal():
        return ("", int(stem), "")
    return tuple(int(part) if at % 2 else part for at, part in enumerate(_DIGITS.split(stem)))


class CropPaths:
    """Finds the folders that a file's paths begin in; where one video of a kind was found, others are too.

    A path is tried as it is, and behind each folder that published files put in front of the data sets'
    names (`./datasets/rgb/`, `./datasets/`, `deepfakes_detection_datasets/`, wherever it stands in it), under
    each base. Only the folders of crops are looked at, each once: a crop that is missing is found when it is
    read.

    Args:
        bases: Folders under which relative paths may lie, the likeliest first.
    """

    def __init__(self, bases: Sequence[Path]) -> None:
        self._bases = tuple(dict.fromkeys(os.path.abspath(base) for base in bases))
        self._begins: dict[str, list[tuple[str, str]]] = {}
        self._is_folder = cache(os.path.isdir)

    def locate(self, kind: str, paths: Sequence[str]) -> tuple[str, ...] | None:
        """Return where a video's crops lie, absolute; None if their folder is nowhere.

        Args:
            kind: The kind of the video; its videos are looked for first where others of the kind are.
            paths: As the file states them, with `/`, at least one.
        """
        begin = self._begin(kind, paths)
        if begin is None:
            return None
        lead, base = begin
        stated = paths[0].rpartition("/")[0]
        folder = _joined(base, stated[len(lead) :])
        under, shared = os.path.join(folder, ""), f"{stated}/" if stated else ""
        return tuple(
            under + path[len(shared) :]
            if path.startswith(shared) and "/" not in path[len(shared) :]
            else _joined(base, path[len(lead) if path.startswith(lead) else 0 :])
            for path in paths
        )

    def _begin(self, kind: str, paths: Sequence[str]) -> tuple[str, str] | None:
        known = self._begins.setdefault(kind, [])
        for begin in known:
            if self._holds(begin, paths[0]):
                return begin
        found = self._search(paths)
        if found is None or not self._holds(found, paths[0]):
            return None
        known.append(found)
        return found

    def _holds(self, begin: tuple[str, str], path: str) -> bool:
        """Return whether the folder of a crop lies where another video was found."""
        lead, base = begin
        if not path.startswith(lead) or os.path.isabs(path) != os.path.isabs(lead):
            return False
        return self._is_folder(_joined(base, path[len(lead) :].rpartition("/")[0]))

    def _search(self, paths: Sequence[str]) -> tuple[str, str] | None:
        first = paths[0]
        leads = ["/"] if first.startswith("/") else [""]
        leads += [first[: at + len(holder)] for holder in _HOLDERS if (at := _stands(holder, first)) >= 0]
        tried = [(lead, base) for lead in leads for base in (("/",) if lead == "/" else self._bases)]
        # The folder alone would do for any path without one, so a crop is asked for first.
        for lead, base in tried:
            if any(os.path.isfile(_joined(base, path[len(lead) :])) for path in (first, paths[-1])):
                return lead, base
        for lead, base in tried:
            folder = first[len(lead) :].rpartition("/")[0]
            if folder and self._is_folder(_joined(base, folder)):
                return lead, base
        return None


def _stands(holder: str, path: str) -> int:
    """Return where a holder stands in a path as whole folders, -1 if nowhere."""
    if path.startswith(holder):
        return 0
    at = path.find(f"/{holder}")
    return at + 1 if at >= 0 else -1


def _joined(base: str, path: str) -> str:
    return os.path.normpath(os.path.join(base, path))
