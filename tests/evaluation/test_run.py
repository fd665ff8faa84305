"""An evaluation from crops to figures, on benchmarks so small that every figure is known by hand."""

import json
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from deepscan.data.benchmark import FaceVideo, write_benchmark
from deepscan.errors import ContractError, ExitCode, MissingError, UsageError
from deepscan.evaluation import report as report_module
from deepscan.evaluation import stream
from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.evaluation.report import write
from deepscan.evaluation.robustness import DISTORTIONS, LEVELS
from deepscan.evaluation.run import Evaluation, Listener, perform
from deepscan.evaluation.scores import read_scores
from tests.evaluation.replica import Reads, benchmark, score_of, toy_scorer, write_crop

CROSS = PROTOCOLS.get("cross-dataset")
#: Of six pairs of a real and a fake five are in order, and the frames' order is another.
CELEB = {
    "CelebDFv2_real": {"r0": [10, 30], "r1": [120, 120]},
    "CelebDFv2_fake": {"f0": [40, 80], "f1": [90, 190], "f2": [200, 220]},
}
#: The toy's mean over 12,288 values is taken in float32.
CLOSE = 1e-5
DFD = {"DFD_real": {"r0": [50]}, "DFD_fake": {"f0": [200], "f1": [20]}}


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return toy_scorer(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    """Nothing here is said of intervals, and a thousand draws of each take seconds."""
    monkeypatch.setattr(report_module, "measure_all", partial(report_module.measure_all, rounds=5))
    monkeypatch.setattr(report_module, "measure_kinds", partial(report_module.measure_kinds, rounds=5))


def asked(data, out, *only, protocol=CROSS, row="qtfp", **more):
    return Evaluation(
        protocol=protocol, row=row, data=data, root=None, out=out, cache=out / "crops", only=only, **more
    )


def one(report, test, level="video", counting="corrected"):
    (found,) = [each for each in report.of(counting, level) if each.test == test]
    return found


def scores_of(result):
    rows = result.samples
    return dict(
        zip(zip(rows.kind.texts(), rows.video.texts(), strict=True), rows.scores.tolist(), strict=True)
    )


def with_card(scorer, **changed):
    """The same detector, of which its card says something else."""
    other = copy(scorer)
    other.card = replace(scorer.card, **changed)
    return other


class Stopped(Exception):
    pass


class StopAfter(Listener):
    """Ends an evaluation when so many videos of a data set are scored."""

    def __init__(self, videos):
        self.videos = videos

    def scored(self, dataset, done, total):
        if done == self.videos:
            raise Stopped


def test_figures_are_those_that_were_worked_out_by_hand(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    benchmark(tmp_path, "DeepFakeDetection", DFD, level="c23")
    report = perform(asked(tmp_path, tmp_path / "out", "Celeb-DF-v2", "DeepFakeDetection"), scorer)
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
    report = perform(asked(tmp_path, tmp_path / "a", protocol=protocol, row="corit"), scorer)
    assert {each.test: each.value("auc") for each in report.of("corrected", "frame")} == pytest.approx(
        by_hand
    )
    assert report.mean("corrected", "video", "auc") == pytest.approx(9 / 16)
    assert one(report, "FF-NT").coverage.n == 4

    whole = PROTOCOLS.get("in-domain")
    kinds = one(perform(asked(tmp_path, tmp_path / "b", protocol=whole), scorer), "FaceForensics++").kinds
    assert {kind: figures["auc"].value for kind, figures in kinds.items()} == pytest.approx(by_hand)


def test_the_papers_mean_stands_beside_exactly_its_sets(tmp_path, scorer):
    for test in CROSS.sets["corit"]:
        benchmark(tmp_path, test.dataset, {"a_real": {"r": [9]}, "a_fake": {"f": [99]}})
    report = perform(asked(tmp_path, tmp_path / "out", row="corit"), with_card(scorer, method="corit"))
    assert report.papers_means["corrected", "frame"].printed == "88.9"
    written = json.loads(write(report, tmp_path / "out", "auc", "frame")[0].read_text())
    means = {each["level"]: each["paper"] and each["paper"]["printed"] for each in written["means"]}
    assert means == {"frame": "88.9", "video": None}


@pytest.mark.parametrize("stop", [1, 3])
def test_an_interrupted_evaluation_goes_on_and_reads_no_judged_crop_again(
    tmp_path, scorer, stop, monkeypatch
):
    monkeypatch.setattr(stream, "BATCH", 2)
    monkeypatch.setattr(stream, "AHEAD", 2)
    path = benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    whole = perform(asked(tmp_path, tmp_path / "whole", "Celeb-DF-v2"), scorer)
    reads, here = Reads(monkeypatch), asked(tmp_path, tmp_path / "out", "Celeb-DF-v2")
    with pytest.raises(Stopped):
        perform(here, scorer, StopAfter(stop))
    assert set(reads.seen.values()) == {1}
    reads.seen.clear()
    report = perform(here, scorer)
    names = [name for of in CELEB.values() for name in of]
    assert {path.split("/")[-2] for path in reads.seen} == set(names[stop:])
    assert set(reads.seen.values()) == {1}
    assert [each.to_json() for each in report.results] == [each.to_json() for each in whole.results]
    reads.seen.clear()
    again = perform(here, scorer)
    assert not reads.seen
    assert [each.to_json() for each in again.results] == [each.to_json() for each in whole.results]
    assert path.is_file()


def test_a_folder_takes_no_other_evaluation(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    here = asked(tmp_path, tmp_path / "out", "Celeb-DF-v2")
    first = perform(here, scorer)
    biased = toy_scorer(tmp_path / "models" / "biased", bias=5.0)
    for other, by, name in (
        (here, biased, "model"),
        (replace(here, frames=1), scorer, "frames"),
        (replace(here, countings=("as-published",)), scorer, "samplings"),
        (replace(here, root=tmp_path), scorer, "root"),
    ):
        with pytest.raises(ContractError, match=f"another evaluation: {name} was") as caught:
            perform(other, by)
        assert caught.value.exit_code == ExitCode.CONTRACT
        assert "--out" in caught.value.hint
    assert one(perform(here, scorer), "Celeb-DF-v2").to_json() == one(first, "Celeb-DF-v2").to_json()
    anew = perform(replace(here, overwrite=True), biased)
    assert min(scores_of(one(anew, "Celeb-DF-v2")).values()) > 0.9, "nothing is left of the other's scores"


def test_scores_of_other_videos_are_not_taken_for_those_of_these(tmp_path, scorer, monkeypatch):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    here = asked(tmp_path, tmp_path / "out", "Celeb-DF-v2")
    perform(here, scorer)
    benchmark(tmp_path, "Celeb-DF-v2", {**CELEB, "CelebDFv2_real": {"r0": [250]}})
    with pytest.raises(ContractError, match="crops of Celeb-DF-v2 were others"):
        perform(here, scorer)
    found = one(perform(replace(here, overwrite=True), scorer), "Celeb-DF-v2")
    assert found.value("auc") == 0
    assert found.coverage.n == 4


def test_more_sets_join_those_that_are_there(tmp_path, scorer, monkeypatch):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    perform(asked(tmp_path, tmp_path / "out", available=True), scorer)
    benchmark(tmp_path, "DeepFakeDetection", DFD, level="c23")
    reads = Reads(monkeypatch)
    report = perform(asked(tmp_path, tmp_path / "out", available=True), scorer)
    assert [each.test for each in report.of("corrected", "video")] == ["Celeb-DF-v2", "DeepFakeDetection"]
    assert {path.split("/")[-4] for path in reads.seen} == {"DFD_real", "DFD_fake"}


def test_missing_sets_are_told_one_by_one_and_nothing_is_begun(tmp_path, scorer):
    told = []

    class Told(Listener):
        def absent(self, test, error):
            told.append((test.name, error.hint))

    data = tmp_path / "data"
    benchmark(data, "Celeb-DF-v2", CELEB)
    with pytest.raises(MissingError, match="9 of the 10 test sets") as caught:
        perform(asked(data, tmp_path / "out"), scorer, Told())
    assert caught.value.exit_code == ExitCode.MISSING
    assert "--available" in caught.value.hint
    assert [name for name, _ in told] == [
        test.name for test in CROSS.sets["qtfp"] if test.name != "Celeb-DF-v2"
    ]
    assert all(f"deepscan prepare {name} --root" in hint for name, hint in told)
    assert not (tmp_path / "out").exists(), "else another --frames would be refused next time"
    with pytest.raises(MissingError) as caught:
        perform(asked(tmp_path / "none", tmp_path / "out", available=True), scorer)
    assert "--available" not in caught.value.hint


def test_missing_data_cost_no_scores_that_are_to_be_overwritten(tmp_path, scorer):
    path = benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    here = asked(tmp_path, tmp_path / "out", "Celeb-DF-v2")
    perform(here, scorer)
    kept = (tmp_path / "out" / "frames" / "Celeb-DF-v2-test.csv").read_bytes()
    path.unlink()
    with pytest.raises(MissingError):
        perform(replace(here, overwrite=True), scorer)
    assert (tmp_path / "out" / "frames" / "Celeb-DF-v2-test.csv").read_bytes() == kept


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
    report = perform(here, scorer)
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
        perform(replace(here, countings=(counting,)), scorer)
        assert {path.split("/")[-1] for path in reads.seen} == names
        monkeypatch.undo()


def test_a_video_key_that_nothing_counts_by_is_refused(tmp_path, scorer):
    with pytest.raises(UsageError, match="not by parent2") as caught:
        perform(asked(tmp_path, tmp_path / "out", video_key="parent2"), scorer)
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
        found = one(perform(here, scorer), "Mine", counting="as-published")
        assert found.samples.labels.tolist() == labels, "where real and fake merge the video is real"


def test_a_set_of_one_class_has_a_word_instead_of_a_figure(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", {"CelebDFv2_real": {"r0": [10], "r1": [200]}})
    benchmark(tmp_path, "DeepFakeDetection", DFD, level="c23")
    report = perform(asked(tmp_path, tmp_path / "out", "Celeb-DF-v2", "DeepFakeDetection"), scorer)
    celeb = one(report, "Celeb-DF-v2")
    assert celeb.value("auc") is None
    assert celeb.figures["auc"].reason == "all 2 samples are real"
    assert celeb.value("accuracy") == 1 / 2
    assert report.mean("corrected", "video", "auc") is None, "a mean over fewer sets is another figure"
    assert report.mean("corrected", "video", "accuracy") == pytest.approx((1 / 2 + 2 / 3) / 2)
    written = {path.name for path in write(report, tmp_path / "out", "auc", "video")}
    assert {"report.json", "roc.png", "papers.png"} <= written


def test_nothing_but_one_class_is_told_and_written(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", {"CelebDFv2_fake": {"f0": [10], "f1": [200]}})
    for name in ("cross-dataset", "robustness"):
        here = asked(tmp_path, tmp_path / name, "Celeb-DF-v2", protocol=PROTOCOLS.get(name))
        report = perform(here, scorer)
        assert one(report, "Celeb-DF-v2").value("auc") is None
        assert not report.robustness
        write(report, tmp_path / name, "auc", "video")
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
    stated = json.loads(path.read_text())
    stated["Celeb-DF-v2"]["CelebDFv2_fake"]["test"]["f2"]["frames"] = []
    path.write_text(json.dumps(stated))
    found = one(
        perform(asked(tmp_path, tmp_path / "out", "Celeb-DF-v2", missing=missing), scorer), "Celeb-DF-v2"
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
    found = one(perform(asked(tmp_path, tmp_path / "out", "Celeb-DF-v2"), scorer), "Celeb-DF-v2")
    assert found.value("auc") == pytest.approx(5 / 6)
    assert found.coverage.n == 5
    assert "Celeb-DF-v2: left out: 1 duplicate" in found.notes


def test_frameless_videos_have_no_place_in_as_published_counting_and_stop_nothing(tmp_path, scorer):
    path = benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    stated = json.loads(path.read_text())
    stated["Celeb-DF-v2"]["CelebDFv2_fake"]["test"]["f1"]["frames"] = []
    path.write_text(json.dumps(stated))
    here = asked(tmp_path, tmp_path / "out", "Celeb-DF-v2", countings=("corrected", "as-published"))
    report = perform(here, scorer)
    assert one(report, "Celeb-DF-v2").coverage.n == 5
    published = one(report, "Celeb-DF-v2", counting="as-published")
    assert published.coverage.n == 4
    assert any("does not know of 1 videos without frames" in note for note in published.notes)


@pytest.mark.parametrize("missing", ["as-real", "as-fake"])
def test_frameless_videos_are_no_frames_of_as_published_counting_either(tmp_path, scorer, missing):
    path = benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    stated = json.loads(path.read_text())
    stated["Celeb-DF-v2"]["CelebDFv2_fake"]["test"]["f1"]["frames"] = []
    path.write_text(json.dumps(stated))
    here = asked(tmp_path, tmp_path / "out", "Celeb-DF-v2", countings=("as-published",), missing=missing)
    frames = one(perform(here, scorer), "Celeb-DF-v2", "frame", "as-published")
    # Four frames of reals, four of f0 and f2.
    assert (frames.coverage.n, len(frames.samples)) == (8, 8)


def test_crops_that_cannot_be_read_are_told_where_their_video_has_a_score(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    (tmp_path / "Celeb-DF-v2" / "CelebDFv2_fake" / "frames" / "f1" / "000.png").write_bytes(b"no picture")
    found = one(perform(asked(tmp_path, tmp_path / "out", "Celeb-DF-v2"), scorer), "Celeb-DF-v2")
    assert (found.coverage.scored, found.coverage.missing) == (5, {})
    assert "Celeb-DF-v2: 1 of 10 crops could not be read" in found.notes


def test_every_distortion_is_measured_on_crops_that_are_read_once(tmp_path, scorer, monkeypatch):
    values = {"FF-real": {"000": [100], "001": [200]}, "FF-DF": {"000_001": [180], "001_000": [240]}}
    benchmark(tmp_path, "FaceForensics++", values, level="c23")
    reads = Reads(monkeypatch)
    here = asked(tmp_path, tmp_path / "out", protocol=PROTOCOLS.get("robustness"))
    report = perform(here, scorer)
    assert list(reads.seen.values()) == [1] * 4
    assert len(list((tmp_path / "out" / "frames").iterdir())) == 1 + len(DISTORTIONS.names) * len(LEVELS)
    of = {each.distortion: each for each in report.robustness["FaceForensics++"]}
    assert tuple(of) == DISTORTIONS.names
    # One colour is the same blurred, shrunk and compressed; less contrast keeps the order.
    for name in ("blur", "resizing", "contrast", "jpeg"):
        assert of[name].aucs == pytest.approx(dict.fromkeys((0, *LEVELS), 3 / 4)), name
        assert of[name].figure == 0
    reads.seen.clear()
    again = perform(here, scorer)
    assert not reads.seen
    assert again.to_json()["robustness"] == report.to_json()["robustness"]
    names = {path.name for path in write(report, tmp_path / "out", "auc", "video")}
    assert "robustness.png" in names


def test_a_distortions_figure_is_that_of_its_level(tmp_path, scorer):
    values = {"FF-real": {"000": [1]}, "FF-DF": {"000_001": [2]}}
    benchmark(tmp_path, "FaceForensics++", values, level="c23")
    report = perform(asked(tmp_path, tmp_path / "out", protocol=PROTOCOLS.get("robustness")), scorer)
    (contrast,) = [each for each in report.robustness["FaceForensics++"] if each.distortion == "contrast"]
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
    report = perform(here, scorer)
    made = write(report, tmp_path / "out", "auc", "video")
    for counting in here.countings:
        folder = tmp_path / "out" / f"videos-{counting}"
        assert folder in made
        rows = read_scores(folder / "Celeb-DF-v2.csv")
        assert not rows.frame.stated
        by_name = dict(
            zip(rows.video.texts(), zip(rows.scores.tolist(), rows.status.texts(), strict=True), strict=True)
        )
        assert by_name["f1"] == (pytest.approx(score_of(190), abs=CLOSE), "ok")
        assert np.isnan(by_name["f2"][0])
        assert by_name["f2"][1] == "unreadable"
        assert len(by_name) == 5


def test_two_evaluations_do_not_write_into_one_folder(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    here = asked(tmp_path, tmp_path / "out", "Celeb-DF-v2")

    class Again(Listener):
        def scored(self, dataset, done, total):
            with pytest.raises(ContractError, match="another run is writing"):
                perform(here, scorer)

    assert one(perform(here, scorer, Again()), "Celeb-DF-v2").value("auc") == pytest.approx(5 / 6)


def test_a_folder_that_cannot_be_is_named(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be made"):
        perform(asked(tmp_path, tmp_path / "file" / "out", "Celeb-DF-v2"), scorer)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text("{")
    with pytest.raises(ContractError, match="cannot be read"):
        perform(asked(tmp_path, tmp_path / "out", "Celeb-DF-v2"), scorer)


def test_the_report_states_what_its_figures_are_of(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    here = asked(tmp_path, tmp_path / "out", "Celeb-DF-v2", frames=1, missing="as-fake")
    stated = perform(here, scorer).to_json()
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
    report = perform(
        asked(tmp_path, tmp_path / "out", "DFDC", "Celeb-DF-v1"), with_card(scorer, trained={"data": data})
    )
    told = [
        each.test for each in report.of("corrected", "video") if "no unseen data set" in " ".join(each.notes)
    ]
    assert told == warned


def test_progress_goes_from_where_it_stood_to_the_end(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    here, told = asked(tmp_path, tmp_path / "out", "Celeb-DF-v2"), []

    class Told(Listener):
        def scored(self, dataset, done, total):
            told.append((done, total))

    with pytest.raises(Stopped):
        perform(here, scorer, StopAfter(2))
    perform(here, scorer, Told())
    assert told == [(3, 5), (4, 5), (5, 5)]
    assert all(later > earlier for (earlier, _), (later, _) in pairwise(told))
