"""What a report says of one video: its persons, where and when they were seen, and their scores over time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deepscan.calibration import calibrate
from deepscan.cards import Calibration
from deepscan.report.chart import Score, ScoreTimeline, across, clock, down, format_score, timeline
from deepscan.report.file_facts import file_facts
from deepscan.report.maps import strongest_values
from deepscan.report.pictures import VideoPictures
from deepscan.report.run_info import RunInfo
from deepscan.report.sentences import VideoWords, quality_words, video_words
from deepscan.report.shown_faces import ShownFaces, shown_faces
from deepscan.scanning.aggregation import ASIDE_WORDS, sightings_needed
from deepscan.scanning.fusion import has_vote, logit_mean, scoring_models
from deepscan.scanning.pictures import pictured_faces
from deepscan.scanning.summary import VideoSummary, summarise_record
from deepscan.scanning.telling import MAX_PERSONS, counting, shown_first, telling_faces

FrameRecord = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Person:
    """A person in a video.

    Attributes:
        id: As the record numbers them.
        score: Probability of fake in [0, 1], None without a model.
        opinions: Each of several models' score, by name.
        seen: How often and when, in words.
        quality: Of the faces, in words.
        figures: The same in figures.
        reason: Why the score was not taken from this person, as the record says it; empty where it was.
        aside: Why the video's score was not taken from this person, or not from every face, in words.
        shots: Of a person seen in several shots, the score of each, in words.
        highest: The faces of the highest scores among those that count, in words.
        box: Of the first of these, as far as it lies in the frame: left, top, width, height in its pixels.
        when: When that is, in words.
        chart: None without a model, or of a single face.
        faces: Pictures of the highest, and what their scores were taken from, where they are to be had.
        marks: Place in the chart of each of these, and its letter.
    """

    id: int
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
    """A video.

    Attributes:
        row: Its line of the overview.
        facts: The file, by name.
        warnings: What weakens the outcome.
        persons: Those that counted and the highest scores first.
        left_out: How many persons are not among them.
        size: Of a frame, in pixels; None where it is not known.
        words: What is said of it in sentences.
        note: Why there are no pictures of it although they were wanted, empty otherwise.
        kept: Whether its scan has kept pictures of it.
    """

    row: VideoSummary
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    persons: tuple[Person, ...]
    left_out: int
    size: tuple[int, int] | None
    words: VideoWords
    note: str = ""
    kept: bool = False

    @property
    def pictured(self) -> bool:
        """Whether there is a picture of it."""
        return any(person.faces.pictured for person in self.persons)


def video_detail(
    record: Mapping[str, Any], run: RunInfo, pictures: VideoPictures | None = None
) -> VideoDetail:
    """Return what is said of a video.

    Args:
        record: A parsed line of a journal.
        run: That it is of.
        pictures: Of the video, None for none.
    """
    pictures = pictures or VideoPictures()
    media = record["media"] or {}
    tracks = shown_first(record["tracks"])
    size = (media["width"], media["height"]) if media.get("width") and media.get("height") else None
    strongest = strongest_values(pictured_faces(record, run.calibrations, run.quality), run)
    return VideoDetail(
        summarise_record(record),
        tuple(file_facts(record)),
        tuple(record["warnings"]),
        tuple(_person(track, record, run, size, pictures, strongest) for track in tracks[:MAX_PERSONS]),
        len(tracks[MAX_PERSONS:]),
        size,
        video_words(record, run),
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
    words = [_when(frame, own.get(frame["index"]), calibration) for frame in highest]
    last = max(frame["pts"] for frame in record["frames"])
    duration = (record["media"] or {}).get("duration") or last
    times = {frame["index"]: frame["pts"] for frame in highest}
    faces = shown_faces(highest, words, record, run, pictures, strongest)
    return Person(
        id=track["id"],
        score=track["score"],
        opinions={name: each["score"] for name, each in track.get("scores", {}).items()},
        seen=_seen(track),
        quality=quality_words(track["quality"]),
        figures="size {size:.0f} px, sharpness {sharpness:.0f}, turned by {pose:.2f} of 1".format(
            **track["quality"]
        ),
        reason=track.get("reason") or "",
        aside=_aside(track, len({frame["index"] for frame in record["frames"]})),
        shots=tuple(_shots(track, record)),
        highest=tuple(words) if own else (),
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
    """Return a face's score, where there is one, and when it is seen."""
    said = "" if score is None else f"{format_score(score, calibration)} at "
    return f"{said}{clock(frame['pts'])} (frame {frame['index']})"


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
        some = track["used"] < track["sightings"]
        said = [f"{track['used']} of them good enough to count"] if some else []
        still = f"{ASIDE_WORDS['still']}; it counts, because no other face moves"
        return "; ".join([*said, *([still] if track.get("still") else [])])
    seldom = track["sightings"] < sightings_needed(sampled)
    # Records of earlier versions give no reason.
    return f"not counted: {ASIDE_WORDS[track.get('reason') or ('seldom' if seldom else 'poor')]}"


def _shots(track: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the score of each of a person's shots, if there are several; earlier records have none."""
    own = track.get("shots", ())
    if len(own) < 2:
        return
    when = {shot["id"]: f"{clock(shot['start'])} to {clock(shot['end'])}" for shot in record["shots"]}
    for shot in own:
        score = "" if shot["score"] is None else f": {shot['score']:.2f}"
        worst = ", the worst shot" if shot["shot"] == track["worst_shot"] else ""
        yield f"shot {shot['shot']} ({when[shot['shot']]}){score}{worst}"


def _lines(
    frames: Sequence[FrameRecord], counts: Sequence[bool], record: Mapping[str, Any], run: RunInfo
) -> Iterator[tuple[str, list[Score]]]:
    """Yield the scores of each of several models by name, and then the person's own."""
    scores = {
        name: [
            _score(frame, name, good, model.calibration) for frame, good in zip(frames, counts, strict=True)
        ]
        for name, model in run.models.items()
    }
    if len(scores) > 1:
        yield from scores.items()
        models = scoring_models({model["name"]: has_vote(model) for model in record["models"]})
        same = zip(*(scores[name] for name in models), strict=True)
        yield "", [replace(each[0], score=logit_mean([one.score for one in each])) for each in same]
    elif scores:
        yield "", next(iter(scores.values()))


def _score(frame: FrameRecord, name: str, good: bool, calibration: Calibration | None) -> Score:
    raw = frame["scores"][name] if "scores" in frame else frame["score"]
    score = raw if calibration is None else calibrate(raw, calibration)
    return Score(frame["index"], frame["pts"], score, good)
