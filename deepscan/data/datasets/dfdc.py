"""The Deepfake Detection Challenge: the whole data set and its preview."""

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
_WORDS = {"0": 0, "1": 1, "REAL": 0, "FAKE": 1, "FALSE": 0, "TRUE": 1}


class DFDC(DatasetLayout):
    """Its tests and validation in a folder each, its training videos in fifty."""

    dataset = "DFDC"
    kinds = ("DFDC_Real", "DFDC_Fake")
    origin = _ORIGIN
    expects = (
        "test with labels.csv or metadata.json and the videos in it, and where they are wanted validation,"
        " the same, and train/dfdc_train_part_0 and so on, each with its metadata.json"
    )

    @uniquely_named
    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        holders = [("train", part) for part in _parts(root)]
        holders += [("val", root / "validation"), ("test", root / "test")]
        if not any(folder.is_dir() for _, folder in holders):
            raise self.missing(root / "test" / "labels.csv")
        for split, folder in holders:
            if not folder.is_dir():
                continue
            found = videos_in(folder)
            for name, label in self._labelled(folder).items():
                path = found.get(Path(name).stem, folder / name)
                yield SourceVideo(path, self.kinds[label], split, Path(name).stem)

    def _labelled(self, folder: Path) -> dict[str, int]:
        """Return what a folder's list says of its files."""
        table, metadata = folder / "labels.csv", folder / "metadata.json"
        if table.is_file():
            labelled: dict[str, int] = {}
            for row in csv.DictReader(read_lines(table)):
                name, label = _text(table, row, "filename"), _label(table, row, "label")
                if labelled.setdefault(name, label) != label:
                    raise unreadable_list(table, f"it says of {name} that it is real and that it is fake")
            return labelled
        if metadata.is_file():
            return {name: _label(metadata, said, "label", "is_fake") for name, said in _said(metadata)}
        # Training parts come with metadata.json alone.
        raise self.missing(metadata if "train" in folder.name else table)


class DFDCP(DatasetLayout):
    """The preview, whose dataset.json states label and split of each video."""

    dataset = "DFDCP"
    kinds = ("DFDCP_Real", "DFDCP_FakeA", "DFDCP_FakeB")
    origin = _ORIGIN
    expects = "dataset.json and the folders original_videos, method_A and method_B beside it"

    @uniquely_named
    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        base = next((b for b in (root, root / "dfdc_preview_set") if (b / "dataset.json").is_file()), None)
        if base is None:
            raise self.missing(root / "dataset.json")
        path = base / "dataset.json"
        found: dict[Path, dict[str, Path]] = {}
        for file, said in _said(path):
            split = _text(path, said, "set")
            if split not in SPLITS:
                raise unreadable_list(path, f"{file} is in the set {split!r}")
            kind = self._kind(path, file, _label(path, said, "label"))
            folder, stem = (base / file).parent, Path(file).stem
            if folder not in found:
                # Some keep the videos of each part in a folder `videos` between the part and its people.
                part, _, rest = file.partition("/")
                found[folder] = videos_in(folder) or videos_in((base / part / "videos" / rest).parent)
            yield SourceVideo(found[folder].get(stem, base / file), kind, split, stem)

    @staticmethod
    def _kind(path: Path, file: str, label: int) -> str:
        if not label:
            return "DFDCP_Real"
        method = file.partition("/")[0]
        if method not in ("method_A", "method_B"):
            raise unreadable_list(path, f"{file} is a fake of neither method")
        return f"DFDCP_Fake{method[-1]}"


def _parts(root: Path) -> list[Path]:
    """Return the folders of training videos; an archive may unpack into one more of nearly its name."""
    return [
        min(part.glob("dfdc_train_part*/"), default=part)
        for base in (root / "train", root)
        for part in sorted(base.glob("dfdc_train_part*/"), key=lambda path: natural(path.name))
    ]


def _said(path: Path) -> list[tuple[str, dict[str, Any]]]:
    said = read_json(path)
    if not said or not isinstance(said, dict) or not all(isinstance(one, dict) for one in said.values()):
        raise unreadable_list(path, "it does not say something of each video")
    return list(said.items())


def _text(path: Path, said: dict[str, Any], name: str) -> str:
    if not said.get(name):
        raise unreadable_list(path, f"no {name!r} in {said}")
    return str(said[name])


def _label(path: Path, said: dict[str, Any], *names: str) -> int:
    word = next((str(said[name]).strip().upper() for name in names if said.get(name) is not None), None)
    if word not in _WORDS:
        raise unreadable_list(path, f"no {' or '.join(names)} of {', '.join(_WORDS)} in {said}")
    return _WORDS[word]


register(DFDC(), DFDCP())
