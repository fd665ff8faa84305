"""A folder of labelled face pictures: what `faces.csv`, or a benchmark file, says of each."""

import csv
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from deepscan.crop_recipe import CropRecipe
from deepscan.data.benchmarks.benchmark import FaceVideo, find_benchmark, footage_of, read_benchmark
from deepscan.data.crops.prepared_files import read_crop_recipe
from deepscan.errors import MissingError, UsageError
from deepscan.media.suffixes import STILLS

INDEX = "faces.csv"
LABEL_OF = {"real": 0, "fake": 1}
TRAINING_SPLITS = ("train", "val")
#: Split of real faces that serve in training only beside a fake made from each.
PAIRS = "pairs"
#: What is trained on where no data set is named: what the papers train on.
DEFAULT_DATASET = "FaceForensics++"
_COLUMNS = ("file", "label", "group", "split")


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """One labelled face picture.

    Attributes:
        path: Where it is.
        label: 0 for real, 1 for fake.
        group: What it was made from, such as the source video; a group lies in one split only.
        split: `train` or `val`, or `pairs`.
        source: The data set it comes from, as the index gives it.
        video: The video that it is a frame of, its own path where the index gives none.
        mask: A picture of what was forged in it, white on black, of the same size; None where there is none.
        face: Where its face is: such a picture, or the face's landmarks in its pixels, shape (N, 2), in an
            .npy file; None where that is not known.
        aligned: By which recipe it was cut out already; None for a picture in which the face is to be found.
        origin: Who published it, such as a repository; empty where the index does not say.
        pair: Name that a real video shares with the fakes made of it, empty where none are known.
        method: How the fake was made, empty where that is not known.
        face_px: Shorter side of the face in the original video, in pixels; 0 where that is not known.
    """

    path: Path
    label: int
    group: str
    split: str
    source: str
    video: str
    mask: Path | None = None
    face: Path | None = None
    aligned: CropRecipe | None = None
    origin: str = ""
    pair: str = ""
    method: str = ""
    face_px: int = 0

    @property
    def layers(self) -> dict[str, Path]:
        """The files that say something of its pixels, by what they say: `forged`, `face`."""
        return {name: path for name, path in (("forged", self.mask), ("face", self.face)) if path}

    def __post_init__(self) -> None:
        if self.label not in LABEL_OF.values():
            raise ValueError(f"a label is 0 or 1, not {self.label}")
        if self.split not in (*TRAINING_SPLITS, PAIRS):
            raise ValueError(f"a split is one of {TRAINING_SPLITS} or {PAIRS!r}, not {self.split!r}")
        if self.split == PAIRS and self.label != LABEL_OF["real"]:
            raise ValueError("only a real face can stand beside a fake made from it")


def read_pictures(folder: Path, sources: Collection[str] = ()) -> tuple[LabelledPicture, ...]:
    """Return the pictures that a folder's `faces.csv` lists, in its order; without one, benchmark files'.

    The index has the columns file (relative to the folder), label (real or fake), group, split (train or
    val) and, optionally, source, video (pictures of one video stand in the order of its frames), mask and
    face (files, relative to the folder), origin, pair, method and source_face_px, as `LabelledPicture` has
    them; other columns are not read.

    Args:
        folder: Where the index is.
        sources: Only these sources, all of them where empty.

    Raises:
        MissingError: There is no index, or a picture that it lists is not there.
        UsageError: The index cannot be read, nothing is left of it, or a group, or of a benchmark a video,
            lies in both splits.
    """
    index = folder / INDEX
    if not index.is_file():
        return _of_benchmarks(folder, sources)
    try:
        # With or without the mark that Excel puts before the first column.
        with index.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except UnicodeDecodeError as error:
        raise UsageError(f"{index} is not UTF-8: {error.reason}", "save it as UTF-8")
    if rows and (lacking := [name for name in _COLUMNS if name not in rows[0]]):
        raise UsageError(f"{index} has no column {lacking[0]!r}", f"give it the columns {','.join(_COLUMNS)}")
    pictures = tuple(
        _picture(folder, number, row)
        for number, row in enumerate(rows, start=2)
        if not sources or row.get("source") in sources
    )
    if not pictures:
        found = sorted({row.get("source") or "" for row in rows})
        raise UsageError(
            f"{index} lists no picture of {', '.join(sources) or 'any source'}",
            f"its sources are: {', '.join(found) or 'none'}",
        )
    split_of: dict[str, str] = {}
    for picture in pictures:
        if split_of.setdefault(picture.group, picture.split) != picture.split:
            raise UsageError(
                f"{index}: group {picture.group!r} lies in both splits",
                "put all pictures of a group into one split, or validation measures memory",
            )
    return pictures


def read_pairs_only(folder: Path, names: Collection[str]) -> tuple[LabelledPicture, ...]:
    """Return the pictures of folders of real faces that serve only in pairs, in the order of their names.

    Args:
        folder: The data's folder.
        names: Of folders below it.

    Raises:
        MissingError: There is no such folder, or it holds no picture.
    """
    pictures: list[LabelledPicture] = []
    for name in names:
        paths = sorted(path for path in (folder / name).glob("*") if path.suffix.lower() in STILLS)
        if not paths:
            raise MissingError(
                f"{folder / name} holds no picture", "put real faces there, or take it out of pairs_only"
            )
        pictures += [
            LabelledPicture(path, LABEL_OF["real"], f"{name}/{path.name}", PAIRS, name, f"{name}/{path.name}")
            for path in paths
        ]
    return tuple(pictures)


def _of_benchmarks(folder: Path, names: Collection[str]) -> tuple[LabelledPicture, ...]:
    """Return the crops of the splits train and val of benchmark files.

    Args:
        folder: Where the files are.
        names: Of the data sets; FaceForensics++ where empty, lest one is trained on that is to be tested on.
    """
    try:
        paths = [find_benchmark(folder, name) for name in names or (DEFAULT_DATASET,)]
    except MissingError as error:
        raise MissingError(
            f"there is no {folder / INDEX}, and {error.message}",
            f"put face pictures into {folder} with a {INDEX}, columns: {','.join(_COLUMNS)} "
            "and, if known, source,video,mask,face,origin,pair,method,source_face_px; or run: "
            f"deepscan prepare {next(iter(names), DEFAULT_DATASET)} --root DIR --out {folder}",
        )
    pictures = []
    for path in paths:
        recipe = read_crop_recipe(path)
        for video in _read_whole(path):
            masks = video.masks or ("",) * len(video.frames)
            pictures += [
                LabelledPicture(
                    Path(frame),
                    video.label,
                    f"{video.dataset}/{footage_of(video)}",
                    video.split,
                    video.dataset,
                    f"{video.dataset}/{video.kind}/{video.name}",
                    Path(mask) if mask else None,
                    aligned=recipe,
                )
                for frame, mask in zip(video.frames, masks, strict=True)
            ]
    if not pictures:
        raise UsageError(
            f"{', '.join(map(str, paths))} have no video in train or val", "prepare these splits as well"
        )
    return tuple(pictures)


def _read_whole(path: Path) -> tuple[FaceVideo, ...]:
    """Return what a benchmark file has to train on: all that it lists, each video in one split."""
    benchmark = read_benchmark(path, splits=TRAINING_SPLITS)
    if absent := [drop for drop in benchmark.drops if drop.reason == "no file"]:
        first = f"{absent[0].kind}/{absent[0].split}/{absent[0].name}"
        raise MissingError(
            f"{path} lists videos whose crops are not there: {len(absent)}, such as {first}",
            "restore them, or take these videos out of the file",
        )
    split_of: dict[str, str] = {}
    for video in benchmark.videos:
        if split_of.setdefault(video.frames[0], video.split) != video.split:
            raise UsageError(
                f"{path}: {video.kind}/{video.name} lies in both splits",
                "train on a data set with splits of its own, or validation measures memory",
            )
    return benchmark.videos


def _picture(folder: Path, number: int, row: dict[str, str]) -> LabelledPicture:
    path, place = folder / row["file"], f"{folder / INDEX}, line {number}"
    if row["label"] not in LABEL_OF or row["split"] not in TRAINING_SPLITS:
        raise UsageError(
            f"{place}: label {row['label']!r}, split {row['split']!r}",
            f"a label is one of {', '.join(LABEL_OF)}; a split one of {', '.join(TRAINING_SPLITS)}",
        )
    if not path.is_file():
        raise MissingError(f"{path} is not there", f"restore it, or take line {number} out of {INDEX}")
    layers = [folder / row[name] if row.get(name) else None for name in ("mask", "face")]
    for layer in layers:
        if layer is not None and not layer.is_file():
            hint = f"restore it, or take it out of line {number} of {INDEX}"
            raise MissingError(f"{layer} is not there", hint)
    face_px = row.get("source_face_px") or "0"
    if not face_px.isdecimal():
        raise UsageError(
            f"{place}: source_face_px {face_px!r}", "give a whole number of pixels, or leave it empty"
        )
    return LabelledPicture(
        path,
        LABEL_OF[row["label"]],
        row["group"],
        row["split"],
        row.get("source") or "",
        row.get("video") or row["file"],
        mask=layers[0],
        face=layers[1],
        origin=row.get("origin") or "",
        pair=row.get("pair") or "",
        method=row.get("method") or "",
        face_px=int(face_px),
    )
