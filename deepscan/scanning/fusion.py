"""Several models over the same faces: one score and one verdict, by a rule that is stated here alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deepscan.calibration import logit
from deepscan.cards import Calibration
from deepscan.errors import UsageError
from deepscan.outcomes import Verdict
from deepscan.scanning.aggregation import Judgement, TrackScore, judge_video, person_verdict, shot_warnings
from deepscan.scanning.strength import GOOD, NEAR_CHANCE

#: The rule, for the run's record and for people.
RULE = (
    "score: the mean of the models' calibrated scores in log-odds, person by person; verdict: fake where of "
    "one person more than half of the models say so and none says no_evidence, no_evidence where of every "
    "person more than half say so and none says fake, else inconclusive, and where too little was seen to "
    "judge; a model without calibration has no vote, and no part in the score unless all lack one; nor has "
    f"one whose card states an AUC below {NEAR_CHANCE} of a set of data, beside one whose card states none "
    f"below {GOOD}"
)
#: The `method` of several models.
FUSED = "fused"


@dataclass(frozen=True, slots=True)
class ModelVerdict:
    """The verdict of one model on a video.

    Attributes:
        judgement: As in a scan with this model alone.
        calibration: Of the model, None where it has none: it has no vote then.
        no_vote: Why it has no vote although it is calibrated, empty where it has one.
    """

    judgement: Judgement
    calibration: Calibration | None
    no_vote: str = ""

    @property
    def votes(self) -> bool:
        """Whether it has a vote."""
        return self.calibration is not None and not self.no_vote


def fused_name(names: Sequence[str]) -> str:
    """Return what several models are called together, whatever their order."""
    return "+".join(sorted(names))


def logit_mean(scores: Sequence[float]) -> float:
    """Return the mean of probabilities in log-odds (the logarithmic opinion pool of equal weights).

    "Combining Probability Distributions: A Critique and an Annotated Bibliography", Statistical Science 1986.
    It keeps the score of models that agree, and 0.5 of two that differ by as much.

    Args:
        scores: In [0, 1], at least one.
    """
    return float(1 / (1 + np.exp(-np.mean(logit(scores)))))


def vote(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict that more than half say while none says the opposite, else `inconclusive`."""
    opposites: tuple[tuple[Verdict, Verdict], ...] = (("fake", "no_evidence"), ("no_evidence", "fake"))
    for said, opposite in opposites:
        if 2 * verdicts.count(said) > len(verdicts) and opposite not in verdicts:
            return said
    return "inconclusive"


def scoring_models(votes: Mapping[str, bool]) -> tuple[str, ...]:
    """Return the names of the models that scores are taken from: those that have a vote, all where none has.

    Args:
        votes: Whether each model has one, by its name.
    """
    return tuple(name for name, voting in votes.items() if voting) or tuple(votes)


def has_vote(model: Mapping[str, Any]) -> bool:
    """Return whether one of a record's models has a vote; earlier records had all calibrated ones vote."""
    return bool(model.get("vote", model["calibrated"]))


def scoring_only(models: Mapping[str, ModelVerdict]) -> dict[str, ModelVerdict]:
    """Return the models that the scores are taken from, see `scoring_models`."""
    return {name: models[name] for name in scoring_models({name: m.votes for name, m in models.items()})}


def fuse(models: Mapping[str, ModelVerdict], sampled: int, min_share: float = 0.0) -> Judgement:
    """Return what several models say of a video together, by `RULE`.

    Args:
        models: What each says, by name, of the same persons in the same order.
        sampled: How many frames were looked at.
        min_share: As for `judge_video`.
    """
    voters = {name: model for name, model in models.items() if model.votes}
    part = [model.judgement.tracks for model in scoring_only(models).values()]
    together = [_together(same) for same in zip(*part, strict=True)]
    said = {
        track.track.id: {name: _verdict_on(model, index) for name, model in voters.items()}
        for index, track in enumerate(together)
    }
    votes = {person: vote(list(verdicts.values())) for person, verdicts in said.items()}
    judged = judge_video(together, sampled, None, min_share=min_share, votes=votes)
    warnings = [
        f"model {name} has no vote: {model.no_vote}" for name, model in models.items() if model.no_vote
    ]
    warnings += [
        line
        for index, (person, verdicts) in enumerate(said.items())
        if person in judged.counted
        for line in (*_disagreement(person, verdicts), *_shots(voters, index))
    ]
    return replace(judged, calibrated=bool(voters), warnings=(*judged.warnings, *warnings))


def agreement(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return how many of a record's models say its verdict, of how many with a vote; None of fewer than two.

    Args:
        record: A parsed line of a journal.
    """
    said = [model["verdict"] for model in record.get("models", ()) if has_vote(model)]
    return (said.count(record["verdict"]), len(said)) if len(said) > 1 else None


def select_model(record: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return the record that a scan with one of a record's models alone would have left, but for warnings.

    Args:
        record: A parsed line of a journal, of one model or of several.
        model: The name of one of them.

    Raises:
        UsageError: It has no scores of that model.
    """
    several = {each["name"]: dict(each) for each in record.get("models", ())}
    own = record["model"] or {}
    if model not in (several or {own.get("name")}):
        raise UsageError(
            f"the records have no scores of a model {model!r}",
            f"they are of: {', '.join(several or [str(own.get('name'))])}",
        )
    if not several:
        return dict(record)
    kept = {key: value for key, value in record.items() if key != "models"}
    said = {key: several[model].pop(key) for key in ("verdict", "score", "calibrated")}
    for key in ("vote", "no_vote"):
        several[model].pop(key, None)
    tracks = [_track_of_one(track, model) for track in record["tracks"]]
    frames = [_of_one(frame, model) for frame in record["frames"]]
    return {**kept, **said, "tracks": tracks, "frames": frames, "model": several[model]}


def _together(same: Sequence[TrackScore]) -> TrackScore:
    """Return one person's score from what each model gives."""
    scores = [track.score for track in same if track.score is not None]
    raws = [track.raw for track in same if track.raw is not None]
    shots = {number: _together([track.shots[number] for track in same]) for number in same[0].shots}
    return replace(same[0], score=logit_mean(scores), raw=logit_mean(raws), shots=shots)


def _verdict_on(model: ModelVerdict, index: int) -> Verdict:
    return person_verdict(model.judgement.tracks[index], model.calibration)


def _shots(voters: Mapping[str, ModelVerdict], index: int) -> list[str]:
    return [
        f"by model {name}, {line}"
        for name, model in voters.items()
        for line in shot_warnings(model.judgement.tracks[index], model.calibration)
    ]


def _disagreement(person: int, verdicts: Mapping[str, Verdict]) -> list[str]:
    if not {"fake", "no_evidence"} <= set(verdicts.values()):
        return []
    sides = [
        f"{kind} by {', '.join(name for name, verdict in verdicts.items() if verdict == kind)}"
        for kind in ("fake", "no_evidence")
    ]
    return [f"the models disagree on person {person}: {'; '.join(sides)}"]


def _track_of_one(track: Mapping[str, Any], model: str) -> dict[str, Any]:
    own = {**_without(track), **track["scores"][model]}
    if "shots" not in track:
        return own
    worst = own.pop("worst_shots")[model]
    shots = [{**_without(shot), **shot["scores"][model]} for shot in track["shots"]]
    return {**own, "shots": shots, "worst_shot": worst}


def _without(line: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key != "scores"}


def _of_one(frame: Mapping[str, Any], model: str) -> dict[str, Any]:
    if "scores" not in frame:
        return dict(frame)
    own = {**_without(frame), "score": frame["scores"][model]}
    return {**own, "explanation": frame["explanation"][model]} if "explanation" in frame else own
