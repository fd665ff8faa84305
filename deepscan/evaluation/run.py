"""An evaluation from crops to figures: what is looked for, scored once, kept, and counted."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

import deepscan
from deepscan.cards import ModelCard
from deepscan.data.benchmark import FaceVideo, find_benchmark
from deepscan.data.dataset import INDEX
from deepscan.errors import ContractError, MissingError, UsageError
from deepscan.evaluation.counting import COUNTINGS, Counting, VideoKey, sample, videos_of
from deepscan.evaluation.figures import Missing
from deepscan.evaluation.journal import FrameJournal, key_of, read_frames
from deepscan.evaluation.material import Material, from_benchmark, from_generator, from_pictures
from deepscan.evaluation.metrics import auc
from deepscan.evaluation.protocols.protocol import Level, Protocol, TestSet
from deepscan.evaluation.report import Report, Result, measure_scores
from deepscan.evaluation.robustness import DISTORTIONS, LEVELS, Robustness, distorted
from deepscan.evaluation.scores import Scores
from deepscan.evaluation.stream import Change, Image, score_videos
from deepscan.evaluation.tables import Figure, expected, expected_mean
from deepscan.scan.journal import replaced
from deepscan.scan.records import utc_now
from deepscan.scan.scorer import Scorer

#: What says what the scores in a folder are of.
STATED = "run.json"
#: Folder in it for the scores of every frame.
FRAMES = "frames"
SEED = 1024


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
        return tuple(known.get(name) or self._own(name, tuple(known)) for name in self.only or known)

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
            UsageError: One is unknown.
        """
        ways = [COUNTINGS.get(name) for name in self.countings]
        return tuple(
            replace(way, video_key=self.video_key) if self.video_key and way.video_key != "full" else way
            for way in ways
        )


class Listener:
    """What an evaluation tells whoever started it; each method may be overridden."""

    def absent(self, test: TestSet, error: MissingError) -> None:
        """A test set is not there."""

    def cut(self, done: int, total: int) -> None:
        """So many pictures have been cut."""

    def scored(self, dataset: str, done: int, total: int) -> None:
        """So many videos of a data set have their scores."""

    def measured(self, test: str) -> None:
        """A test set's figures are being worked out."""


def perform(asked: Evaluation, scorer: Scorer, listener: Listener | None = None) -> Report:
    """Score all test sets, from where an earlier run of the same evaluation was stopped, and count.

    Args:
        asked: What to do.
        scorer: The detector.
        listener: Is told what happens.

    Returns:
        The report; the scores lie in the folder.

    Raises:
        MissingError: A test set is not there.
        ContractError: The folder holds another evaluation, or crops do not suit the model.
        UsageError: A name is unknown, or data cannot be read.
    """
    listener = listener or Listener()
    ways = asked.ways
    stated = _stated(asked, scorer)
    materials = gather(asked, scorer.card, listener)
    _claim(asked.out, stated, asked.overwrite)
    changes = _changes() if asked.protocol.distorted else {}
    results: list[Result] = []
    robust: dict[str, list[Robustness]] = {}
    for material in materials:
        _score(asked, material, scorer, changes, listener)
        for test in material.tests:
            listener.measured(test.name)
            results += _results(asked, material, test, ways, scorer, "")
            if changes:
                robust[test.name] = _robustness(asked, material, test, ways[0], scorer, results)
    report = Report(
        {**stated, "countings": {way.name: way.explained for way in ways}, "ended": utc_now()},
        tuple(results),
        robust,
        dict(_printed_means(results, scorer.card.method)),
    )
    return report


def _stated(asked: Evaluation, scorer: Scorer) -> dict[str, Any]:
    """Return what a run shares with one that goes on with it."""
    return {
        "deepscan": deepscan.__version__,
        "protocol": asked.protocol.name,
        "model": scorer.to_json(),
        "data": str(asked.data.resolve()),
        "frames": asked.frames,
        "samplings": sorted({way.sampling for way in asked.ways}),
        "seed": SEED,
    }


def _claim(out: Path, stated: Mapping[str, Any], overwrite: bool) -> None:
    path = out / STATED
    out.mkdir(parents=True, exist_ok=True)
    if overwrite:
        path.unlink(missing_ok=True)
        shutil.rmtree(out / FRAMES, ignore_errors=True)
    if not path.exists():
        with replaced(path) as file:
            file.write(json.dumps(stated, indent=1).encode())
        return
    former = json.loads(path.read_text(encoding="utf-8"))
    differing = [name for name in stated if former.get(name) != stated[name]]
    if differing:
        name = differing[0]
        raise ContractError(
            f"{out} holds another evaluation: {name} was {former.get(name)!r}, is {stated[name]!r}",
            "name another folder with --out, or begin anew with --overwrite",
        )


def gather(asked: Evaluation, card: ModelCard, listener: Listener) -> list[Material]:
    """Return what the test sets are measured on, each data set once.

    Args:
        asked: Names the test sets and where data lie.
        card: The model, whose crops are made.
        listener: Is told which test sets are not there, and how many pictures are cut.

    Raises:
        MissingError: A test set is not there, and all are asked for; or none is.
        ContractError: Crops do not suit the model.
        UsageError: A name is unknown, or data cannot be read.
    """
    tests: Sequence[TestSet] = asked.tests
    found: list[Material] = []
    if any(test.local for test in tests) and (asked.data / INDEX).is_file():
        found += from_pictures(asked.data, card, asked.cache, progress=listener.cut)
        tests = [test for test in tests if not test.local]
    of_dataset: dict[tuple[str, str, str | None], list[TestSet]] = {}
    for test in tests:
        of_dataset.setdefault((test.dataset, test.split, test.compression), []).append(test)
    absent = 0
    for shared in of_dataset.values():
        try:
            if asked.protocol.reading == "pictures":
                found.append(from_generator(shared[0], asked.data, card))
            else:
                found.append(from_benchmark(shared, asked.data, card, asked.root))
        except MissingError as error:
            absent += len(shared)
            for test in shared:
                listener.absent(test, error)
    if absent and not (asked.available and found):
        whole = absent == len(asked.tests)
        raise MissingError(
            f"{absent} of the {len(asked.tests)} test sets of {asked.protocol.name} are not in {asked.data}",
            "put them there, or name another folder with --data"
            + ("" if whole else "; --available evaluates those that are there"),
        )
    return found


def _changes() -> dict[str, Change]:
    """Return the crops as they are and under every distortion, by name."""

    def plain(crop: Image, video: FaceVideo, number: int) -> Image:
        return crop

    def changed(crop: Image, video: FaceVideo, number: int, *, name: str, level: int) -> Image:
        key = "/".join(key_of(video))
        return distorted(crop, name, level, seed=SEED, video=key, frame=number)

    each = {
        (name, level): partial(changed, name=name, level=level)
        for name in DISTORTIONS.names
        for level in LEVELS
    }
    return {"": plain, **{f"{name}-{level}": change for (name, level), change in each.items()}}


def _frames_file(out: Path, material: Material, change: str) -> Path:
    name = "-".join(part for part in (material.name, material.tests[0].split, change) if part)
    # A data set may be called anything, a file may not.
    return out / FRAMES / f"{quote(name, safe=' ()+')}.csv"


def _score(
    asked: Evaluation, material: Material, scorer: Scorer, changes: Mapping[str, Change], listener: Listener
) -> None:
    """Write the scores of every frame that any way to count looks at, those that are missing yet."""
    names = list(changes) or [""]
    (asked.out / FRAMES).mkdir(exist_ok=True)
    with ExitStack() as stack:
        journals = [
            stack.enter_context(FrameJournal(_frames_file(asked.out, material, name), resume=True))
            for name in names
        ]
        todo = [
            video
            for video in material.videos
            if any(key_of(video) not in journal.done for journal in journals)
        ]
        done, total = len(material.videos) - len(todo), len(material.videos)
        coming = score_videos(todo, material.read, scorer, partial(_sampled, asked), list(changes.values()))
        for count, found in enumerate(coming, 1):
            video = found.video
            group = (material.groups.get((video.kind, video.name)) or video.name) if material.groups else ""
            for journal, scores in zip(journals, found.scores, strict=True):
                if key_of(video) not in journal.done:
                    journal.append(video, found.frames, scores, group=group)
            listener.scored(material.name, done + count, total)


def _sampled(asked: Evaluation, frames: int) -> NDArray[np.int64]:
    """Return the frames that any of the ways to count looks at."""
    if not frames:
        return np.arange(0)
    return np.unique(np.concatenate([sample(frames, asked.frames, way.sampling) for way in asked.ways]))


def _results(
    asked: Evaluation,
    material: Material,
    test: TestSet,
    ways: Sequence[Counting],
    scorer: Scorer,
    change: str,
) -> Iterator[Result]:
    frames = _of_test(read_frames(_frames_file(asked.out, material, change)), test)
    for way in ways:
        looked = _looked_at(frames, asked, material, way)
        for level in ("frame", "video"):
            scores = looked if level == "frame" else videos_of(looked, way.video_key)
            yield measure_scores(
                scores,
                test=test.name,
                dataset=test.dataset,
                counting=way,
                level=level,
                calibration=scorer.card.calibration,
                missing=asked.missing,
                paper=_printed(asked.protocol, test, scorer.card.method, level),
                notes=material.notes,
            )


def _of_test(frames: Scores, test: TestSet) -> Scores:
    if not test.kinds:
        return frames
    wanted = np.array([name in test.kinds for name in frames.kind.names])
    return frames.take(np.flatnonzero((frames.labels == 0) | wanted[frames.kind.codes]))


def _looked_at(frames: Scores, asked: Evaluation, material: Material, way: Counting) -> Scores:
    """Return the frames that a way to count looks at, of those that any of them does."""
    if len({each.sampling for each in asked.ways}) == 1:
        return frames
    counts = {(video.kind, video.split, video.name): len(video.frames) for video in material.videos}
    kept = {
        key: set(sample(count, asked.frames, way.sampling).tolist()) | {-1} for key, count in counts.items()
    }
    columns = (column.texts() for column in (frames.kind, frames.split, frames.video, frames.frame))
    rows = [
        at
        for at, (kind, split, video, frame) in enumerate(zip(*columns, strict=True))
        if int(frame or -1) in kept[kind, split, video]
    ]
    return frames.take(np.array(rows, dtype=np.int64))


def _robustness(
    asked: Evaluation,
    material: Material,
    test: TestSet,
    way: Counting,
    scorer: Scorer,
    results: Sequence[Result],
) -> list[Robustness]:
    """Return how the distortions move the AUC at the level of the row's paper."""
    level = asked.protocol.level(asked.row)
    original = next(
        each for each in results if (each.test, each.counting, each.level) == (test.name, way.name, level)
    )
    found = []
    for name in DISTORTIONS.names:
        aucs = {0: original.value("auc")}
        for strength in LEVELS:
            frames = _of_test(read_frames(_frames_file(asked.out, material, f"{name}-{strength}")), test)
            looked = _looked_at(frames, asked, material, way)
            scores = looked if level == "frame" else videos_of(looked, way.video_key)
            known = np.flatnonzero(~np.isnan(scores.scores))
            aucs[strength] = auc(scores.labels[known], scores.scores[known])
        found.append(Robustness(name, {at: value for at, value in aucs.items() if value is not None}))
    return found


def _printed(protocol: Protocol, test: TestSet, method: str, level: Level) -> Figure | None:
    dataset = test.kinds[0] if len(test.kinds) == 1 else test.dataset
    return (
        None if test.local and test.split == "val" else expected(method, dataset, level, protocol.metrics[0])
    )


def _printed_means(results: Sequence[Result], method: str) -> Iterator[tuple[tuple[str, Level], Figure]]:
    for counting, level in dict.fromkeys((each.counting, each.level) for each in results):
        datasets = [each.dataset for each in results if (each.counting, each.level) == (counting, level)]
        if figure := expected_mean(method, datasets, level):
            yield (counting, level), figure
