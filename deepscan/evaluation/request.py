"""The request of an evaluation: protocol, data and counting."""

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
    """Settings of an evaluation.

    Attributes:
        protocol: The protocol.
        row: Method whose test sets of the protocol are used.
        data: Folder with benchmark files, or with faces.csv.
        root: Folder of a benchmark's crops; None to derive it from the benchmark file.
        out: Folder for scores and report.
        cache: Folder for crops that are cut out of pictures.
        only: Names of test sets; empty for all.
        available: Whether to skip missing test sets.
        frames: Maximum number of frames of a video, 0 for all.
        countings: Names of countings.
        video_key: What identifies a video, for countings other than the corrected one.
        missing: Policy for videos without a score.
        overwrite: Whether to replace existing scores in the output folder.
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
        """The requested test sets.

        Raises:
            UsageError: A test set is unknown.
        """
        known = {test.name: test for test in self.protocol.sets[self.row]}
        if self.indexed:
            # The sources of a folder are known only after reading it.
            return tuple(known.values())
        return tuple(
            known.get(name) or self._user_test_set(name, tuple(known)) for name in self.only or known
        )

    @property
    def indexed(self) -> bool:
        """Whether the test sets are the sources of a faces.csv in the folder."""
        local = all(test.local for test in self.protocol.sets[self.row])
        return local and (self.data / INDEX).is_file()

    def _user_test_set(self, name: str, known: Sequence[str]) -> TestSet:
        """Return a test set of the user that is not in the protocol."""
        try:
            find_benchmark(self.data, name)
        except MissingError:
            raise UsageError(
                f"protocol {self.protocol.name} has no test set {name!r} for {self.row}, "
                f"and {name}.json is not in {self.data}",
                f"choose from: {', '.join(known)}, or prepare it with deepscan prepare",
            )
        return TestSet(name, name)

    @property
    def counting_rules(self) -> tuple[Counting, ...]:
        """The countings, with the requested video key.

        Raises:
            UsageError: A counting is unknown, or none of them uses a video key.
        """
        counting_rules = [COUNTINGS.get(name) for name in self.countings]
        if self.video_key and all(counting.video_key == "full" for counting in counting_rules):
            raise UsageError(
                f"{counting_rules[0].name} counting does not use --video-key {self.video_key}",
                "add --counting as-published, or leave --video-key out",
            )
        return tuple(
            replace(counting, video_key=self.video_key)
            if self.video_key and counting.video_key != "full"
            else counting
            for counting in counting_rules
        )
