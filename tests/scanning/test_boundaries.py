"""Test the limits and ties that decide a verdict: the values at which it changes, and what wins a tie."""

from fractions import Fraction
from math import ceil

import pytest

from deepscan.faces.quality import QualityRule
from deepscan.scanning.aggregation import MIN_SHARE, frames_needed, judge_video
from deepscan.scanning.fusion import ModelVerdict, fuse
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.strength import cautions, without_vote
from deepscan.scanning.telling import MAX_FACES, shown_first, telling_faces
from tests.scanning.test_aggregation import CALIBRATION, at, marked, shot_by_shot, tracked
from tests.scanning.test_strength import WEAK, auc, card


def alone(*tracks, sampled):
    """Return one model's verdict on these persons."""
    return ModelVerdict(judge_video(tracks, sampled, CALIBRATION), CALIBRATION)


def test_a_share_of_the_frames_is_rounded_up_exactly():
    """Floating point must not add a frame where a share is a whole number of frames."""
    for sampled in range(1, 65):
        for percent in range(101):
            assert frames_needed(sampled, percent / 100) == ceil(Fraction(sampled * percent, 100))


def test_a_scan_asks_for_a_face_in_three_of_eight_frames():
    assert frames_needed(8, MIN_SHARE) == 3
    assert frames_needed(32, MIN_SHARE) == 10
    assert ScanOptions(model="none").min_share == MIN_SHARE


def test_a_track_that_does_not_count_is_reported_only_if_its_score_is_higher():
    counted = at(0, range(8), raw=0.6)
    for raw, reported in ((0.6, False), (0.61, True)):
        photo = marked(at(1, range(8), raw=raw), still=True)
        assert bool(judge_video([counted, photo], 8, CALIBRATION).warnings) is reported


def test_of_persons_seen_too_rarely_the_worst_is_named():
    """The persons who would decide are seen in one frame of eight each: the highest score is the reason."""
    rare = [at(number, [number], raw=raw) for number, raw in enumerate((0.8, 0.95, 0.9))]
    judged = judge_video(rare, 8, CALIBRATION)
    assert judged.verdict == "inconclusive"
    assert "track 1," in judged.warnings[-1]


def test_a_track_states_its_span_and_that_no_face_of_a_poor_shot_counts():
    track = shot_by_shot([0.2] * 4 + [0.9] * 4, 4, sizes=[200.0] * 4 + [4.0] * 4)
    line = track.to_json()
    assert (line["first"], line["last"]) == (0.0, 0.28)
    assert [shot["used"] for shot in line["shots"]] == [4, 0]
    # Where all are poor, all of them count.
    poor = shot_by_shot([0.2] * 8, 4, sizes=[4.0] * 8).to_json()
    assert (poor["poor"], [shot["used"] for shot in poor["shots"]]) == (True, [4, 4])


def test_several_models_together_need_the_minimum_share_too():
    fake = alone(at(0, range(3)), sampled=32)
    assert fuse({"a": fake, "b": fake}, 32).verdict == "fake"
    assert fuse({"a": fake, "b": fake}, 32, min_share=0.3).verdict == "inconclusive"


def test_models_that_disagree_on_a_person_who_does_not_count_are_not_reported():
    often = tracked(0, [0.1] * 8)
    one, other = (alone(often, tracked(1, [raw]), sampled=8) for raw in (0.99, 0.01))
    judged = fuse({"a": one, "b": other}, 8)
    assert (judged.verdict, judged.warnings) == ("no_evidence", ())


@pytest.mark.parametrize(
    ("lowest", "good"), [(0.65, True), (0.6499, False), (0.6, False)], ids=["at the limit", "below", "fair"]
)
def test_a_model_is_good_enough_from_an_auc_of_0_65(lowest, good):
    assert bool(without_vote([card("other", auc(lowest)), WEAK])) is good


@pytest.mark.parametrize(("lowest", "near"), [(0.5999, True), (0.6, False)])
def test_a_model_is_near_chance_below_an_auc_of_0_6(lowest, near):
    assert bool(cautions(card("a", auc(lowest)))) is near
    assert bool(without_vote([card("good", auc(0.9)), card("a", auc(lowest))])) is near


def record(*scores, counting=()):
    """Return a record with one track and a face per score; those at `counting` are large enough to count."""
    quality = {"size": 200.0, "sharpness": 500.0, "pose": 0.0}
    frames = [
        {
            "track": 0,
            "score": score,
            "probability": 1.0,
            "quality": {**quality, "size": 200.0 if k in counting else 4.0},
        }
        for k, score in enumerate(scores)
    ]
    return {"frames": frames, "tracks": [{"id": 0, "poor": False}]}


def test_the_highest_scores_are_shown_and_faces_that_do_not_count_are_not():
    made = record(0.2, 0.9, 0.5, 0.99, 0.7, counting=(0, 1, 2, 4))
    shown = telling_faces(made["tracks"][0], made, {"m": None}, QualityRule())
    assert [frame["score"] for frame in shown] == [0.9, 0.7, 0.5]
    assert len(shown) == MAX_FACES
    # Without a face that counts, the highest is shown all the same.
    made = record(0.2, 0.9)
    assert [
        frame["score"] for frame in telling_faces(made["tracks"][0], made, {"m": None}, QualityRule())
    ] == [0.9]


def test_persons_who_count_are_shown_first_and_of_these_the_highest_score():
    tracks = [
        {"id": 0, "counted": False, "score": 0.99},
        {"id": 1, "counted": True, "score": 0.1},
        {"id": 2, "counted": True, "score": 0.7},
        {"id": 3, "counted": True, "score": None},
    ]
    assert [track["id"] for track in shown_first(tracks)] == [2, 1, 3, 0]
