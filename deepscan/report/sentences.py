"""What a page says of a video in plain words: its score and verdict, and how often these err."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.calibration import calibrate, logit
from deepscan.cards import Calibration
from deepscan.report.chart import format_score
from deepscan.report.run_info import ModelInfo, RunInfo
from deepscan.scanning.fusion import has_vote, scoring_models
from deepscan.scanning.telling import counting

#: How often frames are drawn again for the interval of a score.
DRAWS = 1000
#: Sharpness and turn of a face from which on it is called otherwise. Of the persons in 72 clips a tenth has a
#: lower sharpness than the second, and a tenth is turned further than the first turn.
SHARPNESS = ((10.0, "blurred"), (45.0, "soft"), (float("inf"), "sharp"))
TURN = ((0.25, "seen from the front"), (0.6, "turned aside"), (float("inf"), "seen from the side"))
_LITTLE = "too little to judge: "


@dataclass(frozen=True, slots=True)
class VideoWords:
    """What is said of a video.

    Attributes:
        finding: How many frames score how, in a sentence.
        errors: How often this verdict is wrong where that was measured, in a sentence; empty without one.
        interval: Between what the score would be with other frames, in a sentence; empty where nothing can be
            said.
    """

    finding: str = ""
    errors: str = ""
    interval: str = ""


def video_words(record: Mapping[str, Any], run: RunInfo) -> VideoWords:
    """Return what is said of a video.

    Args:
        record: A parsed line of a journal.
        run: That it is of.
    """
    if record["status"] != "ok" or record["score"] is None:
        return VideoWords()
    tracks = [track for track in record["tracks"] if track["counted"] and track["score"] is not None]
    worst = max(tracks, key=lambda track: track["score"], default=None)
    if worst is None:
        return VideoWords()
    verdict = record["verdict"]
    return VideoWords(
        _finding(record, run, tracks),
        " ".join(error_words(verdict, run.models[name]) for name in _deciding(record, run))
        if verdict
        else "",
        _interval(record, run, worst),
    )


def error_words(verdict: str, model: ModelInfo) -> str:
    """Return how often a model's verdict is wrong, on which data, in a sentence.

    Args:
        verdict: As records have it.
        model: Whose.
    """
    if model.error_rates is None:
        return f"How often {model.name} is wrong is not known here: the run's file does not say so."
    if not model.error_rates:
        return f"How often {model.name} is wrong is not known: its card states no error rates."
    rates = model.error_rates[0]
    if verdict == "fake":
        said = f"it called {rates.reals_called_fake} of {rates.reals} real ones fake"
    elif verdict == "no_evidence":
        said = f"it found no evidence in {rates.fakes_no_evidence} of {rates.fakes} fakes"
    else:
        undecided = rates.fakes - rates.fakes_called_fake - rates.fakes_no_evidence
        said = f"it could not decide on {undecided} of {rates.fakes} fakes"
        if rates.reals_no_evidence is not None:
            real = rates.reals - rates.reals_called_fake - rates.reals_no_evidence
            said += f" and {real} of {rates.reals} real ones"
    return f"Where {model.name} was measured, on {rates.data}, {said}."


def error_tag(verdict: str | None, run: RunInfo, voting: Sequence[str] = ()) -> str:
    """Return the same in a few words, to stand beside a verdict; empty where there is nothing to be wrong.

    Args:
        verdict: As records have it.
        run: The run.
        voting: Names of the models that had a vote, where the run has several.
    """
    names = list(voting or run.models)
    if verdict not in ("fake", "no_evidence"):
        return ""
    if len(names) != 1:
        return "error rate together not measured"
    if not (found := run.models[names[0]].error_rates):
        return "error rate not known"
    rates = found[0]
    if verdict == "fake":
        return f"also said of {rates.reals_called_fake} of {rates.reals} reals"
    return f"also said of {rates.fakes_no_evidence} of {rates.fakes} fakes"


def quality_words(quality: Mapping[str, float]) -> str:
    """Return how well faces can be judged, in words.

    Args:
        quality: As a record's track has it: size in pixels, sharpness, and how far it is turned in [0, 1].
    """
    sharp, turn = (
        next(word for limit, word in words if quality[key] < limit)
        for key, words in (("sharpness", SHARPNESS), ("pose", TURN))
    )
    return f"{sharp}, {turn}, {quality['size']:.0f} px"


def score_interval(
    raws: Sequence[tuple[NDArray[np.float64], Calibration | None]],
) -> tuple[float, float] | None:
    """Return between what a person's score lies in 95 of 100 redraws of its frames, None of a single one.

    The frames are drawn with replacement, as many as there are (Efron, "Bootstrap Methods: Another Look at
    the Jackknife", 1979); the draws are the same in every run. This is how much the frames differ. Frames of
    one video resemble each other, and all are judged by the same model: how far the score is from the truth
    may be far more.

    Args:
        raws: Of each model that scores, the raw scores of the faces that count, shape (N,), in the same
            order, and its calibration.
    """
    count = len(raws[0][0])
    if count < 2:
        return None
    drawn = np.random.default_rng(0).integers(count, size=(DRAWS, count))
    scores = []
    for raw, calibration in raws:
        means = raw[drawn].mean(axis=1)
        scores.append(means if calibration is None else calibrate(means, calibration))
    # As `scanning.fusion` takes several together.
    together = scores[0]
    if len(scores) > 1:
        together = 1 / (1 + np.exp(-np.mean([logit(each) for each in scores], axis=0)))
    low, high = np.quantile(together, (0.025, 0.975))
    return float(low), float(high)


def _finding(record: Mapping[str, Any], run: RunInfo, tracks: Sequence[Mapping[str, Any]]) -> str:
    sampled = len({frame["index"] for frame in record["frames"]})
    who = "one person's face" if len(tracks) == 1 else "a face"
    if len(run.models) != 1:
        several = f"{len(run.models)} models together" if run.models else "The model"
        return f"{several} give the persons in {_frames(sampled)} a score of {record['score']:.2f} at most."
    calibration = run.calibration_of()
    score = format_score(record["score"], calibration)
    if calibration is None:
        known = "has no calibration: it gives a raw score and no verdict" if run.described else "is not known"
        what = "This detector" if run.described else "What this score means"
        return f"{what} {known}. In {_frames(sampled)} {who} scores {score} on the whole."
    above = {
        frame["index"]
        for track in tracks
        for frame in _counting_frames(record, track, run)
        if calibrate(frame["score"], calibration) >= calibration.fake
    }
    limit = f"above the threshold for fake, {calibration.fake:g}"
    first = f"In {len(above)} of {_frames(sampled)} {who} scores {limit}"
    if not above:
        first = f"In none of {_frames(sampled)} does {who} score {limit}"
    together = f"together they score {score}"
    if len(tracks) > 1:
        highest = max(tracks, key=lambda track: track["score"])
        together = f"the highest of {len(tracks)} persons, person {highest['id']}, scores {score}"
    little = next((line for line in record["warnings"] if line.startswith(_LITTLE)), "")
    lower = f"{calibration.no_evidence:g}"
    if little:
        return f"{first}; {together}. But too little was seen to judge: {little.removeprefix(_LITTLE)}."
    if record["verdict"] == "no_evidence":
        return f"{first}; {together}, below {lower}: no evidence."
    if record["verdict"] == "inconclusive" and record["score"] >= calibration.no_evidence:
        return f"{first}; {together}, too low for fake and not below {lower}, where it would be no evidence."
    return f"{first}; {together}."


def _counting_frames(
    record: Mapping[str, Any], track: Mapping[str, Any], run: RunInfo
) -> list[Mapping[str, Any]]:
    """Return the faces of a person that the score is the mean of; all where it is not known which."""
    own = [frame for frame in record["frames"] if frame["track"] == track["id"]]
    return [frame for frame, counts in zip(own, counting(own, track, run.quality), strict=True) if counts]


def _deciding(record: Mapping[str, Any], run: RunInfo) -> list[str]:
    """Return the names of the models that the verdict is taken from."""
    if "models" not in record:
        return list(run.models)
    return list(scoring_models({model["name"]: has_vote(model) for model in record["models"]}))


def _interval(record: Mapping[str, Any], run: RunInfo, track: Mapping[str, Any]) -> str:
    frames = _counting_frames(record, track, run)
    raws = [
        (
            np.array([f["scores"][name] if "scores" in f else f["score"] for f in frames], dtype=np.float64),
            run.models[name].calibration,
        )
        for name in _deciding(record, run)
    ]
    found = score_interval(raws) if raws else None
    if found is None:
        return ""
    # Where two digits would show one number, there are more.
    texts = [[f"{edge:.{digits}f}" for edge in found] for digits in (2, 3, 4)]
    low, high = next((pair for pair in texts if pair[0] != pair[1]), texts[0])
    return (
        f"{low} to {high} in 95 of 100 random draws from its {len(frames)} frames. It says how much the "
        "frames differ, not how often the detector is wrong."
    )


def _frames(sampled: int) -> str:
    return f"{sampled} sampled frame{'' if sampled == 1 else 's'}"
