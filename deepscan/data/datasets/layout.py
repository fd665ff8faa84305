"""The contract that every data set's layout keeps."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deepscan.errors import MissingError


@dataclass(frozen=True, slots=True)
class SourceVideo:
    """One video of a data set, or a sequence of pictures that stands for one.

    Attributes:
        path: The video; of a sequence, its folder. What a list names is given whether it is there or not, so
            that whoever reads it can count it.
        kind: Name of its label, which tells the manipulation: `FF-DF`.
        split: `train`, `val` or `test`; a video that is in several is given once for each.
        name: Unique among the videos of its kind, split and compression.
        compression: `raw`, `c23` or `c40`, empty where the data set knows no such thing.
        mask: The video that shows what was forged, frame by frame, or the folder of such pictures; None where
            the data set has none.
        frames: The pictures of a sequence, in order; empty for a video.
    """

    path: Path
    kind: str
    split: str
    name: str
    compression: str = ""
    mask: Path | None = None
    frames: tuple[Path, ...] = ()


class DatasetLayout(ABC):
    """How a data set lies on disk.

    Attributes:
        dataset: Its name in benchmark files: `Celeb-DF-v2`.
        labels: Name of each kind -> 0 for real, 1 for fake.
        origin: Where its authors give it out, and under which terms: one line for a hint.
        expects: What has to lie under its root: one line for a hint.
        nested: Whether benchmark files have a level of compressions between split and video.
    """

    dataset: str
    labels: Mapping[str, int]
    origin: str
    expects: str
    nested: bool = False

    @abstractmethod
    def videos(self, root: Path) -> Iterator[SourceVideo]:
        """Yield the videos under a folder, in an order that does not change.

        Files that are no videos or pictures, hidden files and empty folders beside them are passed over.

        Args:
            root: The data set's folder as its authors lay it out.

        Raises:
            MissingError: A list or a folder that has to be there is not; the hint says what to put where.
            UsageError: A list cannot be read.
        """

    def missing(self, path: Path, remedy: str = "", problem: str = "is not there") -> MissingError:
        """Return the error for a list or a folder that has to be there.

        Args:
            path: Where it was looked for.
            remedy: What to do about it; by default, to put it there.
            problem: What is wrong with it.
        """
        remedy = remedy or f"put {path.name} into {path.parent}"
        return MissingError(
            f"{self.dataset}: {path} {problem}",
            f"{remedy}; the whole layout: {self.expects}; given out at {self.origin}",
        )
