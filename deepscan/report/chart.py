"""Where the lines of a chart go: scores over a video's time, and how many videos have which score."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from deepscan.cards import Calibration
from deepscan.scan.aggregation import verdict
from deepscan.scan.rows import Row

#: Of a chart in its own units, and what its axes take at each side.
WIDTH, HEIGHT = 720.0, 140.0
LEFT, RIGHT, TOP, BOTTOM = 34.0, 24.0, 8.0, 20.0
#: Seconds between two ticks, of which the first that gives few enough is taken.
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_MOST_TICKS = 9
BINS = 20


@dataclass(frozen=True, slots=True)
class Point:
    """A score in a chart.

    Attributes:
        x: To the right.
        y: Down.
        kind: Verdict that the score alone would give, which colours it.
        told: What it is, for people.
    """

    x: float
    y: float
    kind: str
    told: str


@dataclass(frozen=True, slots=True)
class Line:
    """Scores of one model over time.

    Attributes:
        name: Of the model, empty for all together.
        points: In order of time.
    """

    name: str
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """The points of an SVG polyline."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


@dataclass(frozen=True, slots=True)
class Timeline:
    """One person's scores over a video.

    Attributes:
        lines: Of each of several models, then of all together; of one model its own.
        ticks: Place and words of times.
        bands: Heights of the thresholds `fake` and `no_evidence`, None where they are not known or not one's.
    """

    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]
    bands: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a bar of a histogram: place, size, and what it stands for."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    told: str


def timeline(
    lines: Iterable[tuple[str, Sequence[tuple[int, float, float]], Calibration | None]],
    duration: float,
    thresholds: Calibration | None,
) -> Timeline:
    """Return a chart of scores.

    Args:
        lines: Name of each model, frame index, seconds and score in [0, 1] of each face, and the calibration
            that the scores have gone through.
        duration: Of the video in seconds.
        thresholds: Of the one model, None where there are several or they are not known.
    """
    drawn = tuple(
        Line(
            name,
            tuple(
                Point(
                    across(seconds, duration),
                    down(score),
                    verdict(score, calibration),
                    f"{f'{name}: ' if name else ''}{score:.2f} at {clock(seconds)}, frame {index}",
                )
                for index, seconds, score in scores
            ),
        )
        for name, scores, calibration in lines
    )
    bands = None if thresholds is None else (down(thresholds.fake), down(thresholds.no_evidence))
    return Timeline(drawn, tuple(_ticks(duration)), bands)


def histogram(rows: Iterable[Row]) -> tuple[Bar, ...]:
    """Return how many videos have which score, the bars parted by verdict."""
    counts: Counter[tuple[int, str]] = Counter(
        (min(int(row.score * BINS), BINS - 1), row.kind) for row in rows if row.score is not None
    )
    totals: Counter[int] = Counter()
    for (at, _), count in counts.items():
        totals[at] += count
    room, wide = HEIGHT - TOP - BOTTOM, (WIDTH - LEFT - RIGHT) / BINS
    bars, stacked = [], Counter[int]()
    for (at, kind), count in sorted(counts.items()):
        height = room * count / max(totals.values())
        y = HEIGHT - BOTTOM - room * stacked[at] / max(totals.values()) - height
        stacked[at] += count
        told = f"{count} {kind.replace('_', ' ')}, score {at / BINS:.2f} to {(at + 1) / BINS:.2f}"
        bars.append(Bar(LEFT + at * wide + 1, y, wide - 2, height, kind, told))
    return tuple(bars)


def across(seconds: float, duration: float) -> float:
    """Return how far to the right a time is; that of a still image is in the middle."""
    share = min(max(seconds / duration, 0.0), 1.0) if duration > 0 else 0.5
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def down(score: float) -> float:
    """Return how far down a score is."""
    return TOP + (1 - score) * (HEIGHT - TOP - BOTTOM)


def clock(seconds: float, digits: int = 2) -> str:
    """Return a time as minutes and seconds, with hours where there are any."""
    # Rounded first, so that no 59.996 seconds are shown as 60.
    minutes, parts = divmod(round(seconds * 10**digits), 60 * 10**digits)
    hours, minutes = divmod(minutes, 60)
    shown = f"{parts / 10**digits:0{3 + digits if digits else 2}.{digits}f}"
    return f"{hours}:{minutes:02d}:{shown}" if hours else f"{minutes}:{shown}"


def _ticks(duration: float) -> Iterable[tuple[float, str]]:
    if duration <= 0:
        return
    step = next((step for step in _TICKS if duration / step <= _MOST_TICKS), duration / _MOST_TICKS)
    for at in range(math.floor(duration / step + 1e-9) + 1):
        yield across(at * step, duration), clock(at * step, digits=1 if step < 1 else 0)
