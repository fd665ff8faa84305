"""Prepares a raw data set as a benchmark: aligned crops, the JSON file that lists them, and their recipe."""

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
from deepscan.devices import FACE_DEVICES, usable_cpus
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
    """Options of `prepare_dataset`.

    Attributes:
        recipe: Crop recipe; by default that of DeepfakeBench, with 256 pixels.
        frames: Number of frames sampled from each video, evenly spread.
        faces: Name of a face finder, of `FINDERS`, as in a scan.
        faces_device: Device of the face finder, `cpu` or `cuda`.
        splits: Splits to prepare; empty for all.
        kinds: Kinds to prepare; empty for all.
        compression: Compression level, for data sets with several; None for c23.
        name: Name of the benchmark; None for that of the data set.
        limit: Maximum number of videos of each kind and split; None for all.
        retry: Statuses whose videos are tried again.
        overwrite: Whether to start over and replace existing files.
        workers: Number of decoder processes, None to choose by the machine.
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
                raise UsageError(f"--{name} must be at least 1, not {value}", "leave it out for its default")
        require_choice("--faces", (self.faces,), FINDERS.names)
        require_choice("--faces-device", (self.faces_device,), FACE_DEVICES)
        require_choice("--split", self.splits, SPLITS)
        require_choice("--retry", sorted(self.retry), STATUSES)
        require_choice("--compression", (self.compression,) if self.compression else (), COMPRESSIONS)
        if self.name is not None and (self.name in ("", ".", "..") or set("/\\") & set(self.name)):
            raise UsageError(f"--name {self.name!r} is not a file name", "use a name without slashes")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Result of `prepare_dataset`.

    Attributes:
        json: The benchmark file.
        journal: The journal, with the outcome of each video.
        videos: Number of videos in the benchmark file, including those of earlier runs.
        lines: The journal's lines of the requested videos, in the order of the data set.
        repeated: Number of videos that the data set lists again; only the first one is used.
        same: Groups of byte-identical videos in the benchmark file; all of them are kept.
    """

    json: Path
    journal: Path
    videos: int
    lines: tuple[JournalLine, ...]
    repeated: int
    same: tuple[tuple[JournalLine, ...], ...]

    @property
    def exit_code(self) -> ExitCode:
        """Exit code of the command."""
        failed = any(line["status"] in FAILURES for line in self.lines)
        return ExitCode.SOME_FAILED if failed else ExitCode.OK


class PrepareListener:
    """Progress of `prepare_dataset`; override what you need."""

    def planned(self, todo: int, done: int) -> None:
        """Called once with the number of videos to cut, and of those done earlier."""

    def ended(self, line: Mapping[str, Any]) -> None:
        """Called with the line of a finished video, which is on disk."""


def prepare_dataset(
    layout: DatasetLayout,
    root: Path,
    out: Path,
    options: PrepareOptions,
    listener: PrepareListener | None = None,
) -> Prepared:
    """Cut the faces of a data set and write its benchmark file, resuming an earlier run.

    Runs with the same recipe, sampling and face finder add to the same file and journal, so that splits,
    kinds and compressions can be prepared one after another.

    Args:
        layout: Layout of the data set.
        root: Folder of the data set.
        out: Output folder.
        options: What to prepare, and how.
        listener: Receives the progress.

    Raises:
        MissingError: The data set, a requested part of it, or the device is missing.
        UsageError: A kind or compression is unknown, the output folder contains the data set, or no video
            gave a crop.
        ContractError: The existing files were prepared with other options.
        DeepscanError: A file cannot be written.
    """
    files = PreparedFiles(out, options.name or layout.dataset)
    options = _validated(layout, root, files, options)
    root = root.resolve()
    with exclusive_lock(files.journal):
        identity = _identity(layout, root, options)
        lines = {} if options.overwrite else files.earlier(identity)
        owners = {crops_of(line): recorded_path(line) for line in lines.values()}
        planned, repeated = plan_videos(layout, root, options.frames, owners)
        if layout.nested:
            _check_kinds(planned, layout, root, options)
        chosen = list(_select(planned, options))
        if not chosen:
            remedy = "put them there, or change --split, --kind or --compression"
            raise layout.missing(root, remedy, "has no such videos")
        # Fail on a missing device before any file claims that it was used.
        finder = open_finder(options.faces, device=options.faces_device)
        files.begin(identity, overwrite=options.overwrite)
        todo = _plan(planned, chosen, lines, files, options.retry)
        listener = listener or PrepareListener()
        listener.planned(sum(map(len, todo.values())), sum(item.key in lines for item in chosen))
        _crop_videos(todo, lines, files, options, finder, listener)
        videos = list(face_videos(lines.values(), layout, files))
        if not videos:
            counts = Counter(lines[item.key]["status"] for item in chosen)
            statuses = ", ".join(f"{count} {status}" for status, count in counts.most_common())
            raise UsageError(f"no video gave a crop: {statuses}", f"see {files.journal} for the reasons")
        write_benchmark(files.json, videos, nested=layout.nested)
    requested = tuple(lines[item.key] for item in chosen)
    same = byte_equal(lines.values())
    return Prepared(files.json, files.journal, len(videos), requested, repeated, same)


def _validated(
    layout: DatasetLayout, root: Path, files: PreparedFiles, options: PrepareOptions
) -> PrepareOptions:
    require_choice("--kind", options.kinds, layout.kinds)
    if options.compression and not layout.nested:
        raise UsageError(f"{layout.dataset} has no compression levels", "leave --compression out")
    if not root.is_dir():
        raise layout.missing(root, "give its folder with --root")
    crops, videos = (files.out / files.name).resolve(), root.resolve()
    if crops == videos or crops in videos.parents:
        raise UsageError(f"the crops would be written into the data set, in {crops}", "choose another --out")
    try:
        files.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{files.out} cannot be created: {error.strerror}", "choose another --out")
    return replace(options, compression=(options.compression or DEFAULT_COMPRESSION) if layout.nested else "")


def _check_kinds(
    planned: Sequence[PlannedVideo], layout: DatasetLayout, root: Path, options: PrepareOptions
) -> None:
    """Raise if a requested kind has no videos in this compression, instead of skipping it."""
    present = {item.video.kind for item in planned if item.video.compression == options.compression}
    if missing := [kind for kind in options.kinds or layout.kinds if kind not in present]:
        remedy = "download it, or choose the available kinds with --kind, or another --compression"
        raise layout.missing(root, remedy, f"has no {', '.join(missing)} in {options.compression}")


def _select(planned: Sequence[PlannedVideo], options: PrepareOptions) -> Iterator[PlannedVideo]:
    """Yield the requested videos: at most `limit` of each kind and split."""
    counts: Counter[tuple[str, str]] = Counter()
    for item in planned:
        kind, split, level, _ = item.key
        requested = split in (options.splits or (split,)) and kind in (options.kinds or (kind,))
        if level == options.compression and requested:
            counts[kind, split] += 1
            if options.limit is None or counts[kind, split] <= options.limit:
                yield item


def _identity(layout: DatasetLayout, root: Path, options: PrepareOptions) -> dict[str, Any]:
    """Return the settings that all runs into one benchmark file must share."""
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
    planned: Sequence[PlannedVideo],
    chosen: Sequence[PlannedVideo],
    lines: dict[PlanKey, JournalLine],
    files: PreparedFiles,
    retry: Collection[Status],
) -> dict[VideoToCrop, list[PlannedVideo]]:
    """Update the lines of requested videos whose crops are complete; return the videos to cut.

    The lines of videos to cut are removed.
    """
    of_crops = {crops_of(line): line for line in lines.values()}
    to_cut: set[CropsKey] = set()
    for item in chosen:
        line = lines.get(item.key) or of_crops.get(item.crops)
        if line is not None and line["status"] not in retry and _is_complete(line, item, files):
            # A video in several splits is cut once.
            lines[item.key] = {**line, "split": item.video.split, "name": item.video.name}
        else:
            to_cut.add(item.crops)
    requested = {item.key for item in chosen}
    todo: dict[VideoToCrop, list[PlannedVideo]] = defaultdict(list)
    for item in planned:
        # Other splits may share these crops, which are about to be replaced.
        if item.crops in to_cut and (item.key in requested or item.key in lines):
            lines.pop(item.key, None)
            pictures = tuple(zip(item.indices, item.video.frames, strict=True))
            source = VideoToCrop(item.video.path, files.place(item.crops), item.video.mask, pictures)
            todo[source].append(item)
    return todo


def _crop_videos(
    todo: Mapping[VideoToCrop, Sequence[PlannedVideo]],
    lines: dict[PlanKey, JournalLine],
    files: PreparedFiles,
    options: PrepareOptions,
    finder: FaceFinder,
    listener: PrepareListener,
) -> None:
    """Cut the videos in `todo`, and add their lines to the existing ones."""
    kept = (dump_line(line).encode("ascii") + b"\n" for line in lines.values())
    with Journal(files.journal, kept) as journal:

        def emit(source: VideoToCrop, cropped: CroppedVideo) -> None:
            for item in todo[source]:
                line = _line(item, cropped)
                journal.append(line)
                lines[item.key] = line
                listener.ended(line)

        if not todo:
            return
        workers = options.workers or max(1, usable_cpus() // 2)
        with DecodePool(DecodeOptions(frames=options.frames), workers) as pool:
            VideoCropper(pool, finder, options.recipe).extract(todo, emit)


def _is_complete(line: JournalLine, item: PlannedVideo, files: PreparedFiles) -> bool:
    """Return whether a video's file is unchanged and its crops are complete."""
    if item.size() != line["bytes"] or (item.video.mask is not None) != line["mask"]:
        return False
    # A sequence that has grown is sampled at other indices, even if its pictures have the same size.
    if item.indices and not set(line["frames"]) <= set(item.indices):
        return False
    place = files.place(crops_of(line))
    # Landmarks are written with their frames.
    return all(
        _is_written(place.file(output, index))
        for output in OUTPUTS
        for index in line["masks" if output == "masks" else "frames"]
    )


def _is_written(path: Path) -> bool:
    # A power cut may leave an empty file.
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _line(item: PlannedVideo, cropped: CroppedVideo) -> JournalLine:
    text, raw = path_fields(os.fsencode(item.video.path))
    return {
        "schema": SCHEMA,
        "path": text,
        **({} if raw is None else {"path_bytes": raw}),
        "sha256": cropped.sha256,
        "bytes": cropped.size,
        "kind": item.video.kind,
        "split": item.video.split,
        "compression": item.video.compression,
        "name": item.video.name,
        "mask": item.video.mask is not None,
        "folder": item.folder,
        "status": cropped.status,
        "detail": cropped.detail,
        "warnings": list(cropped.warnings),
        "sampled": cropped.sampled,
        "faces": len(cropped.indices),
        "frames": list(cropped.indices),
        "masks": list(cropped.masks),
    }
