"""Small replicas of data sets: their files, and the expected outcome of each video."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .clips import Clips


@dataclass(frozen=True)
class Replica:
    """A small replica of a data set.

    Attributes:
        dataset: Its name.
        files: Path of each file under its root -> its content; see `lay`.
        videos: `kind split compression` -> its videos in the expected order, with their status unless it is
            `ok`: `a b:no_face`.
        needed: Required files and folders.
        frames: Number of tested frames of reals and of fakes; None for two of each video with a face.
        masks: Kind -> number of its videos with masks, in all splits.
        protocol: A protocol that tests it.
        row: Row of the protocol's table, which determines the test sets.
    """

    dataset: str
    files: Mapping[str, str]
    videos: Mapping[str, str]
    needed: tuple[str, ...] = ()
    frames: tuple[int, int] | None = None
    masks: Mapping[str, int] = field(default_factory=dict)
    protocol: str = "cross-dataset"
    row: str = "qtfp"

    @property
    def expected(self) -> dict[tuple[str, str, str, str], str]:
        """Kind, split, compression and name of each video, in order -> its expected status."""
        expected = {}
        for key, names in self.videos.items():
            kind, split, *compression = key.split()
            for video in names.split():
                name, _, status = video.partition(":")
                expected[kind, split, compression[0] if compression else "", name] = status or "ok"
        return expected

    @property
    def outcomes(self) -> Counter[tuple[str, str, str]]:
        """Kind, split and status -> number of videos in the default compression."""
        return Counter(
            (kind, split, status)
            for (kind, split, level, _), status in self.expected.items()
            if level in ("", "c23")
        )

    @property
    def tested(self) -> tuple[tuple[int, int], Counter[str]]:
        """Numbers of reals and fakes of the test split with a score, and the statuses of the others."""
        scored, missing = [0, 0], Counter[str]()
        for (kind, split, status), number in self.outcomes.items():
            if split == "test" and status == "ok":
                scored[not kind.lower().endswith("real")] += number
            elif split == "test":
                missing[status] += number
        return (scored[0], scored[1]), missing

    def write(self, root: Path, clips: Clips | None = None) -> Path:
        """Write its files into a folder, and return the folder."""
        return lay(root, self.files, clips)


def lay(root: Path, files: Mapping[str, str], clips: Clips | None = None) -> Path:
    """Write the files of a data set, and return its folder.

    Args:
        root: Folder of the data set.
        files: Relative path of each file -> the name of a clip or picture, `gone` for a broken link, or the
            text of a list.
        clips: Content of videos and pictures; None for empty files.
    """
    for name, what in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix not in (".mp4", ".png"):
            path.write_text(what)
        elif what == "gone":
            path.symlink_to(root / "nowhere" / path.name)
        elif clips is None:
            path.touch()
        else:
            path.hardlink_to((clips.videos if path.suffix == ".mp4" else clips.pictures)[what])
    return root


def put(folder: str, real: str = "", *, suffix: str = ".mp4", **others: str) -> dict[str, str]:
    """Return the files of a folder, given the names for each content."""
    shown = {"real": real, **others}
    return {f"{folder}/{name}{suffix}": what for what, names in shown.items() for name in names.split()}


def sequence(folder: str, *pictures: str) -> dict[str, str]:
    """Return the files of a sequence, numbered from 8 so that longer ones have numbers of two digits."""
    return {f"{folder}/{8 + index}.png": what for index, what in enumerate(pictures)}
