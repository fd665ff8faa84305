"""Evaluations that are stopped, go on, meet others in their folder, or find their data changed."""

from dataclasses import replace
from itertools import pairwise

import pytest

from deepscan.errors import ContractError, ExitCode, MissingError, UsageError
from deepscan.evaluation import scoring
from deepscan.evaluation.run import EvaluationListener, run_evaluation
from tests.evaluation.replica import CELEB, DFD, Reads, asked, benchmark, one, scores_of, toy_scorer

pytestmark = pytest.mark.usefixtures("few_draws")


class Stopped(Exception):
    pass


class StopAfter(EvaluationListener):
    """Ends an evaluation when so many videos of a data set are scored."""

    def __init__(self, videos):
        self.videos = videos

    def scored(self, dataset, done, total):
        if done == self.videos:
            raise Stopped


@pytest.mark.parametrize("stop", [1, 3])
def test_an_interrupted_evaluation_goes_on_and_reads_no_judged_crop_again(
    tmp_path, scorer, stop, monkeypatch
):
    monkeypatch.setattr(scoring, "BATCH", 2)
    monkeypatch.setattr(scoring, "AHEAD", 2)
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    whole = run_evaluation(asked(tmp_path, tmp_path / "whole", "Celeb-DF-v2"), scorer)
    reads, here = Reads(monkeypatch), asked(tmp_path, tmp_path / "out", "Celeb-DF-v2")
    with pytest.raises(Stopped):
        run_evaluation(here, scorer, StopAfter(stop))
    assert set(reads.seen.values()) == {1}
    reads.seen.clear()
    report = run_evaluation(here, scorer)
    names = [name for of in CELEB.values() for name in of]
    assert {path.split("/")[-2] for path in reads.seen} == set(names[stop:])
    assert set(reads.seen.values()) == {1}
    assert [result.to_json() for result in report.results] == [result.to_json() for result in whole.results]
    reads.seen.clear()
    again = run_evaluation(here, scorer)
    assert not reads.seen
    assert [result.to_json() for result in again.results] == [result.to_json() for result in whole.results]


def test_a_folder_takes_no_other_evaluation(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    here = asked(tmp_path, tmp_path / "out", "Celeb-DF-v2")
    first = run_evaluation(here, scorer)
    biased = toy_scorer(tmp_path / "models" / "biased", bias=5.0)
    for other, by, name in (
        (here, biased, "model"),
        (replace(here, frames=1), scorer, "frames"),
        (replace(here, countings=("as-published",)), scorer, "samplings"),
        (replace(here, root=tmp_path), scorer, "root"),
    ):
        with pytest.raises(ContractError, match=f"another evaluation: {name} was") as caught:
            run_evaluation(other, by)
        assert caught.value.exit_code == ExitCode.CONTRACT
        assert "--out" in caught.value.hint
    assert one(run_evaluation(here, scorer), "Celeb-DF-v2").to_json() == one(first, "Celeb-DF-v2").to_json()
    anew = run_evaluation(replace(here, overwrite=True), biased)
    assert min(scores_of(one(anew, "Celeb-DF-v2")).values()) > 0.9, "nothing is left of the other's scores"


def test_scores_of_other_videos_are_not_taken_for_those_of_these(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    here = asked(tmp_path, tmp_path / "out", "Celeb-DF-v2")
    run_evaluation(here, scorer)
    benchmark(tmp_path, "Celeb-DF-v2", {**CELEB, "CelebDFv2_real": {"r0": [250]}})
    with pytest.raises(ContractError, match="crops of Celeb-DF-v2 were others"):
        run_evaluation(here, scorer)
    found = one(run_evaluation(replace(here, overwrite=True), scorer), "Celeb-DF-v2")
    assert found.value("auc") == 0
    assert found.coverage.n == 4


def test_more_sets_join_those_that_are_there(tmp_path, scorer, monkeypatch):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    run_evaluation(asked(tmp_path, tmp_path / "out", available=True), scorer)
    benchmark(tmp_path, "DeepFakeDetection", DFD, level="c23")
    reads = Reads(monkeypatch)
    report = run_evaluation(asked(tmp_path, tmp_path / "out", available=True), scorer)
    assert [result.test for result in report.of("corrected", "video")] == ["Celeb-DF-v2", "DeepFakeDetection"]
    assert {path.split("/")[-4] for path in reads.seen} == {"DFD_real", "DFD_fake"}


def test_missing_data_cost_no_scores_that_are_to_be_overwritten(tmp_path, scorer):
    path = benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    here = asked(tmp_path, tmp_path / "out", "Celeb-DF-v2")
    run_evaluation(here, scorer)
    kept = (tmp_path / "out" / "frames" / "Celeb-DF-v2-test.csv").read_bytes()
    path.unlink()
    with pytest.raises(MissingError):
        run_evaluation(replace(here, overwrite=True), scorer)
    assert (tmp_path / "out" / "frames" / "Celeb-DF-v2-test.csv").read_bytes() == kept


def test_two_evaluations_do_not_write_into_one_folder(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    here = asked(tmp_path, tmp_path / "out", "Celeb-DF-v2")

    class Again(EvaluationListener):
        def scored(self, dataset, done, total):
            with pytest.raises(ContractError, match="another run is writing"):
                run_evaluation(here, scorer)

    assert one(run_evaluation(here, scorer, Again()), "Celeb-DF-v2").value("auc") == pytest.approx(5 / 6)


def test_a_folder_that_cannot_be_is_named(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write to folder"):
        run_evaluation(asked(tmp_path, tmp_path / "file" / "out", "Celeb-DF-v2"), scorer)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text("{")
    with pytest.raises(ContractError, match="cannot be read"):
        run_evaluation(asked(tmp_path, tmp_path / "out", "Celeb-DF-v2"), scorer)


def test_progress_goes_from_where_it_stood_to_the_end(tmp_path, scorer):
    benchmark(tmp_path, "Celeb-DF-v2", CELEB)
    here, progress = asked(tmp_path, tmp_path / "out", "Celeb-DF-v2"), []

    class Told(EvaluationListener):
        def scored(self, dataset, done, total):
            progress.append((done, total))

    with pytest.raises(Stopped):
        run_evaluation(here, scorer, StopAfter(2))
    run_evaluation(here, scorer, Told())
    assert progress == [(3, 5), (4, 5), (5, 5)]
    assert all(later > earlier for (earlier, _), (later, _) in pairwise(progress))
