"""Interrupted and resumed evaluations, different evaluations in a folder, and changed data."""

from dataclasses import replace
from itertools import pairwise

import pytest

from deepscan.errors import ContractError, ExitCode, MissingError, UsageError
from deepscan.evaluation import scoring
from deepscan.evaluation.run import EvaluationListener, run_evaluation
from tests.evaluation.replica import CELEB, DFD, Reads, benchmark, request, result_of, scores_of, toy_scorer

pytestmark = pytest.mark.usefixtures("few_bootstrap_rounds")


class Stopped(Exception):
    pass


class StopAfter(EvaluationListener):
    """Stops an evaluation after a number of scored videos."""

    def __init__(self, videos):
        self.videos = videos

    def scored(self, dataset, done, total):
        if done == self.videos:
            raise Stopped


@pytest.mark.parametrize("stop", [1, 3])
def test_an_interrupted_evaluation_resumes_without_reading_scored_crops(tmp_path, scorer, stop, monkeypatch):
    monkeypatch.setattr(scoring, "BATCH", 2)
    monkeypatch.setattr(scoring, "AHEAD", 2)
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    whole = run_evaluation(request(tmp_path, tmp_path / "whole", "Celeb-DF-v2"), scorer)
    reads, evaluation = Reads(monkeypatch), request(tmp_path, tmp_path / "out", "Celeb-DF-v2")
    with pytest.raises(Stopped):
        run_evaluation(evaluation, scorer, StopAfter(stop))
    assert set(reads.seen.values()) == {1}
    reads.seen.clear()
    report = run_evaluation(evaluation, scorer)
    names = [name for videos in CELEB.values() for name in videos]
    assert {path.split("/")[-2] for path in reads.seen} == set(names[stop:])
    assert set(reads.seen.values()) == {1}
    assert [result.to_json() for result in report.results] == [result.to_json() for result in whole.results]
    reads.seen.clear()
    again = run_evaluation(evaluation, scorer)
    assert not reads.seen
    assert [result.to_json() for result in again.results] == [result.to_json() for result in whole.results]


def test_a_folder_rejects_a_different_evaluation(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    evaluation = request(tmp_path, tmp_path / "out", "Celeb-DF-v2")
    first = run_evaluation(evaluation, scorer)
    biased = toy_scorer(tmp_path / "models" / "biased", bias=5.0)
    for other, detector, name in (
        (evaluation, biased, "model"),
        (replace(evaluation, frames=1), scorer, "frames"),
        (replace(evaluation, countings=("as-published",)), scorer, "samplings"),
        (replace(evaluation, root=tmp_path), scorer, "root"),
    ):
        with pytest.raises(ContractError, match=f"a different evaluation: {name} was") as caught:
            run_evaluation(other, detector)
        assert caught.value.exit_code == ExitCode.CONTRACT
        assert "--out" in caught.value.hint
    assert (
        result_of(run_evaluation(evaluation, scorer), "Celeb-DF-v2").to_json()
        == result_of(first, "Celeb-DF-v2").to_json()
    )
    replaced = run_evaluation(replace(evaluation, overwrite=True), biased)
    assert min(scores_of(result_of(replaced, "Celeb-DF-v2")).values()) > 0.9, (
        "the earlier scores are replaced"
    )


def test_changed_videos_are_rejected(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    evaluation = request(tmp_path, tmp_path / "out", "Celeb-DF-v2")
    run_evaluation(evaluation, scorer)
    benchmark(tmp_path, "Celeb-DF-v2", {**CELEB, "CelebDFv2_real": {"r0": [250]}})
    with pytest.raises(ContractError, match="crops of Celeb-DF-v2 have changed"):
        run_evaluation(evaluation, scorer)
    found = result_of(run_evaluation(replace(evaluation, overwrite=True), scorer), "Celeb-DF-v2")
    assert found.value("auc") == 0
    assert found.coverage.n == 4


def test_sets_can_be_added_later(tmp_path, scorer, monkeypatch):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    run_evaluation(request(tmp_path, tmp_path / "out", available=True), scorer)
    benchmark(tmp_path, "DeepFakeDetection", DFD, level="c23")
    reads = Reads(monkeypatch)
    report = run_evaluation(request(tmp_path, tmp_path / "out", available=True), scorer)
    assert [result.test for result in report.of("corrected", "video")] == ["Celeb-DF-v2", "DeepFakeDetection"]
    assert {path.split("/")[-4] for path in reads.seen} == {"DFD_real", "DFD_fake"}


def test_missing_data_does_not_delete_scores_to_overwrite(tmp_path, scorer):
    path = benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    evaluation = request(tmp_path, tmp_path / "out", "Celeb-DF-v2")
    run_evaluation(evaluation, scorer)
    kept = (tmp_path / "out" / "frames" / "Celeb-DF-v2-test.csv").read_bytes()
    path.unlink()
    with pytest.raises(MissingError):
        run_evaluation(replace(evaluation, overwrite=True), scorer)
    assert (tmp_path / "out" / "frames" / "Celeb-DF-v2-test.csv").read_bytes() == kept


def test_two_evaluations_cannot_share_a_folder(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    evaluation = request(tmp_path, tmp_path / "out", "Celeb-DF-v2")

    class Reentrant(EvaluationListener):
        def scored(self, dataset, done, total):
            with pytest.raises(ContractError, match="another run is writing"):
                run_evaluation(evaluation, scorer)

    assert result_of(run_evaluation(evaluation, scorer, Reentrant()), "Celeb-DF-v2").value(
        "auc"
    ) == pytest.approx(5 / 6)


def test_an_unusable_folder_is_named(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write to folder"):
        run_evaluation(request(tmp_path, tmp_path / "file" / "out", "Celeb-DF-v2"), scorer)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text("{")
    with pytest.raises(ContractError, match="cannot be read"):
        run_evaluation(request(tmp_path, tmp_path / "out", "Celeb-DF-v2"), scorer)


def test_progress_includes_earlier_runs(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    evaluation, progress = request(tmp_path, tmp_path / "out", "Celeb-DF-v2"), []

    class Recorder(EvaluationListener):
        def scored(self, dataset, done, total):
            progress.append((done, total))

    with pytest.raises(Stopped):
        run_evaluation(evaluation, scorer, StopAfter(2))
    run_evaluation(evaluation, scorer, Recorder())
    assert progress == [(3, 5), (4, 5), (5, 5)]
    assert all(later > earlier for (earlier, _), (later, _) in pairwise(progress))
