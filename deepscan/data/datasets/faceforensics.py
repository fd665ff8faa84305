"""FaceForensics++, the data sets published with it (FaceShifter, DeepFakeDetection), DeeperForensics-1.0."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from deepscan.data.benchmarks.benchmark import SPLITS
from deepscan.data.benchmarks.benchmark_file import COMPRESSIONS
from deepscan.data.datasets import register
from deepscan.data.datasets.layout import (
    DatasetLayout,
    SourceVideo,
    read_json,
    read_lines,
    subfolder,
    unreadable_list,
    videos_in,
)

ORIGINALS = "original_sequences/youtube"
_FORM = (
    "https://github.com/ondyari/FaceForensics (a form, then a script that downloads), for non-commercial"
    " research and education"
)
_SPLITS_FROM = "https://github.com/ondyari/FaceForensics/tree/master/dataset/splits"
_FAKES = "manipulated_sequences"
_METHODS = {
    "FF-DF": f"{_FAKES}/Deepfakes",
    "FF-F2F": f"{_FAKES}/Face2Face",
    "FF-FS": f"{_FAKES}/FaceSwap",
    "FF-NT": f"{_FAKES}/NeuralTextures",
}


class FaceForensics(DatasetLayout):
    """Folders of videos in up to three compressions, with masks.

    With split lists (720, 140 and 140 of 1,000 videos), every listed video is yielded in each existing
    compression; without, every existing video is in every split.

    Args:
        dataset: Name of the data set.
        real: Name of the label of `reals`.
        reals: Folder of the originals.
        fakes: Name of each fake label -> its folder.
        listed: Whether the split lists of FaceForensics++ apply.
    """

    nested = True
    origin = _FORM

    def __init__(
        self, dataset: str, real: str, reals: str, fakes: Mapping[str, str], *, listed: bool = True
    ) -> None:
        self.dataset = dataset
        self.kinds = (real, *fakes)
        self._folders = {real: reals} | dict(fakes)
        self._listed = listed
        names = ", ".join(Path(folder).name for folder in fakes.values())
        fake = f"manipulated_sequences with {names}" if len(fakes) > 1 else next(iter(fakes.values()))
        lists = "train.json, val.json and test.json; " if listed else ""
        levels = "raw, c23 or c40 with a folder videos, and masks/videos for masks"
        self.expects = f"{lists}{reals} and {fake}, in each {levels}"

    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        pairs = pairs_of(root, self) if self._listed else {}
        for kind, label in self.labels.items():
            home, compressed = self._compressed(root, kind)
            masks = videos_in(home / "masks" / "videos")
            for compression, found in compressed.items():
                for split in SPLITS:
                    for name in _names(pairs[split], label) if pairs else found:
                        path = found.get(name, home / compression / "videos" / f"{name}.mp4")
                        yield SourceVideo(path, kind, split, name, compression, masks.get(name))

    def _compressed(self, root: Path, kind: str) -> tuple[Path, dict[str, dict[str, Path]]]:
        """Return the folder of a kind, and the videos of each existing compression."""
        folder = self._folders[kind]
        home = subfolder(root, folder) or root / folder
        found = {name: videos for name in COMPRESSIONS if (videos := videos_in(home / name / "videos"))}
        if not found:
            alternative = (
                f", or prepare a single method ({', '.join(_METHODS)})" if len(self.kinds) > 2 else ""
            )
            raise self.missing(
                home / "c23" / "videos",
                f"download the videos of {folder}{alternative}",
                "has no videos, and neither have raw and c40",
            )
        return home, found


def pairs_of(
    root: Path, layout: DatasetLayout, splits: tuple[str, ...] = SPLITS
) -> dict[str, list[tuple[str, str]]]:
    """Return the pairs of ids in each split list of FaceForensics++.

    Args:
        root: Folder of the data set.
        layout: The data set to name in errors.
        splits: Splits to read.

    Raises:
        MissingError: A list does not exist.
        UsageError: A list cannot be read.
    """
    pairs = {}
    for split in splits:
        places = [root / folder / f"{split}.json" for folder in (".", "splits", "dataset/splits")]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            raise layout.missing(places[0], f"put {split}.json of {_SPLITS_FROM} into {root}")
        pairs[split] = _read_pairs(path)
    return pairs


def _read_pairs(path: Path) -> list[tuple[str, str]]:
    pairs = read_json(path)
    if not isinstance(pairs, list) or not pairs:
        raise unreadable_list(path, "it is not a list of pairs of ids")
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(name, str) for name in pair):
            raise unreadable_list(path, f"{pair!r} is not a pair of ids")
    return [(a, b) for a, b in pairs]


def _names(pairs: list[tuple[str, str]], label: int) -> dict[str, None]:
    """Return the distinct video names of pairs: both ids of reals, or both directions of a swap."""
    each = (names for a, b in pairs for names in ((f"{a}_{b}", f"{b}_{a}") if label else (a, b)))
    return dict.fromkeys(each)


class DeeperForensics(DatasetLayout):
    """Swaps of end_to_end, without perturbations, and their target videos from FaceForensics++.

    The source videos of the data set show the actors whose faces were used; according to its authors, they
    are not the real part. The reals are the target videos in c23, each in the split of its swap.
    """

    dataset = "DeeperForensics-1.0"
    kinds = ("DF_real", "DF_fake")
    origin = (
        "https://github.com/EndlessSora/DeeperForensics-1.0/tree/master/dataset (a form), under its Terms of"
        " Use; the real videos: https://github.com/ondyari/FaceForensics (a form)"
    )
    expects = (
        f"manipulated_videos/end_to_end, lists/splits and {ORIGINALS}/c23/videos, the last directly or in a"
        " folder FaceForensics++ inside or next to this folder"
    )

    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder; see the base class."""
        listed = {split: self._listed(root, split) for split in SPLITS}
        home = self.folder(root, "manipulated_videos/end_to_end")
        part = f"{ORIGINALS}/c23/videos"
        base = self.nearby(root, "FaceForensics++", part)
        targets = {split: dict.fromkeys(name.partition("_")[0] for name in listed[split]) for split in SPLITS}
        for kind, folder, names in (("DF_real", base / part, targets), ("DF_fake", home, listed)):
            found = self.filled(folder, videos_in(folder))
            for split in SPLITS:
                for name in names[split]:
                    yield SourceVideo(found.get(name, folder / f"{name}.mp4"), kind, split, name)

    def _listed(self, root: Path, split: str) -> dict[str, None]:
        path = root / "lists" / "splits" / f"{split}.txt"
        if not path.is_file():
            raise self.missing(path)
        return dict.fromkeys(Path(line).stem for line in read_lines(path))


register(
    FaceForensics("FaceForensics++", "FF-real", ORIGINALS, _METHODS),
    *(FaceForensics(kind, "FF-real", ORIGINALS, {kind: folder}) for kind, folder in _METHODS.items()),
    FaceForensics("FaceShifter", "FF-real", ORIGINALS, {"FF-FH": f"{_FAKES}/FaceShifter"}),
    FaceForensics(
        "DeepFakeDetection",
        "DFD_real",
        "original_sequences/actors",
        {"DFD_fake": f"{_FAKES}/DeepFakeDetection"},
        listed=False,
    ),
    DeeperForensics(),
)
