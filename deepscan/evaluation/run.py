"""Runs an evaluation: finds the test sets, scores their crops, stores the scores, and measures them."""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.cards import ModelCard
from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.engines.scorer import Scorer
from deepscan.errors import ContractError, MissingError, UsageError
from deepscan.evaluation.counting import Counting, sample
from deepscan.evaluation.journal import FrameJournal, face_video_key, read_frames
from deepscan.evaluation.protocols import TestSet
from deepscan.evaluation.report import Report, Result, file_name
from deepscan.evaluation.request import Evaluation
from deepscan.evaluation.results import printed_means, results_of, robustness_of
from deepscan.evaluation.robustness import DISTORTIONS, LEVELS, Robustness, distorted
from deepscan.evaluation.scores import Scores
from deepscan.evaluation.scoring import Change, score_videos
from deepscan.evaluation.testsets import VideoDataset, from_benchmark, from_generator, from_pictures
from deepscan.files import atomic_write, exclusive_lock, make_folder
from deepscan.media.frames import Image
from deepscan.scanning.record_lines import utc_now
from deepscan.version import __version__

#: File with the settings of the scores in a folder.
RUN_FILE = "run.json"
#: Subfolder for frame scores.
FRAMES = "frames"
SEED = 1024


class EvaluationListener:
    """Callbacks of an evaluation; override the ones you need."""

    def absent(self, test: TestSet, error: MissingError) -> None:
        """Called for a missing test set."""

    def cut(self, done: int, total: int) -> None:
        """Called with the number of pictures whose crops are cut, and their total."""

    def scored(self, dataset: str, done: int, total: int) -> None:
        """Called with the number of scored videos of a data set, and their total."""

    def measured(self, test: str) -> None:
        """Called when the metrics of a test set are about to be computed."""


def run_evaluation(request: Evaluation, scorer: Scorer, listener: EvaluationListener | None = None) -> Report:
    """Score and measure all test sets, resuming an earlier run of the same evaluation.

    Args:
        request: Settings of the evaluation.
        scorer: The detector.
        listener: Receives the progress.

    Returns:
        The report; the scores are in `request.out`.

    Raises:
        MissingError: A test set is missing.
        ContractError: The folder has a different evaluation, or the crops do not fit the model.
        UsageError: A name is unknown, or data cannot be read.
    """
    listener = listener or EvaluationListener()
    countings = request.counting_rules
    identity = _identity(request, scorer)
    earlier = {} if request.overwrite else _earlier_identity(request.out, identity)
    datasets = load_testsets(request, scorer.card, listener)
    changes = _changes() if request.protocol.distorted else {}
    results: list[Result] = []
    robustness: dict[str, list[Robustness]] = {}
    make_folder(request.out)
    with exclusive_lock(request.out / RUN_FILE):
        _begin(request, identity, earlier, datasets)
        for dataset in datasets:
            _score(request, dataset, scorer, changes, listener)
            frames = read_frames(_frames_file(request.out, dataset, ""))
            for test in dataset.tests:
                listener.measured(test.name)
                found = list(results_of(frames, test, dataset, request, scorer.card))
                if changes:
                    distorted_frames = partial(_distorted_frames, request.out, dataset)
                    try:
                        robustness[test.name] = robustness_of(found, distorted_frames, test, dataset, request)
                    except UsageError as error:
                        note = f"{test.name}: robustness is undefined: {error.message}"
                        found = [replace(result, notes=(*result.notes, note)) for result in found]
                results += found
    return Report(
        {**identity, **_description(request, countings, scorer.card), "ended": utc_now()},
        tuple(results),
        robustness,
        dict(printed_means(results, scorer.card.method, request.protocol.metrics[0])),
    )


def _identity(request: Evaluation, scorer: Scorer) -> dict[str, Any]:
    """Return the settings that must be equal to resume an earlier run."""
    return {
        "deepscan": __version__,
        "protocol": request.protocol.name,
        "model": {**scorer.facts.to_json(), "crop": scorer.recipe.to_json()},
        "data": str(request.data),
        "root": request.root and str(request.root),
        "frames": request.frames,
        "samplings": sorted({counting.sampling for counting in request.counting_rules}),
        "seed": SEED,
    }


def _description(request: Evaluation, countings: Sequence[Counting], card: ModelCard) -> dict[str, Any]:
    """Return further metadata of the report."""
    return {
        "sets": request.row,
        "level": request.protocol.level(request.row),
        "trained_on": {
            "by the protocol": request.protocol.trained_on,
            "by the card": card.trained.get("data"),
        },
        "countings": {counting.name: counting.explained for counting in countings},
        "video_keys": {counting.name: counting.video_key for counting in countings},
        "missing": request.missing,
        "calibration": card.calibration and {"level": card.calibration.level, "data": card.calibration.data},
    }


def _earlier_identity(out: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the scores in a folder; empty if there are none.

    Raises:
        ContractError: The scores are from a different evaluation.
    """
    path = out / RUN_FILE
    if not path.is_file():
        return {}
    try:
        earlier: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ContractError(f"{path} cannot be read: {error}", "choose another folder with --out")
    for name, value in identity.items():
        if earlier.get(name) != value:
            raise _different_evaluation(out, f"{name} was {earlier.get(name)!r}, is {value!r}")
    return earlier


def _begin(
    request: Evaluation,
    identity: Mapping[str, Any],
    earlier: Mapping[str, Any],
    datasets: Sequence[VideoDataset],
) -> None:
    """Write the settings of the scores into the output folder.

    Raises:
        ContractError: The folder has scores of different videos or crops of a data set.
    """
    if request.overwrite:
        shutil.rmtree(request.out / FRAMES, ignore_errors=True)
    keys = dict(earlier.get("keys", {}))
    for dataset in datasets:
        if keys.setdefault(_journal(dataset), dataset.key) != dataset.key:
            raise _different_evaluation(request.out, f"the videos or crops of {dataset.name} have changed")
    if earlier.get("keys") != keys:
        with atomic_write(request.out / RUN_FILE) as file:
            file.write(json.dumps({**identity, "keys": keys}, indent=1).encode())


def _different_evaluation(out: Path, difference: str) -> ContractError:
    return ContractError(
        f"{out} has a different evaluation: {difference}",
        "choose another folder with --out, or replace it with --overwrite",
    )


def load_testsets(request: Evaluation, card: ModelCard, listener: EvaluationListener) -> list[VideoDataset]:
    """Load the videos of the test sets, each data set once.

    Args:
        request: Settings with the test sets and the folder of the data.
        card: Card of the model, with its crop recipe.
        listener: Called for missing test sets and while pictures are cut.

    Raises:
        MissingError: A test set is missing although all are requested, or all are missing.
        ContractError: The crops do not suit the model.
        UsageError: A name is unknown, or data cannot be read.
    """
    tests: Sequence[TestSet] = request.tests
    found: list[VideoDataset] = []
    if request.indexed:
        found = from_pictures(request.data, card, request.cache, progress=listener.cut)
        known = [dataset.name for dataset in found]
        if unknown := [name for name in request.only if name not in known]:
            raise UsageError(
                f"{request.data} has no source {unknown[0]!r}", f"choose from: {', '.join(known)}"
            )
        return [dataset for dataset in found if not request.only or dataset.name in request.only]
    of_dataset: dict[tuple[str, str, str | None], list[TestSet]] = {}
    for test in tests:
        of_dataset.setdefault((test.dataset, test.split, test.compression), []).append(test)
    absent = 0
    for shared in of_dataset.values():
        try:
            if request.protocol.reading == "pictures":
                found.append(from_generator(shared[0], request.data, card))
            else:
                found.append(from_benchmark(shared, request.data, card, request.root))
        except MissingError as error:
            absent += len(shared)
            for test in shared:
                listener.absent(test, error)
    if absent and not (request.available and found):
        all_absent = absent == len(request.tests)
        counted = "1 test set" if len(request.tests) == 1 else f"{len(request.tests)} test sets"
        raise MissingError(
            f"{request.data} lacks {absent} of {counted} of {request.protocol.name}",
            "put them there, or choose another folder with --data"
            + ("" if all_absent else ", or add --available to evaluate the others"),
        )
    return found


def _changes() -> dict[str, Change]:
    """Return a function that changes crops for every distortion and level, by name; "" is the identity."""

    def plain(crop: Image, video: FaceVideo, number: int) -> Image:
        return crop

    def changed(crop: Image, video: FaceVideo, number: int, *, name: str, level: int) -> Image:
        key = "/".join(face_video_key(video))
        return distorted(crop, name, level, seed=SEED, video=key, frame=number)

    changes = {
        (name, level): partial(changed, name=name, level=level)
        for name in DISTORTIONS.names
        for level in LEVELS
    }
    return {"": plain, **{f"{name}-{level}": change for (name, level), change in changes.items()}}


def _journal(dataset: VideoDataset) -> str:
    return f"{dataset.name}-{dataset.tests[0].split}"


def _frames_file(out: Path, dataset: VideoDataset, change: str) -> Path:
    name = f"{_journal(dataset)}-{change}" if change else _journal(dataset)
    return out / FRAMES / f"{file_name(name)}.csv"


def _distorted_frames(out: Path, dataset: VideoDataset, name: str, level: int) -> Scores:
    return read_frames(_frames_file(out, dataset, f"{name}-{level}"))


def _score(
    request: Evaluation,
    dataset: VideoDataset,
    scorer: Scorer,
    changes: Mapping[str, Change],
    listener: EvaluationListener,
) -> None:
    """Score the frames that any counting uses and that have no score yet, and write the scores."""
    names = list(changes) or [""]
    (request.out / FRAMES).mkdir(exist_ok=True)
    with ExitStack() as stack:
        journals = [
            stack.enter_context(FrameJournal(_frames_file(request.out, dataset, name), resume=True))
            for name in names
        ]
        todo = [
            video
            for video in dataset.videos
            if any(face_video_key(video) not in journal.done for journal in journals)
        ]
        done, total = len(dataset.videos) - len(todo), len(dataset.videos)
        scored_videos = score_videos(
            todo, dataset.read, scorer, partial(_sampled, request), list(changes.values())
        )
        for count, found in enumerate(scored_videos, 1):
            video = found.video
            known = (video.kind, video.name)
            group = (dataset.groups.get(known) or video.name) if dataset.groups else ""
            for journal, scores in zip(journals, found.scores, strict=True):
                if face_video_key(video) not in journal.done:
                    status = dataset.without.get(known, "")
                    journal.append(video, found.frames, scores, group=group, status=status)
            listener.scored(dataset.name, done + count, total)


def _sampled(request: Evaluation, frames: int) -> NDArray[np.int64]:
    """Return the indices of the frames that any counting uses."""
    if not frames:
        return np.arange(0)
    return np.unique(
        np.concatenate(
            [sample(frames, request.frames, counting.sampling) for counting in request.counting_rules]
        )
    )
