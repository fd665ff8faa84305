"""Test the charts of a page: scores at their times, between the thresholds."""

import pytest

from deepscan.calibration import calibrate
from deepscan.cards import Calibration
from deepscan.report import chart
from deepscan.scanning.fusion import logit_mean
from tests.report.made import THRESHOLDS, described, page, together, video


def test_a_chart_has_calibrated_scores_at_their_times_between_the_thresholds(tmp_path):
    made = page(tmp_path, video())
    first, second = made.all("circle")
    calibration = Calibration.from_json(THRESHOLDS)
    for point, raw, seconds in ((first, 0.5, 0.0), (second, 0.9, 2.0)):
        wide = chart.CHART_WIDTH - chart.LEFT - chart.RIGHT
        # The page rounds to a tenth of a unit.
        assert float(point["cx"]) == pytest.approx(chart.LEFT + wide * seconds / 4.0, abs=0.06)
        high = chart.CHART_HEIGHT - chart.TOP - chart.BOTTOM
        score = calibrate(raw, calibration)
        assert float(point["cy"]) == pytest.approx(chart.CHART_HEIGHT - chart.BOTTOM - high * score, abs=0.06)
    assert (first["class"], second["class"]) == ("inconclusive", "fake")
    (fake,), (clear,) = made.all("rect", **{"class": "fake"}), made.all("rect", **{"class": "no_evidence"})
    assert float(fake["y"]) + float(fake["height"]) == pytest.approx(chart.down(0.7))
    assert float(clear["y"]) == pytest.approx(chart.down(0.3))
    assert f"highest scores: {calibrate(0.9, calibration):.2f} at 0:02.00 (frame 20)" in made.words
    assert "fake from 0.7, no evidence below 0.3, according to its scores on <b>hand-made</b>" in made.words
    assert "deciding <by itself>" in made.text


def test_the_chart_of_several_models_has_a_line_for_each_and_one_for_all(tmp_path):
    made = page(tmp_path, together(b"/v/a.mp4", ("fake", "no_evidence")), run=described("a", "b"))
    own = [calibrate(score, Calibration.from_json(THRESHOLDS)) for score in (0.9, 0.2)]
    heights = [
        float(line["points"].split()[0].split(",")[1])
        for kind in ("m0", "m1", "all")
        for line in made.all("polyline", **{"class": kind})
    ]
    # The page rounds to a tenth of a unit.
    assert heights == pytest.approx([chart.down(score) for score in (*own, logit_mean(own))], abs=0.06)
    assert not made.all("rect", **{"class": "band"})


@pytest.mark.parametrize(
    ("seconds", "digits", "shown"),
    [(0, 2, "0:00.00"), (59.996, 2, "1:00.00"), (61.5, 1, "1:01.5"), (3600, 0, "1:00:00"), (75, 0, "1:15")],
)
def test_times_are_shown_as_in_a_player(seconds, digits, shown):
    assert chart.clock(seconds, digits) == shown


@pytest.mark.parametrize("duration", [0.04, 0.5, 4, 61, 600, 7200, 90000, 1e6, 5e6])
def test_a_chart_of_any_length_has_a_few_ticks(duration):
    drawn = chart.timeline([], duration, None)
    assert 1 <= len(drawn.ticks) <= 10
    assert len({text for _, text in drawn.ticks}) == len(drawn.ticks)
    assert all(chart.LEFT <= x <= chart.CHART_WIDTH - chart.RIGHT + 1e-6 for x, _ in drawn.ticks)


def test_a_histogram_contains_every_video_with_a_score(tmp_path):
    few = [video(f"/v/{at}.mp4".encode(), "fake", at / 12) for at in range(9)]
    assert "Scores" not in page(tmp_path, *few).words
    many = [*few, *(video(f"/w/{at}.mp4".encode(), "no_evidence", 1.0) for at in range(4))]
    made = page(tmp_path, *many, most=0)
    counts = [int(title.split()[0]) for title in made.source.split("<title>")[2:]]
    assert sum(counts) == len(many)
    crowd = [video(f"/w/{at}.mp4".encode(), "no_evidence", 0.1) for at in range(300)]
    bars = page(tmp_path, video(), *crowd, most=0).all("rect")
    assert min(float(bar["height"]) for bar in bars) >= 2, "one among hundreds is visible"


def test_a_still_image_is_in_the_middle():
    drawn = chart.timeline([("", [chart.Score(0, 0.0, 0.5, True)])], 0.0, None)
    ((point,),) = (line.points for line in drawn.lines)
    assert point.x == chart.across(0.5)
    assert drawn.ticks == ()
