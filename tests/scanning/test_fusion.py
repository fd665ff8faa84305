"""Test several models together: the mean of their scores, the vote, and who has none."""

import itertools
from dataclasses import replace

import pytest

from deepscan.scanning.aggregation import judge_video
from deepscan.scanning.fusion import ModelVerdict, agreement, fuse, fused_name, logit_mean, vote
from tests.scanning.test_aggregation import CALIBRATION, shot_by_shot, tracked

FAKE, CLEAR, UNSURE = "fake", "no_evidence", "inconclusive"


def opinion(*raws, calibration=CALIBRATION, sightings=4):
    """Return a model's verdict on one person per raw score."""
    tracks = [tracked(at, [raw] * sightings, calibration=calibration) for at, raw in enumerate(raws)]
    return ModelVerdict(judge_video(tracks, sightings, calibration), calibration)


def fused(*opinions):
    return fuse({f"m{at}": one for at, one in enumerate(opinions)}, 4)


@pytest.mark.parametrize(
    ("scores", "expected"),
    # By hand: the odds of 0.9 and 0.8 are 9 and 4, with geometric mean 6; for 0.9 and 0.1 it is 1.
    [([0.9], 0.9), ([0.8] * 3, 0.8), ([0.9, 0.8], 6 / 7), ([0.9, 0.1], 0.5)],
)
def test_scores_are_pooled_in_log_odds(scores, expected):
    assert logit_mean(scores) == pytest.approx(expected)


@pytest.mark.parametrize(("scores", "expected"), [([0.0, 1.0], 0.5), ([1.0, 1.0], 1.0), ([0.0], 0.0)])
def test_a_certain_model_does_not_silence_the_others(scores, expected):
    # A certain score counts as the nearest value that float32 can distinguish from it.
    assert logit_mean(scores) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([FAKE], FAKE),
        ([FAKE, FAKE], FAKE),
        ([FAKE, UNSURE], UNSURE),
        ([FAKE, FAKE, UNSURE], FAKE),
        ([FAKE, FAKE, CLEAR], UNSURE),
        ([FAKE, CLEAR], UNSURE),
        ([CLEAR, CLEAR, UNSURE], CLEAR),
        ([CLEAR, UNSURE, UNSURE], UNSURE),
        ([CLEAR, CLEAR, FAKE], UNSURE),
        ([], UNSURE),
    ],
)
def test_a_verdict_needs_a_majority_and_no_opposition(verdicts, expected):
    assert {vote(list(order)) for order in itertools.permutations(verdicts)} == {expected}


def test_models_that_agree_give_their_common_result():
    judged = fused(opinion(0.9, 0.1), opinion(0.9, 0.1))
    assert (judged.verdict, judged.calibrated, judged.warnings) == (FAKE, True, ())
    assert judged.score == pytest.approx(0.9)
    assert [track.raw for track in judged.tracks] == pytest.approx([0.9, 0.1])


def test_a_fake_verdict_must_be_about_the_same_person():
    judged = fused(opinion(0.9, 0.1), opinion(0.1, 0.9))
    assert judged.verdict == UNSURE
    assert judged.score == pytest.approx(0.5)
    assert judged.warnings == (
        "the models disagree on track 0: fake by m0; no_evidence by m1",
        "the models disagree on track 1: fake by m1; no_evidence by m0",
    )


def test_no_evidence_needs_every_person():
    assert fused(opinion(0.1, 0.1), opinion(0.1, 0.2)).verdict == CLEAR
    assert fused(opinion(0.1, 0.5), opinion(0.1, 0.5)).verdict == UNSURE


def test_a_person_seen_too_rarely_does_not_count_for_the_verdict():
    often = tracked(0, [0.1] * 8)
    rare = tracked(1, [0.99])
    one = ModelVerdict(judge_video([often, rare], 8, CALIBRATION), CALIBRATION)
    judged = fuse({"a": one, "b": one}, 8)
    assert (judged.verdict, judged.counted) == (CLEAR, {0})
    assert judged.score == pytest.approx(0.1)


@pytest.mark.parametrize("raw", [0.001, 0.999])
def test_a_model_without_calibration_has_no_vote_and_does_not_count_for_the_score(raw):
    unsure = fused(opinion(0.5), opinion(raw, calibration=None))
    assert (unsure.verdict, unsure.calibrated) == (UNSURE, True)
    assert unsure.score == pytest.approx(0.5)
    assert fused(opinion(0.9), opinion(raw, calibration=None)).verdict == FAKE


@pytest.mark.parametrize("raw", [0.001, 0.999])
def test_a_weak_model_with_a_good_one_has_no_vote_and_does_not_count_for_the_score(raw):
    weak = replace(opinion(raw), no_vote="near chance")
    judged = fuse({"good": opinion(0.9), "weak": weak}, 4)
    assert (judged.verdict, judged.calibrated) == (FAKE, True)
    assert judged.score == pytest.approx(0.9)
    assert judged.warnings == ("model weak has no vote: near chance",)


def test_models_without_calibration_are_inconclusive_however_certain():
    judged = fused(*[opinion(0.999, calibration=None)] * 3)
    assert (judged.verdict, judged.calibrated) == (UNSURE, False)
    assert judged.score == pytest.approx(0.999)


def test_calibrated_scores_are_pooled_not_raw_ones():
    warm = replace(CALIBRATION, temperature=2.0)
    # Calibrated, 0.9 has odds of 3; the mean of odds of 3 and 9 is 27 ** 0.5.
    judged = fused(opinion(0.9), opinion(0.9, calibration=warm))
    assert judged.score == pytest.approx(27**0.5 / (1 + 27**0.5))
    assert judged.tracks[0].raw == pytest.approx(0.9)


def test_the_name_of_several_models_does_not_depend_on_their_order():
    assert fused_name(["b", "a"]) == fused_name(["a", "b"]) == "a+b"


def test_agreement_counts_those_with_a_vote():
    models = [
        {"verdict": FAKE, "calibrated": True},
        {"verdict": UNSURE, "calibrated": True},
        {"verdict": UNSURE, "calibrated": False},
    ]
    assert agreement({"verdict": UNSURE, "models": models}) == (1, 2)
    assert agreement({"verdict": UNSURE, "models": models[2:]}) is None
    assert agreement({"verdict": FAKE}) is None
    # A weak model is calibrated and has no vote; records of earlier versions do not have that field.
    assert agreement({"verdict": FAKE, "models": [models[0], {**models[1], "vote": False}]}) is None


def test_a_shot_that_looks_fake_to_one_model_is_reported_with_the_model():
    faces = [0.05] * 30 + [0.9] * 2
    one = ModelVerdict(judge_video([shot_by_shot(faces, 30)], 32, CALIBRATION), CALIBRATION)
    judged = fuse({"a": one, "b": opinion_of(shot_by_shot([0.1] * 32, 30))}, 32)
    assert judged.verdict == UNSURE
    (line,) = judged.warnings
    assert line.startswith("model a: the worst shot of track 0")
    assert judged.tracks[0].shots[1].score == pytest.approx(logit_mean([0.9, 0.1]))


def opinion_of(track):
    return ModelVerdict(judge_video([track], 32, CALIBRATION), CALIBRATION)


def test_agreement_does_not_help_if_too_little_was_seen():
    tracks = [tracked(0, [0.99])]
    one = ModelVerdict(judge_video(tracks, 8, CALIBRATION, min_share=0.25), CALIBRATION)
    judged = fuse({"a": one, "b": one}, 8, min_share=0.25)
    assert (one.judgement.verdict, judged.verdict, judged.calibrated) == (UNSURE, UNSURE, True)
    assert judged.score == pytest.approx(0.99)
    assert sum("too little to judge" in warning for warning in judged.warnings) == 1
    # A vote of fake on a person who was seen well is not blocked by another person seen once.
    more = ModelVerdict(
        judge_video([*tracks, tracked(1, [0.9] * 8)], 8, CALIBRATION, min_share=0.25), CALIBRATION
    )
    assert fuse({"a": more, "b": more}, 8, min_share=0.25).verdict == FAKE
