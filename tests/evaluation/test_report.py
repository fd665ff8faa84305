"""The report of an evaluation: results, files and plots."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from deepscan.cards import Calibration, ModelCard
from deepscan.errors import UsageError
from deepscan.evaluation.counting import COUNTINGS
from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.evaluation.report import file_name, measure_scores, write_report
from deepscan.evaluation.results import calibrate_from_report, report_scores
from deepscan.evaluation.robustness import Robustness
from deepscan.evaluation.scores import read_scores
from deepscan.evaluation.tables import expected, expected_mean

pytestmark = pytest.mark.usefixtures("few_bootstrap_rounds")
ROWS = """\
dataset,kind,video,label,group,score
UADFV,UADFV_Real,r0,0,a,0.1
UADFV,UADFV_Real,r1,0,b,0.6
UADFV,UADFV_Fake,f0,1,a,0.5
UADFV,UADFV_Fake,f1,1,b,0.9
FaceShifter,FF-real,r0,0,a,0.2
FaceShifter,FF-FH,f0,1,b,0.3
FaceShifter,FF-FH,f1,1,b,
"""


@pytest.fixture
def scores(tmp_path):
    (tmp_path / "scores.csv").write_text(ROWS)
    return read_scores(tmp_path / "scores.csv")


def test_each_data_set_of_a_score_file_is_a_test_set(scores):
    report = report_scores(scores, missing="exclude", row="qtfp")
    assert [(result.test, result.level, result.value("auc")) for result in report.results] == [
        ("UADFV", "video", 0.75),
        ("FaceShifter", "video", 1.0),
    ]
    assert report.mean("corrected", "video", "auc") == pytest.approx(0.875)
    assert [result.paper.printed for result in report.results] == ["0.989", "0.913"]
    assert report.results[1].coverage.missing == {"no_score": 1}
    assert report_scores(scores, missing="as-real").results[1].value("auc") == 0.5
    assert [result.paper for result in report_scores(scores, missing="exclude").results] == [None, None]


def test_a_score_file_can_be_measured_by_a_protocol(scores):
    protocol = PROTOCOLS.get("cross-dataset")
    with pytest.raises(UsageError, match=r"no scores of 8 of the 10 test sets .*: Celeb-DF-v1") as raised:
        report_scores(scores, missing="exclude", protocol=protocol, row="qtfp")
    assert "--available" in raised.value.hint
    report = report_scores(scores, missing="exclude", protocol=protocol, row="qtfp", available=True)
    # Only the sets of the protocol, in its order.
    assert [result.test for result in report.results] == ["FaceShifter", "UADFV"]
    assert [result.paper.printed for result in report.results] == ["0.913", "0.989"]
    with pytest.raises(UsageError, match="Celeb-DF-v1"):
        report_scores(
            scores.take(np.flatnonzero(scores.labels < 0)), missing="exclude", protocol=protocol, row="corit"
        )


def test_a_calibration_uses_shared_reals_once_and_no_missing_scores(tmp_path):
    rows = ["dataset,kind,video,label,group,score"]
    for number in range(80):
        rows.append(f"FaceForensics++,FF-real,{number:03d},0,{number:03d},{0.2 + number / 400}")
        fake = "" if number == 7 else 0.8 - number / 400
        rows += [
            f"FaceForensics++,{kind},{number:03d}_000,1,{number:03d},{fake}"
            for kind in ("FF-DF", "FF-F2F", "FF-FS", "FF-NT")
        ]
    (tmp_path / "s.csv").write_text("\n".join(rows))
    report = report_scores(
        read_scores(tmp_path / "s.csv"),
        missing="as-real",
        protocol=PROTOCOLS.get("cross-manipulation"),
        row="corit",
    )
    card = ModelCard(tmp_path, "toy", "corit", "a toy", "Apache-2.0", {})
    result = calibrate_from_report(report, card, "video", "temperature")
    (auc,) = [result for result in result.results if result["metric"] == "auc"]
    # Both halves together: 80 reals and 4 x 79 fakes.
    assert result.calibration.n + auc["n"] == 80 + 4 * 79


def test_frame_scores_are_measured_per_frame_and_per_video(tmp_path):
    (tmp_path / "s.csv").write_text("video,label,frame,score\nr,0,0,0.2\nr,0,1,0.6\nf,1,0,0.5\nf,1,1,0.7\n")
    report = report_scores(read_scores(tmp_path / "s.csv"), missing="exclude")
    assert [(result.level, result.value("auc"), result.coverage.n) for result in report.results] == [
        ("frame", 0.75, 4),
        ("video", 1.0, 2),
    ]
    assert {result.test for result in report.results} == {"all"}


def test_the_mean_is_undefined_if_a_set_has_no_value(scores):
    real_only = scores.take(
        np.flatnonzero((scores.labels == 0) | (np.array(scores.dataset.texts()) == "UADFV"))
    )
    report = report_scores(real_only, missing="exclude")
    assert [result.value("auc") for result in report.results] == [0.75, None]
    assert report.mean("corrected", "video", "auc") is None
    (means,) = report.to_json()["means"]
    assert means["auc"] is None
    assert means["accuracy"] == pytest.approx((0.5 + 1) / 2)


def measured(scores, **more):
    defaults = {"test": "t", "dataset": "t", "counting": COUNTINGS.get("corrected"), "level": "video"}
    return measure_scores(scores, **{**defaults, "calibration": None, "missing": "exclude", **more})


def test_kinds_of_fakes_are_measured_separately(scores):
    kinds = measured(scores).kinds
    # Against the reals at 0.1, 0.6 and 0.2.
    assert kinds["UADFV_Fake"]["auc"].value == pytest.approx(5 / 6)
    assert kinds["FF-FH"]["auc"].value == pytest.approx(2 / 3)
    single_set = scores.take(np.flatnonzero(np.array(scores.dataset.texts()) == "UADFV"))
    assert not measured(single_set).kinds


def test_calibrated_metrics_need_a_calibration(scores):
    calibration = Calibration(
        "frame", "synthetic", 10, "by hand", temperature=1.0, no_evidence=0.3, fake=0.55
    )
    uncalibrated, calibrated = measured(scores), measured(scores, calibration=calibration)
    assert uncalibrated.value("accuracy_at_threshold") is None
    # With a threshold of 0.55, the real at 0.6 is called fake; the fakes at 0.5 and 0.3 are not.
    assert calibrated.value("accuracy_at_threshold") == pytest.approx(3 / 6)
    assert calibrated.value("accuracy") == pytest.approx(3 / 6)


def test_as_published_counting_has_only_the_auc_per_video(scores):
    counting = COUNTINGS.get("as-published")
    assert set(measured(scores, counting=counting).figures) == {"auc"}
    assert "accuracy" in measured(scores, counting=counting, level="frame").figures
    assert not measured(scores, counting=counting).kinds
    assert measured(scores, counting=counting, level="frame").kinds


@pytest.mark.slow
def test_the_report_is_complete_and_its_plots_are_readable(tmp_path, scores):
    report = report_scores(scores, missing="exclude", row="qtfp", metadata={"scores": "mine.csv"})
    mean = expected_mean("dfd-hr", ["FaceShifter", "Celeb-DF-v2"], "video")
    aucs = {0: 0.9, 1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6, 5: 0.5}
    report = replace(
        report, papers_means={("corrected", "video"): mean}, robustness={"a/b": [Robustness("blur", aucs)]}
    )
    result = write_report(report, tmp_path / "out", "auc", "video")
    names = ["report.json", "videos-corrected", "roc.png", "scores.png", "papers.png", "robustness.png"]
    assert [path.name for path in result] == names
    for path in result:
        if path.suffix == ".png":
            assert cv2.imread(str(path)).shape[1] == 1050
    written = json.loads(result[0].read_text())
    assert written["scores"] == "mine.csv"
    paper = expected("qtfp", "UADFV", "video")
    assert written["results"][0]["paper"] == {
        "value": 0.989,
        "printed": "0.989",
        "table": paper.table,
        "number": paper.number,
        "row": paper.row,
        "column": "UADfV",
    }
    assert written["results"][1]["coverage"] == {
        "n": 3,
        "scored": 2,
        "missing": {"no_score": 1},
        "missing_counted": "exclude",
    }
    assert written["means"][0]["paper"]["printed"] == mean.printed
    assert written["robustness"]["a/b"][0]["levels"][5] == {
        "level": 5,
        "strength": 21,
        "auc": 0.5,
        "variation": pytest.approx(-4 / 9),
    }
    rows = read_scores(result[1] / "FaceShifter.csv")
    assert rows.status.texts() == ["ok", "ok", ""]
    assert rows.scores.tolist() == pytest.approx([0.2, 0.3, np.nan], nan_ok=True)
    both = replace(report, robustness={"a/b": report.robustness["a/b"], "c": report.robustness["a/b"]})
    assert {path.name for path in write_report(both, tmp_path / "out", "auc", "video")} >= {
        "robustness-a%2Fb.png",
        "robustness-c.png",
    }


def test_a_report_without_values_has_no_plots(tmp_path, scores):
    reals = report_scores(scores.take(np.flatnonzero(scores.labels == 0)), missing="exclude")
    result = write_report(reals, tmp_path / "out", "auc", "video")
    assert [path.name for path in result] == ["report.json", "videos-corrected"]
    reasons = {figure["reason"] for figure in json.loads(result[0].read_text())["results"][0]["figures"][:1]}
    assert reasons == {"all 2 samples are real"}


def test_file_names_are_escaped():
    assert file_name("a/b") == "a%2Fb"
    assert file_name("FaceForensics++ (c23)") == "FaceForensics++ (c23)"


def test_too_few_samples_for_an_error_rate_are_rejected(tmp_path):
    rows = [f"r{number},0,{number / 40}\nf{number},1,{1 - number / 40}" for number in range(20)]
    (tmp_path / "s.csv").write_text("video,label,score\n" + "\n".join(rows))
    report = report_scores(read_scores(tmp_path / "s.csv"), missing="exclude")
    card = ModelCard(tmp_path, "toy", "corit", "a toy", "Apache-2.0", {})
    with pytest.raises(
        UsageError, match=r"reals in the first half are too few for an error rate of 0\.05"
    ) as raised:
        calibrate_from_report(report, card, "video", "temperature")
    assert "at least 40" in raised.value.hint
    assert calibrate_from_report(report, card, "video", "temperature", fpr=0.2, fnr=0.2).calibration
