"""What a prepared data set has beside its crops: its file, how they were cut, what each video became."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepscan.crop_recipe import CropRecipe
from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.data.crops.plan import CropsKey, Place, PlanKey
from deepscan.data.datasets.layout import DatasetLayout
from deepscan.errors import ContractError, UsageError
from deepscan.files import atomic_write
from deepscan.scanning.journal import read_journal
from deepscan.scanning.records import recorded_path

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

    def folder(self, compression: str, kind: str) -> Path:
        """Return the folder of a kind's crops."""
        return self.out / self.name / compression / kind

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
            f"{name} was {before.get(name)!r}, is {now!r}"
            for name, now in stated.items()
            if before.get(name) != now
        ]
        if differing:
            raise ContractError(
                f"{self.json} was prepared otherwise: {'; '.join(differing)}",
                "repeat the first command, or name another --out or --name, or begin anew with --overwrite",
            )
        if not self.journal.exists():
            return {}
        lines = (line for _, _, line in read_journal(self.journal))
        return {(line["kind"], line["split"], line["compression"], line["name"]): line for line in lines}

    def begin(self, stated: Mapping[str, Any], *, anew: bool) -> None:
        """State how it is prepared from now on.

        Args:
            stated: What all that is prepared into one file has to share.
            anew: Whether what was prepared before is no longer to count.
        """
        if anew:
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


def place_of(line: JournalLine, files: PreparedFiles) -> Place:
    """Return where the crops of a line lie."""
    return Place(files.folder(line["compression"], line["kind"]), line["folder"])


def face_videos(
    lines: Iterable[JournalLine], layout: DatasetLayout, files: PreparedFiles
) -> Iterator[FaceVideo]:
    """Yield the videos that have crops, in an order that does not depend on which ended first."""
    kinds = list(layout.labels)
    for line in sorted(
        lines,
        key=lambda line: (kinds.index(line["kind"]), line["compression"], line["split"], line["name"]),
    ):
        if line["status"] != "ok":
            continue
        place, masked = place_of(line, files), set(line["masks"])
        yield FaceVideo(
            dataset=files.name,
            kind=line["kind"],
            label=layout.labels[line["kind"]],
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

    They stay in the benchmark: whoever made it lists them.
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
            raise ValueError("it states no crop")
    except (OSError, ValueError) as error:
        raise ContractError(
            f"{path}, which says how crops were cut, cannot be read: {error}",
            "prepare the data set anew, with --overwrite",
        )
    return said
