"""Describe a video in plain sentences: its score and verdict, and how often these are wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.calibration import calibrate, logit
from deepscan.cards import Calibration
from deepscan.outcomes import track_label
from deepscan.report.chart import format_score
from deepscan.report.run_info import ModelInfo, RunInfo
from deepscan.scanning.fusion import has_vote, scoring_models
from deepscan.scanning.summary import shown_warnings
from deepscan.scanning.telling import counting

#: How many times the frames are redrawn for the interval of a score.
DRAWS = 1000
#: Upper limits of sharpness and turn for each description of a face. Of the persons in 72 clips, a tenth has
#: a sharpness below the second limit, and a tenth is turned by more than the first.
SHARPNESS = ((10.0, "blurred"), (45.0, "soft"), (float("inf"), "sharp"))
TURN = ((0.25, "frontal"), (0.6, "turned sideways"), (float("inf"), "in profile"))
_LITTLE = "too little to judge: "


@dataclass(frozen=True, slots=True)
class VideoText:
    """Sentences about a video.

    Attributes:
        finding: How many frames have which scores.
            errors: How often this verdict is wrong, if that was measured; empty without a verdict.
            interval: The range of the score with other frames; empty if it cannot be computed.
    """

    finding: str = ""
    errors: str = ""
    interval: str = ""


def describe_video(record: Mapping[str, Any], run: RunInfo) -> VideoText:
    """Describe a video.

    Args:
        record: A parsed line of a journal.
        run: Its run.
    """
    if record["status"] != "ok" or record["score"] is None:
        return VideoText()
    tracks = [track for track in record["tracks"] if track["counted"] and track["score"] is not None]
    worst = max(tracks, key=lambda track: track["score"], default=None)
    if worst is None:
        return VideoText()
    verdict = record["verdict"]
    return VideoText(
        _finding(record, run, tracks),
        " ".join(describe_errors(verdict, run.models[name]) for name in _deciding(record, run))
        if verdict
        else "",
        _interval(record, run, worst),
    )


def describe_errors(verdict: str, model: ModelInfo) -> str:
    """Return a sentence about how often a model's verdict is wrong, and on which data.

    Args:
        verdict: The verdict as in a record.
        model: The model.
    """
    if model.error_rates is None:
        return f"How often {model.name} is wrong is unknown: the run's file does not say."
    if not model.error_rates:
        return f"How often {model.name} is wrong is unknown: its card reports no error rates."
    rates = model.error_rates[0]
    reals = f"{rates.reals} real {'videos' if rates.level == 'video' else 'faces'}"
    if verdict == "fake":
        outcome = f"called {rates.reals_called_fake} of {reals} fake"
    elif verdict == "no_evidence":
        outcome = f"found no evidence in {rates.fakes_no_evidence} of {rates.fakes} fakes"
    else:
        undecided = rates.fakes - rates.fakes_called_fake - rates.fakes_no_evidence
        outcome = f"was inconclusive on {undecided} of {rates.fakes} fakes"
        if rates.reals_no_evidence is not None:
            real = rates.reals - rates.reals_called_fake - rates.reals_no_evidence
            outcome += f" and {real} of {reals}"
    return f"Tested on {rates.data}, {model.name} {outcome}."


def error_tag(verdict: str | None, run: RunInfo, voting: Sequence[str] = ()) -> str:
    """Return the same in a few words, to show next to a verdict; empty if the verdict cannot be wrong.

    Args:
        verdict: The verdict as in a record.
        run: The run.
        voting: Names of the models with a vote, if the run has several models.
    """
    names = list(voting or run.models)
    if verdict not in ("fake", "no_evidence"):
        return ""
    if len(names) != 1:
        return "combined error rate not measured"
    if not (found := run.models[names[0]].error_rates):
        return "error rate unknown"
    rates = found[0]
    if verdict == "fake":
        return f"also given to {rates.reals_called_fake} of {rates.reals} reals"
    return f"also given to {rates.fakes_no_evidence} of {rates.fakes} fakes"


def describe_quality(quality: Mapping[str, float]) -> str:
    """Describe how well faces can be judged.

    Args:
        quality: From a record's track: size in pixels, sharpness, and pose in [0, 1].
    """
    sharp, turn = (
        next(word for limit, word in levels if quality[key] < limit)
        for key, levels in (("sharpness", SHARPNESS), ("pose", TURN))
    )
    return f"{sharp}, {turn}, {quality['size']:.0f} px"


def score_interval(
    raws: Sequence[tuple[NDArray[np.float64], Calibration | None]],
) -> tuple[float, float] | None:
    """Return the range of a person's score in 95 of 100 redraws of its frames, None for a single frame.

    As many frames as there are are drawn with replacement (Efron, "Bootstrap Methods: Another Look at the
    Jackknife", 1979), in the same way in every run. The range shows how much the frames differ. Frames of one
    video resemble each other and are all judged by the same model, so the score may be much further from the
    truth.

    Args:
        raws: For each scoring model, the raw scores of the faces that count, shape (N,), in the same order,
            and its calibration.
    """
    count = len(raws[0][0])
    if count < 2:
        return None
    drawn = np.random.default_rng(0).integers(count, size=(DRAWS, count))
    scores = []
    for raw, calibration in raws:
        means = raw[drawn].mean(axis=1)
        scores.append(means if calibration is None else calibrate(means, calibration))
    # As `scanning.fusion` combines several models.
    together = scores[0]
    if len(scores) > 1:
        together = 1 / (1 + np.exp(-np.mean([logit(model_scores) for model_scores in scores], axis=0)))
    low, high = np.quantile(together, (0.025, 0.975))
    return float(low), float(high)


def _finding(record: Mapping[str, Any], run: RunInfo, tracks: Sequence[Mapping[str, Any]]) -> str:
    sampled = len({frame["index"] for frame in record["frames"]})
    who = "one person's face" if len(tracks) == 1 else "a face"
    if len(run.models) != 1:
        models = f"by {len(run.models)} models together" if run.models else "by the model"
        return f"In {_frames(sampled)}, the highest score of a person {models} is {record['score']:.2f}."
    calibration = run.calibration_of()
    score = format_score(record["score"], calibration)
    if calibration is None:
        if run.described:
            meaning = "This detector is not calibrated: its score is raw, and there is no verdict"
        else:
            meaning = "The meaning of this score is unknown here"
        return f"{meaning}. In {_frames(sampled)}, {who} has a score of {score}."
    above = {
        frame["index"]
        for track in tracks
        for frame in _counting_frames(record, track, run)
        if calibrate(frame["score"], calibration) >= calibration.fake
    }
    limit = f"above the threshold for fake ({calibration.fake:g})"
    first = f"In {len(above)} of {_frames(sampled)}, {who} scores {limit}"
    if not above:
        first = f"In none of {_frames(sampled)} does any face score {limit}"
    together = f"the overall score is {score}"
    if len(tracks) > 1:
        highest = max(tracks, key=lambda track: track["score"])
        together = f"of {len(tracks)} persons, {track_label(highest['id'])} has the highest score, {score}"
    little = next((line for line in shown_warnings(record) if line.startswith(_LITTLE)), "")
    lower = f"the threshold for no evidence ({calibration.no_evidence:g})"
    if little:
        return f"{first}; {together}. But too little was seen to judge: {little.removeprefix(_LITTLE)}."
    if record["verdict"] == "no_evidence":
        return f"{first}; {together}, below {lower}."
    if record["verdict"] == "inconclusive" and record["score"] >= calibration.no_evidence:
        return f"{first}; {together}, between that and {lower}."
    return f"{first}; {together}."


def _counting_frames(
    record: Mapping[str, Any], track: Mapping[str, Any], run: RunInfo
) -> list[Mapping[str, Any]]:
    """Return the faces of a person that the score is based on, or all if that is not known."""
    own = [frame for frame in record["frames"] if frame["track"] == track["id"]]
    return [frame for frame, counts in zip(own, counting(own, track, run.quality), strict=True) if counts]


def _deciding(record: Mapping[str, Any], run: RunInfo) -> list[str]:
    """Return the names of the models that decide the verdict."""
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
    # Use more digits where two would show the same number twice.
    texts = [[f"{edge:.{digits}f}" for edge in found] for digits in (2, 3, 4)]
    low, high = next((pair for pair in texts if pair[0] != pair[1]), texts[0])
    return (
        f"95% interval {low} to {high}, from random redraws of its {len(frames)} frames. It shows how much "
        "the frames differ, not how often the detector is wrong."
    )


def _frames(sampled: int) -> str:
    return f"{sampled} sampled frame{'' if sampled == 1 else 's'}"
