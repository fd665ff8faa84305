"""A data set in small: what lies in it, and what is to come of each video."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .clips import Clips


@dataclass(frozen=True)
class Replica:
    """A data set in small.

    Attributes:
        dataset: Its name.
        files: Path of each file under its root -> what it is; see `lay`.
        videos: `kind split compression` -> its videos in the order in which they are given, each with what
            becomes of it where that is not `ok`: `a b:no_face`.
        needed: Files and folders without which there is no data set.
        frames: How many frames of reals and of fakes are tested; None for two of each video with a face.
        masks: Kind -> how many of its videos have masks, in whatever split.
        protocol: Which protocol tests it.
        row: Whose test sets.
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
        """Kind, split, compression and name of each video, in order -> what becomes of it."""
        wanted = {}
        for key, names in self.videos.items():
            kind, split, *compression = key.split()
            for each in names.split():
                name, _, status = each.partition(":")
                wanted[kind, split, compression[0] if compression else "", name] = status or "ok"
        return wanted

    @property
    def became(self) -> Counter[tuple[str, str, str]]:
        """Kind, split and status -> how many videos in the compression that is prepared unasked."""
        return Counter(
            (kind, split, status)
            for (kind, split, level, _), status in self.expected.items()
            if level in ("", "c23")
        )

    @property
    def tested(self) -> tuple[tuple[int, int], Counter[str]]:
        """How many reals and fakes of the test split have a score, and why others have none."""
        scored, missing = [0, 0], Counter[str]()
        for (kind, split, status), number in self.became.items():
            if split == "test" and status == "ok":
                scored[not kind.lower().endswith("real")] += number
            elif split == "test":
                missing[status] += number
        return (scored[0], scored[1]), missing

    def write(self, root: Path, clips: Clips | None = None) -> Path:
        """Lay its files into a folder, and return the folder."""
        return lay(root, self.files, clips)


def lay(root: Path, files: Mapping[str, str], clips: Clips | None = None) -> Path:
    """Make the files of a data set, and return its folder.

    Args:
        root: Its folder.
        files: Path of each file under it -> which clip or picture it is, `gone` for a link that leads
            nowhere, or for a list what it says.
        clips: What is shown; None for videos and pictures that are empty files.
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
    """Return the files of a folder: what each shows -> their names."""
    shown = {"real": real, **others}
    return {f"{folder}/{name}{suffix}": what for what, names in shown.items() for name in names.split()}


def sequence(folder: str, *pictures: str) -> dict[str, str]:
    """Lay pictures into a folder, by the numbers of frames that end past a change of digits."""
    return {f"{folder}/{8 + at}.png": what for at, what in enumerate(pictures)}
