"""A folder of labelled face pictures, described by `faces.csv` or by a benchmark file."""

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
#: Split of real faces that are used in training only together with a fake made from them.
PAIRS = "pairs"
#: The default training data, which the papers use as well.
DEFAULT_DATASET = "FaceForensics++"
_COLUMNS = ("file", "label", "group", "split")


@dataclass(frozen=True, slots=True)
class LabelledPicture:
    """One labelled face picture.

    Attributes:
        path: The picture file.
        label: 0 for real, 1 for fake.
        group: What it was made from, such as the source video; all pictures of a group are in one split.
        split: `train`, `val` or `pairs`.
        source: The data set, from the index.
        video: The video that it is a frame of; its own path if the index names none.
        mask: Picture of the forged pixels, white on black, of the same size; None if unknown.
        face: Location of the face: a picture like `mask`, or an .npy file with landmarks in pixels, shape
            (N, 2); None if unknown.
        aligned: Recipe of a crop that is aligned already; None for a picture whose face must be found.
        origin: Publisher, such as a repository; empty if the index does not name one.
        pair: Name that a real video shares with the fakes made from it; empty if there are none.
        method: Method that made the fake; empty if unknown.
        face_px: Shorter side of the face in the original video, in pixels; 0 if unknown.
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
        """Files that describe its pixels, by the name of the layer: `forged`, `face`."""
        return {name: path for name, path in (("forged", self.mask), ("face", self.face)) if path}

    def __post_init__(self) -> None:
        if self.label not in LABEL_OF.values():
            raise ValueError(f"a label must be 0 or 1, not {self.label}")
        if self.split not in (*TRAINING_SPLITS, PAIRS):
            raise ValueError(f"a split must be one of {TRAINING_SPLITS} or {PAIRS!r}, not {self.split!r}")
        if self.split == PAIRS and self.label != LABEL_OF["real"]:
            raise ValueError(f"only real faces can be in the split {PAIRS!r}")


def read_pictures(folder: Path, sources: Collection[str] = ()) -> tuple[LabelledPicture, ...]:
    """Return the pictures listed in a folder's `faces.csv`, in its order, or those of its benchmark files.

    The index has the columns file (relative to the folder), label (real or fake), group, split (train or
    val) and, optionally, source, video (its pictures in frame order), mask and face (files, relative to the
    folder), origin, pair, method and source_face_px; see `LabelledPicture`. Other columns are ignored.
    Benchmark files are used if there is no index.

    Args:
        folder: Folder of the index.
        sources: Sources to read; empty for all.

    Raises:
        MissingError: There is no index, or a listed picture is missing.
        UsageError: The index cannot be read, no picture is selected, or a group, or a video of a benchmark,
            is in both splits.
    """
    index = folder / INDEX
    if not index.is_file():
        return _of_benchmarks(folder, sources)
    try:
        # Excel writes a byte order mark.
        with index.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except UnicodeDecodeError as error:
        raise UsageError(f"{index} is not UTF-8: {error.reason}", "save it as UTF-8")
    if rows and (missing := [name for name in _COLUMNS if name not in rows[0]]):
        raise UsageError(f"{index} has no column {missing[0]!r}", f"give it the columns {','.join(_COLUMNS)}")
    pictures = tuple(
        _picture(folder, number, row)
        for number, row in enumerate(rows, start=2)
        if not sources or row.get("source") in sources
    )
    if not pictures:
        found = sorted({row.get("source") or "" for row in rows})
        raise UsageError(
            f"{index} lists no pictures of {', '.join(sources) or 'any source'}",
            f"sources in the file: {', '.join(found) or 'none'}",
        )
    split_of: dict[str, str] = {}
    for picture in pictures:
        if split_of.setdefault(picture.group, picture.split) != picture.split:
            raise UsageError(
                f"{index}: group {picture.group!r} is in both splits",
                "put all pictures of a group into one split: otherwise validation measures memorisation",
            )
    return pictures


def read_pairs_only(folder: Path, names: Collection[str]) -> tuple[LabelledPicture, ...]:
    """Return the pictures of folders of real faces that are used only in pairs, sorted by name.

    Args:
        folder: Folder of the data.
        names: Names of its subfolders.

    Raises:
        MissingError: A subfolder is missing or has no pictures.
    """
    pictures: list[LabelledPicture] = []
    for name in names:
        paths = sorted(path for path in (folder / name).glob("*") if path.suffix.lower() in STILLS)
        if not paths:
            raise MissingError(
                f"{folder / name} has no pictures", "put real faces there, or remove it from pairs_only"
            )
        pictures += [
            LabelledPicture(path, LABEL_OF["real"], f"{name}/{path.name}", PAIRS, name, f"{name}/{path.name}")
            for path in paths
        ]
    return tuple(pictures)


def _of_benchmarks(folder: Path, names: Collection[str]) -> tuple[LabelledPicture, ...]:
    """Return the crops of benchmark files in the splits train and val.

    Args:
        folder: Folder of the files.
        names: The data sets. If empty, only FaceForensics++, so that no test set is trained on by accident.
    """
    try:
        paths = [find_benchmark(folder, name) for name in names or (DEFAULT_DATASET,)]
    except MissingError as error:
        raise MissingError(
            f"{folder / INDEX} does not exist, and {error.message}",
            f"put face pictures into {folder} with a {INDEX}, with the columns {','.join(_COLUMNS)} "
            "and, if known, source,video,mask,face,origin,pair,method,source_face_px; or run "
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
            f"no videos in train or val: {', '.join(map(str, paths))}", "prepare these splits as well"
        )
    return tuple(pictures)


def _read_whole(path: Path) -> tuple[FaceVideo, ...]:
    """Return the training videos of a benchmark file; their crops must exist, each video be in one split."""
    benchmark = read_benchmark(path, splits=TRAINING_SPLITS)
    if absent := [drop for drop in benchmark.drops if drop.reason == "no file"]:
        first = f"{absent[0].kind}/{absent[0].split}/{absent[0].name}"
        raise MissingError(
            f"{path} lists {len(absent)} videos whose crops are missing, such as {first}",
            "restore them, or remove these videos from the file",
        )
    split_of: dict[str, str] = {}
    for video in benchmark.videos:
        if split_of.setdefault(video.frames[0], video.split) != video.split:
            raise UsageError(
                f"{path}: {video.kind}/{video.name} is in both splits",
                "train on a data set with disjoint splits: otherwise validation measures memorisation",
            )
    return benchmark.videos


def _picture(folder: Path, number: int, row: dict[str, str]) -> LabelledPicture:
    path, line = folder / row["file"], f"{folder / INDEX}, line {number}"
    if row["label"] not in LABEL_OF or row["split"] not in TRAINING_SPLITS:
        raise UsageError(
            f"{line}: invalid label {row['label']!r} or split {row['split']!r}",
            f"labels are {' and '.join(LABEL_OF)}; splits are {' and '.join(TRAINING_SPLITS)}",
        )
    if not path.is_file():
        raise MissingError(f"{path} is missing", f"restore it, or remove line {number} from {INDEX}")
    layers = [folder / row[name] if row.get(name) else None for name in ("mask", "face")]
    for layer in layers:
        if layer is not None and not layer.is_file():
            hint = f"restore it, or remove it from line {number} of {INDEX}"
            raise MissingError(f"{layer} is missing", hint)
    face_px = row.get("source_face_px") or "0"
    if not face_px.isdecimal():
        raise UsageError(
            f"{line}: source_face_px must be a whole number of pixels, not {face_px!r}", "or leave it empty"
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
