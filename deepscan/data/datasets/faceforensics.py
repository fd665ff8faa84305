"""FaceForensics++, what is given out with it (FaceShifter, DeepFakeDetection), and DeeperForensics-1.0."""

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
    """Folders of videos, each in up to three compressions, with masks beside them.

    Where lists count (720, 140 and 140 of 1,000 videos), each of their videos is given for every compression
    that is there; else whatever is there, in every split.

    Args:
        dataset: Its name.
        real: Name of the label of `reals`.
        reals: Folder of the originals.
        fakes: Name of each fake label -> its folder.
        listed: Whether the lists of FaceForensics++ say what belongs to it.
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
        levels = "raw, c23 or c40 with videos in it, and for masks masks/videos"
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
        """Return the folder of a kind, and the videos of each compression that is there."""
        folder = self._folders[kind]
        home = subfolder(root, folder) or root / folder
        found = {name: videos for name in COMPRESSIONS if (videos := videos_in(home / name / "videos"))}
        if not found:
            alone = (
                f", or prepare another method alone ({', '.join(_METHODS)})" if len(self.kinds) > 2 else ""
            )
            raise self.missing(
                home / "c23" / "videos",
                f"download the videos of {folder}{alone}",
                "holds no video, nor do raw and c40 beside it",
            )
        return home, found


def pairs_of(
    root: Path, layout: DatasetLayout, splits: tuple[str, ...] = SPLITS
) -> dict[str, list[tuple[str, str]]]:
    """Return the pairs of ids that the lists of FaceForensics++ put into each split.

    Args:
        root: Its folder.
        layout: Whose videos they are, for errors.
        splits: Which lists are needed.

    Raises:
        MissingError: A list is not there.
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
    said = read_json(path)
    if not isinstance(said, list) or not said:
        raise unreadable_list(path, "it is not a list of pairs of ids")
    for pair in said:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(one, str) for one in pair):
            raise unreadable_list(path, f"{pair!r} is not a pair of ids")
    return [(a, b) for a, b in said]


def _names(pairs: list[tuple[str, str]], label: int) -> dict[str, None]:
    """Return the names of the videos of some pairs, each once: both ids, or both ways of swapping them."""
    each = (names for a, b in pairs for names in ((f"{a}_{b}", f"{b}_{a}") if label else (a, b)))
    return dict.fromkeys(each)


class DeeperForensics(DatasetLayout):
    """Swaps of end_to_end, without perturbations, against the videos of FaceForensics++ that they change.

    Its own source videos show the actors whose faces were taken; its makers say that they are not the real
    part. That is the targets, videos of FaceForensics++ in c23, each in the split of its swap.
    """

    dataset = "DeeperForensics-1.0"
    kinds = ("DF_real", "DF_fake")
    origin = (
        "https://github.com/EndlessSora/DeeperForensics-1.0/tree/master/dataset (a form), under its Terms of"
        " Use; the real videos: https://github.com/ondyari/FaceForensics (a form)"
    )
    expects = (
        "manipulated_videos/end_to_end, lists/splits and, here or in a folder FaceForensics++ in it or beside"
        f" it, {ORIGINALS}/c23/videos"
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
