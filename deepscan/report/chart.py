"""Lay out charts: scores over a video's time, and a histogram of the scores of all videos."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from deepscan.cards import Calibration
from deepscan.scanning.aggregation import verdict
from deepscan.scanning.summary import VideoSummary

#: Size of a chart in its own units, and the space for its axes on each side.
CHART_WIDTH, CHART_HEIGHT = 720.0, 140.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 24.0, 10.0, 24.0
#: Seconds between ticks; the first value that gives few enough ticks is used, or a number of days beyond
#: these.
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200)
_DAY, _MOST_TICKS = 86400, 9
BINS = 20
#: Minimum height of a bar, so that one video among thousands is visible.
_LEAST = 2.0


@dataclass(frozen=True, slots=True)
class Score:
    """A face's score.

    Attributes:
        index: Index of its frame.
        seconds: Time of its frame.
        score: The score in [0, 1].
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
        x: Distance from the left.
        y: Distance from the top.
        kind: Verdict for this score alone; empty if the thresholds are unknown or differ between models.
        counts: Whether the face is good enough to count.
        tooltip: Description for people.
        when: Time of its frame, for people.
        index: Index of its frame.
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
    """A line of scores over time.

    Attributes:
        name: Name of one of several models; empty for the person's overall scores.
        points: In order of time.
    """

    name: str
    points: tuple[ScorePoint, ...]

    @property
    def path(self) -> str:
        """The `points` of an SVG polyline."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


@dataclass(frozen=True, slots=True)
class ScoreTimeline:
    """One person's scores over a video.

    Attributes:
        lines: One for each of several models, then the person's overall scores.
        ticks: Position and text of the time axis's ticks.
        bands: Positions of the thresholds `fake` and `no_evidence`, None if unknown or different between
            models.
    """

    lines: tuple[ScoreLine, ...]
    ticks: tuple[tuple[float, str], ...]
    bands: tuple[float, float] | None

    @property
    def description(self) -> str:
        """Text alternative for people who cannot see the chart."""
        points = self.lines[-1].points if self.lines else ()
        if not points:
            return "Scores over time: none"
        low, high = max(points, key=lambda point: point.y), min(points, key=lambda point: point.y)
        text = f"Scores over time: {len(points)} faces, {low.value} to {high.value}"
        if self.bands is None:
            return text
        above = sum(point.kind == "fake" for point in points)
        return f"{text}, {above} of them above the threshold for fake"


@dataclass(frozen=True, slots=True)
class HistogramBar:
    """A part of a bar of a histogram, with its position, size and description."""

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
        bars: The parts of the bars, by verdict.
        most: Number of videos in the highest bar.
    """

    bars: tuple[HistogramBar, ...]
    most: int

    @property
    def description(self) -> str:
        """Text alternative for people who cannot see the histogram."""
        return f"How many videos have which score: {'; '.join(bar.tooltip for bar in self.bars)}"


def timeline(
    lines: Iterable[tuple[str, Sequence[Score]]], duration: float, calibration: Calibration | None
) -> ScoreTimeline:
    """Lay out a chart of scores.

    Args:
        lines: Name and scores of each line, see `ScoreLine`.
        duration: Duration of the video in seconds.
        calibration: Calibration of the scores, None if there are several, there is none, or it is unknown.
    """
    drawn = tuple(
        ScoreLine(name, tuple(_point(name, score, duration, calibration) for score in scores))
        for name, scores in lines
    )
    bands = None if calibration is None else (down(calibration.fake), down(calibration.no_evidence))
    return ScoreTimeline(drawn, tuple(_ticks(duration)), bands)


def histogram(rows: Iterable[VideoSummary]) -> Histogram:
    """Lay out a histogram of the videos' scores."""
    counts: Counter[tuple[int, str]] = Counter(
        (min(int(row.score * BINS), BINS - 1), row.kind) for row in rows if row.score is not None
    )
    totals: Counter[int] = Counter()
    for (column, _), count in counts.items():
        totals[column] += count
    most, room, wide = (
        max(totals.values(), default=1),
        CHART_HEIGHT - TOP - BOTTOM,
        (CHART_WIDTH - LEFT - RIGHT) / BINS,
    )
    bars = []
    tops = dict.fromkeys(totals, CHART_HEIGHT - BOTTOM)
    for (column, kind), count in sorted(counts.items()):
        height = max(room * count / most, _LEAST)
        tops[column] -= height
        low, high = column / BINS, (column + 1) / BINS
        tooltip = f"{count} {kind.replace('_', ' ')}, score {low:.2f} to {high:.2f}"
        x = LEFT + column * wide + 1
        bars.append(HistogramBar(x, tops[column], wide - 2, height, kind, tooltip))
    return Histogram(tuple(bars), most)


def across(share: float) -> float:
    """Return the horizontal position of a fraction of the width."""
    return LEFT + min(max(share, 0.0), 1.0) * (CHART_WIDTH - LEFT - RIGHT)


def down(score: float) -> float:
    """Return the vertical position of a score."""
    return TOP + (1 - score) * (CHART_HEIGHT - TOP - BOTTOM)


def format_score(score: float, calibration: Calibration | None) -> str:
    """Return a score with two decimals, or more where rounding would move it across a threshold.

    Args:
        score: In [0, 1].
        calibration: Its calibration, None if there are no thresholds.
    """
    texts = [f"{score:.{digits}f}" for digits in range(2, 7)]
    if calibration is None:
        return texts[0]
    band = verdict(score, calibration)
    return next((text for text in texts if verdict(float(text), calibration) == band), texts[-1])


def clock(seconds: float, digits: int = 2) -> str:
    """Return a time as minutes and seconds, with hours if there are any."""
    # Round first, so that 59.996 seconds are not shown as 60.
    minutes, parts = divmod(round(seconds * 10**digits), 60 * 10**digits)
    hours, minutes = divmod(minutes, 60)
    shown = f"{parts / 10**digits:0{3 + digits if digits else 2}.{digits}f}"
    return f"{hours}:{minutes:02d}:{shown}" if hours else f"{minutes}:{shown}"


def _point(name: str, score: Score, duration: float, calibration: Calibration | None) -> ScorePoint:
    prefix = f"{name}: " if name else ""
    aside = "" if score.counts else ", not good enough to count"
    value = format_score(score.score, calibration)
    return ScorePoint(
        # Place a still image in the middle.
        across(score.seconds / duration if duration > 0 else 0.5),
        down(score.score),
        "" if calibration is None else verdict(score.score, calibration),
        score.counts,
        f"{prefix}{value} at {clock(score.seconds)}, frame {score.index}{aside}",
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
