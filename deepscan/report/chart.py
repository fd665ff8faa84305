"""Where the lines of a chart go: scores over a video's time, and how many videos have which score."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from deepscan.cards import Calibration
from deepscan.scanning.aggregation import verdict
from deepscan.scanning.summary import VideoSummary

#: Of a chart in its own units, and what its axes take at each side.
CHART_WIDTH, CHART_HEIGHT = 720.0, 140.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 24.0, 10.0, 24.0
#: Seconds between two ticks, of which the first that gives few enough is taken; beyond them so many days.
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200)
_DAY, _MOST_TICKS = 86400, 9
BINS = 20
#: Least height of a bar: one video among thousands is to be seen.
_LEAST = 2.0


@dataclass(frozen=True, slots=True)
class Score:
    """A face's score.

    Attributes:
        index: Of its frame.
        seconds: When it is shown.
        score: In [0, 1].
        counts: Whether the face is good enough to count.
    """

    index: int
    seconds: float
    score: float
    counts: bool


@dataclass(frozen=True, slots=True)
class ScorePoint:
    """A score in a chart.

    Attributes:
        x: To the right.
        y: Down.
        kind: Verdict that the score alone would give; empty where no thresholds are known, or not one's.
        counts: Whether the face is good enough to count.
        tooltip: What it is, for people.
        when: When its frame is shown, for people.
        index: Of its frame.
        value: The score, for people.
    """

    x: float
    y: float
    kind: str
    counts: bool
    tooltip: str
    when: str
    index: int
    value: str


@dataclass(frozen=True, slots=True)
class ScoreLine:
    """Scores over time.

    Attributes:
        name: Of one of several models, empty for what is the person's own: of the one, or of all together.
        points: In order of time.
    """

    name: str
    points: tuple[ScorePoint, ...]

    @property
    def path(self) -> str:
        """The points of an SVG polyline."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


@dataclass(frozen=True, slots=True)
class ScoreTimeline:
    """One person's scores over a video.

    Attributes:
        lines: Of each of several models, then the person's own.
        ticks: Place and words of times.
        bands: Heights of the thresholds `fake` and `no_evidence`, None where they are not known or not one's.
    """

    lines: tuple[ScoreLine, ...]
    ticks: tuple[tuple[float, str], ...]
    bands: tuple[float, float] | None

    @property
    def in_words(self) -> str:
        """What a reader who does not see it must know."""
        points = self.lines[-1].points if self.lines else ()
        if not points:
            return "Scores over time: none"
        low, high = max(points, key=lambda point: point.y), min(points, key=lambda point: point.y)
        said = f"Scores over time: {len(points)} faces, {low.value} to {high.value}"
        if self.bands is None:
            return said
        above = sum(point.kind == "fake" for point in points)
        return f"{said}, {above} of them above the threshold for fake"


@dataclass(frozen=True, slots=True)
class HistogramBar:
    """A part of a bar of a histogram: place, size, and what it stands for."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    tooltip: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many videos have which score.

    Attributes:
        bars: Parted by verdict.
        most: Videos in the highest bar.
    """

    bars: tuple[HistogramBar, ...]
    most: int

    @property
    def in_words(self) -> str:
        """What a reader who does not see it must know."""
        return f"How many videos have which score: {'; '.join(bar.tooltip for bar in self.bars)}"


def timeline(
    lines: Iterable[tuple[str, Sequence[Score]]], duration: float, calibration: Calibration | None
) -> ScoreTimeline:
    """Return a chart of scores.

    Args:
        lines: Name and scores of each line, see `ScoreLine`.
        duration: Of the video in seconds.
        calibration: That the scores have gone through, None where that is several, none or not known.
    """
    drawn = tuple(
        ScoreLine(name, tuple(_point(name, score, duration, calibration) for score in scores))
        for name, scores in lines
    )
    bands = None if calibration is None else (down(calibration.fake), down(calibration.no_evidence))
    return ScoreTimeline(drawn, tuple(_ticks(duration)), bands)


def histogram(rows: Iterable[VideoSummary]) -> Histogram:
    """Return how many videos have which score."""
    counts: Counter[tuple[int, str]] = Counter(
        (min(int(row.score * BINS), BINS - 1), row.kind) for row in rows if row.score is not None
    )
    totals: Counter[int] = Counter()
    for (at, _), count in counts.items():
        totals[at] += count
    most, room, wide = (
        max(totals.values(), default=1),
        CHART_HEIGHT - TOP - BOTTOM,
        (CHART_WIDTH - LEFT - RIGHT) / BINS,
    )
    bars = []
    tops = dict.fromkeys(totals, CHART_HEIGHT - BOTTOM)
    for (at, kind), count in sorted(counts.items()):
        height = max(room * count / most, _LEAST)
        tops[at] -= height
        tooltip = f"{count} {kind.replace('_', ' ')}, score {at / BINS:.2f} to {(at + 1) / BINS:.2f}"
        bars.append(HistogramBar(LEFT + at * wide + 1, tops[at], wide - 2, height, kind, tooltip))
    return Histogram(tuple(bars), most)


def across(share: float) -> float:
    """Return how far to the right a share of the width is."""
    return LEFT + min(max(share, 0.0), 1.0) * (CHART_WIDTH - LEFT - RIGHT)


def down(score: float) -> float:
    """Return how far down a score is."""
    return TOP + (1 - score) * (CHART_HEIGHT - TOP - BOTTOM)


def format_score(score: float, calibration: Calibration | None) -> str:
    """Return a score with two decimals, and with more where these would put it past a threshold.

    Args:
        score: In [0, 1].
        calibration: That it has gone through, None for a score that no threshold is held against.
    """
    texts = [f"{score:.{digits}f}" for digits in range(2, 7)]
    if calibration is None:
        return texts[0]
    said = verdict(score, calibration)
    return next((text for text in texts if verdict(float(text), calibration) == said), texts[-1])


def clock(seconds: float, digits: int = 2) -> str:
    """Return a time as minutes and seconds, with hours where there are any."""
    # Rounded first, so that no 59.996 seconds are shown as 60.
    minutes, parts = divmod(round(seconds * 10**digits), 60 * 10**digits)
    hours, minutes = divmod(minutes, 60)
    shown = f"{parts / 10**digits:0{3 + digits if digits else 2}.{digits}f}"
    return f"{hours}:{minutes:02d}:{shown}" if hours else f"{minutes}:{shown}"


def _point(name: str, score: Score, duration: float, calibration: Calibration | None) -> ScorePoint:
    whose = f"{name}: " if name else ""
    aside = "" if score.counts else ", not good enough to count"
    value = format_score(score.score, calibration)
    return ScorePoint(
        # A still image is in the middle.
        across(score.seconds / duration if duration > 0 else 0.5),
        down(score.score),
        "" if calibration is None else verdict(score.score, calibration),
        score.counts,
        f"{whose}{value} at {clock(score.seconds)}, frame {score.index}{aside}",
        clock(score.seconds),
        score.index,
        value,
    )


def _ticks(duration: float) -> Iterator[tuple[float, str]]:
    if duration <= 0:
        return
    days = _DAY * math.ceil(duration / _DAY / _MOST_TICKS)
    step = next((step for step in _STEPS if duration / step <= _MOST_TICKS), days)
    for at in range(math.floor(duration / step + 1e-9) + 1):
        yield across(at * step / duration), clock(at * step, digits=1 if step < 1 else 0)
