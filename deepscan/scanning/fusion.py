"""Combine several models on the same faces into one score and one verdict; the only place with that rule."""

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

#: The rule in words, for the run's record and for people.
RULE = (
    "score: for each person the mean of the models' calibrated scores in log-odds; verdict: fake if, for any "
    "person, more than half of the models say fake and none says no_evidence; no_evidence if, for every "
    "person, more than half say no_evidence and none says fake; inconclusive otherwise, or if too little was "
    "seen to judge; a model without calibration has no vote, and counts for the score only if no model has "
    f"one; the same applies to a model whose card reports an AUC below {NEAR_CHANCE} on some dataset, if "
    f"another model's card reports none below {GOOD}"
)
#: The `method` of several models together.
FUSED = "fused"


@dataclass(frozen=True, slots=True)
class ModelVerdict:
    """The verdict of one model on a video, and whether it votes.

    Attributes:
        judgement: The same as in a scan with this model alone.
        calibration: The model's calibration. Without one it has no vote.
        no_vote: Why a calibrated model has no vote; empty if it has one.
    """

    judgement: Judgement
    calibration: Calibration | None
    no_vote: str = ""

    @property
    def votes(self) -> bool:
        """Whether the model has a vote."""
        return self.calibration is not None and not self.no_vote


def fused_name(names: Sequence[str]) -> str:
    """Return the name of several models together, whatever their order."""
    return "+".join(sorted(names))


def logit_mean(scores: Sequence[float]) -> float:
    """Return the mean of probabilities in log-odds (the logarithmic opinion pool of equal weights).

    "Combining Probability Distributions: A Critique and an Annotated Bibliography", Statistical Science 1986.
    If the models agree, it keeps their score; two opposite scores give 0.5.

    Args:
        scores: Probabilities in [0, 1], at least one.
    """
    return float(1 / (1 + np.exp(-np.mean(logit(scores)))))


def vote(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict that more than half give while none gives the opposite, else `inconclusive`."""
    opposites: tuple[tuple[Verdict, Verdict], ...] = (("fake", "no_evidence"), ("no_evidence", "fake"))
    for candidate, opposite in opposites:
        if 2 * verdicts.count(candidate) > len(verdicts) and opposite not in verdicts:
            return candidate
    return "inconclusive"


def scoring_models(votes: Mapping[str, bool]) -> tuple[str, ...]:
    """Return the names of the models that contribute to scores: those with a vote, or all if none has one.

    Args:
        votes: Name of the model -> whether it has a vote.
    """
    return tuple(name for name, voting in votes.items() if voting) or tuple(votes)


def has_vote(model: Mapping[str, Any]) -> bool:
    """Return whether one of a record's models has a vote; in earlier records all calibrated ones have."""
    return bool(model.get("vote", model["calibrated"]))


def scoring_only(models: Mapping[str, ModelVerdict]) -> dict[str, ModelVerdict]:
    """Return the models that contribute to scores; see `scoring_models`."""
    return {name: models[name] for name in scoring_models({name: m.votes for name, m in models.items()})}


def fuse(models: Mapping[str, ModelVerdict], sampled: int, min_share: float = 0.0) -> Judgement:
    """Combine the verdicts of several models on a video by `RULE`.

    Args:
        models: Name -> the model's verdict; all have the same persons in the same order.
        sampled: Number of sampled frames.
        min_share: As for `judge_video`.
    """
    voters = {name: model for name, model in models.items() if model.votes}
    scoring = [model.judgement.tracks for model in scoring_only(models).values()]
    together = [_together(same) for same in zip(*scoring, strict=True)]
    by_person = {
        track.track.id: {name: _verdict_on(model, index) for name, model in voters.items()}
        for index, track in enumerate(together)
    }
    votes = {person: vote(list(verdicts.values())) for person, verdicts in by_person.items()}
    judged = judge_video(together, sampled, None, min_share=min_share, votes=votes)
    warnings = [
        f"model {name} has no vote: {model.no_vote}" for name, model in models.items() if model.no_vote
    ]
    warnings += [
        line
        for index, (person, verdicts) in enumerate(by_person.items())
        if person in judged.counted
        for line in (*_disagreement(person, verdicts), *_shots(voters, index))
    ]
    return replace(judged, calibrated=bool(voters), warnings=(*judged.warnings, *warnings))


def agreement(record: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return how many of a record's voting models agree with its verdict, and how many vote; None below two.

    Args:
        record: A parsed line of a journal.
    """
    verdicts = [model["verdict"] for model in record.get("models", ()) if has_vote(model)]
    return (verdicts.count(record["verdict"]), len(verdicts)) if len(verdicts) > 1 else None


def select_model(record: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return the record of a scan with only one of a record's models, except for warnings.

    Args:
        record: A parsed line of a journal, with one model or several.
        model: The name of one of them.

    Raises:
        UsageError: The record has no scores of that model.
    """
    by_name = {entry["name"]: dict(entry) for entry in record.get("models", ())}
    only = record["model"] or {}
    if model not in (by_name or {only.get("name")}):
        raise UsageError(
            f"the records have no scores of a model {model!r}",
            f"their models are: {', '.join(by_name or [str(only.get('name'))])}",
        )
    if not by_name:
        return dict(record)
    kept = {key: value for key, value in record.items() if key != "models"}
    outcome = {key: by_name[model].pop(key) for key in ("verdict", "score", "calibrated")}
    for key in ("vote", "no_vote"):
        by_name[model].pop(key, None)
    tracks = [_track_of_model(track, model) for track in record["tracks"]]
    frames = [_frame_of_model(frame, model) for frame in record["frames"]]
    return {**kept, **outcome, "tracks": tracks, "frames": frames, "model": by_name[model]}


def _together(same: Sequence[TrackScore]) -> TrackScore:
    """Return one person's score, combined from the models' scores."""
    scores = [track.score for track in same if track.score is not None]
    raws = [track.raw for track in same if track.raw is not None]
    shots = {number: _together([track.shots[number] for track in same]) for number in same[0].shots}
    return replace(same[0], score=logit_mean(scores), raw=logit_mean(raws), shots=shots)


def _verdict_on(model: ModelVerdict, index: int) -> Verdict:
    return person_verdict(model.judgement.tracks[index], model.calibration)


def _shots(voters: Mapping[str, ModelVerdict], index: int) -> list[str]:
    return [
        f"model {name}: {line}"
        for name, model in voters.items()
        for line in shot_warnings(model.judgement.tracks[index], model.calibration)
    ]


def _disagreement(track: int, verdicts: Mapping[str, Verdict]) -> list[str]:
    if not {"fake", "no_evidence"} <= set(verdicts.values()):
        return []
    sides = [
        f"{kind} by {', '.join(name for name, verdict in verdicts.items() if verdict == kind)}"
        for kind in ("fake", "no_evidence")
    ]
    return [f"the models disagree on track {track}: {'; '.join(sides)}"]


def _track_of_model(track: Mapping[str, Any], model: str) -> dict[str, Any]:
    own = {**_without_scores(track), **track["scores"][model]}
    if "shots" not in track:
        return own
    worst = own.pop("worst_shots")[model]
    shots = [{**_without_scores(shot), **shot["scores"][model]} for shot in track["shots"]]
    return {**own, "shots": shots, "worst_shot": worst}


def _without_scores(line: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key != "scores"}


def _frame_of_model(frame: Mapping[str, Any], model: str) -> dict[str, Any]:
    if "scores" not in frame:
        return dict(frame)
    own = {**_without_scores(frame), "score": frame["scores"][model]}
    return {**own, "explanation": frame["explanation"][model]} if "explanation" in frame else own
