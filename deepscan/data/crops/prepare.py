"""From a raw data set to a benchmark: aligned crops, the JSON that lists them, and how they were cut."""

import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deepscan.crop_recipe import CropRecipe
from deepscan.data.benchmarks.benchmark import SPLITS, write_benchmark
from deepscan.data.benchmarks.benchmark_file import COMPRESSIONS, DEFAULT_COMPRESSION
from deepscan.data.crops.crop_videos import CroppedVideo, VideoCropper, VideoToCrop
from deepscan.data.crops.prepared_files import (
    OUTPUTS,
    CropsKey,
    JournalLine,
    PlanKey,
    PlannedVideo,
    PreparedFiles,
    byte_equal,
    crops_of,
    face_videos,
    plan_videos,
)
from deepscan.data.datasets.layout import DatasetLayout
from deepscan.devices import FACE_DEVICES
from deepscan.errors import ExitCode, UsageError, require_choice
from deepscan.faces.finder import FINDERS, FaceFinder, describe_finder, open_finder
from deepscan.files import exclusive_lock
from deepscan.media.jobs import DecodeOptions
from deepscan.media.pool import DecodePool
from deepscan.outcomes import FAILURES, STATUSES, Status
from deepscan.scanning.journal import Journal
from deepscan.scanning.record_lines import SCHEMA, dump_line, path_fields, recorded_path
from deepscan.version import __version__


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """What is prepared of a data set, and how.

    Attributes:
        recipe: How faces are cut out; by default DeepfakeBench's 256 pixels.
        frames: How many frames of a video are sampled, evenly.
        faces: Name of a face finder, of `FINDERS`, as in a scan.
        faces_device: `cpu` or `cuda`, likewise.
        splits: Only these; all where empty.
        kinds: Only these; all where empty.
        compression: Of a data set that has several; None for c23.
        name: What it is called from now on; None for the name that it has.
        limit: At most this many videos of each kind and split; None for all.
        retry: Statuses whose videos are tried again.
        overwrite: Start over, whatever is there.
        workers: Decoders at once, None for a number that suits the machine.
    """

    recipe: CropRecipe = field(default_factory=CropRecipe)
    frames: int = 32
    faces: str = "fast"
    faces_device: str = "cpu"
    splits: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    compression: str | None = None
    name: str | None = None
    limit: int | None = None
    retry: frozenset[Status] = frozenset()
    overwrite: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        for name in ("frames", "limit", "workers"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UsageError(f"--{name} must be above 0, not {value}", "leave it out for its default")
        require_choice("--faces", (self.faces,), FINDERS.names)
        require_choice("--faces-device", (self.faces_device,), FACE_DEVICES)
        require_choice("--split", self.splits, SPLITS)
        require_choice("--retry", sorted(self.retry), STATUSES)
        require_choice("--compression", (self.compression,) if self.compression else (), COMPRESSIONS)
        if self.name is not None and (self.name in ("", ".", "..") or set("/\\") & set(self.name)):
            raise UsageError(f"--name {self.name!r} is not a file name", "leave slashes out")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What came of it.

    Attributes:
        json: The benchmark file.
        journal: What became of each video.
        videos: How many videos the benchmark file has, those of earlier commands included.
        lines: The journal's lines of the videos that were asked for, in the data set's order.
        repeated: Videos that the data set names twice, the later ones left out.
        same: Videos of the benchmark file that are byte-equal, group by group; none is left out.
    """

    json: Path
    journal: Path
    videos: int
    lines: tuple[JournalLine, ...]
    repeated: int
    same: tuple[tuple[JournalLine, ...], ...]

    @property
    def exit_code(self) -> ExitCode:
        """What this tells the shell."""
        failed = any(line["status"] in FAILURES for line in self.lines)
        return ExitCode.SOME_FAILED if failed else ExitCode.OK


class PrepareListener:
    """Progress of `prepare_dataset`; override what you need."""

    def planned(self, todo: int, done: int) -> None:
        """`todo` videos are to be cut; `done` were cut before."""

    def ended(self, line: Mapping[str, Any]) -> None:
        """A video has ended; its line is on disk."""


def prepare_dataset(
    layout: DatasetLayout,
    root: Path,
    out: Path,
    options: PrepareOptions,
    listener: PrepareListener | None = None,
) -> Prepared:
    """Cut a data set's faces out and write its benchmark file; go on behind what is there.

    File and journal hold all that was ever prepared there with the same recipe, sampling and face finder:
    splits, kinds and compressions may come one after another.

    Args:
        layout: How the data set lies on disk.
        root: Its folder.
        out: Where to write.
        options: What, and how.
        listener: Receives the progress.

    Raises:
        MissingError: The data set, or what was asked for of it, is not under its root, or the device is not
            there.
        UsageError: No such kind or compression; the crops would lie among the videos; no video has a crop.
        ContractError: What is there was prepared otherwise.
        DeepscanError: A file cannot be written.
    """
    files = PreparedFiles(out, options.name or layout.dataset)
    options = _checked(layout, root, files, options)
    root = root.resolve()
    with exclusive_lock(files.journal):
        stated = _stated(layout, root, options)
        lines = {} if options.overwrite else files.earlier(stated)
        owners = {crops_of(line): recorded_path(line) for line in lines.values()}
        items, repeated = plan_videos(layout, root, options.frames, owners)
        if layout.nested:
            _check_kinds(items, layout, root, options)
        chosen = list(_chosen(items, options))
        if not chosen:
            remedy = "put it there, or ask for another --split, --kind or --compression"
            raise layout.missing(root, remedy, "has no such video")
        # A device that is not there ends it here, before anything says that it was used.
        finder = open_finder(options.faces, device=options.faces_device)
        files.begin(stated, overwrite=options.overwrite)
        todo = _plan(items, chosen, lines, files, options.retry)
        listener = listener or PrepareListener()
        listener.planned(sum(map(len, todo.values())), sum(item.key in lines for item in chosen))
        _work(todo, lines, files, options, finder, listener)
        videos = list(face_videos(lines.values(), layout, files))
        if not videos:
            became = Counter(lines[item.key]["status"] for item in chosen)
            statuses = ", ".join(f"{count} {status}" for status, count in became.most_common())
            raise UsageError(f"no video gave a crop: {statuses}", f"{files.journal} says why for each")
        write_benchmark(files.json, videos, nested=layout.nested)
    asked = tuple(lines[item.key] for item in chosen)
    same = byte_equal(lines.values())
    return Prepared(files.json, files.journal, len(videos), asked, repeated, same)


def _checked(
    layout: DatasetLayout, root: Path, files: PreparedFiles, options: PrepareOptions
) -> PrepareOptions:
    require_choice("--kind", options.kinds, layout.kinds)
    if options.compression and not layout.nested:
        raise UsageError(f"{layout.dataset} knows no compressions", "leave --compression out")
    if not root.is_dir():
        raise layout.missing(root, "name its folder with --root")
    crops, videos = (files.out / files.name).resolve(), root.resolve()
    if crops == videos or crops in videos.parents:
        raise UsageError(f"the crops would lie among the videos, in {crops}", "name another --out")
    try:
        files.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{files.out} cannot be made: {error.strerror}", "name another --out")
    return replace(options, compression=(options.compression or DEFAULT_COMPRESSION) if layout.nested else "")


def _check_kinds(
    items: Sequence[PlannedVideo], layout: DatasetLayout, root: Path, options: PrepareOptions
) -> None:
    """Refuse a data set of which a kind is not there in this compression, rather than leave it out."""
    there = {item.video.kind for item in items if item.video.compression == options.compression}
    if lacking := [kind for kind in options.kinds or layout.kinds if kind not in there]:
        remedy = "download it, or name the kinds that are there with --kind, or another --compression"
        raise layout.missing(root, remedy, f"has no {', '.join(lacking)} in {options.compression}")


def _chosen(items: Sequence[PlannedVideo], options: PrepareOptions) -> Iterator[PlannedVideo]:
    """Yield the videos that are asked for: at most `limit` of each kind and split."""
    counts: Counter[tuple[str, str]] = Counter()
    for item in items:
        kind, split, level, _ = item.key
        asked = split in (options.splits or (split,)) and kind in (options.kinds or (kind,))
        if level == options.compression and asked:
            counts[kind, split] += 1
            if options.limit is None or counts[kind, split] <= options.limit:
                yield item


def _stated(layout: DatasetLayout, root: Path, options: PrepareOptions) -> dict[str, Any]:
    """Return what all that is prepared into one file has to share."""
    return {
        "schema": SCHEMA,
        "dataset": layout.dataset,
        "root": os.fsencode(root).decode("utf-8", "replace"),
        "crop": options.recipe.to_json(),
        "frames": options.frames,
        "faces": options.faces if options.faces_device == "cpu" else f"{options.faces} on a GPU",
        "mtcnn": describe_finder(options.faces)["files"],
        "deepscan": __version__,
    }


def _plan(
    items: Sequence[PlannedVideo],
    chosen: Sequence[PlannedVideo],
    lines: dict[PlanKey, JournalLine],
    files: PreparedFiles,
    retry: Collection[Status],
) -> dict[VideoToCrop, list[PlannedVideo]]:
    """Give each video that was asked for and whose crops are there its line; return what is to be cut.

    What is to be cut has no line any more.
    """
    of_crops = {crops_of(line): line for line in lines.values()}
    recut: set[CropsKey] = set()
    for item in chosen:
        line = lines.get(item.key) or of_crops.get(item.crops)
        if line is not None and line["status"] not in retry and _stands(line, item, files):
            # Those of a video that is in several splits are cut once.
            lines[item.key] = {**line, "split": item.video.split, "name": item.video.name}
        else:
            recut.add(item.crops)
    asked = {item.key for item in chosen}
    todo: dict[VideoToCrop, list[PlannedVideo]] = defaultdict(list)
    for item in items:
        # Splits that were not asked for now may have the same crops, which will not be there as they were.
        if item.crops in recut and (item.key in asked or item.key in lines):
            lines.pop(item.key, None)
            pictures = tuple(zip(item.indices, item.video.frames, strict=True))
            source = VideoToCrop(item.video.path, files.place(item.crops), item.video.mask, pictures)
            todo[source].append(item)
    return todo


def _work(
    todo: Mapping[VideoToCrop, Sequence[PlannedVideo]],
    lines: dict[PlanKey, JournalLine],
    files: PreparedFiles,
    options: PrepareOptions,
    finder: FaceFinder,
    listener: PrepareListener,
) -> None:
    """Cut what is to be cut, and add its lines to those that stand."""
    kept = (dump_line(line).encode("ascii") + b"\n" for line in lines.values())
    with Journal(files.journal, kept) as journal:

        def emit(source: VideoToCrop, extract: CroppedVideo) -> None:
            for item in todo[source]:
                line = _line(item, extract)
                journal.append(line)
                lines[item.key] = line
                listener.ended(line)

        if not todo:
            return
        workers = options.workers or max(1, (os.cpu_count() or 2) // 2)
        with DecodePool(DecodeOptions(frames=options.frames), workers) as pool:
            VideoCropper(pool, finder, options.recipe).extract(todo, emit)


def _stands(line: JournalLine, item: PlannedVideo, files: PreparedFiles) -> bool:
    """Return whether a video's file and crops are as its line says."""
    if item.size() != line["bytes"] or (item.video.mask is not None) != line["mask"]:
        return False
    # Pictures may all be of one size: of a sequence that grew, others are looked at.
    if item.indices and not set(line["frames"]) <= set(item.indices):
        return False
    place = files.place(crops_of(line))
    # Landmarks are written with their frames.
    return all(
        _written(place.file(what, index))
        for what in OUTPUTS
        for index in line["masks" if what == "masks" else "frames"]
    )


def _written(path: Path) -> bool:
    # After a power cut a file may be there and empty.
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _line(item: PlannedVideo, extract: CroppedVideo) -> JournalLine:
    text, raw = path_fields(os.fsencode(item.video.path))
    return {
        "schema": SCHEMA,
        "path": text,
        **({} if raw is None else {"path_bytes": raw}),
        "sha256": extract.sha256,
        "bytes": extract.size,
        "kind": item.video.kind,
        "split": item.video.split,
        "compression": item.video.compression,
        "name": item.video.name,
        "mask": item.video.mask is not None,
        "folder": item.folder,
        "status": extract.status,
        "detail": extract.detail,
        "warnings": list(extract.warnings),
        "sampled": extract.sampled,
        "faces": len(extract.indices),
        "frames": list(extract.indices),
        "masks": list(extract.masks),
    }
