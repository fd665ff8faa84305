"""Computes the results of a test set from its frame scores, for each counting."""

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
    """Yield the results of a test set for each counting, per frame and per video.

    Args:
        frames: Scores of all frames that any counting uses.
        test: The test set.
        dataset: Its videos.
        request: Settings of the evaluation.
        card: The model's card.
    """
    levels: tuple[Level, ...] = ("frame", "video")
    of_test = _of_test(frames, test)
    for counting in request.counting_rules:
        sampled = _sampled_by(of_test, request, dataset, counting)
        for level in levels:
            scores = _at_level(sampled, counting, level)
            paper = _printed(request.protocol, test, card.method, level)
            yield measure_scores(
                scores,
                test=test.name,
                dataset=test.dataset,
                counting=counting,
                level=level,
                calibration=card.calibration,
                missing=request.missing,
                paper=paper,
                notes=(
                    *_notes(dataset, counting, level, sampled, scores),
                    *_training(request.protocol, test, card, paper),
                ),
            )


def report_scores(
    scores: Scores,
    *,
    missing: Missing,
    countings: Sequence[Counting] | None = None,
    protocol: Protocol | None = None,
    row: str | None = None,
    available: bool = False,
    metadata: Mapping[str, Any] | None = None,
    notes: tuple[str, ...] = (),
) -> Report:
    """Measure scores from any source, by a protocol or for each of their data sets.

    Args:
        scores: Scores of videos, or of frames, which are measured per frame and per video.
        missing: Policy for samples without a score.
        countings: Countings; None for the corrected one.
        protocol: The protocol; None to measure every data set of the scores.
        row: Method whose test sets and printed results are used; None for no method.
        available: Whether to skip test sets without scores.
        metadata: Source of the scores, for the report.
        notes: Remarks on the scores for readers.

    Raises:
        UsageError: The scores lack a test set of the protocol.
    """
    tests = [TestSet(name or "all", name) for name in scores.dataset.names]
    if protocol is not None:
        tests = list(protocol.sets[row or next(iter(protocol.sets))])
        missing_tests = [test.name for test in tests if test.dataset not in scores.dataset.names]
        if missing_tests and (not available or len(missing_tests) == len(tests)):
            raise UsageError(
                f"no scores of {len(missing_tests)} of the {len(tests)} test sets of {protocol.name}: "
                f"{', '.join(missing_tests)}",
                "use these names in the column dataset, or add --available",
            )
        tests = [test for test in tests if test.name not in missing_tests]
    levels: tuple[Level, ...] = ("frame", "video") if scores.frame.has_values else ("video",)
    results = []
    for test in tests:
        of_test = _of_test(scores.take(np.flatnonzero(_is(scores.dataset, test.dataset))), test)
        for counting, level in product(countings or [COUNTINGS.get("corrected")], levels):
            level_scores = _at_level(of_test, counting, level) if scores.frame.has_values else of_test
            results.append(
                measure_scores(
                    level_scores,
                    test=test.name,
                    dataset=test.dataset,
                    counting=counting,
                    level=level,
                    calibration=None,
                    missing=missing,
                    paper=_printed(protocol, test, row, level) if row else None,
                    notes=notes,
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
    """Return a model's card, calibrated on the samples of a report's first counting.

    Samples without a score are ignored. A sample in several test sets, such as the reals of FaceForensics++,
    is used once.

    Args:
        report: The report.
        card: The model's card.
        level: Whether a sample is a frame or a video.
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
    """Compute the AUC under each distortion, at the level of the row's paper, with the first counting.

    Args:
        results: Results of the test set on the original crops.
        distorted: Returns the scores of the same frames under a distortion, given its name and level.
        test: The test set.
        dataset: Its videos.
        request: Settings of the evaluation.

    Raises:
        UsageError: The AUC is undefined, or 0 on the original crops.
    """
    counting, level = request.counting_rules[0], request.protocol.level(request.row)
    plain = next(result for result in results if (result.counting, result.level) == (counting.name, level))
    original = auc(plain.samples.labels, plain.samples.scores)
    found = []
    for name in DISTORTIONS.names:
        aucs = {0: original}
        for strength in LEVELS:
            sampled = _sampled_by(_of_test(distorted(name, strength), test), request, dataset, counting)
            scores = _at_level(sampled, counting, level)
            covered = cover(scores.scores, missing=request.missing)
            aucs[strength] = auc(scores.labels[covered.rows], covered.scores)
        found.append(Robustness(name, aucs))
    return found


def printed_means(
    results: Sequence[Result], method: str, metric: str
) -> Iterator[tuple[tuple[str, Level], PrintedFigure]]:
    """Yield counting, level and the mean that a paper prints over exactly these test sets."""
    for counting, level in dict.fromkeys((result.counting, result.level) for result in results):
        datasets = [
            result.dataset for result in results if (result.counting, result.level) == (counting, level)
        ]
        if figure := expected_mean(method, datasets, level, metric):
            yield (counting, level), figure


def _notes(
    dataset: VideoDataset, counting: Counting, level: Level, sampled: Scores, scores: Scores
) -> Iterator[str]:
    """Yield the limitations of a result: skipped entries, unreadable crops, merged videos."""
    yield from dataset.notes
    for reason, count in dataset.dropped.items():
        yield f"{dataset.name}: skipped: {count} {reason}"
    frames_only = _without_placeholders(sampled)
    if unreadable := int(np.isnan(frames_only.scores).sum()):
        yield f"{dataset.name}: {unreadable} of {len(frames_only)} crops could not be read"
    if counting.video_key != "full" and level == "video":
        if len(scores) < (videos := len(np.unique(frames_only.key(VIDEO_KEY)))):
            yield f"{dataset.name}: {videos} videos count as {len(scores)}: equal folder names are merged"
        if empty := len(sampled) - len(frames_only):
            yield f"{dataset.name}: {counting.name} counting ignores {empty} videos without frames"


def _training(
    protocol: Protocol, test: TestSet, card: ModelCard, paper: PrintedFigure | None
) -> Iterator[str]:
    """Yield notes on the training data: whether the data set is unseen, and whether papers compare."""
    trained_on = str(card.trained.get("data") or "")
    # Match whole names: DFDC is not DFDCP.
    if (
        not test.local
        and not test.kinds
        and re.search(rf"(?<![\w-]){re.escape(test.dataset)}(?![\w-])", trained_on)
    ):
        yield f"{test.name}: not an unseen data set: the card says that the model was trained on {trained_on}"
    if paper is not None:
        yield (
            f"the papers' models were trained on {protocol.trained_on}; the card of this model says: "
            f"{trained_on or 'nothing'}"
        )


def _at_level(frames: Scores, counting: Counting, level: Level) -> Scores:
    """Return the samples at a level; only the corrected counting includes videos without frames."""
    known = frames if counting.video_key == "full" else _without_placeholders(frames)
    return known if level == "frame" else videos_of(known, counting.video_key)


def _without_placeholders(frames: Scores) -> Scores:
    """Return the frames without the placeholder rows of videos that have none."""
    return frames.take(np.flatnonzero(np.array(frames.frame.names)[frames.frame.codes] != ""))


def _of_test(frames: Scores, test: TestSet) -> Scores:
    if not test.kinds:
        return frames
    return frames.take(np.flatnonzero((frames.labels == 0) | _is(frames.kind, *test.kinds)))


def _is(column: Column, *values: str) -> NDArray[np.bool_]:
    selected = np.array([name in values for name in column.names])
    return selected[column.codes]


def _sampled_by(frames: Scores, request: Evaluation, dataset: VideoDataset, counting: Counting) -> Scores:
    """Return the frames that a counting uses, of those that any counting uses."""
    if len({counting.sampling for counting in request.counting_rules}) == 1:
        return frames
    counts = {(video.kind, video.split, video.name): len(video.frames) for video in dataset.videos}
    _, first, of_row = np.unique(frames.key(VIDEO_KEY), return_index=True, return_inverse=True)
    videos = frames.take(first)
    names = zip(videos.kind.texts(), videos.split.texts(), videos.video.texts(), strict=True)
    numbers = np.array([int(name or -1) for name in frames.frame.names])[frames.frame.codes]
    selected = [sample(counts[name], request.frames, counting.sampling) for name in names]
    # Encode video and frame as one number; videos without frames are kept.
    width = max(counts.values(), default=0) + 1
    kept = np.concatenate([row * width + sampled for row, sampled in enumerate(selected)])
    return frames.take(np.flatnonzero((numbers < 0) | np.isin(of_row * width + numbers, kept)))


def _printed(protocol: Protocol | None, test: TestSet, method: str, level: Level) -> PrintedFigure | None:
    # The user's folder replaces the data set, so no printed result applies.
    if test.local and test.split == "val":
        return None
    dataset = test.kinds[0] if len(test.kinds) == 1 else test.dataset
    return expected(method, dataset, level, protocol.metrics[0] if protocol else "auc")
