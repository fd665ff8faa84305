"""Evaluations with missing sets, classes, videos and crops."""

import json

import pytest

from deepscan.errors import ExitCode, MissingError
from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.evaluation.report import write_report
from deepscan.evaluation.run import EvaluationListener, run_evaluation
from tests.evaluation.replica import CELEB, CROSS, DFD, benchmark, request, result_of

pytestmark = pytest.mark.usefixtures("few_bootstrap_rounds")


def without_frames(path, name):
    """Remove the frames of a fake from the file of Celeb-DF-v2."""
    content = json.loads(path.read_text())
    content["Celeb-DF-v2"]["CelebDFv2_fake"]["test"][name]["frames"] = []
    path.write_text(json.dumps(content))


def test_missing_sets_are_reported_and_nothing_is_started(tmp_path, scorer):
    missing = []

    class Recorder(EvaluationListener):
        def absent(self, test, error):
            missing.append((test.name, error.hint))

    data = tmp_path / "data"
    benchmark(data, "Celeb-DF-v2", CELEB)
    with pytest.raises(MissingError, match="lacks 9 of 10 test sets") as caught:
        run_evaluation(request(data, tmp_path / "out"), scorer, Recorder())
    assert caught.value.exit_code == ExitCode.MISSING
    assert "--available" in caught.value.hint
    assert [name for name, _ in missing] == [
        test.name for test in CROSS.sets["qtfp"] if test.name != "Celeb-DF-v2"
    ]
    assert all(f"deepscan prepare {name} --root" in hint for name, hint in missing)
    assert not (tmp_path / "out").exists(), "otherwise the next run could not use another --frames"
    with pytest.raises(MissingError) as caught:
        run_evaluation(request(tmp_path / "none", tmp_path / "out", available=True), scorer)
    assert "--available" not in caught.value.hint


def test_a_set_of_one_class_has_a_reason_instead_of_a_value(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", {"CelebDFv2_real": {"r0": [10], "r1": [200]}})
    benchmark(tmp_path, "DeepFakeDetection", DFD, level="c23")
    report = run_evaluation(request(tmp_path, tmp_path / "out", "Celeb-DF-v2", "DeepFakeDetection"), scorer)
    celeb = result_of(report, "Celeb-DF-v2")
    assert celeb.value("auc") is None
    assert celeb.figures["auc"].reason == "all 2 samples are real"
    assert celeb.value("accuracy") == 1 / 2
    assert report.mean("corrected", "video", "auc") is None, "a mean over fewer sets would not be comparable"
    assert report.mean("corrected", "video", "accuracy") == pytest.approx((1 / 2 + 2 / 3) / 2)
    written = {path.name for path in write_report(report, tmp_path / "out", "auc", "video")}
    assert {"report.json", "roc.png", "papers.png"} <= written


def test_an_evaluation_of_one_class_is_reported(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", {"CelebDFv2_fake": {"f0": [10], "f1": [200]}})
    for name in ("cross-dataset", "robustness"):
        evaluation = request(tmp_path, tmp_path / name, "Celeb-DF-v2", protocol=PROTOCOLS.get(name))
        report = run_evaluation(evaluation, scorer)
        assert result_of(report, "Celeb-DF-v2").value("auc") is None
        assert not report.robustness
        write_report(report, tmp_path / name, "auc", "video")
    assert any("all 2 samples are fake" in note for note in result_of(report, "Celeb-DF-v2").notes)


@pytest.mark.parametrize(
    ("missing", "auc", "n"), [("exclude", 1, 2), ("as-real", 1 / 3, 4), ("as-fake", 1, 4)]
)
def test_videos_without_a_score_are_counted_by_policy(tmp_path, scorer, missing, auc, n):
    path = benchmark(
        tmp_path,
        "Celeb-DF-v2",
        {"CelebDFv2_real": {"r0": [50]}, "CelebDFv2_fake": {"f0": [60], "f1": [70], "f2": [80]}},
    )
    (tmp_path / "Celeb-DF-v2" / "CelebDFv2_fake" / "frames" / "f1" / "000.png").write_bytes(b"no picture")
    without_frames(path, "f2")
    found = result_of(
        run_evaluation(request(tmp_path, tmp_path / "out", "Celeb-DF-v2", missing=missing), scorer),
        "Celeb-DF-v2",
    )
    assert dict(found.coverage.missing) == {"unreadable": 1, "no_frames": 1}
    assert (found.coverage.n, found.coverage.scored, found.figures["auc"].n) == (4, 2, n)
    # As real, the two score 0, below the real; as fake, they score 1.
    assert found.value("auc") == pytest.approx(auc)


def test_repeated_videos_are_counted_and_backslashes_are_accepted(tmp_path, scorer):
    path = benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    content = json.loads(path.read_text())
    fakes = content["Celeb-DF-v2"]["CelebDFv2_fake"]["test"]
    fakes["f0 again"] = dict(fakes["f0"])
    for entry in fakes.values():
        entry["frames"] = [".\\datasets\\rgb\\" + frame.replace("/", "\\") for frame in entry["frames"]]
    path.write_text(json.dumps(content))
    found = result_of(
        run_evaluation(request(tmp_path, tmp_path / "out", "Celeb-DF-v2"), scorer), "Celeb-DF-v2"
    )
    assert found.value("auc") == pytest.approx(5 / 6)
    assert found.coverage.n == 5
    assert "Celeb-DF-v2: skipped: 1 duplicate" in found.notes


@pytest.mark.parametrize("missing", ["exclude", "as-real", "as-fake"])
def test_as_published_counting_ignores_videos_without_frames(tmp_path, scorer, missing):
    without_frames(benchmark(tmp_path, "Celeb-DF-v2", CELEB), "f1")
    evaluation = request(
        tmp_path, tmp_path / "out", "Celeb-DF-v2", countings=("corrected", "as-published"), missing=missing
    )
    report = run_evaluation(evaluation, scorer)
    assert result_of(report, "Celeb-DF-v2").coverage.n == 5
    published = result_of(report, "Celeb-DF-v2", counting="as-published")
    assert published.coverage.n == 4
    assert any("ignores 1 videos without frames" in note for note in published.notes)
    frames = result_of(report, "Celeb-DF-v2", "frame", "as-published")
    # Four frames of reals, four of f0 and f2.
    assert (frames.coverage.n, len(frames.samples)) == (8, 8)


def test_unreadable_crops_of_scored_videos_get_a_note(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    (tmp_path / "Celeb-DF-v2" / "CelebDFv2_fake" / "frames" / "f1" / "000.png").write_bytes(b"no picture")
    found = result_of(
        run_evaluation(request(tmp_path, tmp_path / "out", "Celeb-DF-v2"), scorer), "Celeb-DF-v2"
    )
    assert (found.coverage.scored, found.coverage.missing) == (5, {})
    assert "Celeb-DF-v2: 1 of 10 crops could not be read" in found.notes
