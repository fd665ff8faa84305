"""Benchmarks as aligned face crops on disk: videos with their label, split and frames."""

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
#: Folder, beside the data sets', in which DeepfakeBench and DF40 keep their files.
FOLDER = "dataset_json"
#: Names under which the same data set goes about.
ALIASES = (
    ("DeeperForensics-1.0", "test_DFR", "DFR"),
    ("WildDeepfake", "test_WDF", "WDF"),
    ("FFIW", "test_FFIW"),
    ("DFDCP", "DFDC-P"),
)

Reason = Literal["no frames", "duplicate", "no file"]


@dataclass(frozen=True, slots=True)
class FaceVideo:
    """A video as a benchmark has it: the aligned crops of one face, in the order of its frames.

    Attributes:
        dataset: The data set, as its file is named: `Celeb-DF-v2`.
        kind: Name of its label there, which tells the manipulation: `FF-DF`.
        label: 0 for real, 1 for fake.
        split: `train`, `val` or `test`.
        name: The video's name, unique among those of its data set, kind and split.
        frames: Its crops: paths, or what the file gives for them.
        masks: What was forged in each frame, as long as `frames`, "" for a frame of which that is not known;
            empty where it is known of none.
        compression: `raw`, `c23` or `c40`, empty where the data set knows no such thing.
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
            raise ValueError(f"a label is 0 or 1, not {self.label}")
        if self.split not in SPLITS:
            raise ValueError(f"a split is one of {', '.join(SPLITS)}, not {self.split!r}")
        if self.masks and len(self.masks) != len(self.frames):
            raise ValueError(f"{len(self.masks)} masks do not go with {len(self.frames)} frames")


def footage_of(video: FaceVideo) -> str:
    """Return what a video was made from: videos of one footage are not independent of each other.

    A fake of FaceForensics++ is named after the video that it is made in, then the one that its face is of.
    """
    return video.name.split("_")[0] if video.kind.startswith("FF-") else video.name


@dataclass(frozen=True, slots=True)
class Drop:
    """A video that was left out.

    Attributes:
        reason: `no frames`: none is stated. `duplicate`: its name, or exactly its frames, stood there before.
            `no file`: the folder of its crops is not there.
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
    """What was read of a data set.

    Attributes:
        videos: The videos, in the order of the file.
        drops: Those that were left out, and why.
    """

    videos: tuple[FaceVideo, ...]
    drops: tuple[Drop, ...] = ()

    @property
    def dropped(self) -> Counter[str]:
        """Reason -> how many videos were left out for it."""
        return Counter(drop.reason for drop in self.drops)


def find_benchmark(data: Path, name: str) -> Path:
    """Return the file of a data set, whatever case its name is written in.

    It may lie in the folder or in its `dataset_json`, under the name or one of its `ALIASES`. FF-DF.json will
    do for `FF-DF_c40` too: read it at that level.

    Args:
        data: A folder with benchmark files.
        name: The data set: `Celeb-DF-v2`, `simswap_ff`.

    Raises:
        MissingError: It is not there.
    """
    plain, _ = split_level(name)
    wanted = [name, *(alias for names in ALIASES if name in names for alias in names), plain]
    there: dict[str, Path] = {}
    for folder in (data, data / FOLDER):
        if folder.is_dir():
            for path in sorted(folder.glob("*.json")):
                there.setdefault(path.stem, path)
    folded = {stem.casefold(): path for stem, path in reversed(there.items())}
    for stem in wanted:
        found = there.get(stem) or folded.get(stem.casefold())
        if found is not None:
            return found
    close = difflib.get_close_matches(name, there, n=1)
    raise MissingError(
        f"there is no {name}.json in {data}" + (f", but {close[0]}.json" if close else ""),
        f"put DeepfakeBench's or DF40's there, or make it: deepscan prepare {plain} --root DIR --out {data}",
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
    """Return the videos of a benchmark file as DeepfakeBench and DF40 write it (see `BenchmarkFile`).

    Paths are absolute, or lie under `root`, the file's folder, the one above it or the current one, if need
    be without what published files put in front (see `CropPaths`). Frames come in the order of their numbers.

    Args:
        path: The file.
        root: Folder under which the crops lie.
        splits: Only these; all where None.
        kinds: Only fakes of these kinds; reals always are read.
        compression: The level, of files that have levels; where None, the one that the file's name states
            (`_c40`), or the only one that there is, or c23.
        labels: Name of a label -> 0 for real, 1 for fake, for those that `label_of` would get wrong.
        lenient: Whether a split or a kind that the file lacks is one without videos: none of them may have
            had a face.

    Raises:
        MissingError: There is no such file, or none of the crops that it names.
        UsageError: It is not JSON or of another structure, or has no such split, kind or compression.
    """
    file = BenchmarkFile(path)
    for wanted, known, what in ((splits, file.splits, "split"), (kinds, file.kinds, "kind")):
        for name in wanted or ():
            if name not in known and not lenient:
                raise unknown(path, what, name, known)
    places = CropPaths([*([root] if root else []), path.parent, path.parent.parent, Path()])
    videos: list[FaceVideo] = []
    drops: list[Drop] = []
    seen: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    absent = ""
    for entry in file.entries(splits, compression):
        label = _label(entry, labels or {})
        if kinds is not None and label and entry.kind not in kinds:
            continue
        frames, reason = _frames(entry, places, seen[entry.split])
        if reason is not None:
            absent = absent or (entry.frames[0] if reason == "no file" else "")
            drops.append(Drop(reason, entry.kind, entry.split, entry.name))
            continue
        seen[entry.split].add(frames)
        masks = _masks(entry, places, frames)
        videos.append(
            FaceVideo(path.stem, entry.kind, label, entry.split, entry.name, frames, masks, entry.level)
        )
    if absent and not videos:
        raise MissingError(
            f"none of the crops that {path} names is there, such as {absent}",
            "put them into the file's folder, or name with --root the folder that they lie in",
        )
    return Benchmark(tuple(videos), tuple(drops))


def write_benchmark(path: Path, videos: Iterable[FaceVideo], *, nested: bool) -> None:
    """Write videos as DeepfakeBench reads them, whole or not at all; the file's name is the data set's.

    Paths are relative to the file's folder, with `/`.

    Args:
        path: The file; its folder is made.
        videos: The videos.
        nested: Whether there is a level of compressions between split and video.

    Raises:
        ValueError: Two videos would have the same place, a compression is stated where there is no level for
            it or the other way round, or a label would not be read back from its name.
        DeepscanError: It cannot be written.
    """
    data: dict[str, dict[str, dict[str, Any]]] = {}
    levels: dict[str, None] = {}
    folder = os.path.abspath(path.parent)
    relative: dict[str, str] = {}

    def stated(picture: str) -> str:
        # Of a million crops in a few thousand folders the folders are worked out, and the rest is text.
        beside, name = os.path.split(picture)
        if beside not in relative:
            relative[beside] = Path(os.path.relpath(beside or ".", folder)).as_posix()
        return name if relative[beside] == "." else f"{relative[beside]}/{name}"

    for video in videos:
        if label_of(video.kind) != video.label:
            raise ValueError(f"the name of label {video.kind!r} does not say that it is {video.label}")
        if bool(video.compression) != nested:
            raise ValueError(f"{video.name}: compression {video.compression!r} in a file that is {nested=}")
        levels[video.compression] = None
        # DeepfakeBench asks each label for each split.
        splits = data.setdefault(video.kind, {split: {} for split in SPLITS})
        place = splits[video.split].setdefault(video.compression, {}) if nested else splits[video.split]
        if video.name in place:
            raise ValueError(f"{video.kind}/{video.split} has two videos {video.name!r}")
        place[video.name] = {"label": video.kind, "frames": [stated(frame) for frame in video.frames]}
        if video.masks:
            place[video.name]["masks"] = [stated(mask) for mask in video.masks if mask]
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
    said = entry.label if isinstance(entry.label, str) else entry.kind
    return labels.get(said, label_of(said))


def _frames(
    entry: BenchmarkEntry, places: CropPaths, seen: Collection[tuple[str, ...]]
) -> tuple[tuple[str, ...], Reason | None]:
    """Return where an entry's crops lie, in order, and why it is to be left out, if it is."""
    if entry.repeated:
        return (), "duplicate"
    if not entry.frames:
        return (), "no frames"
    frames = places.locate(entry.kind, sorted(entry.frames, key=frame_order))
    if frames is None:
        return (), "no file"
    return frames, "duplicate" if frames in seen else None


def _masks(entry: BenchmarkEntry, places: CropPaths, frames: tuple[str, ...]) -> tuple[str, ...]:
    """Return the mask of each frame: of the same name, or as many in the same order under other names."""
    # Masks may lie where crops do not, so they are looked for as a kind of their own.
    found = places.locate(f"masks of {entry.kind}", entry.masks) if entry.masks else None
    mask_of = {frame_order(mask): mask for mask in found or ()}
    paired = tuple(mask_of.get(frame_order(frame), "") for frame in frames)
    if not any(paired) and len(mask_of) == len(frames):
        return tuple(mask_of[number] for number in sorted(mask_of))
    return paired if any(paired) else ()
