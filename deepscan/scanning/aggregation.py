"""Aggregate the raw scores of faces into tracks, a video's score and its verdict."""

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

#: Minimum share of the sampled frames with a face that counts for a verdict: 3 of 8 frames, 10 of 32. Clips
#: that are upside down or sideways get many of their false verdicts from fewer. On 71 upright clips no
#: verdict changes up to 0.7, but those show a person all the time; other videos show one only now and then.
MIN_SHARE = 0.3


#: Reason why a track does not count -> its text for people: in warnings, in the table and on the page.
ASIDE_WORDS: dict[Aside, str] = {
    "no_face": "does not look like a face",
    "still": "never moves, like a face in a photo",
    "seldom": "seen in too few frames",
    "poor": "never seen clearly",
}


@dataclass(frozen=True, slots=True)
class TrackScore:
    """The score of one person.

    Attributes:
        track: The person's faces.
        raw: Mean of the raw scores of the faces that count, None without a detector.
        score: The calibrated raw score, or the raw score if the model has no calibration.
        frames: Indices of the frames with a face that counts: those admitted by the quality rule, or all if
            it admits none.
        poor: Whether the rule admitted none.
        shots: Number of a shot -> the score of the person's faces in it; empty for the score of a single
            shot.
    """

    track: FaceTrack
    raw: float | None
    score: float | None
    frames: frozenset[int]
    poor: bool
    shots: Mapping[int, "TrackScore"] = field(default_factory=dict)

    @property
    def used(self) -> int:
        """How many faces count."""
        return len(self.frames)

    @property
    def sightings(self) -> int:
        """In how many sampled frames the person was seen."""
        return len(self.track.faces)

    @property
    def worst_shot(self) -> int | None:
        """The shot with the highest score and at least two good faces, if there are several shots."""
        if len(self.shots) < 2:
            return None
        scores = {
            number: shot.score
            for number, shot in self.shots.items()
            if shot.score is not None and not shot.poor and shot.used > 1
        }
        return max(scores, key=lambda number: scores[number], default=None)

    def to_json(self) -> dict[str, Any]:
        """Return the track's entry in the record."""
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
        tracks: One per person.
        aside: Id of a track that does not count -> the reason.
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
        """Ids of the tracks that the score is based on."""
        return frozenset(track.track.id for track in self.tracks if track.track.id not in self.aside)


def score_track(
    track: FaceTrack,
    raw: Mapping[Face, float] | None,
    rule: QualityRule,
    calibration: Calibration | None,
    shots: Sequence[ShotSpan] = (),
) -> TrackScore:
    """Return a person's score: the mean over the faces that are good enough, from all shots together.

    Args:
        track: The person's faces.
        raw: Raw score of each face, None without a detector.
        rule: Which faces count. If it admits none, all count and the track is marked as poor.
        calibration: The model's calibration, None if it has none.
        shots: The video's shots; empty to leave out the scores by shot.
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
    """Return in how many sampled frames a person must be seen: a quarter of them, but at most three."""
    return min(math.ceil(sampled / 4), 3)


def frames_needed(sampled: int, min_share: float) -> int:
    """Return in how many sampled frames a face must count for a verdict.

    Args:
        sampled: Number of sampled frames.
        min_share: In [0, 1].
    """
    # Rounded, because 0.1 * 30 is slightly more than 3.
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

    A person's score covers all shots together; for a shot that differs see `person_verdict`. Tracks that the
    face filter rejects are ignored. If there are others, persons without a single good face are left out, and
    so are still faces, such as those in a photo, if others move.

    The verdict is `inconclusive`, with a warning that gives the reason, if too little was seen: faces count
    in too small a share of the sampled frames, or another verdict would depend on a person who was seen too
    rarely, or on a single face in more than four frames.

    Args:
        tracks: One per person, at least one. If none is a face, there is no score.
        sampled: Number of sampled frames.
        calibration: Gives the verdict's thresholds. Without it the verdict is always inconclusive.
        min_share: Minimum share of the sampled frames with a face that counts, in [0, 1]; 0 for no minimum.
        votes: Id of a person -> verdict; None to apply `calibration` to the scores.
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
    """Return the persons that the score is based on, and what weakens it."""
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
        warnings.append(f"no person was seen in {needed} of {sampled} frames: the score is based on {most}")
    elif not counted:
        counted = seen
        warnings.append("every face is small, blurred, turned away or uncertain; the score is based on these")
    score = max((track.score for track in counted if track.score is not None), default=None)
    if score is not None:
        warnings += [
            f"track {track.track.id}, seen {track.sightings} times, is not counted, although its score is "
            f"higher ({track.score:.2f}): "
            f"{ASIDE_WORDS[_why(track, sampled)]}"
            for track in tracks
            if track.sightings >= needed
            and track not in counted
            and track.score is not None
            and track.score > score
        ]
    return counted, warnings


def _why(track: TrackScore, sampled: int) -> Aside:
    """Return the reason why a track does not count."""
    if not track.track.is_face:
        return "no_face"
    if track.sightings < sightings_needed(sampled):
        return "seldom"
    return "poor" if track.poor else "still"


def _decide(
    counted: Sequence[TrackScore], verdicts: Mapping[int, Verdict], sampled: int, min_share: float
) -> tuple[Verdict, list[str]]:
    """Return the verdict on a video from its persons' verdicts, and why too little was seen for another."""
    least, frames = frames_needed(sampled, min_share), frozenset[int]().union(*(t.frames for t in counted))
    if len(frames) < least:
        found = f"a face counts in {len(frames)} of {sampled} sampled frames"
        return "inconclusive", [f"too little to judge: {found}, a verdict needs {least}"]
    needed = sightings_needed(sampled)
    # A single face may be a false detection. In up to four frames, no more is required.
    reliable = [track for track in counted if track.sightings >= needed and track.used >= min(needed, 2)]
    overall, supported = (_worst([verdicts[t.track.id] for t in part]) for part in (counted, reliable))
    if overall == supported:
        return overall, []
    order = get_args(Verdict)
    weakest = min(
        (track for track in counted if track not in reliable),
        key=lambda track: (order.index(verdicts[track.track.id]), -(track.score or 0.0)),
    )
    seen = f"seen in {weakest.sightings} of {sampled} sampled frames, {weakest.used} with a face that counts"
    reason = f"too little to judge: the verdict would depend on track {weakest.track.id}, {seen}"
    return "inconclusive", [reason]


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict on all persons: one `fake` is enough, `no_evidence` needs every person."""
    if "fake" in verdicts:
        return "fake"
    return "no_evidence" if set(verdicts) == {"no_evidence"} else "inconclusive"


def person_verdict(track: TrackScore, calibration: Calibration | None) -> Verdict:
    """Return the verdict on a person from all shots together, but not `no_evidence` if one shot looks fake.

    Args:
        track: The person, with a score.
        calibration: The model's calibration; without it the verdict is always inconclusive.
    """
    assert track.score is not None
    overall = verdict(track.score, calibration)
    return "inconclusive" if overall == "no_evidence" and shot_warnings(track, calibration) else overall


def shot_warnings(track: TrackScore, calibration: Calibration | None) -> list[str]:
    """Return a warning if one shot of a person would be called fake but all shots together are not."""
    number = track.worst_shot
    score = None if number is None else track.shots[number].score
    if number is None or score is None or track.score is None:
        return []
    if verdict(score, calibration) != "fake" or verdict(track.score, calibration) == "fake":
        return []
    faces = track.shots[number].track.faces
    when = f"from {faces[0].pts:.1f} s to {faces[-1].pts:.1f} s"
    return [
        f"the worst shot of track {track.track.id}, {when}, scores {score:.2f}: "
        f"on its own it would be called fake, all shots together score {track.score:.2f}"
    ]


def verdict(score: float, calibration: Calibration | None) -> Verdict:
    """Return the band into which a calibrated score falls.

    Args:
        score: In [0, 1].
        calibration: The model's calibration; without it the verdict is always inconclusive.
    """
    if calibration is None:
        return "inconclusive"
    if score >= calibration.fake:
        return "fake"
    return "no_evidence" if score < calibration.no_evidence else "inconclusive"


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 6)
