"""The JSON file of a benchmark, in every published variant: its entries, and the location of their crops."""

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
#: Compression that is read by default, and that published results are measured on.
DEFAULT_COMPRESSION = "c23"

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_LEVEL = re.compile(rf"(.+)_({'|'.join(COMPRESSIONS)})")
_STRUCTURE = "a benchmark file reads {data set: {label: {split: {video: {label, frames: [paths]}}}}}"


@dataclass(frozen=True, slots=True)
class BenchmarkEntry:
    """A video of a benchmark file.

    Attributes:
        kind: Name of the label that contains it.
        label: Its own label field, nearly always the same name.
        split: `train`, `val` or `test`.
        level: Compression level; empty if the file has none.
        name: Its name.
        frames: Paths of its crops, with `/`.
        masks: Paths of its masks, with `/`.
        repeated: Whether an earlier entry has the same key; its paths are then not read.
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
    """Return 0 (real) for a label name that ends in `real`, in any case, else 1 (fake).

    The end decides, because `whichisreal_Fake` is fake.
    """
    return 0 if name.lower().endswith("real") else 1


def split_level(name: str) -> tuple[str, str]:
    """Split a data set's name and its compression level: `FF-DF_c40` -> `FF-DF`, `c40`.

    The level is empty if the name has none.
    """
    match = _LEVEL.fullmatch(name)
    return (match[1], match[2]) if match else (name, "")


def unknown(path: Path, what: str, name: str, known: Collection[str]) -> UsageError:
    """Return the error for a requested name that a file does not have."""
    return UsageError(f"{path} has no {what} {name!r}", choice_hint(name, known))


class BenchmarkFile:
    """A parsed benchmark file.

    {data set: {label: {split: {video: {"label": label, "frames": [paths], "masks": [paths]}}}}}, optionally
    with a compression level between split and video.

    Args:
        path: The file.

    Raises:
        MissingError: The file does not exist.
        UsageError: The file is not JSON or has a different structure.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts = [
            (kind, self._split(kind, split), part)
            for kind, of_kind in self._data_set().items()
            for split, part in self._require_object(kind, of_kind).items()
        ]
        self.kinds = tuple(dict.fromkeys(kind for kind, _, _ in self._parts))
        present = {split for _, split, _ in self._parts}
        self.splits = tuple(split for split in dict.fromkeys(_SPLITS.values()) if split in present)

    def entries(self, splits: Collection[str] | None, compression: str | None) -> Iterator[BenchmarkEntry]:
        """Yield the videos in file order.

        Args:
            splits: Splits to read; None for all.
            compression: Compression level, if the file has levels. None for the one in the file's name, else
                the only one, else c23.

        Raises:
            UsageError: The file lacks the level, or has a different structure.
        """
        requested = compression or split_level(self.path.stem)[1]
        if requested and requested not in COMPRESSIONS:
            raise unknown(self.path, "compression", requested, COMPRESSIONS)
        for kind, split, part in self._parts:
            if splits is None or split in splits:
                level, videos = self._level(f"{kind}/{split}", part, requested)
                for name, entry in _videos(videos):
                    yield self._entry(BenchmarkEntry(kind, kind, split, level, name), entry)
                if isinstance(videos, _RepeatingObject):
                    for name in videos.repeated:
                        yield BenchmarkEntry(kind, kind, split, level, name, repeated=True)

    def _data_set(self) -> dict[str, Any]:
        path = self.path
        try:
            with path.open(encoding="utf-8-sig") as file:
                stored = self._require_object("", json.load(file, object_pairs_hook=_parse_object))
        except FileNotFoundError:
            raise MissingError(f"{path} does not exist", "create it with: deepscan prepare")
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}", "give the JSON file of a benchmark")
        except ValueError as error:
            raise UsageError(
                f"{path} is not JSON: {error}", "give the JSON file of a benchmark, or download it again"
            )
        name = next((name for name in (path.stem, split_level(path.stem)[0]) if name in stored), None)
        if name is None and len(stored) == 1:
            name = next(iter(stored))
        if name is None:
            hint = "rename the file after the data set to read" if stored else _STRUCTURE
            raise UsageError(f"{path} has {len(stored)} data sets, none of them named {path.stem}", hint)
        return self._require_object(name, stored[name])

    def _require_object(self, where: str, value: Any) -> dict[str, Any]:
        """Return a value of the levels above the videos: an object without repeated names."""
        if not isinstance(value, dict):
            raise self._structure_error(where, "not an object")
        if isinstance(value, _RepeatingObject):
            raise self._structure_error(where, f"{value.repeated[0]!r} occurs twice")
        return value

    def _split(self, kind: str, name: str) -> str:
        if name.lower() not in _SPLITS:
            raise self._structure_error(f"{kind}/{name}", "not a split")
        return _SPLITS[name.lower()]

    def _level(self, where: str, part: Any, requested: str) -> tuple[str, Mapping[str, Any]]:
        """Return the compression level and its videos; an empty level and all videos without levels."""
        if not isinstance(part, dict):
            raise self._structure_error(where, "not an object")
        # A video may have the name of a level, but only videos have frames.
        levels = {
            name: videos
            for name, videos in part.items()
            if name in COMPRESSIONS and isinstance(videos, dict) and "frames" not in videos
        }
        if not levels or len(levels) < len(part):
            return "", part
        self._require_object(where, part)
        level = requested or (next(iter(levels)) if len(levels) == 1 else DEFAULT_COMPRESSION)
        if level not in levels:
            raise unknown(self.path, f"compression in {where}", level, levels)
        return level, levels[level]

    def _entry(self, entry: BenchmarkEntry, value: Any) -> BenchmarkEntry:
        where = f"{entry.kind}/{entry.split}/{entry.name}"
        fields = self._require_object(where, value)
        return replace(
            entry,
            label=fields.get("label", entry.kind),
            frames=self._paths(where, fields.get("frames") or []),
            masks=self._paths(where, fields.get("masks") or []),
        )

    def _paths(self, where: str, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._structure_error(where, "not a list of paths")
        return tuple(item.replace("\\", "/") for item in value)

    def _structure_error(self, where: str, problem: str) -> UsageError:
        return UsageError(f"{self.path}: unexpected structure: {where or 'the file'}: {problem}", _STRUCTURE)


class _RepeatingObject(dict[str, Any]):
    """A JSON object in which a name is repeated; the first value is kept."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__()
        self.repeated: list[str] = []
        for name, value in pairs:
            if name in self:
                self.repeated.append(name)
            else:
                self[name] = value


def _parse_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    parsed = dict(pairs)
    return parsed if len(parsed) == len(pairs) else _RepeatingObject(pairs)


def _videos(part: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the videos of a part with their names."""
    frames = part.get("frames")
    if not isinstance(frames, list):
        yield from part.items()
        return
    # The script of DeepfakeBench for DFDC replaces `val` by a single video without its name.
    folders = str(frames[0]).replace("\\", "/").split("/") if frames else []
    yield folders[-2] if len(folders) > 1 else "", part
    yield from ((name, entry) for name, entry in part.items() if isinstance(entry, dict))


#: Folders that published files put before the name of the data set; only the rest of the path is used.
_PREFIXES = ("datasets/rgb/", "datasets/", "deepfakes_detection_datasets/")
_DIGITS = re.compile(r"(\d+)")
Order = tuple[str | int, ...]


def frame_order(path: str) -> Order:
    """Return a sort key for frames: their file names, with digits compared as numbers."""
    name = path.rpartition("/")[2]
    stem = name.rpartition(".")[0] or name
    # The same key as below, but faster; nearly all frames are named by their number.
    if stem.isdecimal():
        return ("", int(stem), "")
    return tuple(int(part) if index % 2 else part for index, part in enumerate(_DIGITS.split(stem)))


class CropPaths:
    """Locates the crops of a benchmark file; the location of one video of a kind is tried first for the next.

    Each path is tried under each base, as it is and without the prefixes of published files
    (`./datasets/rgb/`, `./datasets/`, `deepfakes_detection_datasets/`, anywhere in the path). Only the
    folders of crops are checked, each once; a missing crop is noticed when it is read.

    Args:
        bases: Folders that relative paths may refer to, the most likely first.
    """

    def __init__(self, bases: Sequence[Path]) -> None:
        self._bases = tuple(dict.fromkeys(os.path.abspath(base) for base in bases))
        self._locations: dict[str, list[tuple[str, str]]] = {}
        self._is_folder = cache(os.path.isdir)

    def locate(self, kind: str, paths: Sequence[str]) -> tuple[str, ...] | None:
        """Return the absolute paths of a video's crops, or None if their folder is not found.

        Args:
            kind: The kind of the video, whose known locations are tried first.
            paths: Paths from the file, with `/`, at least one.
        """
        location = self._location(kind, paths)
        if location is None:
            return None
        prefix, base = location
        parent = paths[0].rpartition("/")[0]
        folder = _joined(base, parent[len(prefix) :])
        under, shared = os.path.join(folder, ""), f"{parent}/" if parent else ""
        return tuple(
            under + path[len(shared) :]
            if path.startswith(shared) and "/" not in path[len(shared) :]
            else _joined(base, path[len(prefix) if path.startswith(prefix) else 0 :])
            for path in paths
        )

    def _location(self, kind: str, paths: Sequence[str]) -> tuple[str, str] | None:
        known = self._locations.setdefault(kind, [])
        for location in known:
            if self._folder_exists(location, paths[0]):
                return location
        found = self._search(paths)
        if found is None or not self._folder_exists(found, paths[0]):
            return None
        known.append(found)
        return found

    def _folder_exists(self, location: tuple[str, str], path: str) -> bool:
        """Return whether the folder of a crop exists at the location of another video."""
        prefix, base = location
        if not path.startswith(prefix) or os.path.isabs(path) != os.path.isabs(prefix):
            return False
        return self._is_folder(_joined(base, path[len(prefix) :].rpartition("/")[0]))

    def _search(self, paths: Sequence[str]) -> tuple[str, str] | None:
        first = paths[0]
        prefixes = ["/"] if first.startswith("/") else [""]
        prefixes += [
            first[: at + len(prefix)] for prefix in _PREFIXES if (at := _find_prefix(prefix, first)) >= 0
        ]
        candidates = [
            (prefix, base) for prefix in prefixes for base in (("/",) if prefix == "/" else self._bases)
        ]
        # A path without a folder would match any base, so look for a crop first.
        for prefix, base in candidates:
            if any(os.path.isfile(_joined(base, path[len(prefix) :])) for path in (first, paths[-1])):
                return prefix, base
        for prefix, base in candidates:
            folder = first[len(prefix) :].rpartition("/")[0]
            if folder and self._is_folder(_joined(base, folder)):
                return prefix, base
        return None


def _find_prefix(prefix: str, path: str) -> int:
    """Return the position of a prefix in a path as whole folders, -1 if it does not occur."""
    if path.startswith(prefix):
        return 0
    at = path.find(f"/{prefix}")
    return at + 1 if at >= 0 else -1


def _joined(base: str, path: str) -> str:
    return os.path.normpath(os.path.join(base, path))
