"""Choose the faces a person should look at: for each person those that raised the score most."""

from collections.abc import Mapping, Sequence
from typing import Any

from deepscan.calibration import calibrate
from deepscan.cards import Calibration
from deepscan.faces.face import Quality
from deepscan.faces.quality import QualityRule
from deepscan.scanning.fusion import has_vote, logit_mean, scoring_models

#: Maximum number of persons of a video, and of faces of each, that are shown.
MAX_PERSONS, MAX_FACES = 8, 3

#: A line of a record: one of its `frames` or one of its `tracks`.
Line = Mapping[str, Any]


def shown_first(tracks: Sequence[Line]) -> list[Line]:
    """Return the tracks of a record, those that count first, and among these the highest scores first."""
    return sorted(tracks, key=lambda track: (not track["counted"], -(track["score"] or 0.0)))


def counting(frames: Sequence[Line], track: Line, rule: QualityRule | None) -> list[bool]:
    """Return which faces of a track count.

    Args:
        frames: The track's lines in the record's `frames`.
        track: Its line in the record's `tracks`.
        rule: The run's rule, None if unknown; then all faces count.
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
        calibrations: Name of the model -> its calibration.
        rule: As for `counting`.

    Returns:
        Between 1 and `MAX_FACES` lines, highest score first; in order of time without a model.
    """
    frames = [frame for frame in record["frames"] if frame["track"] == track["id"]]
    votes = {model["name"]: has_vote(model) for model in record.get("models", ())}
    # A face that does not count has no part in the score, so it does not explain it.
    ranked = sorted(
        zip(counting(frames, track, rule), frames, strict=True),
        key=lambda each: -(_score(each[1], scoring_models(votes), calibrations) or 0.0),
    )
    return [frame for counts, frame in ranked if counts][:MAX_FACES] or [ranked[0][1]]


def _score(
    frame: Line, models: Sequence[str], calibrations: Mapping[str, Calibration | None]
) -> float | None:
    """Return a face's score as shown on the page, None without a model."""
    if "scores" in frame:
        return logit_mean([_calibrated(frame["scores"][name], calibrations[name]) for name in models])
    if frame["score"] is None:
        return None
    return _calibrated(frame["score"], next(iter(calibrations.values()), None))


def _calibrated(raw: float, calibration: Calibration | None) -> float:
    return raw if calibration is None else calibrate(raw, calibration)
