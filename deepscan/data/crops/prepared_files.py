"""Files of a prepared data set: the benchmark file, the journal, and the folders of the crops."""

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal, get_args

from deepscan.crop_recipe import CropRecipe
from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.data.benchmarks.benchmark_file import label_of
from deepscan.data.datasets.layout import DatasetLayout, SourceVideo
from deepscan.errors import ContractError, DeepscanError, UsageError
from deepscan.files import atomic_write
from deepscan.media.sampling import sample_indices
from deepscan.scanning.journal import read_journal
from deepscan.scanning.record_lines import recorded_path

#: Kind, split, compression and name, which identify a video.
PlanKey = tuple[str, str, str, str]
#: Compression, kind and folder, which identify the crops of a video in all of its splits.
CropsKey = tuple[str, str, str]

#: Kinds of files that are written for a video.
CropOutput = Literal["frames", "landmarks", "masks"]
OUTPUTS: tuple[CropOutput, ...] = get_args(CropOutput)
#: Bytes of a video's name that are used for its folder: file systems allow 255, and a suffix may follow.
_MAX_NAME_BYTES = 200


@dataclass(frozen=True, slots=True)
class Place:
    """Location of a video's crops: `FOLDER/frames/VIDEO/012.png`; likewise for `landmarks` and `masks`.

    Attributes:
        folder: Folder of its kind.
        video: Name of the video's folder, unique within its kind.
    """

    folder: Path
    video: str

    def file(self, output: CropOutput, index: int) -> Path:
        """Return the file of one frame."""
        return self.folder / output / self.video / f"{index:03d}{'.npy' if output == 'landmarks' else '.png'}"

    def clear(self) -> None:
        """Remove all files of the video.

        Raises:
            DeepscanError: A folder cannot be removed.
        """
        for output in OUTPUTS:
            folder = self.folder / output / self.video
            try:
                if folder.is_dir():
                    shutil.rmtree(folder)
            except OSError as error:
                raise DeepscanError(f"{folder} cannot be removed: {error.strerror}", "remove it by hand")


@dataclass(frozen=True, slots=True)
class PlannedVideo:
    """A video of a data set, with the folder of its crops.

    Attributes:
        video: The video, with an absolute path; a sequence has its sampled pictures only.
        indices: Indices of these pictures in the sequence; empty for a video.
        folder: Name of the folder of its crops.
    """

    video: SourceVideo
    indices: tuple[int, ...]
    folder: str

    @property
    def key(self) -> PlanKey:
        """Key of the video."""
        return self.video.kind, self.video.split, self.video.compression, self.video.name

    @property
    def crops(self) -> CropsKey:
        """Key of its crops."""
        return self.video.compression, self.video.kind, self.folder

    def size(self) -> int | None:
        """Return its current size in bytes: of the file, or of the sampled pictures together.

        The result is None for an unreadable video; unreadable pictures count as 0.
        """
        if self.indices:
            return sum(_size(picture) or 0 for picture in self.video.frames)
        return _size(self.video.path)


def plan_videos(
    layout: DatasetLayout, root: Path, frames: int, owners: Mapping[CropsKey, bytes]
) -> tuple[list[PlannedVideo], int]:
    """Return the videos of a data set without repetitions, and the number of repetitions.

    Args:
        layout: Layout of the data set.
        root: Folder of the data set.
        frames: Number of pictures sampled from a sequence, evenly spread.
        owners: Existing crops -> path of their video, which keeps its folder.

    Raises:
        MissingError: The layout found a list or a folder missing.
        ContractError: The name of a video cannot be used for a folder.
    """
    found: dict[PlanKey, PlannedVideo] = {}
    taken, repeated = dict(owners), 0
    for video in layout.videos(root):
        path = os.path.abspath(video.path)
        # Keep only the sampled pictures in memory: there may be a million.
        indices = sample_indices(len(video.frames), frames)
        pictures = tuple(video.frames[index] for index in indices)
        item = PlannedVideo(replace(video, path=Path(path), frames=pictures), indices, "")
        if item.key in found:
            repeated += 1
        else:
            folder = _folder(video, os.fsencode(path), taken, layout.dataset)
            found[item.key] = replace(item, folder=folder)
    return list(found.values()), repeated


def _size(path: Path) -> int | None:
    return path.stat().st_size if os.access(path, os.R_OK) and path.is_file() else None


def _folder(video: SourceVideo, path: bytes, taken: dict[CropsKey, bytes], dataset: str) -> str:
    """Return a video's name, or a free variant if another video in another split has the same name."""
    # Readers of benchmark files treat a backslash as a slash.
    name = video.name.replace("/", "_").replace("\\", "_")
    if len(os.fsencode(name)) > _MAX_NAME_BYTES:
        name = os.fsencode(name)[:_MAX_NAME_BYTES].decode("utf-8", "ignore")
    if name in ("", ".", "..") or "\0" in name:
        raise ContractError(
            f"{dataset} has a video named {video.name!r}, which cannot be a file name",
            "rename the video, or correct the lists of the data set",
        )
    alternatives = (f"{name}~{video.split}{number or ''}" for number in count())
    return next(
        folder
        for folder in chain([name], alternatives)
        if taken.setdefault((video.compression, video.kind, folder), path) == path
    )


#: One line of the journal: a video of a kind, split and compression, with its outcome.
JournalLine = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PreparedFiles:
    """The files of a prepared data set.

    Attributes:
        out: Folder of the files.
        name: Name of the data set.
    """

    out: Path
    name: str

    @property
    def json(self) -> Path:
        """The benchmark file."""
        return self.out / f"{self.name}.json"

    @property
    def sidecar(self) -> Path:
        """The file with the settings of the crops."""
        return sidecar(self.json)

    @property
    def journal(self) -> Path:
        """The journal, with the outcome of each video."""
        return self.out / f"{self.name}.videos.jsonl"

    def place(self, crops: CropsKey) -> Place:
        """Return the location of a video's crops."""
        compression, kind, video = crops
        return Place(self.out / self.name / compression / kind, video)

    def earlier(self, identity: Mapping[str, Any]) -> dict[PlanKey, JournalLine]:
        """Return the lines of earlier runs.

        Args:
            identity: Settings of this run; see `begin`.

        Raises:
            ContractError: The earlier runs had other settings.
            UsageError: There are files of this name without a record of their settings.
        """
        if not self.sidecar.exists():
            for path in (self.json, self.journal):
                if path.exists():
                    hint = "choose another --out, or replace it with --overwrite"
                    raise UsageError(
                        f"{path} exists, but {self.sidecar.name} with its settings does not", hint
                    )
            return {}
        earlier_identity = _read(self.sidecar)
        differences = [
            f"{name} was {was!r}, is {now!r}"
            for name, now in identity.items()
            if (was := earlier_identity.get(name)) != now
        ]
        if differences:
            raise ContractError(
                f"{self.json} was prepared with other settings: {'; '.join(differences)}",
                "use the earlier settings, choose another --out or --name, or start over with --overwrite",
            )
        if not self.journal.exists():
            return {}
        lines = (line for _, _, line in read_journal(self.journal))
        return {(line["kind"], line["split"], line["compression"], line["name"]): line for line in lines}

    def begin(self, identity: Mapping[str, Any], *, overwrite: bool) -> None:
        """Record the settings of this and of later runs.

        Args:
            identity: Settings that all runs into one benchmark file must share.
            overwrite: Whether to discard the files of earlier runs.
        """
        if overwrite:
            for path in (self.json, self.sidecar, self.journal):
                path.unlink(missing_ok=True)
        if not self.sidecar.exists():
            with atomic_write(self.sidecar) as file:
                file.write(json.dumps(identity, indent=1).encode("ascii") + b"\n")


def sidecar(path: Path) -> Path:
    """Return the path of the file with the settings of a benchmark file's crops."""
    return path.with_suffix(".crop.json")


def read_crop_recipe(path: Path) -> CropRecipe:
    """Return the crop recipe of a benchmark file; that of DeepfakeBench if none is recorded.

    Args:
        path: The benchmark file.

    Raises:
        ContractError: The recorded settings cannot be read.
    """
    settings = sidecar(path)
    return CropRecipe.from_json(_read(settings)["crop"]) if settings.exists() else CropRecipe()


def crops_of(line: JournalLine) -> CropsKey:
    """Return the key of the crops of a line."""
    return line["compression"], line["kind"], line["folder"]


def face_videos(
    lines: Iterable[JournalLine], layout: DatasetLayout, files: PreparedFiles
) -> Iterator[FaceVideo]:
    """Yield the videos that have crops, in an order that does not depend on timing."""

    def order(line: JournalLine) -> tuple[int, str, str, str]:
        return layout.kinds.index(line["kind"]), line["compression"], line["split"], line["name"]

    for line in sorted((line for line in lines if line["status"] == "ok"), key=order):
        place, masked = files.place(crops_of(line)), set(line["masks"])
        yield FaceVideo(
            dataset=files.name,
            kind=line["kind"],
            label=label_of(line["kind"]),
            split=line["split"],
            name=line["name"],
            frames=tuple(str(place.file("frames", at)) for at in line["frames"]),
            masks=tuple(str(place.file("masks", at)) if at in masked else "" for at in line["frames"])
            if masked
            else (),
            compression=line["compression"],
        )


def byte_equal(lines: Iterable[JournalLine]) -> tuple[tuple[JournalLine, ...], ...]:
    """Return groups of videos with crops that are byte-identical under different paths.

    They stay in the benchmark, because its authors list them.
    """
    groups: dict[str, dict[bytes, JournalLine]] = defaultdict(dict)
    for line in sorted(lines, key=lambda line: (line["kind"], line["split"], line["name"])):
        if line["status"] == "ok":
            # A video in several splits has a line for each of them.
            groups[line["sha256"]].setdefault(recorded_path(line), line)
    return tuple(tuple(of_path.values()) for of_path in groups.values() if len(of_path) > 1)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not isinstance(content.get("crop"), dict):
            raise ValueError("no crop recipe")
    except (OSError, ValueError) as error:
        raise ContractError(
            f"{path}, with the settings of the crops, cannot be read: {error}",
            "prepare the data set again with --overwrite",
        )
    return content
