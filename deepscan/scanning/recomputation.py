"""Score and verdict once more, from what a record has kept of its faces, by the functions of the scan."""

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

#: Half of the last digit of the scores in a record, and what two roundings may differ by.
HALF, ROUNDING = 5e-7, 1.1e-6
#: What is not computed again: medians of figures that were rounded since.
_LEFT = frozenset({"quality", "face_score"})


@dataclass(frozen=True, slots=True)
class Difference:
    """What a record states, and what its frames give instead.

    Attributes:
        what: Such as `verdict` or `tracks 0 score`.
        stated: As the record has it.
        computed: As it comes out now.
    """

    what: str
    stated: Any
    computed: Any


@dataclass(frozen=True, slots=True)
class JudgingRules:
    """What of a run decides scores and verdicts, once the faces have their raw scores.

    Attributes:
        calibrations: Of each model by name, None of one that has none.
        quality: Which faces count.
        min_share: Least share of the sampled frames with a face that counts, in [0, 1].
    """

    calibrations: Mapping[str, Calibration | None]
    quality: QualityRule
    min_share: float

    @classmethod
    def of_run(cls, run: Mapping[str, Any]) -> "JudgingRules":
        """Return the rules that a run's record states.

        Raises:
            KeyError: It lacks some of them; so do `TypeError` and `ValueError` say that they are no rules.
        """
        one = run["model"]
        models = run.get("models") or ({one["name"]: one} if one else {})
        calibrations = {name: model["calibration"] for name, model in models.items()}
        return cls(
            {name: Calibration.from_json(each) if each else None for name, each in calibrations.items()},
            QualityRule(**run["parameters"]["quality"]),
            run["parameters"]["min_share"],
        )


def differences(record: Mapping[str, Any], rules: JudgingRules) -> list[Difference]:
    """Return where a record is not what its own frames give.

    Raw scores are kept to six digits: what lies between the outcomes of all of them half a digit lower and
    half a digit higher is the same. Who is who, whether a track is a face and whether it keeps still were
    decided by pixels, and are taken as stated.

    Args:
        record: A parsed line of a journal.
        rules: Those of its run.

    Raises:
        KeyError: Something is missing; so do `TypeError`, `ValueError` and `IndexError` say that something is
            not as this version writes it.
    """
    if not record["tracks"]:
        expected: dict[str, Any] = {"verdict": None, "score": None, "calibrated": False}
        if record["status"] == "ok":
            raise ValueError("status ok, and no person")
        return list(_compare("", {key: record[key] for key in expected}, [expected] * 3))
    outcomes = [_outcome(record, rules, shift) for shift in (0.0, -HALF, HALF)]
    stated = {key: record[key] for key in outcomes[0] if key in record}
    stated["frames"] = [_fused(frame) for frame in record["frames"]]
    return list(_compare("", stated, outcomes))


def _outcome(record: Mapping[str, Any], rules: JudgingRules, shift: float) -> dict[str, Any]:
    """Return what a record should state, with all raw scores shifted by as much."""
    faces = [frame for frame in record["frames"] if frame["track"] is not None]
    made = {id(frame): _face(frame) for frame in faces}
    tracks = [
        FaceTrack(
            line["id"],
            tuple(made[id(frame)] for frame in faces if frame["track"] == line["id"]),
            is_face=line.get("reason") != "no_face",
            still=line.get("still", False),
        )
        for line in record["tracks"]
    ]
    names = list(rules.calibrations)
    raws = {name: {made[id(frame)]: _shifted(_raw(frame, name), shift) for frame in faces} for name in names}
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
            {"name": name, "verdict": one.verdict, "score": one.score, "calibrated": one.calibrated}
            for name, one in ((name, models[name].judgement) for name in names)
        ]
        heard = scoring_only(models)
        found["frames"] = [
            {"score": logit_mean([raws[name][made[id(frame)]] for name in heard])}
            if id(frame) in made
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
    # Its look was decided on when tracks were made.
    look = np.zeros(1, dtype=np.float32)
    quality = Quality.from_json(frame["quality"])
    return Face(frame["index"], frame["pts"], detection, quality, look, frame.get("face_score", 1.0))


def _raw(frame: Mapping[str, Any], model: str) -> float:
    return float(frame["scores"][model] if "scores" in frame else frame["score"])


def _shifted(raw: float, shift: float) -> float:
    if not 0 <= raw <= 1:
        raise ValueError(f"a raw score is in [0, 1], not {raw}")
    return min(max(raw + shift, 0.0), 1.0)


def _fused(frame: Mapping[str, Any]) -> dict[str, Any]:
    return {"score": frame["score"]} if "scores" in frame else {}


def _compare(where: str, stated: Any, computed: Sequence[Any]) -> Iterator[Difference]:
    """Yield where what is stated is none of three outcomes; keys that it lacks are left out."""
    first = computed[0]
    if isinstance(first, dict) and isinstance(stated, dict):
        for key in first:
            if key in stated and key not in _LEFT:
                yield from _compare(f"{where} {key}".strip(), stated[key], [each[key] for each in computed])
    elif isinstance(first, list) and isinstance(stated, list) and len(first) == len(stated):
        for place, item in enumerate(stated):
            yield from _compare(f"{where} {place}", item, [each[place] for each in computed])
    elif not _same(stated, computed):
        yield Difference(where, stated, round(first, 6) if isinstance(first, float) else first)


def _same(stated: Any, computed: Sequence[Any]) -> bool:
    if any(type(each) is type(stated) and each == stated for each in computed):
        return True
    numbers = [each for each in (stated, *computed) if isinstance(each, float | int)]
    if len(numbers) != 1 + len(computed) or isinstance(stated, bool):
        return False
    return bool(min(computed) - ROUNDING <= stated <= max(computed) + ROUNDING)
