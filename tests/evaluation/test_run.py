"""An evaluation from crops to figures, on benchmarks so small that every figure is known by hand."""

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
    asked,
    benchmark,
    one,
    score_of,
    scores_of,
    write_crop,
)

pytestmark = pytest.mark.usefixtures("few_draws")


def with_card(scorer, **changed):
    """The same detector, of which its card says something else."""
    other = copy(scorer)
    other.card = replace(scorer.card, **changed)
    return other


def test_figures_are_those_that_were_worked_out_by_hand(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    benchmark(tmp_path, "DeepFakeDetection", DFD, level="c23")
    report = run_evaluation(asked(tmp_path, tmp_path / "out", "Celeb-DF-v2", "DeepFakeDetection"), scorer)
    celeb, dfd = one(report, "Celeb-DF-v2"), one(report, "DeepFakeDetection")
    assert scores_of(celeb) == pytest.approx(
        {(kind, name): score_of(*values) for kind, of in CELEB.items() for name, values in of.items()},
        abs=CLOSE,
    )
    assert celeb.value("auc") == pytest.approx(5 / 6)
    assert dfd.value("auc") == pytest.approx(1 / 2)
    # Frames: of 24 pairs only 40, 80 and 90 against 120 twice are out of order.
    assert one(report, "Celeb-DF-v2", "frame").value("auc") == pytest.approx(18 / 24)
    assert celeb.value("accuracy") == pytest.approx(4 / 5), "0.5 is the grey 127.5: f0 is taken for real"
    assert report.mean("corrected", "video", "auc") == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert (celeb.coverage.n, celeb.coverage.scored) == (5, 5)
    assert (celeb.paper.printed, dfd.paper.printed) == ("0.960", "0.975")
    assert not report.papers_means, "the paper's mean is of ten sets"


def test_each_manipulation_is_held_against_all_reals(tmp_path, scorer):
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
    report = run_evaluation(asked(tmp_path, tmp_path / "a", protocol=protocol, row="corit"), scorer)
    assert {result.test: result.value("auc") for result in report.of("corrected", "frame")} == pytest.approx(
        by_hand
    )
    assert report.mean("corrected", "video", "auc") == pytest.approx(9 / 16)
    assert one(report, "FF-NT").coverage.n == 4

    whole = PROTOCOLS.get("in-domain")
    kinds = one(
        run_evaluation(asked(tmp_path, tmp_path / "b", protocol=whole), scorer), "FaceForensics++"
    ).kinds
    assert {kind: figures["auc"].value for kind, figures in kinds.items()} == pytest.approx(by_hand)


def test_the_papers_mean_stands_beside_exactly_its_sets(tmp_path, scorer):
    for test in CROSS.sets["corit"]:
        benchmark(tmp_path, test.dataset, {"a_real": {"r": [9]}, "a_fake": {"f": [99]}})
    report = run_evaluation(asked(tmp_path, tmp_path / "out", row="corit"), with_card(scorer, method="corit"))
    assert report.papers_means["corrected", "frame"].printed == "88.9"
    written = json.loads(write_report(report, tmp_path / "out", "auc", "frame")[0].read_text())
    means = {mean["level"]: mean["paper"] and mean["paper"]["printed"] for mean in written["means"]}
    assert means == {"frame": "88.9", "video": None}


#: Four frames a video, of which two are looked at: 0 and 3, or 0 and 1.
LONG = {
    "FF-real": {"000": [100, 100, 0, 140]},
    "FF-DF": {"000_003": [150, 10, 0, 190]},
    "FF-NT": {"000_003": [90, 110, 0, 60]},
}


def test_both_ways_to_count_give_their_own_figures_of_one_reading(tmp_path, scorer, monkeypatch):
    benchmark(tmp_path, "FaceForensics++", LONG, level="c23")
    reads = Reads(monkeypatch)
    here = asked(
        tmp_path,
        tmp_path / "out",
        protocol=PROTOCOLS.get("in-domain"),
        frames=2,
        countings=("corrected", "as-published"),
    )
    report = run_evaluation(here, scorer)
    assert sorted(path.split("/")[-1] for path in reads.seen) == sorted(["000.png", "001.png", "003.png"] * 3)
    assert set(reads.seen.values()) == {1}

    corrected = one(report, "FaceForensics++")
    assert scores_of(corrected) == pytest.approx(
        {
            ("FF-real", "000"): score_of(100, 140),
            ("FF-DF", "000_003"): score_of(150, 190),
            ("FF-NT", "000_003"): score_of(90, 60),
        },
        abs=CLOSE,
    )
    assert corrected.value("auc") == pytest.approx(1 / 2)

    published = one(report, "FaceForensics++", counting="as-published")
    merged = score_of(150, 10, 90, 110)
    assert published.samples.scores.tolist() == pytest.approx([score_of(100, 100), merged], abs=CLOSE)
    assert published.value("auc") == 0, "the two fakes of one name count as one, below the real"
    assert published.samples.labels.tolist() == [0, 1]
    assert any("3 videos count as 2" in note for note in published.notes)
    assert not published.kinds, "of two kinds in one video none is its kind"
    assert set(published.figures) == {"auc"}
    frames = one(report, "FaceForensics++", "frame", "as-published")
    # 150 and 110 are above both frames of 100, 10 and 90 below.
    assert frames.value("auc") == pytest.approx(1 / 2)


def test_one_way_alone_reads_its_own_frames_only(tmp_path, scorer, monkeypatch):
    benchmark(tmp_path, "FaceForensics++", LONG, level="c23")
    for counting, names in (("corrected", {"000.png", "003.png"}), ("as-published", {"000.png", "001.png"})):
        reads = Reads(monkeypatch)
        here = asked(tmp_path, tmp_path / counting, protocol=PROTOCOLS.get("in-domain"), frames=2)
        run_evaluation(replace(here, countings=(counting,)), scorer)
        assert {path.split("/")[-1] for path in reads.seen} == names
        monkeypatch.undo()


def test_a_video_key_that_nothing_counts_by_is_refused(tmp_path, scorer):
    with pytest.raises(UsageError, match="not by parent2") as caught:
        run_evaluation(asked(tmp_path, tmp_path / "out", video_key="parent2"), scorer)
    assert "as-published" in caught.value.hint


def test_parent2_keeps_apart_what_parent_merges(tmp_path, scorer):
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
        here = asked(tmp_path, tmp_path / f"out-{key}", "Mine", countings=("as-published",), video_key=key)
        found = one(run_evaluation(here, scorer), "Mine", counting="as-published")
        assert found.samples.labels.tolist() == labels, "where real and fake merge the video is real"


def test_every_distortion_is_measured_on_crops_that_are_read_once(tmp_path, scorer, monkeypatch):
    values = {"FF-real": {"000": [100], "001": [200]}, "FF-DF": {"000_001": [180], "001_000": [240]}}
    benchmark(tmp_path, "FaceForensics++", values, level="c23")
    reads = Reads(monkeypatch)
    here = asked(tmp_path, tmp_path / "out", protocol=PROTOCOLS.get("robustness"))
    report = run_evaluation(here, scorer)
    assert list(reads.seen.values()) == [1] * 4
    assert len(list((tmp_path / "out" / "frames").iterdir())) == 1 + len(DISTORTIONS.names) * len(LEVELS)
    of = {found.distortion: found for found in report.robustness["FaceForensics++"]}
    assert tuple(of) == DISTORTIONS.names
    # One colour is the same blurred, shrunk and compressed; less contrast keeps the order.
    for name in ("blur", "resizing", "contrast", "jpeg"):
        assert of[name].aucs == pytest.approx(dict.fromkeys((0, *LEVELS), 3 / 4)), name
        assert of[name].figure == 0
    reads.seen.clear()
    again = run_evaluation(here, scorer)
    assert not reads.seen
    assert again.to_json()["robustness"] == report.to_json()["robustness"]
    names = {path.name for path in write_report(report, tmp_path / "out", "auc", "video")}
    assert "robustness.png" in names


def test_a_distortions_figure_is_that_of_its_level(tmp_path, scorer):
    values = {"FF-real": {"000": [1]}, "FF-DF": {"000_001": [2]}}
    benchmark(tmp_path, "FaceForensics++", values, level="c23")
    report = run_evaluation(asked(tmp_path, tmp_path / "out", protocol=PROTOCOLS.get("robustness")), scorer)
    (contrast,) = [found for found in report.robustness["FaceForensics++"] if found.distortion == "contrast"]
    # 2 * 0.85, 0.725 and 0.6 are 1 and 1 * them 0; from 0.475 on both are 0.
    assert contrast.aucs == {0: 1, 1: 1, 2: 1, 3: 1, 4: 0.5, 5: 0.5}
    assert contrast.figure == pytest.approx((0 + 0 + 0 - 0.5 - 0.5) / 5)


def test_videos_are_written_with_and_without_scores(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    frames = tmp_path / "Celeb-DF-v2" / "CelebDFv2_fake" / "frames"
    (frames / "f1" / "000.png").write_bytes(b"no picture")
    (frames / "f2" / "000.png").write_bytes(b"no picture")
    (frames / "f2" / "001.png").unlink()
    here = asked(tmp_path, tmp_path / "out", "Celeb-DF-v2", countings=("corrected", "as-published"))
    report = run_evaluation(here, scorer)
    made = write_report(report, tmp_path / "out", "auc", "video")
    for counting in here.countings:
        folder = tmp_path / "out" / f"videos-{counting}"
        assert folder in made
        rows = read_scores(folder / "Celeb-DF-v2.csv")
        assert not rows.frame.has_values
        by_name = dict(
            zip(rows.video.texts(), zip(rows.scores.tolist(), rows.status.texts(), strict=True), strict=True)
        )
        assert by_name["f1"] == (pytest.approx(score_of(190), abs=CLOSE), "ok")
        assert np.isnan(by_name["f2"][0])
        assert by_name["f2"][1] == "unreadable"
        assert len(by_name) == 5


def test_the_report_states_what_its_figures_are_of(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    here = asked(tmp_path, tmp_path / "out", "Celeb-DF-v2", frames=1, missing="as-fake")
    stated = run_evaluation(here, scorer).to_json()
    assert {name: stated[name] for name in ("protocol", "sets", "level", "frames", "missing", "seed")} == {
        "protocol": "cross-dataset",
        "sets": "qtfp",
        "level": "video",
        "frames": 1,
        "missing": "as-fake",
        "seed": 1024,
    }
    assert stated["model"]["sha256"] == scorer.card.files["onnx"].sha256
    assert stated["model"]["crop"] == scorer.recipe.to_json()
    assert "evenly" in stated["countings"]["corrected"]
    assert stated["trained_on"] == {"by the protocol": CROSS.trained_on, "by the card": None}
    assert stated["calibration"] == {"level": "frame", "data": "hand-made"}
    assert stated["results"][1]["notes"] == [
        "the papers' models were trained on FaceForensics++ c23; of this one its card says: nothing"
    ]


@pytest.mark.parametrize(
    ("data", "warned"),
    [("DFDC", ["DFDC"]), ("DFDCP", []), ("Celeb-DF-v2, DFDC (part 0)", ["DFDC"]), ("", [])],
)
def test_a_set_that_the_model_was_trained_on_is_no_unseen_one(tmp_path, scorer, data, warned):
    for name in ("DFDC", "Celeb-DF-v1"):
        benchmark(tmp_path, name, {"a_real": {"r": [9]}, "a_fake": {"f": [99]}})
    report = run_evaluation(
        asked(tmp_path, tmp_path / "out", "DFDC", "Celeb-DF-v1"), with_card(scorer, trained={"data": data})
    )
    noted = [
        result.test
        for result in report.of("corrected", "video")
        if "no unseen data set" in " ".join(result.notes)
    ]
    assert noted == warned
