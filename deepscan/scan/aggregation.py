"""From faces and their raw scores to tracks, a video's score and its verdict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from deepscan.cards import Calibration
from deepscan.faces.face import Face
from deepscan.faces.quality import QualityRule
from deepscan.faces.tracks import Track
from deepscan.scan.calibration import calibrate

Verdict = Literal["fake", "inconclusive", "no_evidence"]


@dataclass(frozen=True, slots=True)
class TrackScore:
    """What is said of one person.

    Attributes:
        track: The person's faces.
        raw: Mean of the raw scores of the faces that count, None without a detector.
        score: The same calibrated, or as it is where the model has no calibration.
        used: How many faces counted: those that the quality rule admits, all where it admits none.
        poor: Whether the rule admitted none.
    """

    track: Track
    raw: float | None
    score: float | None
    used: int
    poor: bool

    @property
    def sightings(self) -> int:
        """In how many sampled frames the person was seen."""
        return len(self.track.faces)

    def to_json(self) -> dict[str, Any]:
        """Return the track's line of evidence."""
        faces = self.track.faces
        return {
            "id": self.track.id,
            "score": _rounded(self.score),
            "raw": _rounded(self.raw),
            "sightings": self.sightings,
            "used": self.used,
            "poor": self.poor,
            "quality": {
                name: round(float(np.median([getattr(face.quality, name) for face in faces])), 3)
                for name in ("size", "sharpness", "pose")
            },
            "first": round(faces[0].pts, 6),
            "last": round(faces[-1].pts, 6),
        }


@dataclass(frozen=True, slots=True)
class Judgement:
    """A video's score and verdict.

    Attributes:
        score: Probability of fake in [0, 1], None without a detector.
        verdict: None without a detector.
        calibrated: Whether the score is calibrated.
        tracks: One for each person.
        counted: Identifiers of those whom the score was taken from.
        warnings: What weakens the score.
    """

    score: float | None
    verdict: Verdict | None
    calibrated: bool
    tracks: tuple[TrackScore, ...]
    counted: frozenset[int]
    warnings: tuple[str, ...]


def score_track(
    track: Track, raw: Mapping[Face, float] | None, rule: QualityRule, calibration: Calibration | None
) -> TrackScore:
    """Return a person's score: the mean over the faces that are good enough to judge.

    Args:
        track: The person's faces.
        raw: Raw score of each face; None without a detector.
        rule: Which faces count; where it admits none, all of them do and the track is marked poor.
        calibration: Of the model, None where it has none.
    """
    admitted = [face for face in track.faces if rule.admits(face)]
    counted = admitted or track.faces
    mean = None if raw is None else float(np.mean([raw[face] for face in counted], dtype=np.float64))
    score = mean if mean is None or calibration is None else calibrate(mean, calibration)
    return TrackScore(track, mean, score, len(counted), not admitted)


def sightings_needed(sampled: int) -> int:
    """Return in how many sampled frames a person must be seen: a quarter of them or three, the lesser."""
    return min(math.ceil(sampled / 4), 3)


def judge(tracks: Sequence[TrackScore], sampled: int, calibration: Calibration | None) -> Judgement:
    """Return a video's score and verdict, from the worst of the persons who were seen often enough.

    Persons without one face that can be judged are left out where there are others: what a finder takes for a
    face in a background is seldom sharp, large and certain.

    Args:
        tracks: One for each person, at least one.
        sampled: How many frames were looked at.
        calibration: Gives the verdict's thresholds; a model without one is always inconclusive.
    """
    needed = sightings_needed(sampled)
    seen = [track for track in tracks if track.sightings >= needed]
    counted = [track for track in seen if not track.poor]
    warnings = []
    if not seen:
        most = max(track.sightings for track in tracks)
        counted = [track for track in tracks if track.sightings == most]
        warnings.append(f"no person was seen in {needed} of {sampled} frames: the score rests on {most}")
    elif not counted:
        counted = seen
        warnings.append("every face is small, blurred, turned away or uncertain: the score rests on such")
    score = max((track.score for track in counted if track.score is not None), default=None)
    if score is not None:
        warnings += [
            f"left out: person {track.track.id}, seen {track.sightings} times but never well, scores higher"
            for track in seen
            if track not in counted and track.score is not None and track.score > score
        ]
    return Judgement(
        score,
        None if score is None else verdict(score, calibration),
        score is not None and calibration is not None,
        tuple(tracks),
        frozenset(track.track.id for track in counted),
        tuple(warnings),
    )


def verdict(score: float, calibration: Calibration | None) -> Verdict:
    """Return the band that a calibrated score falls in.

    Args:
        score: In [0, 1].
        calibration: None for a model without one, which is always inconclusive.
    """
    if calibration is None:
        return "inconclusive"
    if score >= calibration.fake:
        return "fake"
    return "no_evidence" if score < calibration.no_evidence else "inconclusive"


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 6)
