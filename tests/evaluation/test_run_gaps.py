"""What an evaluation says and counts of sets, classes, videos and crops that are not there."""

import json

import pytest

from deepscan.errors import ExitCode, MissingError
from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.evaluation.report import write_report
from deepscan.evaluation.run import EvaluationListener, run_evaluation
from tests.evaluation.replica import CELEB, CROSS, DFD, asked, benchmark, one

pytestmark = pytest.mark.usefixtures("few_draws")


def without_frames(path, name):
    """Take the frames of a fake of Celeb-DF-v2 out of its file."""
    stated = json.loads(path.read_text())
    stated["Celeb-DF-v2"]["CelebDFv2_fake"]["test"][name]["frames"] = []
    path.write_text(json.dumps(stated))


def test_missing_sets_are_told_one_by_one_and_nothing_is_begun(tmp_path, scorer):
    missing = []

    class Told(EvaluationListener):
        def absent(self, test, error):
            missing.append((test.name, error.hint))

    data = tmp_path / "data"
    benchmark(data, "Celeb-DF-v2", CELEB)
    with pytest.raises(MissingError, match="9 of the 10 test sets") as caught:
        run_evaluation(asked(data, tmp_path / "out"), scorer, Told())
    assert caught.value.exit_code == ExitCode.MISSING
    assert "--available" in caught.value.hint
    assert [name for name, _ in missing] == [
        test.name for test in CROSS.sets["qtfp"] if test.name != "Celeb-DF-v2"
    ]
    assert all(f"deepscan prepare {name} --root" in hint for name, hint in missing)
    assert not (tmp_path / "out").exists(), "else another --frames would be refused next time"
    with pytest.raises(MissingError) as caught:
        run_evaluation(asked(tmp_path / "none", tmp_path / "out", available=True), scorer)
    assert "--available" not in caught.value.hint


def test_a_set_of_one_class_has_a_word_instead_of_a_figure(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", {"CelebDFv2_real": {"r0": [10], "r1": [200]}})
    benchmark(tmp_path, "DeepFakeDetection", DFD, level="c23")
    report = run_evaluation(asked(tmp_path, tmp_path / "out", "Celeb-DF-v2", "DeepFakeDetection"), scorer)
    celeb = one(report, "Celeb-DF-v2")
    assert celeb.value("auc") is None
    assert celeb.figures["auc"].reason == "all 2 samples are real"
    assert celeb.value("accuracy") == 1 / 2
    assert report.mean("corrected", "video", "auc") is None, "a mean over fewer sets is another figure"
    assert report.mean("corrected", "video", "accuracy") == pytest.approx((1 / 2 + 2 / 3) / 2)
    written = {path.name for path in write_report(report, tmp_path / "out", "auc", "video")}
    assert {"report.json", "roc.png", "papers.png"} <= written


def test_nothing_but_one_class_is_told_and_written(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", {"CelebDFv2_fake": {"f0": [10], "f1": [200]}})
    for name in ("cross-dataset", "robustness"):
        here = asked(tmp_path, tmp_path / name, "Celeb-DF-v2", protocol=PROTOCOLS.get(name))
        report = run_evaluation(here, scorer)
        assert one(report, "Celeb-DF-v2").value("auc") is None
        assert not report.robustness
        write_report(report, tmp_path / name, "auc", "video")
    assert any("all 2 samples are fake" in note for note in one(report, "Celeb-DF-v2").notes)


@pytest.mark.parametrize(
    ("missing", "auc", "n"), [("exclude", 1, 2), ("as-real", 1 / 3, 4), ("as-fake", 1, 4)]
)
def test_videos_without_a_score_are_counted_as_is_asked_for(tmp_path, scorer, missing, auc, n):
    path = benchmark(
        tmp_path,
        "Celeb-DF-v2",
        {"CelebDFv2_real": {"r0": [50]}, "CelebDFv2_fake": {"f0": [60], "f1": [70], "f2": [80]}},
    )
    (tmp_path / "Celeb-DF-v2" / "CelebDFv2_fake" / "frames" / "f1" / "000.png").write_bytes(b"no picture")
    without_frames(path, "f2")
    found = one(
        run_evaluation(asked(tmp_path, tmp_path / "out", "Celeb-DF-v2", missing=missing), scorer),
        "Celeb-DF-v2",
    )
    assert dict(found.coverage.missing) == {"unreadable": 1, "no_frames": 1}
    assert (found.coverage.n, found.coverage.scored, found.figures["auc"].n) == (4, 2, n)
    # As real the two score 0, below the real; as fake 1.
    assert found.value("auc") == pytest.approx(auc)


def test_a_repeated_video_is_a_counted_drop_and_backslashes_are_read(tmp_path, scorer):
    path = benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    stated = json.loads(path.read_text())
    fakes = stated["Celeb-DF-v2"]["CelebDFv2_fake"]["test"]
    fakes["f0 again"] = dict(fakes["f0"])
    for entry in fakes.values():
        entry["frames"] = [".\\datasets\\rgb\\" + frame.replace("/", "\\") for frame in entry["frames"]]
    path.write_text(json.dumps(stated))
    found = one(run_evaluation(asked(tmp_path, tmp_path / "out", "Celeb-DF-v2"), scorer), "Celeb-DF-v2")
    assert found.value("auc") == pytest.approx(5 / 6)
    assert found.coverage.n == 5
    assert "Celeb-DF-v2: left out: 1 duplicate" in found.notes


@pytest.mark.parametrize("missing", ["exclude", "as-real", "as-fake"])
def test_frameless_videos_have_no_place_in_as_published_counting_and_stop_nothing(tmp_path, scorer, missing):
    without_frames(benchmark(tmp_path, "Celeb-DF-v2", CELEB), "f1")
    here = asked(
        tmp_path, tmp_path / "out", "Celeb-DF-v2", countings=("corrected", "as-published"), missing=missing
    )
    report = run_evaluation(here, scorer)
    assert one(report, "Celeb-DF-v2").coverage.n == 5
    published = one(report, "Celeb-DF-v2", counting="as-published")
    assert published.coverage.n == 4
    assert any("does not know of 1 videos without frames" in note for note in published.notes)
    frames = one(report, "Celeb-DF-v2", "frame", "as-published")
    # Four frames of reals, four of f0 and f2.
    assert (frames.coverage.n, len(frames.samples)) == (8, 8)


def test_crops_that_cannot_be_read_are_told_where_their_video_has_a_score(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    (tmp_path / "Celeb-DF-v2" / "CelebDFv2_fake" / "frames" / "f1" / "000.png").write_bytes(b"no picture")
    found = one(run_evaluation(asked(tmp_path, tmp_path / "out", "Celeb-DF-v2"), scorer), "Celeb-DF-v2")
    assert (found.coverage.scored, found.coverage.missing) == (5, {})
    assert "Celeb-DF-v2: 1 of 10 crops could not be read" in found.notes
