"""Evaluations from crops to results, on benchmarks small enough to compute every result by hand."""

import json
from copy import copy
from dataclasses import replace

import numpy as np
import pytest

from deepscan.data.benchmarks.benchmark import FaceVideo, write_benchmark
from deepscan.errors import UsageError
from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.evaluation.report import write_report
from deepscan.evaluation.robustness import DISTORTIONS, LEVELS
from deepscan.evaluation.run import run_evaluation
from deepscan.evaluation.scores import read_scores
from tests.evaluation.replica import (
    CELEB,
    CLOSE,
    CROSS,
    DFD,
    Reads,
    benchmark,
    request,
    result_of,
    score_of,
    scores_of,
    write_crop,
)

pytestmark = pytest.mark.usefixtures("few_bootstrap_rounds")


def with_card(scorer, **changed):
    """Return the same detector with a modified card."""
    other = copy(scorer)
    other.card = replace(scorer.card, **changed)
    return other


def test_results_equal_those_computed_by_hand(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    benchmark(tmp_path, "DeepFakeDetection", DFD, level="c23")
    report = run_evaluation(request(tmp_path, tmp_path / "out", "Celeb-DF-v2", "DeepFakeDetection"), scorer)
    celeb, dfd = result_of(report, "Celeb-DF-v2"), result_of(report, "DeepFakeDetection")
    assert scores_of(celeb) == pytest.approx(
        {
            (kind, name): score_of(*values)
            for kind, by_distortion in CELEB.items()
            for name, values in by_distortion.items()
        },
        abs=CLOSE,
    )
    assert celeb.value("auc") == pytest.approx(5 / 6)
    assert dfd.value("auc") == pytest.approx(1 / 2)
    # Frames: of 24 pairs, only 40, 80 and 90 against both 120 are ordered wrongly.
    assert result_of(report, "Celeb-DF-v2", "frame").value("auc") == pytest.approx(18 / 24)
    assert celeb.value("accuracy") == pytest.approx(4 / 5), "0.5 is the grey 127.5, so f0 counts as real"
    assert report.mean("corrected", "video", "auc") == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert (celeb.coverage.n, celeb.coverage.scored) == (5, 5)
    assert (celeb.paper.printed, dfd.paper.printed) == ("0.960", "0.975")
    assert not report.papers_means, "the paper's mean covers ten sets"


def test_each_manipulation_is_measured_against_all_reals(tmp_path, scorer):
    benchmark(
        tmp_path,
        "FaceForensics++",
        {
            "FF-real": {"000": [50], "001": [150]},
            "FF-DF": {"000_001": [200], "001_000": [100]},
            "FF-F2F": {"000_001": [20]},
            "FF-FS": {"000_001": [250]},
            "FF-NT": {"000_001": [160], "001_000": [40]},
        },
        level="c23",
    )
    by_hand = {"FF-DF": 3 / 4, "FF-F2F": 0, "FF-FS": 1, "FF-NT": 1 / 2}
    protocol = PROTOCOLS.get("cross-manipulation")
    report = run_evaluation(request(tmp_path, tmp_path / "a", protocol=protocol, row="corit"), scorer)
    assert {result.test: result.value("auc") for result in report.of("corrected", "frame")} == pytest.approx(
        by_hand
    )
    assert report.mean("corrected", "video", "auc") == pytest.approx(9 / 16)
    assert result_of(report, "FF-NT").coverage.n == 4

    whole = PROTOCOLS.get("in-domain")
    kinds = result_of(
        run_evaluation(request(tmp_path, tmp_path / "b", protocol=whole), scorer), "FaceForensics++"
    ).kinds
    assert {kind: figures["auc"].value for kind, figures in kinds.items()} == pytest.approx(by_hand)


def test_a_printed_mean_is_shown_for_exactly_its_sets(tmp_path, scorer):
    for test in CROSS.sets["corit"]:
        benchmark(tmp_path, test.dataset, {"a_real": {"r": [9]}, "a_fake": {"f": [99]}})
    report = run_evaluation(
        request(tmp_path, tmp_path / "out", row="corit"), with_card(scorer, method="corit")
    )
    assert report.papers_means["corrected", "frame"].printed == "88.9"
    written = json.loads(write_report(report, tmp_path / "out", "auc", "frame")[0].read_text())
    means = {mean["level"]: mean["paper"] and mean["paper"]["printed"] for mean in written["means"]}
    assert means == {"frame": "88.9", "video": None}


#: Four frames per video, of which two are sampled: 0 and 3, or 0 and 1.
LONG = {
    "FF-real": {"000": [100, 100, 0, 140]},
    "FF-DF": {"000_003": [150, 10, 0, 190]},
    "FF-NT": {"000_003": [90, 110, 0, 60]},
}


def test_both_countings_are_measured_with_a_single_reading(tmp_path, scorer, monkeypatch):
    benchmark(tmp_path, "FaceForensics++", LONG, level="c23")
    reads = Reads(monkeypatch)
    evaluation = request(
        tmp_path,
        tmp_path / "out",
        protocol=PROTOCOLS.get("in-domain"),
        frames=2,
        countings=("corrected", "as-published"),
    )
    report = run_evaluation(evaluation, scorer)
    assert sorted(path.split("/")[-1] for path in reads.seen) == sorted(["000.png", "001.png", "003.png"] * 3)
    assert set(reads.seen.values()) == {1}

    corrected = result_of(report, "FaceForensics++")
    assert scores_of(corrected) == pytest.approx(
        {
            ("FF-real", "000"): score_of(100, 140),
            ("FF-DF", "000_003"): score_of(150, 190),
            ("FF-NT", "000_003"): score_of(90, 60),
        },
        abs=CLOSE,
    )
    assert corrected.value("auc") == pytest.approx(1 / 2)

    published = result_of(report, "FaceForensics++", counting="as-published")
    merged = score_of(150, 10, 90, 110)
    assert published.samples.scores.tolist() == pytest.approx([score_of(100, 100), merged], abs=CLOSE)
    assert published.value("auc") == 0, (
        "the two fakes of the same name count as one, which scores below the real"
    )
    assert published.samples.labels.tolist() == [0, 1]
    assert any("3 videos count as 2" in note for note in published.notes)
    assert not published.kinds, "a merged video has no single kind"
    assert set(published.figures) == {"auc"}
    frames = result_of(report, "FaceForensics++", "frame", "as-published")
    # 150 and 110 are above both frames of 100, 10 and 90 below.
    assert frames.value("auc") == pytest.approx(1 / 2)


def test_a_single_counting_reads_only_its_frames(tmp_path, scorer, monkeypatch):
    benchmark(tmp_path, "FaceForensics++", LONG, level="c23")
    for counting, names in (("corrected", {"000.png", "003.png"}), ("as-published", {"000.png", "001.png"})):
        reads = Reads(monkeypatch)
        evaluation = request(tmp_path, tmp_path / counting, protocol=PROTOCOLS.get("in-domain"), frames=2)
        run_evaluation(replace(evaluation, countings=(counting,)), scorer)
        assert {path.split("/")[-1] for path in reads.seen} == names
        monkeypatch.undo()


def test_an_unused_video_key_is_rejected(tmp_path, scorer):
    with pytest.raises(UsageError, match="does not use --video-key parent2") as caught:
        run_evaluation(request(tmp_path, tmp_path / "out", video_key="parent2"), scorer)
    assert "as-published" in caught.value.hint


def test_parent2_separates_videos_that_parent_merges(tmp_path, scorer):
    videos = [
        FaceVideo("Mine", kind, label, "test", f"{kind}-{name}", (write_crop(path, value),))
        for kind, label, name, value, path in (
            ("x_real", 0, "a", 100, tmp_path / "real" / "a" / "0.png"),
            ("x_fake", 1, "a", 200, tmp_path / "fake" / "a" / "0.png"),
            ("x_fake", 1, "b", 250, tmp_path / "fake" / "b" / "0.png"),
        )
    ]
    write_benchmark(tmp_path / "Mine.json", videos, nested=False)
    for key, labels in ((None, [0, 1]), ("parent", [0, 1]), ("parent2", [0, 1, 1])):
        evaluation = request(
            tmp_path, tmp_path / f"out-{key}", "Mine", countings=("as-published",), video_key=key
        )
        found = result_of(run_evaluation(evaluation, scorer), "Mine", counting="as-published")
        assert found.samples.labels.tolist() == labels, "a video merged from real and fake is real"


def test_crops_are_read_once_for_all_distortions(tmp_path, scorer, monkeypatch):
    values = {"FF-real": {"000": [100], "001": [200]}, "FF-DF": {"000_001": [180], "001_000": [240]}}
    benchmark(tmp_path, "FaceForensics++", values, level="c23")
    reads = Reads(monkeypatch)
    evaluation = request(tmp_path, tmp_path / "out", protocol=PROTOCOLS.get("robustness"))
    report = run_evaluation(evaluation, scorer)
    assert list(reads.seen.values()) == [1] * 4
    assert len(list((tmp_path / "out" / "frames").iterdir())) == 1 + len(DISTORTIONS.names) * len(LEVELS)
    by_distortion = {found.distortion: found for found in report.robustness["FaceForensics++"]}
    assert tuple(by_distortion) == DISTORTIONS.names
    # Blur, resizing and compression keep a uniform colour; less contrast keeps the order.
    for name in ("blur", "resizing", "contrast", "jpeg"):
        assert by_distortion[name].aucs == pytest.approx(dict.fromkeys((0, *LEVELS), 3 / 4)), name
        assert by_distortion[name].figure == 0
    reads.seen.clear()
    again = run_evaluation(evaluation, scorer)
    assert not reads.seen
    assert again.to_json()["robustness"] == report.to_json()["robustness"]
    names = {path.name for path in write_report(report, tmp_path / "out", "auc", "video")}
    assert "robustness.png" in names


def test_distortions_are_measured_at_each_level(tmp_path, scorer):
    values = {"FF-real": {"000": [1]}, "FF-DF": {"000_001": [2]}}
    benchmark(tmp_path, "FaceForensics++", values, level="c23")
    report = run_evaluation(request(tmp_path, tmp_path / "out", protocol=PROTOCOLS.get("robustness")), scorer)
    (contrast,) = [found for found in report.robustness["FaceForensics++"] if found.distortion == "contrast"]
    # Rounded down, 2 * 0.85, 0.725 and 0.6 are 1, and 1 * these are 0; from 0.475 on, both are 0.
    assert contrast.aucs == {0: 1, 1: 1, 2: 1, 3: 1, 4: 0.5, 5: 0.5}
    assert contrast.figure == pytest.approx((0 + 0 + 0 - 0.5 - 0.5) / 5)


def test_all_videos_are_written_with_or_without_scores(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    frames = tmp_path / "Celeb-DF-v2" / "CelebDFv2_fake" / "frames"
    (frames / "f1" / "000.png").write_bytes(b"no picture")
    (frames / "f2" / "000.png").write_bytes(b"no picture")
    (frames / "f2" / "001.png").unlink()
    evaluation = request(tmp_path, tmp_path / "out", "Celeb-DF-v2", countings=("corrected", "as-published"))
    report = run_evaluation(evaluation, scorer)
    paths = write_report(report, tmp_path / "out", "auc", "video")
    for counting in evaluation.countings:
        folder = tmp_path / "out" / f"videos-{counting}"
        assert folder in paths
        rows = read_scores(folder / "Celeb-DF-v2.csv")
        assert not rows.frame.has_values
        by_name = dict(
            zip(rows.video.texts(), zip(rows.scores.tolist(), rows.status.texts(), strict=True), strict=True)
        )
        assert by_name["f1"] == (pytest.approx(score_of(190), abs=CLOSE), "ok")
        assert np.isnan(by_name["f2"][0])
        assert by_name["f2"][1] == "unreadable"
        assert len(by_name) == 5


def test_the_report_describes_the_evaluation(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    evaluation = request(tmp_path, tmp_path / "out", "Celeb-DF-v2", frames=1, missing="as-fake")
    fields = run_evaluation(evaluation, scorer).to_json()
    assert {name: fields[name] for name in ("protocol", "sets", "level", "frames", "missing", "seed")} == {
        "protocol": "cross-dataset",
        "sets": "qtfp",
        "level": "video",
        "frames": 1,
        "missing": "as-fake",
        "seed": 1024,
    }
    assert fields["model"]["sha256"] == scorer.card.files["onnx"].sha256
    assert fields["model"]["crop"] == scorer.recipe.to_json()
    assert "evenly" in fields["countings"]["corrected"]
    assert fields["trained_on"] == {"by the protocol": CROSS.trained_on, "by the card": None}
    assert fields["calibration"] == {"level": "frame", "data": "hand-made"}
    assert fields["results"][1]["notes"] == [
        "the papers' models were trained on FaceForensics++ c23; the card of this model says: nothing"
    ]


@pytest.mark.parametrize(
    ("data", "expected"),
    [("DFDC", ["DFDC"]), ("DFDCP", []), ("Celeb-DF-v2, DFDC (part 0)", ["DFDC"]), ("", [])],
)
def test_a_set_in_the_training_data_gets_a_note(tmp_path, scorer, data, expected):
    for name in ("DFDC", "Celeb-DF-v1"):
        benchmark(tmp_path, name, {"a_real": {"r": [9]}, "a_fake": {"f": [99]}})
    report = run_evaluation(
        request(tmp_path, tmp_path / "out", "DFDC", "Celeb-DF-v1"), with_card(scorer, trained={"data": data})
    )
    with_note = [
        result.test
        for result in report.of("corrected", "video")
        if "not an unseen data set" in " ".join(result.notes)
    ]
    assert with_note == expected
