"""Test the sentences of a page: scores of frames, error rates of verdicts, the interval of a score."""

import numpy as np
import pytest

from deepscan.calibration import calibrate
from deepscan.cards import Calibration
from deepscan.report.sentences import score_interval
from tests.report.made import THRESHOLDS, described, face, page, together, track, video

RATES = [
    {
        "data": "clips <of> us",
        "level": "video",
        "reals": 34,
        "reals_called_fake": 5,
        "fakes": 20,
        "fakes_called_fake": 9,
        "fakes_no_evidence": 3,
    }
]


def rated(rates=RATES):
    run = described()
    run["model"]["error_rates"] = rates
    return run


def many(*raws, **more):
    frames = [face(at, raw) for at, raw in enumerate(raws)]
    return video(frames=frames, tracks=[track(0.9, sightings=len(raws))], **more)


def test_a_video_has_sentences_about_its_frames_and_the_errors_of_its_verdict(tmp_path):
    # With the thresholds of `made` (0.7, temperature 2), a raw score of 0.9 is above and 0.5 is not.
    words = page(tmp_path, many(0.9, 0.9, 0.5), run=rated()).words
    assert "In 2 of 3 sampled frames, one person's face scores above the threshold for fake (0.7);" in words
    assert "Tested on clips <of> us, m called 5 of 34 real videos fake." in words


@pytest.mark.parametrize(
    ("verdict", "score", "expected"),
    [
        ("fake", 0.9, ["m called 5 of 34 real videos fake", "also given to 5 of 34 reals"]),
        (
            "no_evidence",
            0.1,
            ["m found no evidence in 3 of 20 fakes", "also given to 3 of 20 fakes", "In none of 2"],
        ),
        (
            "inconclusive",
            0.5,
            ["m was inconclusive on 8 of 20 fakes.", "between that and the threshold for no evidence (0.3)"],
        ),
    ],
)
def test_each_verdict_has_its_own_error_rate(tmp_path, verdict, score, expected):
    words = page(tmp_path, many(0.2, 0.2, verdict=verdict, score=score), run=rated()).words
    assert all(text in words for text in expected)


@pytest.mark.parametrize(
    ("rates", "why"), [([], "its card reports no"), (None, "the run's file does not say")]
)
def test_a_fake_without_an_error_rate_says_that_it_is_unknown(tmp_path, rates, why):
    made = page(tmp_path, video(), run=described() if rates is None else rated(rates))
    assert why in made.words
    assert "fake error rate unknown 0.90" in made.words, "in the table, next to the verdict"


def test_every_red_fake_is_next_to_its_error_rate(tmp_path):
    made = page(tmp_path, video(), video(b"/v/b.mp4"), run=rated())
    reds = len(made.all("span", **{"class": "verdict"}))
    assert reds == 4
    assert len(made.all("span", **{"class": "rate"})) == reds


def test_the_interval_is_that_of_the_mean_over_frames():
    calibration = Calibration.from_json(THRESHOLDS)
    raws = np.random.default_rng(3).uniform(0.2, 0.8, 400)
    low, high = score_interval([(raws, calibration)])
    assert low < calibrate(float(raws.mean()), calibration) < high
    # The mean of 400 frames has a standard deviation of 0.173 / 20.
    half = 1.96 * raws.std() / 20
    edges = [calibrate(float(raws.mean()) + side * half, calibration) for side in (-1, 1)]
    assert [low, high] == pytest.approx(edges, abs=0.002)
    assert score_interval([(raws, calibration)]) == (low, high), "the same in every run"
    assert score_interval([(raws[:1], calibration)]) is None


def test_quality_is_described_and_its_figures_are_folded(tmp_path):
    made = page(tmp_path, video())
    assert "sharp, frontal, 50 px" in made.words
    assert "sharpness 99" not in made.source.split("<details")[0]


def test_statuses_are_spelled_out(tmp_path):
    failed = video(b"/v/x.mp4", verdict=None, score=None, tracks=[], frames=[], calibrated=False, model=None)
    made = page(tmp_path, failed | {"status": "no_face", "detail": "no face was found"}, video())
    assert "no_face" not in made.text.split("const table")[0].split("</style>")[-1].split("[hidden]")[-1]
    assert "no face" in made.words


def test_equal_files_are_shown_once_and_named(tmp_path):
    same = {"sha256": "ab" * 32}
    made = page(tmp_path, video(**same), video(b"/v/b.mp4", **same), video(b"/v/c.mp4"))
    assert "a copy of a.mp4" in made.words
    assert "Copies: b.mp4" in made.words
    assert [attrs["id"] for attrs in made.all("article")] == ["v1", "v2"]
    # Equal files with different outcomes are both shown.
    other = video(b"/v/b.mp4", score=0.8, **same)
    assert len(page(tmp_path, video(**same), other).all("article")) == 2


def test_method_validation_and_limits_come_from_the_run(tmp_path):
    words = page(tmp_path, video(), run=rated()).words
    assert "up to 2 of its frames, spread evenly, decoded by pyav (1)" in words
    assert "5 of 34 (6% to 30%)" in words
    assert "m is not for: deciding <by itself>" in words
    assert "No evidence never means authentic" in words


def test_if_one_of_several_models_decides_its_error_rate_is_shown(tmp_path):
    run = described("a", "b")
    run["models"]["a"]["error_rates"] = RATES
    alone = together(b"/v/a.mp4", ("fake", "inconclusive"), calibrated=(True, False)) | {"verdict": "fake"}
    assert "also given to 5 of 34 reals" in page(tmp_path, alone, run=run).words
    both = together(b"/v/a.mp4", ("fake", "fake"))
    assert "combined error rate not measured" in page(tmp_path, both, run=run).words


def test_a_warning_of_every_video_is_shown_once(tmp_path):
    made = page(
        tmp_path,
        *(video(f"/v/{at}.mp4".encode(), warnings=("common trouble", f"trouble of {at}")) for at in range(3)),
    )
    assert made.text.count("common trouble") == 1
    assert made.text.count("trouble of 1") == 2, "in the table and in the detail"
