"""What a report says of one video: its persons, where and when they were seen, and their scores over time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepscan.cards import Calibration
from deepscan.report.chart import Timeline, clock, timeline
from deepscan.report.maps import FaceMaps, maps_of
from deepscan.report.run import Run
from deepscan.scan.calibration import calibrate
from deepscan.scan.fusion import pooled
from deepscan.scan.rows import Row, row

Frame = Mapping[str, Any]

#: Persons with a chart, and faces whose scores are told, the highest first.
PERSONS, FACES = 8, 3


@dataclass(frozen=True, slots=True)
class Person:
    """A person in a video.

    Attributes:
        id: As the record numbers them.
        score: Probability of fake in [0, 1], None without a model.
        opinions: Each of several models' score, by name.
        seen: How often and when, in words.
        quality: Of the faces, in words.
        aside: Why the video's score was not taken from this person, empty where it was.
        highest: The faces of the highest scores, in words.
        box: Of the face of the highest score, as far as it lies in the frame: left, top, width, height in its
            pixels.
        chart: None without a model, or of a single face.
        maps: What the highest scores were taken from, where the record has it.
    """

    id: int
    score: float | None
    opinions: Mapping[str, float]
    seen: str
    quality: str
    aside: str
    highest: tuple[str, ...]
    box: tuple[float, float, float, float]
    chart: Timeline | None
    maps: tuple[FaceMaps, ...]


@dataclass(frozen=True, slots=True)
class Video:
    """A video.

    Attributes:
        row: Its line of the overview.
        facts: The file, by name.
        warnings: What weakens the outcome.
        persons: Those that counted and the highest scores first.
        left_out: How many persons are not among them.
        size: Of a frame, in pixels; None where it is not known.
    """

    row: Row
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    persons: tuple[Person, ...]
    left_out: int
    size: tuple[int, int] | None


def video_of(record: Mapping[str, Any], run: Run) -> Video:
    """Return what is said of a video.

    Args:
        record: A parsed line of a journal.
        run: That it is of.
    """
    media = record["media"] or {}
    tracks = sorted(record["tracks"], key=lambda track: (not track["counted"], -(track["score"] or 0.0)))
    size = (media["width"], media["height"]) if media.get("width") and media.get("height") else None
    last = max((frame["pts"] for frame in record["frames"]), default=0.0)
    duration = media.get("duration") or last
    return Video(
        row(record),
        tuple(_facts(record, media)),
        tuple(record["warnings"]),
        tuple(_person(track, record["frames"], run, duration, size) for track in tracks[:PERSONS]),
        len(tracks[PERSONS:]),
        size,
    )


def _facts(record: Mapping[str, Any], media: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "path", record["path"]
    if "path_bytes" in record:
        yield "path in bytes", record["path_bytes"]
    if record["sha256"]:
        yield "SHA-256", record["sha256"]
        yield "size", f"{record['bytes']:,} bytes"
    if media:
        turned = f", turned by {media['rotation']}°" if media.get("rotation") else ""
        length = f", {clock(media['duration'])}" if media.get("duration") else ""
        rate = f", {media['fps']} frames/s" if media.get("fps") else ""
        yield (
            "video",
            (
                f"{media.get('codec')} in {media.get('container')}, "
                f"{media.get('width')} × {media.get('height')}{turned}{rate}{length}"
            ),
        )
        yield (
            "frames",
            (
                f"{media['frames_decoded']} of {media['frames_sampled']} sampled frames decoded "
                f"by {media.get('decoder')}"
            ),
        )


def _person(
    track: Mapping[str, Any],
    frames: Sequence[Frame],
    run: Run,
    duration: float,
    size: tuple[int, int] | None,
) -> Person:
    own = [frame for frame in frames if frame["track"] == track["id"]]
    highest = sorted(own, key=lambda frame: -(frame["score"] or 0.0))
    lines = list(_lines(own, run))
    together = {index: score for index, _, score in (lines[-1][1] if lines else ())}
    one = next(iter(run.models.values())).calibration if len(run.models) == 1 else None
    return Person(
        id=track["id"],
        score=track["score"],
        opinions={name: each["score"] for name, each in track.get("scores", {}).items()},
        seen=_seen(track),
        quality="size {size:.0f} px, sharpness {sharpness:.0f}, pose {pose:.2f}".format(**track["quality"]),
        aside=_aside(track),
        highest=tuple(
            f"{together[frame['index']]:.2f} at {clock(frame['pts'])} (frame {frame['index']})"
            for frame in highest[:FACES]
            if together
        ),
        box=_within(highest[0]["box"], size),
        chart=timeline(lines, duration, one) if len(together) > 1 else None,
        maps=tuple(maps for frame in highest[:FACES] if (maps := maps_of(frame, run)) is not None),
    )


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


def _aside(track: Mapping[str, Any]) -> str:
    if track["counted"]:
        return "" if track["used"] == track["sightings"] else f"{track['used']} of them good enough to count"
    why = "never seen well" if track["poor"] else "seen too seldom"
    return f"not counted: {why}"


def _lines(
    frames: Sequence[Frame], run: Run
) -> Iterator[tuple[str, list[tuple[int, float, float]], Calibration | None]]:
    """Yield the calibrated scores of each model and then of all together; of one model its own."""
    scored = [frame for frame in frames if frame["score"] is not None]
    if not scored or not run.models:
        return
    raws = {name: [_raw(frame, name) for frame in scored] for name in run.models}
    scores = {name: _calibrated(raw, run.models[name].calibration) for name, raw in raws.items()}
    at = [(frame["index"], frame["pts"]) for frame in scored]
    several = len(scores) > 1
    for name, own in scores.items():
        placed = [(*place, score) for place, score in zip(at, own, strict=True)]
        yield name if several else "", placed, run.models[name].calibration
    if several:
        heard = {name for name, model in run.models.items() if model.calibration} or set(scores)
        fused = [pooled(each) for each in zip(*(scores[name] for name in heard), strict=True)]
        yield "", [(*place, score) for place, score in zip(at, fused, strict=True)], None


def _raw(frame: Frame, name: str) -> float:
    raw: float = frame["scores"][name] if "scores" in frame else frame["score"]
    return raw


def _calibrated(raws: Sequence[float], calibration: Calibration | None) -> list[float]:
    return [raw if calibration is None else calibrate(raw, calibration) for raw in raws]
