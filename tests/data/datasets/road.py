"""What goes into a small replica of clips, and what is to come of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .replicas import empty


@dataclass(frozen=True)
class Road:
    """A replica and its counts.

    Attributes:
        dataset: Its name.
        files: Path of each file -> what it shows, or says.
        became: `kind split` -> how many videos of each status, without those of which there are none.
        videos: How many reals and fakes of the test split have a score.
        frames: How many frames they have.
        missing: Why others of that split have none -> how many.
        masks: Kind -> how many of its videos have masks, in whatever split.
        protocol: Which protocol tests it.
        row: Whose test sets.
    """

    dataset: str
    files: Mapping[str, str]
    became: Mapping[str, str]
    videos: tuple[int, int]
    frames: tuple[int, int]
    missing: Mapping[str, int]
    masks: Mapping[str, int] = field(default_factory=dict)
    protocol: str = "cross-dataset"
    row: str = "qtfp"


def put(folder: str, names: str, what: str, suffix: str = ".mp4") -> dict[str, str]:
    """Lay the same clip under each name."""
    return dict.fromkeys(empty(folder, names, suffix), what)


def sequence(folder: str, *pictures: str) -> dict[str, str]:
    """Lay pictures into a folder, by the numbers of frames that end past a change of digits."""
    return {f"{folder}/{8 + at}.png": what for at, what in enumerate(pictures)}
