"""Recompute scores and verdict from the faces in a record, with the functions of the scan."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepscan.cards import Calibration
from deepscan.faces.face import Detection, Face, Quality
from deepscan.faces.quality import QualityRule
from deepscan.faces.shots import ShotSpan
from deepscan.faces.tracks import FaceTrack
from deepscan.scanning.fusion import logit_mean, scoring_only
from deepscan.scanning.outcome import judge, track_lines

#: Half of the last digit of the scores in a record, and the largest difference between two rounded values.
HALF, ROUNDING = 5e-7, 1.1e-6
#: Not recomputed: medians of values that were rounded afterwards.
_NOT_COMPUTED = frozenset({"quality", "face_score"})


@dataclass(frozen=True, slots=True)
class Difference:
    """A recorded value that differs from what the record's frames give.

    Attributes:
        place: Where in the record, such as `verdict` or `tracks 0 score`.
        recorded: The value in the record.
        computed: The recomputed value.
    """

    place: str
    recorded: Any
    computed: Any


@dataclass(frozen=True, slots=True)
class JudgingRules:
    """The part of a run that decides scores and verdicts, once the faces have raw scores.

    Attributes:
        calibrations: Name of the model -> its calibration, None if it has none.
        quality: Which faces count.
        min_share: Minimum share of sampled frames with a face that counts, in [0, 1].
    """

    calibrations: Mapping[str, Calibration | None]
    quality: QualityRule
    min_share: float

    @classmethod
    def of_run(cls, run: Mapping[str, Any]) -> "JudgingRules":
        """Return the rules in a run's record.

        Raises:
            KeyError: Some are missing.
            TypeError: They have another form.
            ValueError: They are not valid rules.
        """
        model = run["model"]
        models = run.get("models") or ({model["name"]: model} if model else {})
        calibrations = {name: model["calibration"] for name, model in models.items()}
        return cls(
            {name: Calibration.from_json(entry) if entry else None for name, entry in calibrations.items()},
            QualityRule(**run["parameters"]["quality"]),
            run["parameters"]["min_share"],
        )


def differences(record: Mapping[str, Any], rules: JudgingRules) -> list[Difference]:
    """Return where a record differs from what its own frames give.

    Raw scores are recorded with six digits. So a value counts as equal if it is within the outcomes for all
    raw scores half a digit lower and half a digit higher. Which faces are one person, whether a track is a
    face and whether it is still were decided from pixels, and are taken as recorded.

    Args:
        record: A parsed line of a journal.
        rules: The rules of its run.

    Raises:
        KeyError: Something is missing.
        TypeError: Something has another form than this version writes.
        ValueError: Likewise.
        IndexError: Likewise.
    """
    if not record["tracks"]:
        expected: dict[str, Any] = {"verdict": None, "score": None, "calibrated": False}
        if record["status"] == "ok":
            raise ValueError("status ok without a person")
        return list(_compare("", {key: record[key] for key in expected}, [expected] * 3))
    outcomes = [_outcome(record, rules, shift) for shift in (0.0, -HALF, HALF)]
    recorded = {key: record[key] for key in outcomes[0] if key in record}
    recorded["frames"] = [_fused(frame) for frame in record["frames"]]
    return list(_compare("", recorded, outcomes))


def _outcome(record: Mapping[str, Any], rules: JudgingRules, shift: float) -> dict[str, Any]:
    """Return what a record should contain, with all raw scores shifted by the same amount."""
    faces = [frame for frame in record["frames"] if frame["track"] is not None]
    face_of = {id(frame): _face(frame) for frame in faces}
    tracks = [
        FaceTrack(
            line["id"],
            tuple(face_of[id(frame)] for frame in faces if frame["track"] == line["id"]),
            is_face=line.get("reason") != "no_face",
            still=line.get("still", False),
        )
        for line in record["tracks"]
    ]
    names = list(rules.calibrations)
    raws = {
        name: {face_of[id(frame)]: _shifted(_raw(frame, name), shift) for frame in faces} for name in names
    }
    judgement, models = judge(
        tracks,
        raws,
        rules.calibrations,
        mute={model["name"]: model.get("no_vote", "") for model in record.get("models", ())},
        rule=rules.quality,
        sampled=len({frame["index"] for frame in record["frames"]}),
        min_share=rules.min_share,
        shots=[ShotSpan(**line) for line in record.get("shots", ())],
    )
    found: dict[str, Any] = {
        "verdict": judgement.verdict,
        "score": judgement.score,
        "calibrated": judgement.calibrated and judgement.score is not None,
        "tracks": track_lines(judgement, models),
        "models": [],
        "frames": [{} for _ in record["frames"]],
    }
    if len(models) > 1:
        found["models"] = [
            {"name": name, "verdict": own.verdict, "score": own.score, "calibrated": own.calibrated}
            for name, own in ((name, models[name].judgement) for name in names)
        ]
        scoring = scoring_only(models)
        found["frames"] = [
            {"score": logit_mean([raws[name][face_of[id(frame)]] for name in scoring])}
            if id(frame) in face_of
            else {}
            for frame in record["frames"]
        ]
    return found


def _face(frame: Mapping[str, Any]) -> Face:
    detection = Detection(
        np.array(frame["box"], dtype=np.float32),
        np.array(frame["landmarks"], dtype=np.float32),
        frame["probability"],
    )
    # The appearance is not recorded; it was only needed for grouping faces into tracks.
    look = np.zeros(1, dtype=np.float32)
    quality = Quality.from_json(frame["quality"])
    return Face(frame["index"], frame["pts"], detection, quality, look, frame.get("face_score", 1.0))


def _raw(frame: Mapping[str, Any], model: str) -> float:
    return float(frame["scores"][model] if "scores" in frame else frame["score"])


def _shifted(raw: float, shift: float) -> float:
    if not 0 <= raw <= 1:
        raise ValueError(f"a raw score must be in [0, 1], not {raw}")
    return min(max(raw + shift, 0.0), 1.0)


def _fused(frame: Mapping[str, Any]) -> dict[str, Any]:
    return {"score": frame["score"]} if "scores" in frame else {}


def _compare(place: str, recorded: Any, outcomes: Sequence[Any]) -> Iterator[Difference]:
    """Yield the differences between recorded values and all outcomes; missing keys are ignored."""
    first = outcomes[0]
    if isinstance(first, dict) and isinstance(recorded, dict):
        for key in first:
            if key in recorded and key not in _NOT_COMPUTED:
                values = [outcome[key] for outcome in outcomes]
                yield from _compare(f"{place} {key}".strip(), recorded[key], values)
    elif isinstance(first, list) and isinstance(recorded, list) and len(first) == len(recorded):
        for index, item in enumerate(recorded):
            yield from _compare(f"{place} {index}", item, [outcome[index] for outcome in outcomes])
    elif not _same(recorded, outcomes):
        yield Difference(place, recorded, round(first, 6) if isinstance(first, float) else first)


def _same(recorded: Any, outcomes: Sequence[Any]) -> bool:
    if any(type(outcome) is type(recorded) and outcome == recorded for outcome in outcomes):
        return True
    numbers = [value for value in (recorded, *outcomes) if isinstance(value, float | int)]
    if len(numbers) != 1 + len(outcomes) or isinstance(recorded, bool):
        return False
    return bool(min(outcomes) - ROUNDING <= recorded <= max(outcomes) + ROUNDING)
