"""The request of an evaluation: protocol, data, and how to count."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepscan.data.benchmarks.benchmark import find_benchmark
from deepscan.data.pictures import INDEX
from deepscan.errors import MissingError, UsageError
from deepscan.evaluation.counting import COUNTINGS, Counting, VideoKey
from deepscan.evaluation.measurements import Missing
from deepscan.evaluation.protocols import Protocol, TestSet


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is to be evaluated.

    Attributes:
        protocol: The protocol.
        row: Whose test sets of it.
        data: Folder with benchmark files, or with faces.csv.
        root: Folder under which a benchmark's crops lie, None for where its file says.
        out: Folder for scores and report.
        cache: Folder for crops that are cut out of pictures.
        only: Names of test sets; all of them where empty.
        available: Whether test sets that are not there are left out.
        frames: How many of a video are looked at, 0 for all.
        countings: Ways to count, by name.
        video_key: What makes a video where the counting is not the corrected one.
        missing: What stands for videos without a score.
        overwrite: Whether scores that lie in the folder are replaced.
    """

    protocol: Protocol
    row: str
    data: Path
    root: Path | None
    out: Path
    cache: Path
    only: tuple[str, ...] = ()
    available: bool = False
    frames: int = 32
    countings: tuple[str, ...] = ("corrected",)
    video_key: VideoKey | None = None
    missing: Missing = "exclude"
    overwrite: bool = False

    @property
    def tests(self) -> tuple[TestSet, ...]:
        """The test sets that are asked for.

        Raises:
            UsageError: One is unknown.
        """
        known = {test.name: test for test in self.protocol.sets[self.row]}
        if self.indexed:
            # Which sources a folder has is known when it is read.
            return tuple(known.values())
        return tuple(known.get(name) or self._own(name, tuple(known)) for name in self.only or known)

    @property
    def indexed(self) -> bool:
        """Whether the protocol is of a folder's own faces.csv."""
        local = all(test.local for test in self.protocol.sets[self.row])
        return local and (self.data / INDEX).is_file()

    def _own(self, name: str, known: Sequence[str]) -> TestSet:
        """Return a test set that no paper knows, such as the user's own folders."""
        try:
            find_benchmark(self.data, name)
        except MissingError:
            raise UsageError(
                f"protocol {self.protocol.name} has no test set {name!r} in the sets of {self.row}, "
                f"and {self.data} no {name}.json",
                f"choose from: {', '.join(known)}, or prepare it",
            )
        return TestSet(name, name)

    @property
    def ways(self) -> tuple[Counting, ...]:
        """The ways to count.

        Raises:
            UsageError: One is unknown, or none counts by the video key that is asked for.
        """
        ways = [COUNTINGS.get(name) for name in self.countings]
        if self.video_key and all(way.video_key == "full" for way in ways):
            raise UsageError(
                f"{ways[0].name} counting knows videos by data set, kind and name, not by {self.video_key}",
                "add --counting as-published, or leave --video-key out",
            )
        return tuple(
            replace(way, video_key=self.video_key) if self.video_key and way.video_key != "full" else way
            for way in ways
        )
