"""Which faces of a video a person should look at: of each person those that raised the score most."""

from collections.abc import Mapping, Sequence
from typing import Any

from deepscan.calibration import calibrate
from deepscan.cards import Calibration
from deepscan.faces.face import Quality
from deepscan.faces.quality import QualityRule
from deepscan.scanning.fusion import has_vote, logit_mean, scoring_models

#: Persons of a video, and faces of each, that are shown.
MAX_PERSONS, MAX_FACES = 8, 3

#: A part of a record: one of its `frames`, or one of its `tracks`.
Line = Mapping[str, Any]


def shown_first(tracks: Sequence[Line]) -> list[Line]:
    """Return the tracks of a record: those that counted first, and of these the highest scores."""
    return sorted(tracks, key=lambda track: (not track["counted"], -(track["score"] or 0.0)))


def counting(frames: Sequence[Line], track: Line, rule: QualityRule | None) -> list[bool]:
    """Return which faces of a track count.

    Args:
        frames: The track's lines in `frames`.
        track: Its line in `tracks`.
        rule: Of the run, None where it is not known: then all count.
    """
    if rule is None or track["poor"]:
        return [True] * len(frames)
    return [rule.passes(Quality.from_json(frame["quality"]), frame["probability"]) for frame in frames]


def telling_faces(
    track: Line,
    record: Mapping[str, Any],
    calibrations: Mapping[str, Calibration | None],
    rule: QualityRule | None,
) -> list[Line]:
    """Return the lines of a track's faces with the highest scores among those that count.

    Args:
        track: One of the record's tracks.
        record: A parsed line of a journal.
        calibrations: Of each model, by name.
        rule: As `counting` takes it.

    Returns:
        At least one and at most `MAX_FACES`, the highest first; without a model in the order of time.
    """
    frames = [frame for frame in record["frames"] if frame["track"] == track["id"]]
    votes = {model["name"]: has_vote(model) for model in record.get("models", ())}
    # A face that does not count has no part in the score, and does not explain it.
    ranked = sorted(
        zip(counting(frames, track, rule), frames, strict=True),
        key=lambda each: -(_score(each[1], scoring_models(votes), calibrations) or 0.0),
    )
    return [frame for counts, frame in ranked if counts][:MAX_FACES] or [ranked[0][1]]


def _score(
    frame: Line, models: Sequence[str], calibrations: Mapping[str, Calibration | None]
) -> float | None:
    """Return a face's score as the page shows it, None without a model."""
    if "scores" in frame:
        return logit_mean([_calibrated(frame["scores"][name], calibrations[name]) for name in models])
    if frame["score"] is None:
        return None
    return _calibrated(frame["score"], next(iter(calibrations.values()), None))


def _calibrated(raw: float, calibration: Calibration | None) -> float:
    return raw if calibration is None else calibrate(raw, calibration)
