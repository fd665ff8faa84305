"""From the frame scores of a test set to its results, for each counting."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.calibration import MAX_FNR, MAX_FPR, CalibrationMethod
from deepscan.cards import ModelCard
from deepscan.errors import UsageError
from deepscan.evaluation.counting import COUNTINGS, Counting, sample, videos_of
from deepscan.evaluation.measurements import Missing, cover
from deepscan.evaluation.protocols import Level, Protocol, TestSet
from deepscan.evaluation.recalibration import recalibrate
from deepscan.evaluation.report import Report, Result, measure_scores
from deepscan.evaluation.request import Evaluation
from deepscan.evaluation.robustness import DISTORTIONS, LEVELS, Robustness
from deepscan.evaluation.scores import FRAME_KEY, VIDEO_KEY, Column, Scores
from deepscan.evaluation.tables import PrintedFigure, expected, expected_mean
from deepscan.evaluation.testsets import VideoDataset
from deepscan.metrics.binary import auc


def results_of(
    frames: Scores, test: TestSet, dataset: VideoDataset, request: Evaluation, card: ModelCard
) -> Iterator[Result]:
    """Yield the results of a test set: for each counting, per frame and per video.

    Args:
        frames: Scores of all frames that any counting uses.
        test: The test set.
        dataset: What it is measured on.
        request: The evaluation.
        card: The model.
    """
    levels: tuple[Level, ...] = ("frame", "video")
    of_test = _of_test(frames, test)
    for way in request.ways:
        looked = _looked_at(of_test, request, dataset, way)
        for level in levels:
            scores = _counted(looked, way, level)
            paper = _printed(request.protocol, test, card.method, level)
            yield measure_scores(
                scores,
                test=test.name,
                dataset=test.dataset,
                counting=way,
                level=level,
                calibration=card.calibration,
                missing=request.missing,
                paper=paper,
                notes=(
                    *_notes(dataset, way, level, looked, scores),
                    *_training(request.protocol, test, card, paper),
                ),
            )


def report_scores(
    scores: Scores,
    *,
    missing: Missing,
    ways: Sequence[Counting] | None = None,
    protocol: Protocol | None = None,
    row: str | None = None,
    available: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> Report:
    """Return the results of scores from any source, by a protocol or for each data set that they name.

    Args:
        scores: Of videos, or of frames, which are measured per frame and per video.
        missing: What stands for samples without a score.
        ways: Countings; None for the corrected one.
        protocol: The protocol; None to measure every data set of the scores.
        row: Method whose test sets and printed results are taken; None for none.
        available: Whether to leave out test sets that the scores lack.
        metadata: Where the scores come from, for the report.

    Raises:
        UsageError: The scores lack a test set of the protocol.
    """
    tests = [TestSet(name or "all", name) for name in scores.dataset.names]
    if protocol is not None:
        tests = list(protocol.sets[row or next(iter(protocol.sets))])
        absent = [test.name for test in tests if test.dataset not in scores.dataset.names]
        if absent and (not available or len(absent) == len(tests)):
            raise UsageError(
                f"there are no scores of {', '.join(absent)}, of {len(tests)} test sets of {protocol.name}",
                "name the data sets so in the column dataset, or add --available",
            )
        tests = [test for test in tests if test.name not in absent]
    levels: tuple[Level, ...] = ("frame", "video") if scores.frame.has_values else ("video",)
    results = []
    for test in tests:
        of_test = _of_test(scores.take(np.flatnonzero(_is(scores.dataset, test.dataset))), test)
        for way, level in product(ways or [COUNTINGS.get("corrected")], levels):
            counted = _counted(of_test, way, level) if scores.frame.has_values else of_test
            results.append(
                measure_scores(
                    counted,
                    test=test.name,
                    dataset=test.dataset,
                    counting=way,
                    level=level,
                    calibration=None,
                    missing=missing,
                    paper=_printed(protocol, test, row, level) if row else None,
                )
            )
    means = printed_means(results, row, protocol.metrics[0] if protocol else "auc") if row else ()
    return Report(metadata or {}, tuple(results), papers_means=dict(means))


def calibrate_from_report(
    report: Report,
    card: ModelCard,
    level: Level,
    method: CalibrationMethod,
    *,
    fpr: float = MAX_FPR,
    fnr: float = MAX_FNR,
) -> ModelCard:
    """Return a model's card, calibrated on the samples of a report, by its first counting.

    Samples without a score are left out. A sample of several test sets, such as the reals of
    FaceForensics++, is taken once.

    Args:
        report: The report.
        card: The model's card.
        level: What one sample is.
        method: See `recalibrate`.
        fpr: See `recalibrate`.
        fnr: See `recalibrate`.

    Raises:
        UsageError: See `recalibrate`.
    """
    results = report.of(report.results[0].counting, level)
    found: dict[tuple[object, ...], tuple[int, float, str]] = {}
    for result in results:
        scored = result.samples.take(np.flatnonzero(result.samples.frames > 0))
        key = FRAME_KEY if level == "frame" else VIDEO_KEY
        names = (getattr(scored, name).texts() for name in key if name != "label")
        labels, scores = scored.labels.tolist(), scored.scores.tolist()
        groups = [f"{result.dataset}/{group}" for group in scored.group_names()]
        found |= dict(
            zip(zip(labels, *names, strict=True), zip(labels, scores, groups, strict=True), strict=True)
        )
    labels, scores, groups = map(list, zip(*found.values(), strict=True))
    return recalibrate(
        card,
        labels,
        scores,
        groups,
        level=level,
        data=", ".join(result.test for result in results),
        method=method,
        fpr=fpr,
        fnr=fnr,
    )


def robustness_of(
    results: Sequence[Result],
    distorted: Callable[[str, int], Scores],
    test: TestSet,
    dataset: VideoDataset,
    request: Evaluation,
) -> list[Robustness]:
    """Return how distortions change the AUC, at the level of the row's paper, by the first counting.

    Args:
        results: Those of the test set on the crops as they are.
        distorted: Returns the scores of the same frames under a distortion, by its name and level.
        test: The test set.
        dataset: What it is measured on.
        request: The evaluation.

    Raises:
        UsageError: The AUC is not defined, or 0 on the crops as they are.
    """
    way, level = request.ways[0], request.protocol.level(request.row)
    plain = next(result for result in results if (result.counting, result.level) == (way.name, level))
    original = auc(plain.samples.labels, plain.samples.scores)
    found = []
    for name in DISTORTIONS.names:
        aucs = {0: original}
        for strength in LEVELS:
            looked = _looked_at(_of_test(distorted(name, strength), test), request, dataset, way)
            scores = _counted(looked, way, level)
            covered = cover(scores.scores, missing=request.missing)
            aucs[strength] = auc(scores.labels[covered.rows], covered.scores)
        found.append(Robustness(name, aucs))
    return found


def printed_means(
    results: Sequence[Result], method: str, metric: str
) -> Iterator[tuple[tuple[str, Level], PrintedFigure]]:
    """Yield counting, level and the mean that a paper prints over exactly the test sets of these results."""
    for counting, level in dict.fromkeys((result.counting, result.level) for result in results):
        datasets = [
            result.dataset for result in results if (result.counting, result.level) == (counting, level)
        ]
        if figure := expected_mean(method, datasets, level, metric):
            yield (counting, level), figure


def _notes(
    dataset: VideoDataset, way: Counting, level: Level, looked: Scores, scores: Scores
) -> Iterator[str]:
    """Yield the limits of a result: what was left out or could not be read."""
    yield from dataset.notes
    for reason, count in dataset.dropped.items():
        yield f"{dataset.name}: left out: {count} {reason}"
    placed = _placed(looked)
    if unread := int(np.isnan(placed.scores).sum()):
        yield f"{dataset.name}: {unread} of {len(placed)} crops could not be read"
    if way.video_key != "full" and level == "video":
        if len(scores) < (videos := len(np.unique(placed.key(VIDEO_KEY)))):
            yield f"{dataset.name}: {videos} videos count as {len(scores)}, as folders of one name merge"
        if without := len(looked) - len(placed):
            yield f"{dataset.name}: {way.name} counting does not know of {without} videos without frames"


def _training(
    protocol: Protocol, test: TestSet, card: ModelCard, paper: PrintedFigure | None
) -> Iterator[str]:
    """Yield notes on the training data: whether the data set is unseen, and whether papers compare."""
    trained_on = str(card.trained.get("data") or "")
    # A name within another is another: DFDC is not DFDCP.
    if (
        not test.local
        and not test.kinds
        and re.search(rf"(?<![\w-]){re.escape(test.dataset)}(?![\w-])", trained_on)
    ):
        yield f"{test.name}: no unseen data set: the model's card says that it was trained on {trained_on}"
    if paper is not None:
        yield (
            f"the papers' models were trained on {protocol.trained_on}; of this one its card says: "
            f"{trained_on or 'nothing'}"
        )


def _counted(frames: Scores, way: Counting, level: Level) -> Scores:
    """Return the samples of a level; only the corrected counting includes videos without frames."""
    known = frames if way.video_key == "full" else _placed(frames)
    return known if level == "frame" else videos_of(known, way.video_key)


def _placed(frames: Scores) -> Scores:
    """Return the frames without the placeholders of videos that have none."""
    return frames.take(np.flatnonzero(np.array(frames.frame.names)[frames.frame.codes] != ""))


def _of_test(frames: Scores, test: TestSet) -> Scores:
    if not test.kinds:
        return frames
    return frames.take(np.flatnonzero((frames.labels == 0) | _is(frames.kind, *test.kinds)))


def _is(column: Column, *values: str) -> NDArray[np.bool_]:
    wanted = np.array([name in values for name in column.names])
    return wanted[column.codes]


def _looked_at(frames: Scores, request: Evaluation, dataset: VideoDataset, way: Counting) -> Scores:
    """Return the frames that one counting uses, of those that any counting uses."""
    if len({counting.sampling for counting in request.ways}) == 1:
        return frames
    counts = {(video.kind, video.split, video.name): len(video.frames) for video in dataset.videos}
    _, first, of_row = np.unique(frames.key(VIDEO_KEY), return_index=True, return_inverse=True)
    videos = frames.take(first)
    names = zip(videos.kind.texts(), videos.split.texts(), videos.video.texts(), strict=True)
    numbers = np.array([int(name or -1) for name in frames.frame.names])[frames.frame.codes]
    wanted = [sample(counts[name], request.frames, way.sampling) for name in names]
    # Video and frame as one number; a video without frames stays.
    width = max(counts.values(), default=0) + 1
    kept = np.concatenate([row * width + looked for row, looked in enumerate(wanted)])
    return frames.take(np.flatnonzero((numbers < 0) | np.isin(of_row * width + numbers, kept)))


def _printed(protocol: Protocol | None, test: TestSet, method: str, level: Level) -> PrintedFigure | None:
    # No paper has seen the folder that stands in for its data set.
    if test.local and test.split == "val":
        return None
    dataset = test.kinds[0] if len(test.kinds) == 1 else test.dataset
    return expected(method, dataset, level, protocol.metrics[0] if protocol else "auc")
