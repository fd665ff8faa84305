"""From faces and their raw scores to tracks, a video's score and its verdict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np

from deepscan.calibration import calibrate
from deepscan.cards import Calibration
from deepscan.faces.face import Face
from deepscan.faces.quality import QualityRule
from deepscan.faces.shots import ShotSpan, shot_of
from deepscan.faces.tracks import FaceTrack
from deepscan.outcomes import Aside, Verdict

#: Least share of the sampled frames with a face that counts for a verdict: 3 of 8 frames, 10 of 32. Clips
#: turned upside down or aside get many of their false verdicts from fewer. No verdict on 71 upright clips
#: changes up to 0.7, but those show a person all the time; others show one now and then.
MIN_SHARE = 0.3


#: Why a track does not count, for people: in warnings, in the table and on the page.
ASIDE_WORDS: dict[Aside, str] = {
    "no_face": "by its look it is no face",
    "still": "the face never moves, like one in a photograph",
    "seldom": "seen too seldom",
    "poor": "never seen well",
}


@dataclass(frozen=True, slots=True)
class TrackScore:
    """What is said of one person.

    Attributes:
        track: The person's faces.
        raw: Mean of the raw scores of the faces that count, None without a detector.
        score: The same calibrated, or as it is where the model has no calibration.
        frames: Indices of the frames whose face counted: those that the quality rule admits, all where it
            admits none.
        poor: Whether the rule admitted none.
        shots: The same of the faces of each shot, by its number; none of a shot.
    """

    track: FaceTrack
    raw: float | None
    score: float | None
    frames: frozenset[int]
    poor: bool
    shots: Mapping[int, "TrackScore"] = field(default_factory=dict)

    @property
    def used(self) -> int:
        """How many faces counted."""
        return len(self.frames)

    @property
    def sightings(self) -> int:
        """In how many sampled frames the person was seen."""
        return len(self.track.faces)

    @property
    def worst_shot(self) -> int | None:
        """Of several shots the one of the highest score that more than one face was good enough for."""
        if len(self.shots) < 2:
            return None
        scores = {
            number: shot.score
            for number, shot in self.shots.items()
            if shot.score is not None and not shot.poor and shot.used > 1
        }
        return max(scores, key=lambda number: scores[number], default=None)

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
            "face_score": round(self.track.face_score, 4),
            "still": self.track.still,
            "quality": {
                key: round(float(np.median([getattr(face.quality, name) for face in faces])), 3)
                for key, name in (("size", "size"), ("sharpness", "sharpness"), ("pose", "yaw_proxy"))
            },
            "first": round(faces[0].pts, 6),
            "last": round(faces[-1].pts, 6),
            "shots": [
                {
                    "shot": number,
                    "score": _rounded(shot.score),
                    "raw": _rounded(shot.raw),
                    "sightings": shot.sightings,
                    "used": 0 if shot.poor and not self.poor else shot.used,
                }
                for number, shot in self.shots.items()
            ],
            "worst_shot": self.worst_shot,
        }


@dataclass(frozen=True, slots=True)
class Judgement:
    """A video's score and verdict.

    Attributes:
        score: Probability of fake in [0, 1], None without a detector.
        verdict: None without a detector.
        calibrated: Whether the score is calibrated.
        tracks: One for each person.
        aside: Why the score was not taken from each of the others, by identifier.
        warnings: What weakens the score.
    """

    score: float | None
    verdict: Verdict | None
    calibrated: bool
    tracks: tuple[TrackScore, ...]
    aside: Mapping[int, Aside]
    warnings: tuple[str, ...]

    @property
    def counted(self) -> frozenset[int]:
        """Identifiers of those whom the score was taken from."""
        return frozenset(track.track.id for track in self.tracks if track.track.id not in self.aside)


def score_track(
    track: FaceTrack,
    raw: Mapping[Face, float] | None,
    rule: QualityRule,
    calibration: Calibration | None,
    shots: Sequence[ShotSpan] = (),
) -> TrackScore:
    """Return a person's score: the mean over the faces that are good enough to judge, in all shots together.

    Args:
        track: The person's faces.
        raw: Raw score of each face; None without a detector.
        rule: Which faces count; where it admits none, all of them do and the track is marked poor.
        calibration: Of the model, None where it has none.
        shots: The video's shots, none where the person's scores in each are not asked for.
    """
    admitted = [face for face in track.faces if rule.admits(face)]
    counted = admitted or track.faces
    mean = None if raw is None else float(np.mean([raw[face] for face in counted], dtype=np.float64))
    score = mean if mean is None or calibration is None else calibrate(mean, calibration)
    parts: dict[int, list[Face]] = {}
    for face in track.faces if shots else ():
        parts.setdefault(shot_of(shots, face.index), []).append(face)
    return TrackScore(
        track,
        mean,
        score,
        frozenset(face.index for face in counted),
        not admitted,
        {
            number: score_track(replace(track, faces=tuple(own)), raw, rule, calibration)
            for number, own in parts.items()
        },
    )


def sightings_needed(sampled: int) -> int:
    """Return in how many sampled frames a person must be seen: a quarter of them or three, the lesser."""
    return min(math.ceil(sampled / 4), 3)


def frames_needed(sampled: int, min_share: float) -> int:
    """Return in how many sampled frames a face must count for a verdict.

    Args:
        sampled: How many frames were looked at.
        min_share: In [0, 1].
    """
    # 0.1 * 30 is a little more than 3.
    return math.ceil(round(sampled * min_share, 9))


def judge_video(
    tracks: Sequence[TrackScore],
    sampled: int,
    calibration: Calibration | None,
    *,
    min_share: float = 0.0,
    votes: Mapping[int, Verdict] | None = None,
) -> Judgement:
    """Return a video's score and verdict, from the worst of the persons who were seen often enough.

    A person's score is that of all shots together; `person_verdict` says what a shot that differs does.
    What the face filter takes for no face has no part in it. Persons without one face that can be judged are
    left out where there are others, and so are faces that keep still, as those of a photograph do, where
    others move.

    The verdict is `inconclusive`, with a warning that says why, where too little was seen: faces count in too
    small a share of the sampled frames, or another verdict would rest on a person who was seen too seldom or
    on a single face of more than four frames.

    Args:
        tracks: One for each person, at least one; without a face among them there is no score.
        sampled: How many frames were looked at.
        calibration: Gives the verdict's thresholds; a model without one is always inconclusive.
        min_share: Least share of the sampled frames with a face that counts, in [0, 1]; 0 asks for none.
        votes: Verdict on each person by identifier, None for what `calibration` makes of the scores.
    """
    counted, warnings = _counted(tracks, sampled)
    score = max((track.score for track in counted if track.score is not None), default=None)
    decided: Verdict | None = None
    if score is not None:
        banded = {t.track.id: person_verdict(t, calibration) for t in counted}
        decided, reason = _decide(counted, banded if votes is None else votes, sampled, min_share)
        warnings += reason + [line for track in counted for line in shot_warnings(track, calibration)]
    return Judgement(
        score,
        decided,
        score is not None and calibration is not None,
        tuple(tracks),
        {t.track.id: _why(t, sampled) for t in tracks if t not in counted},
        tuple(warnings),
    )


def _counted(tracks: Sequence[TrackScore], sampled: int) -> tuple[list[TrackScore], list[str]]:
    """Return the persons that the score is taken from, and what weakens it."""
    needed = sightings_needed(sampled)
    faces = [track for track in tracks if track.track.is_face]
    seen = [track for track in faces if track.sightings >= needed]
    good = [track for track in seen if not track.poor]
    counted = [track for track in good if not track.track.still] or good
    warnings = []
    if not faces:
        return [], []
    if not seen:
        most = max(track.sightings for track in faces)
        counted = [track for track in faces if track.sightings == most]
        warnings.append(f"no person was seen in {needed} of {sampled} frames: the score rests on {most}")
    elif not counted:
        counted = seen
        warnings.append("every face is small, blurred, turned away or uncertain: the score rests on such")
    score = max((track.score for track in counted if track.score is not None), default=None)
    if score is not None:
        warnings += [
            f"{'person' if track.track.is_face else 'track'} {track.track.id}, seen {track.sightings} times, "
            f"does not count, though the score is higher ({track.score:.2f}): "
            f"{ASIDE_WORDS[_why(track, sampled)]}"
            for track in tracks
            if track.sightings >= needed
            and track not in counted
            and track.score is not None
            and track.score > score
        ]
    return counted, warnings


def _why(track: TrackScore, sampled: int) -> Aside:
    """Return why the score is not taken from a track."""
    if not track.track.is_face:
        return "no_face"
    if track.sightings < sightings_needed(sampled):
        return "seldom"
    return "poor" if track.poor else "still"


def _decide(
    counted: Sequence[TrackScore], verdicts: Mapping[int, Verdict], sampled: int, min_share: float
) -> tuple[Verdict, list[str]]:
    """Return the verdict on a video from those on its persons, and why too little was seen for another."""
    least, frames = frames_needed(sampled, min_share), frozenset[int]().union(*(t.frames for t in counted))
    if len(frames) < least:
        found = f"a face counts in {len(frames)} of {sampled} sampled frames"
        return "inconclusive", [f"too little to judge: {found}, a verdict needs {least}"]
    needed = sightings_needed(sampled)
    # One face may be a finder's mistake. Of up to four frames it is all that is asked for.
    firm = [track for track in counted if track.sightings >= needed and track.used >= min(needed, 2)]
    every, sure = (_worst([verdicts[t.track.id] for t in part]) for part in (counted, firm))
    if every == sure:
        return every, []
    order = get_args(Verdict)
    thin = min(
        (track for track in counted if track not in firm),
        key=lambda track: (order.index(verdicts[track.track.id]), -(track.score or 0.0)),
    )
    seen = f"seen in {thin.sightings} of {sampled} sampled frames, {thin.used} with a face that counts"
    reason = f"too little to judge: the verdict would rest on person {thin.track.id}, {seen}"
    return "inconclusive", [reason]


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict on all persons: `fake` of one is enough, `no_evidence` is of every one."""
    if "fake" in verdicts:
        return "fake"
    return "no_evidence" if set(verdicts) == {"no_evidence"} else "inconclusive"


def person_verdict(track: TrackScore, calibration: Calibration | None) -> Verdict:
    """Return the verdict on a person: that of all shots together, but no acquittal where one shot looks fake.

    Args:
        track: The person, with a score.
        calibration: None for a model without one, which is always inconclusive.
    """
    assert track.score is not None
    said = verdict(track.score, calibration)
    return "inconclusive" if said == "no_evidence" and shot_warnings(track, calibration) else said


def shot_warnings(track: TrackScore, calibration: Calibration | None) -> list[str]:
    """Return which shot of a person alone would be called fake where all shots together are not, if any."""
    number = track.worst_shot
    score = None if number is None else track.shots[number].score
    if number is None or score is None or track.score is None:
        return []
    if verdict(score, calibration) != "fake" or verdict(track.score, calibration) == "fake":
        return []
    faces = track.shots[number].track.faces
    when = f"from {faces[0].pts:.1f} s to {faces[-1].pts:.1f} s"
    return [
        f"the worst shot of person {track.track.id}, {when}, scores {score:.2f}: "
        f"alone it would be called fake, all shots together score {track.score:.2f}"
    ]


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
