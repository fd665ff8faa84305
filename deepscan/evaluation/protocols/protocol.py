"""The contract that every protocol keeps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from deepscan.errors import UsageError

Level = Literal["frame", "video"]
Reading = Literal["crops", "pictures"]


@dataclass(frozen=True, slots=True)
class TestSet:
    """One test set of a protocol.

    Attributes:
        name: What it is called in tables: `Celeb-DF-v2`.
        dataset: The benchmark file that holds it, and the data set that `prepare` makes it of.
        kinds: The fake kinds that count, all of them where empty; reals always do.
        split: Which part.
        compression: `c23` and so on, None where the data set knows no such thing.
        local: Whether the split `val` of a folder's own faces.csv takes its place, where there is one.
    """

    name: str
    dataset: str
    kinds: tuple[str, ...] = ()
    split: str = "test"
    compression: str | None = None
    local: bool = False


@dataclass(frozen=True, slots=True)
class Protocol:
    """Test sets and what is measured on them.

    Attributes:
        name: As `--protocol` takes it.
        summary: One line for people.
        trained_on: What a model must have been trained on for the papers' figures to be comparable.
        sets: Method whose paper states them -> its test sets; the first is the default.
        levels: The same -> the level of its main figure.
        metrics: Names of the figures that stand in the table, the main one first.
        reading: `crops` of faces, from benchmark files, or `pictures`, whole, from folders.
        distorted: Whether each set is measured once more under every distortion.
    """

    name: str
    summary: str
    trained_on: str
    sets: Mapping[str, tuple[TestSet, ...]]
    levels: Mapping[str, Level] = field(default_factory=dict)
    metrics: tuple[str, ...] = ("auc",)
    reading: Reading = "crops"
    distorted: bool = False

    def __post_init__(self) -> None:
        if not self.sets or not all(self.sets.values()):
            raise ValueError(f"protocol {self.name} has no test sets")
        for tests in self.sets.values():
            if len({test.name for test in tests}) < len(tests):
                raise ValueError(f"protocol {self.name} names a test set twice")

    def of(self, row: str | None, method: str) -> str:
        """Return whose test sets to take.

        Args:
            row: What the user asks for, None for those of the model's own method.
            method: The model's method.

        Raises:
            UsageError: No paper states sets of that name for this protocol.
        """
        if row is None:
            return method if method in self.sets else next(iter(self.sets))
        if row not in self.sets:
            raise UsageError(
                f"protocol {self.name} has no test sets of {row!r}", f"choose from: {', '.join(self.sets)}"
            )
        return row

    def level(self, row: str) -> Level:
        """Return the level of the main figure in that row's paper."""
        return self.levels.get(row, "video")


def named(*datasets: str) -> tuple[TestSet, ...]:
    """Return the test splits of whole data sets."""
    return tuple(TestSet(dataset, dataset) for dataset in datasets)
