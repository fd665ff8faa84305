"""From the scores of a test set's frames to its figures, under each way to count."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from deepscan.cards import ModelCard
from deepscan.evaluation.counting import Counting, sample, videos_of
from deepscan.evaluation.figures import cover
from deepscan.evaluation.material import Material
from deepscan.evaluation.metrics import auc
from deepscan.evaluation.protocols.protocol import Level, Protocol, TestSet
from deepscan.evaluation.report import Result, measure_scores
from deepscan.evaluation.robustness import DISTORTIONS, LEVELS, Robustness
from deepscan.evaluation.scores import VIDEO_KEY, Scores
from deepscan.evaluation.tables import Figure, expected, expected_mean

if TYPE_CHECKING:
    from deepscan.evaluation.run import Evaluation


def results_of(
    frames: Scores, test: TestSet, material: Material, asked: "Evaluation", card: ModelCard
) -> Iterator[Result]:
    """Yield the results of a test set: each way to count, per frame and per video.

    Args:
        frames: Scores of all frames of the material that any way to count looks at.
        test: The test set.
        material: What it is measured on.
        asked: The evaluation.
        card: The model.
    """
    levels: tuple[Level, ...] = ("frame", "video")
    of_test = _of_test(frames, test)
    for way in asked.ways:
        looked = _looked_at(of_test, asked, material, way)
        for level in levels:
            scores = looked if level == "frame" else _videos(looked, way)
            paper = _printed(asked.protocol, test, card.method, level)
            yield measure_scores(
                scores,
                test=test.name,
                dataset=test.dataset,
                counting=way,
                level=level,
                calibration=card.calibration,
                missing=asked.missing,
                paper=paper,
                notes=(
                    *_notes(material, way, level, looked, scores),
                    *_training(asked.protocol, test, card, paper),
                ),
            )


def robustness_of(
    results: Sequence[Result],
    distorted: Callable[[str, int], Scores],
    test: TestSet,
    material: Material,
    asked: "Evaluation",
) -> list[Robustness]:
    """Return how the distortions move the AUC, at the level of the row's paper, by the first way to count.

    Args:
        results: Those of the test set on the crops as they are.
        distorted: Gives the scores of the same frames under a distortion, by its name and level.
        test: The test set.
        material: What it is measured on.
        asked: The evaluation.

    Raises:
        UsageError: The AUC is not defined, or 0 on the crops as they are.
    """
    way, level = asked.ways[0], asked.protocol.level(asked.row)
    plain = next(each for each in results if (each.counting, each.level) == (way.name, level))
    original = auc(plain.samples.labels, plain.samples.scores)
    found = []
    for name in DISTORTIONS.names:
        aucs = {0: original}
        for strength in LEVELS:
            looked = _looked_at(_of_test(distorted(name, strength), test), asked, material, way)
            scores = looked if level == "frame" else _videos(looked, way)
            covered = cover(scores.scores, missing=asked.missing)
            aucs[strength] = auc(scores.labels[covered.rows], covered.scores)
        found.append(Robustness(name, aucs))
    return found


def printed_means(
    results: Sequence[Result], method: str, metric: str
) -> Iterator[tuple[tuple[str, Level], Figure]]:
    """Yield counting, level and the mean that a paper prints over exactly the test sets of these results."""
    for counting, level in dict.fromkeys((each.counting, each.level) for each in results):
        datasets = [each.dataset for each in results if (each.counting, each.level) == (counting, level)]
        if figure := expected_mean(method, datasets, level, metric):
            yield (counting, level), figure


def _notes(material: Material, way: Counting, level: Level, looked: Scores, scores: Scores) -> Iterator[str]:
    """Yield what keeps a figure from being of all that it seems to be of."""
    yield from material.notes
    for reason, count in material.dropped.items():
        yield f"{material.name}: left out: {count} {reason}"
    if way.video_key != "full" and level == "video":
        placed = _placed(looked)
        if len(scores) < (videos := len(np.unique(placed.key(VIDEO_KEY)))):
            yield f"{material.name}: {videos} videos count as {len(scores)}, as folders of one name merge"
        if without := len(looked) - len(placed):
            yield f"{material.name}: {way.name} counting does not know of {without} videos without frames"


def _training(protocol: Protocol, test: TestSet, card: ModelCard, paper: Figure | None) -> Iterator[str]:
    """Yield what keeps a figure from being one of a data set that the model does not know, or a paper's."""
    said = str(card.trained.get("data") or "")
    # A name within another is another: DFDC is not DFDCP.
    if (
        not test.local
        and not test.kinds
        and re.search(rf"(?<![\w-]){re.escape(test.dataset)}(?![\w-])", said)
    ):
        yield f"{test.name}: no unseen data set: the model's card says that it was trained on {said}"
    if paper is not None:
        yield (
            f"the papers' models were trained on {protocol.trained_on}; of this one its card says: "
            f"{said or 'nothing'}"
        )


def _videos(frames: Scores, way: Counting) -> Scores:
    return videos_of(frames if way.video_key == "full" else _placed(frames), way.video_key)


def _placed(frames: Scores) -> Scores:
    """Return the frames themselves, without what stands for videos that have none: these lie nowhere."""
    return frames.take(np.flatnonzero(np.array(frames.frame.names)[frames.frame.codes] != ""))


def _of_test(frames: Scores, test: TestSet) -> Scores:
    if not test.kinds:
        return frames
    wanted = np.array([name in test.kinds for name in frames.kind.names])
    return frames.take(np.flatnonzero((frames.labels == 0) | wanted[frames.kind.codes]))


def _looked_at(frames: Scores, asked: "Evaluation", material: Material, way: Counting) -> Scores:
    """Return the frames that a way to count looks at, of those that any of them does."""
    if len({each.sampling for each in asked.ways}) == 1:
        return frames
    counts = {(video.kind, video.split, video.name): len(video.frames) for video in material.videos}
    _, first, of_row = np.unique(frames.key(VIDEO_KEY), return_index=True, return_inverse=True)
    videos = frames.take(first)
    names = zip(videos.kind.texts(), videos.split.texts(), videos.video.texts(), strict=True)
    numbers = np.array([int(name or -1) for name in frames.frame.names])[frames.frame.codes]
    wanted = [sample(counts[name], asked.frames, way.sampling) for name in names]
    # Video and frame as one number; a video without frames stays.
    width = max(counts.values(), default=0) + 1
    kept = np.concatenate([at * width + looked for at, looked in enumerate(wanted)])
    return frames.take(np.flatnonzero((numbers < 0) | np.isin(of_row * width + numbers, kept)))


def _printed(protocol: Protocol, test: TestSet, method: str, level: Level) -> Figure | None:
    # No paper has seen the folder that stands in for its data set.
    if test.local and test.split == "val":
        return None
    dataset = test.kinds[0] if len(test.kinds) == 1 else test.dataset
    return expected(method, dataset, level, protocol.metrics[0])
