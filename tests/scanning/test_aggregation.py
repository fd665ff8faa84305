"""Test tracks, the worst-track rule and the verdict's bands."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from deepscan.cards import Calibration
from deepscan.faces.face import Detection, Face, Quality
from deepscan.faces.quality import QualityRule
from deepscan.faces.shots import ShotSpan
from deepscan.faces.tracks import FaceTrack
from deepscan.scanning.aggregation import frames_needed, judge_video, score_track, sightings_needed, verdict

RULE = QualityRule()
CALIBRATION = Calibration("frame", "hand-made", 10, "by hand", temperature=1.0, no_evidence=0.3, fake=0.7)


def face(index, size=200.0):
    points = np.array([[40, 40], [80, 40], [60, 60], [45, 80], [75, 80]], np.float32)
    detection = Detection(np.array([0, 0, size, size], np.float32), points, 0.999)
    return Face(index, index / 25, detection, Quality(size, 500.0, 0.05), np.ones(4, np.float32) / 2)


def tracked(number, raws, sizes=None, calibration=CALIBRATION):
    faces = tuple(face(index, size) for index, size in enumerate(sizes or [200.0] * len(raws)))
    return score_track(FaceTrack(number, faces), dict(zip(faces, raws, strict=True)), RULE, calibration)


def shot_by_shot(raws, *cuts, sizes=None):
    """Return a person in several shots, which begin at frame 0 and at the frames of `cuts`."""
    faces = tuple(face(index, size) for index, size in enumerate(sizes or [200.0] * len(raws)))
    bounds = [0, *cuts, len(raws)]
    shots = [ShotSpan(k, a, b - 1, a / 25, (b - 1) / 25) for k, (a, b) in enumerate(pairwise(bounds))]
    return score_track(FaceTrack(0, faces), dict(zip(faces, raws, strict=True)), RULE, CALIBRATION, shots)


def test_a_person_scores_the_mean_of_all_shots_and_each_shot_has_its_own():
    track = shot_by_shot([0.2] * 6 + [0.8] * 2, 6)
    assert track.score == pytest.approx(0.35)
    assert [shot.score for shot in track.shots.values()] == pytest.approx([0.2, 0.8])
    assert [(line["shot"], line["score"], line["used"]) for line in track.to_json()["shots"]] == [
        (0, 0.2, 6),
        (1, 0.8, 2),
    ]
    assert (track.worst_shot, track.to_json()["worst_shot"]) == (1, 1)


@pytest.mark.parametrize(
    ("raws", "cuts", "sizes"),
    [
        ([0.2] * 7 + [0.99], [7], None),
        ([0.2] * 4 + [0.99] * 4, [4], [200.0] * 4 + [4.0] * 4),
        ([0.99] * 8, [], None),
    ],
    ids=["a single face", "never seen clearly", "only one shot"],
)
def test_what_does_not_count_as_a_worst_shot(raws, cuts, sizes):
    worst = shot_by_shot(raws, *cuts, sizes=sizes).worst_shot
    assert worst == (0 if cuts else None)


@pytest.mark.parametrize(
    ("raws", "expected", "reported"),
    [
        ([0.05] * 30 + [0.9] * 2, "inconclusive", True),
        ([0.05] * 30 + [0.6] * 2, "no_evidence", False),
        ([0.5] * 30 + [0.9] * 2, "inconclusive", True),
        ([0.8] * 30 + [0.9] * 2, "fake", False),
    ],
    ids=["not cleared", "no shot is fake", "between", "fake anyway"],
)
def test_one_shot_that_looks_fake_is_reported_and_prevents_no_evidence(raws, expected, reported):
    judged = judge_video([shot_by_shot(raws, 30)], 32, CALIBRATION)
    assert judged.verdict == expected
    assert judged.score == pytest.approx(np.mean(raws))
    assert [
        line.startswith("the worst shot of track 0, from 1.2 s to 1.2 s") for line in judged.warnings
    ] == ([True] if reported else [])


def test_a_track_scores_the_mean_of_its_faces():
    assert tracked(0, [0.2, 0.4, 0.9]).raw == pytest.approx(0.5)


def test_a_poor_face_does_not_count_if_there_are_good_ones():
    track = tracked(0, [0.2, 0.4, 1.0], sizes=[200.0, 200.0, 4.0])
    assert track.raw == pytest.approx(0.3)
    assert (track.used, track.poor) == (2, False)


def test_if_all_faces_are_poor_all_count_and_the_track_is_marked():
    track = tracked(0, [0.2, 0.4], sizes=[4.0, 4.0])
    assert track.raw == pytest.approx(0.3)
    assert (track.used, track.poor) == (2, True)
    assert "small" in judge_video([track], 2, CALIBRATION).warnings[0]


@pytest.mark.parametrize(
    ("sampled", "needed"), [(1, 1), (2, 1), (4, 1), (5, 2), (8, 2), (9, 3), (32, 3), (300, 3)]
)
def test_a_person_must_be_seen_in_a_quarter_of_the_frames_or_three_times(sampled, needed):
    assert sightings_needed(sampled) == needed


def test_the_worst_of_the_persons_seen_often_enough_decides():
    often, rare = tracked(0, [0.4] * 3), tracked(1, [0.99] * 2)
    judged = judge_video([often, rare], 32, CALIBRATION)
    assert judged.score == pytest.approx(0.4)
    assert judged.warnings == ()
    assert judge_video([often, rare], 8, CALIBRATION).score == pytest.approx(0.99)


def test_if_nobody_is_seen_often_enough_the_most_seen_decides_with_a_warning():
    judged = judge_video([tracked(0, [0.2, 0.2]), tracked(1, [0.9])], 32, CALIBRATION)
    assert judged.score == pytest.approx(0.2)
    assert "3 of 32" in judged.warnings[0]


def test_a_false_detection_in_the_background_does_not_decide_but_is_reported():
    person, wallpaper = tracked(0, [0.2] * 3), tracked(1, [0.99] * 20, sizes=[20.0] * 20)
    judged = judge_video([wallpaper, person], 32, CALIBRATION)
    assert judged.score == pytest.approx(0.2)
    assert judged.counted == {0}
    assert "track 1, seen 20 times" in judged.warnings[0]


def test_a_person_with_few_good_faces_counts_by_the_good_ones():
    fake = tracked(1, [0.99] * 2 + [0.1] * 28, sizes=[200.0] * 2 + [20.0] * 28)
    judged = judge_video([tracked(0, [0.05] * 32), fake], 32, CALIBRATION)
    assert judged.score == pytest.approx(0.99)
    assert judged.verdict == "fake"


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (0.0, "no_evidence"),
        (0.2999, "no_evidence"),
        (0.3, "inconclusive"),
        (0.6999, "inconclusive"),
        (0.7, "fake"),
        (1.0, "fake"),
    ],
)
def test_the_bands_meet_without_a_gap(score, expected):
    assert verdict(score, CALIBRATION) == expected


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_a_model_without_calibration_is_always_inconclusive(score):
    judged = judge_video([tracked(0, [score] * 3, calibration=None)], 3, None)
    assert (judged.verdict, judged.calibrated, judged.score) == ("inconclusive", False, score)


def test_temperature_lowers_confidence_without_changing_sides():
    warm = Calibration("frame", "hand-made", 10, "by hand", temperature=2.0, no_evidence=0.3, fake=0.7)
    track = tracked(0, [0.9], calibration=warm)
    # logit(0.9) / 2 = 1.0986; its sigmoid is 0.75
    assert track.score == pytest.approx(0.75, abs=1e-6)
    assert tracked(0, [0.5], calibration=warm).score == pytest.approx(0.5)


def test_without_a_detector_there_is_neither_score_nor_verdict():
    track = score_track(FaceTrack(0, (face(0),)), None, RULE, None)
    judged = judge_video([track], 8, None, min_share=0.25)
    assert (judged.score, judged.verdict, judged.calibrated) == (None, None, False)
    assert "too little" not in " ".join(judged.warnings)


def at(number, indices, raw=0.98, size=200.0):
    """Return a person seen in these frames, with the same raw score for every face."""
    faces = tuple(face(index, size) for index in indices)
    return score_track(FaceTrack(number, faces), dict.fromkeys(faces, raw), RULE, CALIBRATION)


@pytest.mark.parametrize(
    ("sampled", "share", "needed"),
    # 0.1 * 30 is 3.0000000000000004 in floating point.
    [(8, 0.25, 2), (32, 0.25, 8), (1, 0.25, 1), (5, 0.25, 2), (30, 0.1, 3), (32, 0.0, 0), (7, 1.0, 7)],
)
def test_the_minimum_share_is_a_number_of_frames(sampled, share, needed):
    assert frames_needed(sampled, share) == needed


def test_one_face_in_eight_frames_is_inconclusive_and_the_score_stays():
    judged = judge_video([at(0, [3])], 8, CALIBRATION, min_share=0.25)
    assert (judged.verdict, judged.calibrated, judged.counted) == ("inconclusive", True, {0})
    assert judged.score == pytest.approx(0.98)
    reason = "too little to judge: a face counts in 1 of 8 sampled frames, a verdict needs 2"
    assert judged.warnings[-1] == reason


@pytest.mark.parametrize(
    ("seen", "sampled", "expected"),
    [
        *[(1, 1, "fake"), (1, 2, "fake"), (1, 4, "fake"), (1, 5, "inconclusive"), (2, 5, "fake")],
        *[(2, 8, "fake"), (7, 32, "inconclusive"), (8, 32, "fake"), (74, 300, "inconclusive")],
        (75, 300, "fake"),
    ],
)
def test_a_still_and_a_short_video_need_their_share_too(seen, sampled, expected):
    judged = judge_video([at(0, range(seen))], sampled, CALIBRATION, min_share=0.25)
    assert judged.verdict == expected
    assert bool(judged.warnings) == (expected == "inconclusive")


@pytest.mark.parametrize(("raw", "expected"), [(0.98, "fake"), (0.5, "inconclusive"), (0.02, "no_evidence")])
def test_frames_of_several_persons_add_up(raw, expected):
    persons = [at(0, range(0, 4), raw), at(1, range(4, 8), raw)]
    judged = judge_video(persons, 32, CALIBRATION, min_share=0.25)
    assert (judged.verdict, judged.warnings) == (expected, ())
    # Four frames with both of them are four frames.
    both = judge_video([at(0, range(4), raw), at(1, range(4), raw)], 32, CALIBRATION, min_share=0.25)
    assert both.verdict == "inconclusive"
    assert "in 4 of 32 sampled frames, a verdict needs 8" in both.warnings[0]


def test_faces_that_do_not_count_add_nothing():
    # One of eight faces is good; a person seen once and one never seen clearly do not count.
    poor = tracked(0, [0.98] * 8, sizes=[200.0] + [20.0] * 7)
    judged = judge_video([poor, at(1, [9]), at(2, range(10, 32), size=20.0)], 32, CALIBRATION, min_share=0.25)
    assert judged.counted == {0}
    assert judged.verdict == "inconclusive"
    assert "in 1 of 32 sampled frames" in judged.warnings[-1]


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_persons_seen_in_one_frame_each_do_not_decide_however_many_there_are(share):
    persons = [at(number, [number], raw=0.1) for number in range(31)] + [at(31, [31], raw=0.98)]
    judged = judge_video(persons, 32, CALIBRATION, min_share=share)
    assert judged.score == pytest.approx(0.98)
    assert judged.verdict == "inconclusive"
    assert judged.warnings[-1] == (
        "too little to judge: the verdict would depend on track 31, seen in 1 of 32 sampled frames, "
        "1 with a face that counts"
    )


@pytest.mark.parametrize(("good", "expected"), [(1, "inconclusive"), (2, "fake")])
def test_one_good_face_next_to_another_person_does_not_decide(good, expected):
    thin = tracked(1, [0.98] * 3, sizes=[200.0] * good + [20.0] * (3 - good))
    judged = judge_video([at(0, range(32), raw=0.1), thin], 32, CALIBRATION, min_share=0.25)
    assert judged.score == pytest.approx(0.98)
    assert judged.verdict == expected


@pytest.mark.parametrize(("raw", "other", "expected"), [(0.98, 0.8, "fake"), (0.02, 0.1, "no_evidence")])
def test_a_verdict_that_another_person_supports_is_given(raw, other, expected):
    thin = tracked(1, [raw] * 3, sizes=[200.0, 20.0, 20.0])
    judged = judge_video([at(0, range(32), raw=other), thin], 32, CALIBRATION, min_share=0.25)
    assert (judged.verdict, judged.warnings) == (expected, ())


def marked(track, **marks):
    """Return a track that is marked as not a face, or as still."""
    return replace(track, track=replace(track.track, **marks))


def test_a_track_that_is_not_a_face_does_not_decide_however_often_it_is_found():
    towel = marked(at(1, range(32), raw=0.98), is_face=False)
    judged = judge_video([towel, at(0, range(3), raw=0.1)], 32, CALIBRATION)
    assert (judged.score, judged.verdict, judged.counted) == (pytest.approx(0.1), "no_evidence", {0})
    assert judged.aside == {1: "no_face"}
    assert judged.warnings == (
        "track 1, seen 32 times, is not counted, although its score is higher (0.98): "
        "does not look like a face",
    )
    # Nor does it keep a person who is seen too rarely from deciding.
    assert judge_video([towel, at(0, [3], raw=0.1)], 32, CALIBRATION).counted == {0}


def test_if_nothing_is_a_face_there_is_no_score():
    judged = judge_video([marked(at(0, range(32)), is_face=False)], 32, CALIBRATION, min_share=0.3)
    assert (judged.score, judged.verdict, judged.calibrated) == (None, None, False)
    assert (judged.aside, judged.warnings) == ({0: "no_face"}, ())


def test_a_photo_does_not_decide_if_a_living_face_is_seen_clearly():
    photograph = marked(at(0, range(32), raw=0.98), still=True)
    judged = judge_video([photograph, at(1, range(12), raw=0.1)], 32, CALIBRATION)
    assert (judged.score, judged.verdict, judged.aside) == (pytest.approx(0.1), "no_evidence", {0: "still"})
    assert judged.warnings == (
        "track 0, seen 32 times, is not counted, although its score is higher (0.98): "
        "never moves, like a face in a photo",
    )


@pytest.mark.parametrize("companions", [[], [(range(2), 200.0)], [(range(32), 20.0)]])
def test_a_photo_decides_if_no_living_face_is_seen_clearly(companions):
    # Nobody else, somebody seen too rarely, somebody never seen clearly.
    photograph = marked(at(0, range(32), raw=0.98), still=True)
    others = [at(1 + k, frames, raw=0.1, size=size) for k, (frames, size) in enumerate(companions)]
    judged = judge_video([photograph, *others], 32, CALIBRATION)
    assert (judged.verdict, judged.counted) == ("fake", {0})


def test_each_track_that_does_not_count_has_a_reason():
    tracks = [at(0, range(9)), at(1, range(2)), at(2, range(9), size=20.0)]
    assert judge_video(tracks, 32, CALIBRATION).aside == {1: "seldom", 2: "poor"}
