"""Tracks, the worst-track rule and the verdict's bands."""

import numpy as np
import pytest

from deepscan.cards import Calibration
from deepscan.faces.face import Detection, Face, Quality
from deepscan.faces.quality import QualityRule
from deepscan.faces.tracks import Track
from deepscan.scan.aggregation import judge, score_track, sightings_needed, verdict

RULE = QualityRule()
CALIBRATION = Calibration("frame", "hand-made", 10, "by hand", temperature=1.0, no_evidence=0.3, fake=0.7)


def face(index, size=200.0):
    points = np.array([[40, 40], [80, 40], [60, 60], [45, 80], [75, 80]], np.float32)
    detection = Detection(np.array([0, 0, size, size], np.float32), points, 0.999)
    return Face(index, index / 25, detection, Quality(size, 500.0, 0.05), np.ones(4, np.float32) / 2)


def tracked(number, raws, sizes=None, calibration=CALIBRATION):
    faces = tuple(face(index, size) for index, size in enumerate(sizes or [200.0] * len(raws)))
    return score_track(Track(number, faces), dict(zip(faces, raws, strict=True)), RULE, calibration)


def test_a_track_scores_the_mean_of_its_faces():
    assert tracked(0, [0.2, 0.4, 0.9]).raw == pytest.approx(0.5)


def test_a_poor_face_does_not_count_where_good_ones_are():
    track = tracked(0, [0.2, 0.4, 1.0], sizes=[200.0, 200.0, 4.0])
    assert track.raw == pytest.approx(0.3)
    assert (track.used, track.poor) == (2, False)


def test_where_all_faces_are_poor_all_count_and_the_track_says_so():
    track = tracked(0, [0.2, 0.4], sizes=[4.0, 4.0])
    assert track.raw == pytest.approx(0.3)
    assert (track.used, track.poor) == (2, True)
    assert "small" in judge([track], 2, CALIBRATION).warnings[0]


@pytest.mark.parametrize(
    ("sampled", "needed"), [(1, 1), (2, 1), (4, 1), (5, 2), (8, 2), (9, 3), (32, 3), (300, 3)]
)
def test_a_person_must_be_seen_in_a_quarter_of_the_frames_or_thrice(sampled, needed):
    assert sightings_needed(sampled) == needed


def test_the_worst_of_the_persons_seen_often_enough_decides():
    often, seldom = tracked(0, [0.4] * 3), tracked(1, [0.99] * 2)
    judged = judge([often, seldom], 32, CALIBRATION)
    assert judged.score == pytest.approx(0.4)
    assert judged.warnings == ()
    assert judge([often, seldom], 8, CALIBRATION).score == pytest.approx(0.99)


def test_where_nobody_is_seen_often_enough_the_most_seen_decides_with_a_warning():
    judged = judge([tracked(0, [0.2, 0.2]), tracked(1, [0.9])], 32, CALIBRATION)
    assert judged.score == pytest.approx(0.2)
    assert "3 of 32" in judged.warnings[0]


def test_a_face_that_the_finder_saw_in_the_background_does_not_decide_but_is_told_of():
    person, wallpaper = tracked(0, [0.2] * 3), tracked(1, [0.99] * 20, sizes=[20.0] * 20)
    judged = judge([wallpaper, person], 32, CALIBRATION)
    assert judged.score == pytest.approx(0.2)
    assert judged.counted == {0}
    assert "person 1, seen 20 times" in judged.warnings[0]


def test_a_person_with_few_good_faces_among_many_poor_ones_counts_by_the_good_ones():
    fake = tracked(1, [0.99] * 2 + [0.1] * 28, sizes=[200.0] * 2 + [20.0] * 28)
    judged = judge([tracked(0, [0.05] * 32), fake], 32, CALIBRATION)
    assert judged.score == pytest.approx(0.99)
    assert judged.verdict == "fake"


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (0.0, "no_evidence"),
        (0.2999, "no_evidence"),
        (0.3, "inconclusive"),
        (0.6999, "inconclusive"),
        (0.7, "fake"),
        (1.0, "fake"),
    ],
)
def test_the_bands_meet_without_a_gap(score, said):
    assert verdict(score, CALIBRATION) == said


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_a_model_without_calibration_is_always_inconclusive(score):
    judged = judge([tracked(0, [score] * 3, calibration=None)], 3, None)
    assert (judged.verdict, judged.calibrated, judged.score) == ("inconclusive", False, score)


def test_temperature_takes_confidence_back_without_changing_sides():
    warm = Calibration("frame", "hand-made", 10, "by hand", temperature=2.0, no_evidence=0.3, fake=0.7)
    track = tracked(0, [0.9], calibration=warm)
    # logit(0.9) / 2 = 1.0986; its sigmoid is 0.75
    assert track.score == pytest.approx(0.75, abs=1e-6)
    assert tracked(0, [0.5], calibration=warm).score == pytest.approx(0.5)


def test_without_a_detector_there_is_neither_score_nor_verdict():
    faces = (face(0), face(1))
    judged = judge([score_track(Track(0, faces), None, RULE, None)], 2, None)
    assert (judged.score, judged.verdict, judged.calibrated) == (None, None, False)
