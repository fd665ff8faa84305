"""Benchmarks of aligned face crops on disk: videos with label, split and frames."""

import difflib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepscan.data.benchmarks.benchmark_file import (
    BenchmarkEntry,
    BenchmarkFile,
    CropPaths,
    frame_order,
    label_of,
    split_level,
    unknown,
)
from deepscan.errors import MissingError
from deepscan.files import atomic_write

SPLITS = ("train", "val", "test")
#: Subfolder in which DeepfakeBench and DF40 keep their files, next to the data sets.
FOLDER = "dataset_json"
#: Alternative names of the same data set.
ALIASES = (
    ("DeeperForensics-1.0", "test_DFR", "DFR"),
    ("WildDeepfake", "test_WDF", "WDF"),
    ("FFIW", "test_FFIW"),
    ("DFDCP", "DFDC-P"),
)

Reason = Literal["no frames", "duplicate", "no file"]


@dataclass(frozen=True, slots=True)
class FaceVideo:
    """A video of a benchmark: the aligned crops of one face, in frame order.

    Attributes:
        dataset: The data set, named after its file: `Celeb-DF-v2`.
        kind: Name of its label in the file, which identifies the manipulation: `FF-DF`.
        label: 0 for real, 1 for fake.
        split: `train`, `val` or `test`.
        name: The video's name, unique within data set, kind and split.
        frames: Paths of its crops.
        masks: Mask of the forged pixels of each frame, as many as `frames`, "" for a frame without one; empty
            if there are none at all.
        compression: `raw`, `c23` or `c40`; empty if the data set has no compression levels.
    """

    dataset: str
    kind: str
    label: int
    split: str
    name: str
    frames: tuple[str, ...]
    masks: tuple[str, ...] = ()
    compression: str = ""

    def __post_init__(self) -> None:
        if self.label not in (0, 1):
            raise ValueError(f"a label must be 0 or 1, not {self.label}")
        if self.split not in SPLITS:
            raise ValueError(f"a split must be one of {', '.join(SPLITS)}, not {self.split!r}")
        if self.masks and len(self.masks) != len(self.frames):
            raise ValueError(f"{len(self.masks)} masks do not match {len(self.frames)} frames")


def footage_of(video: FaceVideo) -> str:
    """Return the name of a video's source footage; videos of the same footage are not independent.

    A fake of FaceForensics++ is named after its target video, followed by the source of the face.
    """
    return video.name.split("_")[0] if video.kind.startswith("FF-") else video.name


@dataclass(frozen=True, slots=True)
class Drop:
    """A video that was skipped.

    Attributes:
        reason: `no frames`: the file lists none. `duplicate`: an earlier video has the same name, or exactly
            the same frames. `no file`: the folder of its crops does not exist.
        kind: Name of its label.
        split: Its split.
        name: Its name.
    """

    reason: Reason
    kind: str
    split: str
    name: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The videos of a data set.

    Attributes:
        videos: The videos, in file order.
        drops: The skipped videos, with reasons.
    """

    videos: tuple[FaceVideo, ...]
    drops: tuple[Drop, ...] = ()

    @property
    def dropped(self) -> Counter[str]:
        """Reason -> number of skipped videos."""
        return Counter(drop.reason for drop in self.drops)


def find_benchmark(data: Path, name: str) -> Path:
    """Return the benchmark file of a data set; case is ignored.

    The file may be in the folder or in its `dataset_json`, under the name or one of its `ALIASES`. For
    `FF-DF_c40`, FF-DF.json is found too, to be read at that compression level.

    Args:
        data: A folder with benchmark files.
        name: The data set: `Celeb-DF-v2`, `simswap_ff`.

    Raises:
        MissingError: There is no such file.
    """
    plain, _ = split_level(name)
    names = [name, *(alias for aliases in ALIASES if name in aliases for alias in aliases), plain]
    files: dict[str, Path] = {}
    for folder in (data, data / FOLDER):
        if folder.is_dir():
            for path in sorted(folder.glob("*.json")):
                files.setdefault(path.stem, path)
    folded = {stem.casefold(): path for stem, path in reversed(files.items())}
    for stem in names:
        found = files.get(stem) or folded.get(stem.casefold())
        if found is not None:
            return found
    close = difflib.get_close_matches(name, files, n=1)
    raise MissingError(
        f"{name}.json is not in {data}" + (f"; did you mean {close[0]}.json?" if close else ""),
        "put the file of DeepfakeBench or DF40 there, or create it: "
        f"deepscan prepare {plain} --root DIR --out {data}",
    )


def read_benchmark(
    path: Path,
    *,
    root: Path | None = None,
    splits: Collection[str] | None = None,
    kinds: Collection[str] | None = None,
    compression: str | None = None,
    labels: Mapping[str, int] | None = None,
    lenient: bool = False,
) -> Benchmark:
    """Read the videos of a benchmark file in the format of DeepfakeBench and DF40 (see `BenchmarkFile`).

    Crop paths are absolute, or relative to `root`, the file's folder, its parent or the current folder, with
    or without the prefixes of published files (see `CropPaths`). Frames are sorted by number.

    Args:
        path: The file.
        root: Folder of the crops.
        splits: Splits to read; None for all.
        kinds: Kinds of fakes to read; None for all. Reals are always read.
        compression: Compression level, if the file has levels. None for the one in the file's name (`_c40`),
            else the only one, else c23.
        labels: Name of a label -> 0 for real, 1 for fake, for names that `label_of` gets wrong.
        lenient: Whether a split or kind that the file lacks counts as empty, since no video of it may have
            had a face.

    Raises:
        MissingError: The file or all of its crops are missing.
        UsageError: The file is not JSON, has a different structure, or lacks a split, kind or compression.
    """
    file = BenchmarkFile(path)
    for requested, known, what in ((splits, file.splits, "split"), (kinds, file.kinds, "kind")):
        for name in requested or ():
            if name not in known and not lenient:
                raise unknown(path, what, name, known)
    crop_paths = CropPaths([*([root] if root else []), path.parent, path.parent.parent, Path()])
    videos: list[FaceVideo] = []
    drops: list[Drop] = []
    seen: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    missing = ""
    for entry in file.entries(splits, compression):
        label = _label(entry, labels or {})
        if kinds is not None and label and entry.kind not in kinds:
            continue
        frames, reason = _frames(entry, crop_paths, seen[entry.split])
        if reason is not None:
            missing = missing or (entry.frames[0] if reason == "no file" else "")
            drops.append(Drop(reason, entry.kind, entry.split, entry.name))
            continue
        seen[entry.split].add(frames)
        masks = _masks(entry, crop_paths, frames)
        videos.append(
            FaceVideo(path.stem, entry.kind, label, entry.split, entry.name, frames, masks, entry.level)
        )
    if missing and not videos:
        raise MissingError(
            f"none of the crops listed in {path} exists, for example {missing}",
            "put them into the file's folder, or give their folder with --root",
        )
    return Benchmark(tuple(videos), tuple(drops))


def write_benchmark(path: Path, videos: Iterable[FaceVideo], *, nested: bool) -> None:
    """Write videos atomically in the format of DeepfakeBench; the file is named after the data set.

    Paths are relative to the file's folder, with `/`.

    Args:
        path: The file; its folder is created.
        videos: The videos.
        nested: Whether there is a compression level between split and video.

    Raises:
        ValueError: Two videos have the same key, a video with a compression is written without compression
            levels or the other way round, or a label cannot be read back from its name.
        DeepscanError: The file cannot be written.
    """
    data: dict[str, dict[str, dict[str, Any]]] = {}
    levels: dict[str, None] = {}
    folder = os.path.abspath(path.parent)
    relative_of: dict[str, str] = {}

    def relative_path(picture: str) -> str:
        # Resolve each folder once: there may be a million crops in a few thousand folders.
        parent, name = os.path.split(picture)
        if parent not in relative_of:
            relative_of[parent] = Path(os.path.relpath(parent or ".", folder)).as_posix()
        return name if relative_of[parent] == "." else f"{relative_of[parent]}/{name}"

    for video in videos:
        if label_of(video.kind) != video.label:
            raise ValueError(f"the name {video.kind!r} does not match the label {video.label}")
        if bool(video.compression) != nested:
            raise ValueError(f"{video.name}: compression {video.compression!r} in a file with {nested=}")
        levels[video.compression] = None
        # DeepfakeBench expects every split for every label.
        splits = data.setdefault(video.kind, {split: {} for split in SPLITS})
        level = splits[video.split].setdefault(video.compression, {}) if nested else splits[video.split]
        if video.name in level:
            raise ValueError(f"{video.kind}/{video.split} has two videos named {video.name!r}")
        level[video.name] = {"label": video.kind, "frames": [relative_path(frame) for frame in video.frames]}
        if video.masks:
            level[video.name]["masks"] = [relative_path(mask) for mask in video.masks if mask]
    if nested:
        for splits in data.values():
            for part in splits.values():
                part.update({level: part.get(level, {}) for level in levels})
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(json.dumps({split_level(path.stem)[0]: data}).encode("ascii") + b"\n")


def _label(entry: BenchmarkEntry, labels: Mapping[str, int]) -> int:
    if entry.kind in labels:
        return labels[entry.kind]
    if isinstance(entry.label, int):
        return int(bool(entry.label))
    name = entry.label if isinstance(entry.label, str) else entry.kind
    return labels.get(name, label_of(name))


def _frames(
    entry: BenchmarkEntry, crop_paths: CropPaths, seen: Collection[tuple[str, ...]]
) -> tuple[tuple[str, ...], Reason | None]:
    """Return the paths of an entry's crops, in order, and the reason to skip it, if any."""
    if entry.repeated:
        return (), "duplicate"
    if not entry.frames:
        return (), "no frames"
    frames = crop_paths.locate(entry.kind, sorted(entry.frames, key=frame_order))
    if frames is None:
        return (), "no file"
    return frames, "duplicate" if frames in seen else None


def _masks(entry: BenchmarkEntry, crop_paths: CropPaths, frames: tuple[str, ...]) -> tuple[str, ...]:
    """Return the mask of each frame, matched by name, or by order if only the names differ."""
    # Masks may be in other folders than the crops, so they are located as a separate kind.
    found = crop_paths.locate(f"masks of {entry.kind}", entry.masks) if entry.masks else None
    mask_of = {frame_order(mask): mask for mask in found or ()}
    paired = tuple(mask_of.get(frame_order(frame), "") for frame in frames)
    if not any(paired) and len(mask_of) == len(frames):
        return tuple(mask_of[number] for number in sorted(mask_of))
    return paired if any(paired) else ()
