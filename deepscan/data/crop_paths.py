"""Where the crops lie that a benchmark file names: on the disk of whoever wrote it, or on this one."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

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
        self._there: dict[str, bool] = {}

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

    def _is_folder(self, folder: str) -> bool:
        if folder not in self._there:
            self._there[folder] = os.path.isdir(folder)
        return self._there[folder]


def _stands(holder: str, path: str) -> int:
    """Return where a holder stands in a path as whole folders, -1 if nowhere."""
    if path.startswith(holder):
        return 0
    at = path.find(f"/{holder}")
    return at + 1 if at >= 0 else -1


def _joined(base: str, path: str) -> str:
    return os.path.normpath(os.path.join(base, path))
