"""Assemble what a page shows of one video: its persons, when they were seen, and their scores over time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deepscan.calibration import calibrate
from deepscan.cards import Calibration
from deepscan.outcomes import shot_label, track_label
from deepscan.report.chart import Score, ScoreTimeline, across, clock, down, format_score, timeline
from deepscan.report.file_facts import file_facts
from deepscan.report.maps import strongest_values
from deepscan.report.pictures import VideoPictures
from deepscan.report.run_info import RunInfo
from deepscan.report.sentences import VideoText, describe_quality, describe_video
from deepscan.report.shown_faces import ShownFaces, shown_faces
from deepscan.scanning.aggregation import ASIDE_WORDS, sightings_needed
from deepscan.scanning.fusion import has_vote, logit_mean, scoring_models
from deepscan.scanning.pictures import pictured_faces
from deepscan.scanning.summary import VideoSummary, shown_warnings, summarise_record
from deepscan.scanning.telling import MAX_PERSONS, counting, shown_first, telling_faces

FrameRecord = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Person:
    """A person in a video, as shown on a page.

    Attributes:
        id: Id of the track in the record.
        label: What people call it.
        score: Probability of fake in [0, 1], None without a model.
        opinions: Name of the model -> its score, with several models.
        seen: How often and when, as text.
        quality: Quality of the faces, as text.
        figures: The same as figures.
        reason: The record's reason why the person does not count; empty if it does.
        aside: Why the person, or some of the faces, do not count, as text.
        shots: The score in each shot, as text, if there are several.
        highest: The highest-scoring faces among those that count, as text.
        box: Box of the first of these, clipped to the frame: left, top, width, height in its pixels.
        when: When it is seen, as text.
        chart: The scores over time, None without a model or for a single face.
        faces: Pictures and maps of the highest-scoring faces, if available.
        marks: Place of each of these in the chart, and its letter.
    """

    id: int
    label: str
    score: float | None
    opinions: Mapping[str, float]
    seen: str
    quality: str
    figures: str
    reason: str
    aside: str
    shots: tuple[str, ...]
    highest: tuple[str, ...]
    box: tuple[float, float, float, float]
    when: str
    chart: ScoreTimeline | None
    faces: ShownFaces
    marks: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True, slots=True)
class VideoDetail:
    """A video, as shown on a page.

    Attributes:
        row: Its summary.
        facts: Facts about the file, by name.
        warnings: What weakens the outcome.
        persons: Those that count and have the highest scores first.
        left_out: Number of further persons.
        size: Size of a frame in pixels, None if unknown.
        text: Sentences about it.
        note: Why there are no pictures although they were requested; empty otherwise.
        kept: Whether its scan has stored pictures of it.
    """

    row: VideoSummary
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    persons: tuple[Person, ...]
    left_out: int
    size: tuple[int, int] | None
    text: VideoText
    note: str = ""
    kept: bool = False

    @property
    def pictured(self) -> bool:
        """Whether the page has a picture of it."""
        return any(person.faces.pictured for person in self.persons)


def video_detail(
    record: Mapping[str, Any], run: RunInfo, pictures: VideoPictures | None = None
) -> VideoDetail:
    """Return what a page shows of a video.

    Args:
        record: A parsed line of a journal.
        run: Its run.
        pictures: Pictures of the video, None for none.
    """
    pictures = pictures or VideoPictures()
    media = record["media"] or {}
    tracks = shown_first(record["tracks"])
    size = (media["width"], media["height"]) if media.get("width") and media.get("height") else None
    strongest = strongest_values(pictured_faces(record, run.calibrations, run.quality), run)
    return VideoDetail(
        summarise_record(record),
        tuple(file_facts(record)),
        tuple(shown_warnings(record)),
        tuple(_person(track, record, run, size, pictures, strongest) for track in tracks[:MAX_PERSONS]),
        len(tracks[MAX_PERSONS:]),
        size,
        describe_video(record, run),
        pictures.note,
        bool(record.get("pictures")),
    )


def _person(
    track: Mapping[str, Any],
    record: Mapping[str, Any],
    run: RunInfo,
    size: tuple[int, int] | None,
    pictures: VideoPictures,
    strongest: Mapping[tuple[str, str], float],
) -> Person:
    frames = [frame for frame in record["frames"] if frame["track"] == track["id"]]
    lines = list(_lines(frames, counting(frames, track, run.quality), record, run))
    own = {score.index: score.score for score in (lines[-1][1] if lines else ())}
    calibration = run.calibration_of()
    highest = telling_faces(track, record, run.calibrations, run.quality)
    texts = [_when(frame, own.get(frame["index"]), calibration) for frame in highest]
    last = max(frame["pts"] for frame in record["frames"])
    duration = (record["media"] or {}).get("duration") or last
    times = {frame["index"]: frame["pts"] for frame in highest}
    faces = shown_faces(highest, texts, record, run, pictures, strongest)
    return Person(
        id=track["id"],
        label=track_label(track["id"], track.get("reason")),
        score=track["score"],
        opinions={name: entry["score"] for name, entry in track.get("scores", {}).items()},
        seen=_seen(track),
        quality=describe_quality(track["quality"]),
        figures="size {size:.0f} px, sharpness {sharpness:.0f}, turned by {pose:.2f} (1 is a profile)".format(
            **track["quality"]
        ),
        reason=track.get("reason") or "",
        aside=_aside(track, len({frame["index"] for frame in record["frames"]})),
        shots=tuple(_shots(track, record)),
        highest=tuple(texts) if own else (),
        box=_within(highest[0]["box"], size),
        when=clock(highest[0]["pts"]),
        chart=timeline(lines, duration, calibration) if len(own) > 1 else None,
        faces=faces,
        marks=tuple(
            (across(times[face.index] / duration), down(own[face.index]), face.mark)
            for face in faces.faces
            if duration and own
        ),
    )


def _when(frame: FrameRecord, score: float | None, calibration: Calibration | None) -> str:
    """Return a face's score, if there is one, and when it is seen."""
    prefix = "" if score is None else f"{format_score(score, calibration)} at "
    return f"{prefix}{clock(frame['pts'])} (frame {frame['index']})"


def _within(box: Sequence[float], size: tuple[int, int] | None) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    if size is not None:
        left, right = (min(max(x, 0.0), size[0]) for x in (left, right))
        top, bottom = (min(max(y, 0.0), size[1]) for y in (top, bottom))
    return left, top, round(right - left, 1), round(bottom - top, 1)


def _seen(track: Mapping[str, Any]) -> str:
    if track["sightings"] == 1:
        return f"in one frame at {clock(track['first'])}"
    return f"in {track['sightings']} frames from {clock(track['first'])} to {clock(track['last'])}"


def _aside(track: Mapping[str, Any], sampled: int) -> str:
    if track["counted"]:
        partly = track["used"] < track["sightings"]
        parts = [f"{track['used']} of them good enough to count"] if partly else []
        still = f"{ASIDE_WORDS['still']}; counted because no other face moves"
        return "; ".join([*parts, *([still] if track.get("still") else [])])
    seldom = track["sightings"] < sightings_needed(sampled)
    # Records of earlier versions have no reason.
    return f"not counted: {ASIDE_WORDS[track.get('reason') or ('seldom' if seldom else 'poor')]}"


def _shots(track: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the score of each of a person's shots if there are several; earlier records have no shots."""
    own = track.get("shots", ())
    if len(own) < 2:
        return
    when = {shot["id"]: f"{clock(shot['start'])} to {clock(shot['end'])}" for shot in record["shots"]}
    for shot in own:
        score = "" if shot["score"] is None else f": {shot['score']:.2f}"
        worst = ", the worst shot" if shot["shot"] == track["worst_shot"] else ""
        yield f"{shot_label(shot['shot'])} ({when[shot['shot']]}){score}{worst}"


def _lines(
    frames: Sequence[FrameRecord], counts: Sequence[bool], record: Mapping[str, Any], run: RunInfo
) -> Iterator[tuple[str, list[Score]]]:
    """Yield the scores of each of several models by name, and then the person's overall scores."""
    scores = {
        name: [
            _score(frame, name, good, model.calibration) for frame, good in zip(frames, counts, strict=True)
        ]
        for name, model in run.models.items()
    }
    if len(scores) > 1:
        yield from scores.items()
        models = scoring_models({model["name"]: has_vote(model) for model in record["models"]})
        by_face = zip(*(scores[name] for name in models), strict=True)
        yield "", [replace(same[0], score=logit_mean([score.score for score in same])) for same in by_face]
    elif scores:
        yield "", next(iter(scores.values()))


def _score(frame: FrameRecord, name: str, good: bool, calibration: Calibration | None) -> Score:
    raw = frame["scores"][name] if "scores" in frame else frame["score"]
    score = raw if calibration is None else calibrate(raw, calibration)
    return Score(frame["index"], frame["pts"], score, good)
