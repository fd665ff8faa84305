"""The Deepfake Detection Challenge: the full data set and its preview."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepscan.data.benchmarks.benchmark import SPLITS
from deepscan.data.datasets import register
from deepscan.data.datasets.layout import (
    DatasetLayout,
    SourceVideo,
    natural,
    read_json,
    read_lines,
    uniquely_named,
    unreadable_list,
    videos_in,
)

_ORIGIN = "https://ai.meta.com/datasets/dfdc/ (an account at Amazon Web Services), under its own agreement"
_LABELS = {"0": 0, "1": 1, "REAL": 0, "FAKE": 1, "FALSE": 0, "TRUE": 1}


class DFDC(DatasetLayout):
    """The full data set: a folder each for test and validation, fifty folders of training videos."""

    dataset = "DFDC"
    kinds = ("DFDC_Real", "DFDC_Fake")
    origin = _ORIGIN
    expects = (
        "test with labels.csv or metadata.json and its videos; optionally validation, likewise, and"
        " train/dfdc_train_part_0 and so on, each with its metadata.json"
    )

    @uniquely_named
    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        folders = [("train", part) for part in _parts(root)]
        folders += [("val", root / "validation"), ("test", root / "test")]
        if not any(folder.is_dir() for _, folder in folders):
            raise self.missing(root / "test" / "labels.csv")
        for split, folder in folders:
            if not folder.is_dir():
                continue
            found = videos_in(folder)
            for name, label in self._labelled(folder).items():
                path = found.get(Path(name).stem, folder / name)
                yield SourceVideo(path, self.kinds[label], split, Path(name).stem)

    def _labelled(self, folder: Path) -> dict[str, int]:
        """Return the label of each file, from the list in its folder."""
        table, metadata = folder / "labels.csv", folder / "metadata.json"
        if table.is_file():
            labelled: dict[str, int] = {}
            for row in csv.DictReader(read_lines(table)):
                name, label = _text(table, row, "filename"), _label(table, row, "label")
                if labelled.setdefault(name, label) != label:
                    raise unreadable_list(table, f"it lists {name} as both real and fake")
            return labelled
        if metadata.is_file():
            return {
                name: _label(metadata, fields, "label", "is_fake") for name, fields in _read_entries(metadata)
            }
        # Training parts have metadata.json only.
        raise self.missing(metadata if "train" in folder.name else table)


class DFDCP(DatasetLayout):
    """The preview, with label and split of each video in dataset.json."""

    dataset = "DFDCP"
    kinds = ("DFDCP_Real", "DFDCP_FakeA", "DFDCP_FakeB")
    origin = _ORIGIN
    expects = "dataset.json and, next to it, the folders original_videos, method_A and method_B"

    @uniquely_named
    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        base = next((b for b in (root, root / "dfdc_preview_set") if (b / "dataset.json").is_file()), None)
        if base is None:
            raise self.missing(root / "dataset.json")
        path = base / "dataset.json"
        found: dict[Path, dict[str, Path]] = {}
        for file, fields in _read_entries(path):
            split = _text(path, fields, "set")
            if split not in SPLITS:
                raise unreadable_list(path, f"{file} is in the unknown set {split!r}")
            kind = self._kind(path, file, _label(path, fields, "label"))
            folder, stem = (base / file).parent, Path(file).stem
            if folder not in found:
                # Some copies have a folder `videos` between the part and its persons.
                part, _, rest = file.partition("/")
                found[folder] = videos_in(folder) or videos_in((base / part / "videos" / rest).parent)
            yield SourceVideo(found[folder].get(stem, base / file), kind, split, stem)

    @staticmethod
    def _kind(path: Path, file: str, label: int) -> str:
        if not label:
            return "DFDCP_Real"
        method = file.partition("/")[0]
        if method not in ("method_A", "method_B"):
            raise unreadable_list(path, f"{file} is fake, but in neither method's folder")
        return f"DFDCP_Fake{method[-1]}"


def _parts(root: Path) -> list[Path]:
    """Return the folders of training videos; an archive may add a nested folder of a similar name."""
    return [
        min(part.glob("dfdc_train_part*/"), default=part)
        for base in (root / "train", root)
        for part in sorted(base.glob("dfdc_train_part*/"), key=lambda path: natural(path.name))
    ]


def _read_entries(path: Path) -> list[tuple[str, dict[str, Any]]]:
    fields = read_json(path)
    if (
        not fields
        or not isinstance(fields, dict)
        or not all(isinstance(entry, dict) for entry in fields.values())
    ):
        raise unreadable_list(path, "it is not an object with an entry for each video")
    return list(fields.items())


def _text(path: Path, fields: dict[str, Any], name: str) -> str:
    if not fields.get(name):
        raise unreadable_list(path, f"no {name!r} in {fields}")
    return str(fields[name])


def _label(path: Path, fields: dict[str, Any], *names: str) -> int:
    word = next((str(fields[name]).strip().upper() for name in names if fields.get(name) is not None), None)
    if word not in _LABELS:
        raise unreadable_list(path, f"no {' or '.join(names)} of {', '.join(_LABELS)} in {fields}")
    return _LABELS[word]


register(DFDC(), DFDCP())
