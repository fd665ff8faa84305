"""What a prepared data set has on disk: its file, its journal, and the folder of each video's crops."""

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

#: Kind, split, compression and name: what a video is known by.
PlanKey = tuple[str, str, str, str]
#: Compression, kind and folder: what a video's crops are known by, whatever splits it is in.
CropsKey = tuple[str, str, str]

#: What is written of a video.
CropOutput = Literal["frames", "landmarks", "masks"]
OUTPUTS: tuple[CropOutput, ...] = get_args(CropOutput)
#: Bytes that a folder takes of its video's name: file systems have room for 255, and more may follow.
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Place:
    """Where a video's crops lie: `FOLDER/frames/VIDEO/012.png`, its landmarks and masks beside `frames`.

    Attributes:
        folder: That of its kind.
        video: Name of its own folder, unique there.
    """

    folder: Path
    video: str

    def file(self, what: CropOutput, index: int) -> Path:
        """Return the file of one frame."""
        return self.folder / what / self.video / f"{index:03d}{'.npy' if what == 'landmarks' else '.png'}"

    def clear(self) -> None:
        """Remove what lies there.

        Raises:
            DeepscanError: It cannot be removed.
        """
        for what in OUTPUTS:
            folder = self.folder / what / self.video
            try:
                if folder.is_dir():
                    shutil.rmtree(folder)
            except OSError as error:
                raise DeepscanError(f"{folder} cannot be removed: {error.strerror}", "remove it by hand")


@dataclass(frozen=True, slots=True)
class PlannedVideo:
    """A video of a data set.

    Attributes:
        video: The video, its path absolute; of a sequence, with those pictures alone that are looked at.
        indices: Their positions in the sequence; empty for a video.
        folder: Name of the folder of its crops.
    """

    video: SourceVideo
    indices: tuple[int, ...]
    folder: str

    @property
    def key(self) -> PlanKey:
        """What it is known by."""
        return self.video.kind, self.video.split, self.video.compression, self.video.name

    @property
    def crops(self) -> CropsKey:
        """What its crops are known by."""
        return self.video.compression, self.video.kind, self.folder

    def size(self) -> int | None:
        """Return its bytes as it lies there now: of a sequence, of the pictures that are looked at.

        A video that cannot be read has None, a picture counts for nothing then.
        """
        if self.indices:
            return sum(_size(picture) or 0 for picture in self.video.frames)
        return _size(self.video.path)


def plan_videos(
    layout: DatasetLayout, root: Path, frames: int, owners: Mapping[CropsKey, bytes]
) -> tuple[list[PlannedVideo], int]:
    """Return a data set's videos, each once, and how many are named again.

    Args:
        layout: How the data set lies on disk.
        root: Its folder.
        frames: How many pictures of a sequence are looked at, evenly.
        owners: Crops that are there -> path of their video, which keeps them.

    Raises:
        MissingError: As the layout does.
        ContractError: A video has a name that no folder can have.
    """
    found: dict[PlanKey, PlannedVideo] = {}
    taken, repeated = dict(owners), 0
    for video in layout.videos(root):
        path = os.path.abspath(video.path)
        # Of a million pictures only those that are looked at are held.
        indices = sample_indices(len(video.frames), frames)
        pictures = tuple(video.frames[at] for at in indices)
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
    """Return a video's name or, where another split has another video of that name, the next free one."""
    # Whoever reads a benchmark file takes a backslash for a slash.
    name = video.name.replace("/", "_").replace("\\", "_")
    if len(os.fsencode(name)) > _LONGEST:
        name = os.fsencode(name)[:_LONGEST].decode("utf-8", "ignore")
    if name in ("", ".", "..") or "\0" in name:
        raise ContractError(
            f"{dataset} has a video called {video.name!r}", "correct its lists, or rename the video"
        )
    others = (f"{name}~{video.split}{number or ''}" for number in count())
    return next(
        folder
        for folder in chain([name], others)
        if taken.setdefault((video.compression, video.kind, folder), path) == path
    )


#: One line of the journal: a video of a kind, split and compression, and what became of it.
JournalLine = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PreparedFiles:
    """The files of a prepared data set.

    Attributes:
        out: The folder that they are in.
        name: Its name.
    """

    out: Path
    name: str

    @property
    def json(self) -> Path:
        """The benchmark file."""
        return self.out / f"{self.name}.json"

    @property
    def sidecar(self) -> Path:
        """How the crops were cut."""
        return sidecar(self.json)

    @property
    def journal(self) -> Path:
        """What became of each video."""
        return self.out / f"{self.name}.videos.jsonl"

    def place(self, crops: CropsKey) -> Place:
        """Return where the crops of a video lie."""
        compression, kind, video = crops
        return Place(self.out / self.name / compression / kind, video)

    def earlier(self, stated: Mapping[str, Any]) -> dict[PlanKey, JournalLine]:
        """Return the lines of what was prepared before.

        Args:
            stated: As `begin` takes it.

        Raises:
            ContractError: It was prepared otherwise.
            UsageError: A file of that name is there that was not made here.
        """
        if not self.sidecar.exists():
            for path in (self.json, self.journal):
                if path.exists():
                    hint = "name another --out, or replace it by --overwrite"
                    raise UsageError(f"{path} is there, and nothing that says how it was made", hint)
            return {}
        before = _read(self.sidecar)
        differing = [
            f"{name} was {was!r}, is {now!r}"
            for name, now in stated.items()
            if (was := before.get(name)) != now
        ]
        if differing:
            raise ContractError(
                f"{self.json} was prepared otherwise: {'; '.join(differing)}",
                "repeat the first command, or name another --out or --name, or start over with --overwrite",
            )
        if not self.journal.exists():
            return {}
        lines = (line for _, _, line in read_journal(self.journal))
        return {(line["kind"], line["split"], line["compression"], line["name"]): line for line in lines}

    def begin(self, stated: Mapping[str, Any], *, overwrite: bool) -> None:
        """State how it is prepared from now on.

        Args:
            stated: What all that is prepared into one file has to share.
            overwrite: Whether to discard what was prepared before.
        """
        if overwrite:
            for path in (self.json, self.sidecar, self.journal):
                path.unlink(missing_ok=True)
        if not self.sidecar.exists():
            with atomic_write(self.sidecar) as file:
                file.write(json.dumps(stated, indent=1).encode("ascii") + b"\n")


def sidecar(path: Path) -> Path:
    """Return the file beside a benchmark file that says how its crops were cut."""
    return path.with_suffix(".crop.json")


def read_crop_recipe(path: Path) -> CropRecipe:
    """Return how the crops of a benchmark file were cut: DeepfakeBench's own recipe where nothing says so.

    Args:
        path: The benchmark file.

    Raises:
        ContractError: What says so cannot be read.
    """
    beside = sidecar(path)
    return CropRecipe.from_json(_read(beside)["crop"]) if beside.exists() else CropRecipe()


def crops_of(line: JournalLine) -> CropsKey:
    """Return what the crops of a line are known by."""
    return line["compression"], line["kind"], line["folder"]


def face_videos(
    lines: Iterable[JournalLine], layout: DatasetLayout, files: PreparedFiles
) -> Iterator[FaceVideo]:
    """Yield the videos that have crops, in an order that does not depend on which ended first."""

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
    """Return the videos with crops that are the same bytes under several paths, group by group.

    They stay in the benchmark: its authors list them.
    """
    groups: dict[str, dict[bytes, JournalLine]] = defaultdict(dict)
    for line in sorted(lines, key=lambda line: (line["kind"], line["split"], line["name"])):
        if line["status"] == "ok":
            # A video that is in several splits has a line for each.
            groups[line["sha256"]].setdefault(recorded_path(line), line)
    return tuple(tuple(of_path.values()) for of_path in groups.values() if len(of_path) > 1)


def _read(path: Path) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(said, dict) or not isinstance(said.get("crop"), dict):
            raise ValueError("it has no crop recipe")
    except (OSError, ValueError) as error:
        raise ContractError(
            f"{path}, which says how crops were cut, cannot be read: {error}",
            "prepare the data set again with --overwrite",
        )
    return said
