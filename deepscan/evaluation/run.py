"""Runs an evaluation: finds the test sets, scores their crops, keeps the scores, and measures them."""

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

#: File that says what the scores in a folder are of.
RUN_FILE = "run.json"
#: Folder in it for the scores of every frame.
FRAMES = "frames"
SEED = 1024


class EvaluationListener:
    """Callbacks of an evaluation; override those that you need."""

    def absent(self, test: TestSet, error: MissingError) -> None:
        """A test set is missing."""

    def cut(self, done: int, total: int) -> None:
        """Crops of `done` of `total` pictures are cut."""

    def scored(self, dataset: str, done: int, total: int) -> None:
        """`done` of `total` videos of a data set are scored."""

    def measured(self, test: str) -> None:
        """The metrics of a test set are being computed."""


def run_evaluation(request: Evaluation, scorer: Scorer, listener: EvaluationListener | None = None) -> Report:
    """Score and measure all test sets; resume an earlier run of the same evaluation.

    Args:
        request: What to evaluate.
        scorer: The detector.
        listener: Its methods are called as the evaluation proceeds.

    Returns:
        The report; the scores are in `request.out`.

    Raises:
        MissingError: A test set is missing.
        ContractError: The folder holds another evaluation, or the crops do not fit the model.
        UsageError: A name is unknown, or data cannot be read.
    """
    listener = listener or EvaluationListener()
    ways = request.ways
    identity = _identity(request, scorer)
    former = {} if request.overwrite else _earlier_identity(request.out, identity)
    datasets = load_testsets(request, scorer.card, listener)
    changes = _changes() if request.protocol.distorted else {}
    results: list[Result] = []
    robust: dict[str, list[Robustness]] = {}
    make_folder(request.out)
    with exclusive_lock(request.out / RUN_FILE):
        _begin(request, identity, former, datasets)
        for dataset in datasets:
            _score(request, dataset, scorer, changes, listener)
            frames = read_frames(_frames_file(request.out, dataset, ""))
            for test in dataset.tests:
                listener.measured(test.name)
                found = list(results_of(frames, test, dataset, request, scorer.card))
                if changes:
                    under = partial(_frames_under, request.out, dataset)
                    try:
                        robust[test.name] = robustness_of(found, under, test, dataset, request)
                    except UsageError as error:
                        note = f"{test.name}: how distortions move its AUC means nothing: {error.message}"
                        found = [replace(result, notes=(*result.notes, note)) for result in found]
                results += found
    return Report(
        {**identity, **_description(request, ways, scorer.card), "ended": utc_now()},
        tuple(results),
        robust,
        dict(printed_means(results, scorer.card.method, request.protocol.metrics[0])),
    )


def _identity(request: Evaluation, scorer: Scorer) -> dict[str, Any]:
    """Return what must be equal for a run to resume another."""
    return {
        "deepscan": __version__,
        "protocol": request.protocol.name,
        "model": {**scorer.to_json(), "crop": scorer.recipe.to_json()},
        "data": str(request.data),
        "root": request.root and str(request.root),
        "frames": request.frames,
        "samplings": sorted({way.sampling for way in request.ways}),
        "seed": SEED,
    }


def _description(request: Evaluation, ways: Sequence[Counting], card: ModelCard) -> dict[str, Any]:
    """Return what else a report says about its results."""
    return {
        "sets": request.row,
        "level": request.protocol.level(request.row),
        "trained_on": {
            "by the protocol": request.protocol.trained_on,
            "by the card": card.trained.get("data"),
        },
        "countings": {way.name: way.explained for way in ways},
        "video_keys": {way.name: way.video_key for way in ways},
        "missing": request.missing,
        "calibration": card.calibration and {"level": card.calibration.level, "data": card.calibration.data},
    }


def _earlier_identity(out: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity of the scores in a folder; empty if there are none.

    Raises:
        ContractError: They are those of another evaluation.
    """
    path = out / RUN_FILE
    if not path.is_file():
        return {}
    try:
        former: dict[str, Any] = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ContractError(f"{path} cannot be read: {error}", "name another folder with --out")
    for name, value in identity.items():
        if former.get(name) != value:
            raise _another(out, f"{name} was {former.get(name)!r}, is {value!r}")
    return former


def _begin(
    request: Evaluation,
    identity: Mapping[str, Any],
    former: Mapping[str, Any],
    datasets: Sequence[VideoDataset],
) -> None:
    """Write what the scores in the folder are of.

    Raises:
        ContractError: The folder has scores of other videos or crops of a data set.
    """
    if request.overwrite:
        shutil.rmtree(request.out / FRAMES, ignore_errors=True)
    keys = dict(former.get("keys", {}))
    for dataset in datasets:
        if keys.setdefault(_journal(dataset), dataset.key) != dataset.key:
            raise _another(request.out, f"the videos or crops of {dataset.name} were others")
    if former.get("keys") != keys:
        with atomic_write(request.out / RUN_FILE) as file:
            file.write(json.dumps({**identity, "keys": keys}, indent=1).encode())


def _another(out: Path, how: str) -> ContractError:
    return ContractError(
        f"{out} holds another evaluation: {how}",
        "name another folder with --out, or replace it with --overwrite",
    )


def load_testsets(request: Evaluation, card: ModelCard, listener: EvaluationListener) -> list[VideoDataset]:
    """Return the videos of the test sets, each data set once.

    Args:
        request: The test sets and the folder of the data.
        card: The model whose crops are made.
        listener: Called for missing test sets and for pictures that are cut.

    Raises:
        MissingError: A test set is not there, and all are asked for; or none is.
        ContractError: Crops do not suit the model.
        UsageError: A name is unknown, or data cannot be read.
    """
    tests: Sequence[TestSet] = request.tests
    found: list[VideoDataset] = []
    if request.indexed:
        found = from_pictures(request.data, card, request.cache, progress=listener.cut)
        known = [dataset.name for dataset in found]
        if wrong := [name for name in request.only if name not in known]:
            raise UsageError(f"{request.data} has no source {wrong[0]!r}", f"choose from: {', '.join(known)}")
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
        whole = absent == len(request.tests)
        raise MissingError(
            f"{absent} of the {len(request.tests)} test sets of {request.protocol.name} are not in "
            f"{request.data}",
            "put them there, or name another folder with --data"
            + ("" if whole else "; --available evaluates those that are there"),
        )
    return found


def _changes() -> dict[str, Change]:
    """Return the change of crops for every distortion and level, by name; "" leaves them as they are."""

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


def _frames_under(out: Path, dataset: VideoDataset, name: str, level: int) -> Scores:
    return read_frames(_frames_file(out, dataset, f"{name}-{level}"))


def _score(
    request: Evaluation,
    dataset: VideoDataset,
    scorer: Scorer,
    changes: Mapping[str, Change],
    listener: EvaluationListener,
) -> None:
    """Score the frames that any counting uses and that have no score yet, and write them."""
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
        coming = score_videos(todo, dataset.read, scorer, partial(_sampled, request), list(changes.values()))
        for count, found in enumerate(coming, 1):
            video = found.video
            known = (video.kind, video.name)
            group = (dataset.groups.get(known) or video.name) if dataset.groups else ""
            for journal, scores in zip(journals, found.scores, strict=True):
                if face_video_key(video) not in journal.done:
                    status = dataset.without.get(known, "")
                    journal.append(video, found.frames, scores, group=group, status=status)
            listener.scored(dataset.name, done + count, total)


def _sampled(request: Evaluation, frames: int) -> NDArray[np.int64]:
    """Return the frames that any of the countings uses."""
    if not frames:
        return np.arange(0)
    return np.unique(np.concatenate([sample(frames, request.frames, way.sampling) for way in request.ways]))
