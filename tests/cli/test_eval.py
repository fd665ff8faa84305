"""`deepscan eval` as a user runs it, on benchmarks small enough to check results by hand."""

import json
import re

import cv2
import pytest

from deepscan.data.benchmarks.forensynths import GENERATORS
from deepscan.data.datasets import DATASETS
from deepscan.errors import ExitCode
from deepscan.evaluation.protocols import PROTOCOLS
from tests import toy
from tests.command import deepscan
from tests.evaluation.replica import benchmark
from tests.evaluation.test_scan_records import INDEX, record, track
from tests.terminal import at_a_terminal

CELEB = {
    "CelebDFv2_real": {"r0": [10, 30], "r1": [120, 120]},
    "CelebDFv2_fake": {"f0": [40, 80], "f1": [90, 190], "f2": [200, 220]},
}
FF = {
    "FF-real": {"000": [50], "001": [150]},
    "FF-DF": {"000_001": [200], "001_000": [100]},
    "FF-NT": {"000_001": [160], "001_000": [40]},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model and two benchmarks."""
    place = tmp_path_factory.mktemp("place")
    toy.model(place / "toy")
    benchmark(place / "data", "Celeb-DF-v2", CELEB)
    benchmark(place / "data", "FaceForensics++", FF, level="c23")
    return place


def evaluate(place, *more, model="./toy", **env):
    named = ["--model", model] if model else []
    return deepscan("eval", *named, *map(str, more), cwd=place, COLUMNS="80", **env)


def rows(out):
    """The rows of tables as cells, by the first cell."""
    return {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}


def test_without_data_it_says_which_files_are_needed(tmp_path):
    ran = deepscan("eval", "--protocol", "cross-dataset", cwd=tmp_path)
    error, hint = ran.refused(ExitCode.MISSING)
    tests = PROTOCOLS.get("cross-dataset").sets["qtfp"]
    assert error == "error: data lacks 10 of 10 test sets of cross-dataset"
    assert hint == "hint: put them there, or choose another folder with --data"
    lines = [line for line in ran.err.splitlines() if line not in ran.error_lines]
    assert len(lines) == 3 * len(tests)
    for test, (what, where, origin) in zip(tests, zip(*[iter(lines)] * 3, strict=True), strict=True):
        layout = DATASETS.get(test.dataset)
        assert what.startswith(f"missing: {test.name}: ")
        assert f"deepscan prepare {test.dataset} --root DIR --out data" in what
        assert where == f"  DIR: {layout.expects}"
        assert origin == f"  to get it: {layout.origin}"
    assert list(tmp_path.iterdir()) == []


def test_missing_generators_are_listed_with_their_source(tmp_path):
    ran = deepscan("eval", "--protocol", "universal", cwd=tmp_path)
    ran.refused(ExitCode.MISSING)
    lines = [line for line in ran.err.splitlines() if line.startswith("missing: ")]
    assert [line.split(": ")[1] for line in lines] == list(GENERATORS)
    assert all("github.com/" in line and "data must contain" in line for line in lines)


def test_a_protocol_prints_only_its_table_and_writes_files(place, tmp_path):
    out = tmp_path / "out"
    ran = evaluate(place, "--available", "--out", out, "--progress", "plain")
    assert ran.code == 0, ran.err
    # Five of six pairs are in order; the paper has 0.960.
    assert rows(ran.out)["Celeb-DF-v2"][:2] == ["4+6", "0.750"], "the table of frames comes last"
    (line,) = [line for line in ran.out.splitlines() if "0.960" in line]
    assert line.split()[:3] == ["Celeb-DF-v2", "2+3", "0.833"]
    assert line.split()[4:6] == ["0.960", "-0.127"]
    assert "\x1b" not in ran.out + ran.err
    assert "missing: UADFV" in ran.err
    assert "missing" not in ran.out
    assert "Celeb-DF-v2 5/5" in ran.err
    assert ran.err.splitlines()[-1].startswith(f"in {out}: report.json, videos-corrected")
    report = json.loads((out / "report.json").read_text())
    assert [(each["test"], each["level"]) for each in report["results"]] == [
        ("Celeb-DF-v2", "frame"),
        ("Celeb-DF-v2", "video"),
    ]
    for name in ("roc.png", "scores.png", "papers.png"):
        assert cv2.imread(str(out / name)) is not None
    again = evaluate(place, "--available", "--out", out, "--progress", "none")
    assert (again.code, again.out, again.err) == (0, ran.out, "")


def test_an_evaluation_does_not_overwrite_another(place, tmp_path):
    out = tmp_path / "out"
    first = evaluate(place, "--set", "Celeb-DF-v2", "--out", out)
    assert first.code == 0, first.err
    ran = evaluate(place, "--set", "Celeb-DF-v2", "--out", out, "--frames", "1")
    error, hint = ran.refused(ExitCode.CONTRACT)
    assert "frames was 32, is 1" in error
    assert "--overwrite" in hint
    again = evaluate(place, "--set", "Celeb-DF-v2", "--out", out, "--frames", "1", "--overwrite")
    assert again.code == 0, again.err
    # Only the first frame: 10 and 120 against 40, 90 and 200.
    assert rows(again.out)["Celeb-DF-v2"][:2] == ["2+3", "0.667"]


def test_robustness_is_a_table_of_levels_and_a_plot(place, tmp_path):
    ran = evaluate(place, "--protocol", "robustness", "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    # 200 and 160 are above both reals, 100 above one, 40 above none; each crop has one colour.
    for name in ("blur", "contrast", "resizing"):
        assert rows(ran.out)[name] == ["0.625"] * 6 + ["+0.0%"]
    assert rows(ran.out)["FF-NT"] == ["2", "0.500", *rows(ran.out)["FF-NT"][2:]]
    assert (tmp_path / "out" / "robustness.png").is_file()


def test_both_countings_have_a_table(place, tmp_path):
    ran = evaluate(place, "--protocol", "in-domain", "--counting", "both", "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    heads = [line.strip() for line in ran.out.splitlines() if line.startswith("per ")]
    assert [head for head in heads if head.startswith("per video")] == [
        "per video, corrected counting",
        "per video, as-published counting",
    ]
    # 000_001 and 001_000 of both manipulations merge: 180 and 70 against 50 and 150.
    lines = [line.split() for line in ran.out.splitlines() if line.startswith("FaceForensics++ ")]
    assert [line[1:3] for line in lines[:1]] == [["2+4", "0.625"]]
    assert ["2+2", "0.750"] in [line[1:3] for line in lines]
    assert "6 videos count as 4" in " ".join(ran.out.split())


SCORES = """\
video,label,score,kind
r0,real,0.2,real
r1,real,0.6,real
f0,fake,0.5,swap
f1,fake,0.9,lips
f2,fake,,lips
"""


def test_scores_of_any_detector_are_evaluated_and_written(tmp_path):
    (tmp_path / "mine.csv").write_text(SCORES)
    ran = deepscan("eval", "--scores", "mine.csv", "--out", "out", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert rows(ran.out)["all"][:2] == ["2+2", "0.750"]
    assert rows(ran.out)["swap"][:2] == ["1", "0.500"]
    assert rows(ran.out)["lips"][:2] == ["1", "1.000"]
    assert "all: not scored: 1 no_score (exclude)" in ran.out.splitlines()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["scores"] == "mine.csv"
    assert report["results"][0]["coverage"]["missing"] == {"no_score": 1}
    for name in ("roc.png", "scores.png"):
        assert cv2.imread(str(tmp_path / "out" / name)) is not None
    counted = deepscan("eval", "--scores", "mine.csv", "--missing", "as-real", cwd=tmp_path)
    assert rows(counted.out)["all"][:2] == ["2+3", "0.500"]
    assert counted.err == ""


def test_scores_of_frames_have_their_own_table(tmp_path):
    lines = [f"v{at},{at % 2},{at / 10},{frame}" for at in range(4) for frame in range(3)]
    (tmp_path / "frames.csv").write_text("\n".join(["video,label,score,frame", *lines]) + "\n")
    ran = deepscan("eval", "--scores", "frames.csv", cwd=tmp_path)
    heads = [line.strip() for line in ran.out.splitlines() if line.startswith("per ")]
    assert heads == ["per video, corrected counting", "per frame, corrected counting"]
    assert [line.split()[1] for line in ran.out.splitlines() if line.startswith("all ")] == ["2+2", "6+6"]


def test_with_one_class_the_reason_for_a_missing_result_is_shown(tmp_path):
    (tmp_path / "s.csv").write_text("video,label,score\na,1,0.1\nb,1,0.9\n")
    ran = deepscan("eval", "--scores", "s.csv", "--counting", "as-published", cwd=tmp_path, COLUMNS="80")
    assert ran.code == 0, ran.err
    lines = [line.rstrip() for line in ran.out.splitlines()]
    assert "all: no AUC: all 2 samples are fake" in lines
    assert lines[0] == "per video, as-published counting", "a title is not broken where its table ends"


def test_a_folder_that_cannot_be_created_is_a_usage_error(tmp_path):
    (tmp_path / "s.csv").write_text(SCORES)
    ran = deepscan("eval", "--scores", "s.csv", "--out", "s.csv", cwd=tmp_path)
    error, hint = ran.refused(ExitCode.USAGE)
    assert error == "error: cannot write to folder s.csv: File exists"
    assert "--out" in hint


def test_missing_crops_are_named(place, tmp_path):
    content = {
        "X": {kind: {"test": {"v": {"label": kind, "frames": ["a/0.png"]}}} for kind in ("real", "fake")}
    }
    (tmp_path / "Celeb-DF-v2.json").write_text(json.dumps({"Celeb-DF-v2": content["X"]}))
    ran = evaluate(place, "--data", tmp_path, "--set", "Celeb-DF-v2")
    ran.refused(ExitCode.MISSING)
    (note,) = [line for line in ran.err.splitlines() if line.startswith("missing: ")]
    assert "for example a/0.png" in note
    assert "--root" in note
    assert "given out" not in ran.err, "the data set is there, its crops are not"


def test_records_of_a_scan_are_evaluated_with_labels(tmp_path):
    (tmp_path / "clips.csv").write_text(INDEX)
    scored = {"a": 0.4, "b": 0.3, "c": 0.9, "d": 0.7, "e": 0.5, "f": 0.45}
    lines = [record(tmp_path / f"{name}.mp4", track(score, score)) for name, score in scored.items()]
    (tmp_path / "scan.jsonl").write_text("\n".join(lines) + "\n")
    command = ("eval", "--records", "scan.jsonl", "--labels", "clips.csv")
    each = deepscan(*command, cwd=tmp_path)
    assert each.code == 0, each.err
    # Fakes 0.3, 0.9, 0.7, 0.45 against reals 0.4 and 0.5.
    assert rows(each.out)["clips"][:2] == ["2+4", "0.625"]
    voted = deepscan(*command, "--vote", "group", cwd=tmp_path)
    # b and c are of one group: 0.6.
    assert rows(voted.out)["clips"][:2] == ["2+3", "0.833"]
    assert "per group" in voted.out
    some = deepscan(*command, "--where", "tier=A,B", cwd=tmp_path)
    assert rows(some.out)["clips"][:2] == ["1+3", "0.667"]


@pytest.mark.parametrize(
    ("options", "error", "hint"),
    [
        (
            ["--protocol", "cross-datset"],
            "--protocol cannot be 'cross-datset'",
            "did you mean 'cross-dataset'?",
        ),
        (["--counting", "best"], "--counting cannot be 'best'", "corrected, as-published, both"),
        (["--video-key", "parent2"], "does not use --video-key parent2", "as-published"),
        (["--sets", "unifd"], "no test sets for 'unifd'", "qtfp, dfd-hr, corit"),
        (["--set", "Celeb"], "no test set 'Celeb'", "Celeb-DF-v1, Celeb-DF-v2"),
        (["--frames", "-1"], "--frames", "eval --help"),
        (["--scores", "s.csv", "--records", "r.jsonl"], "exclude each other", "leave one"),
        (["--scores", "absent.csv"], "absent.csv cannot be read", "CSV file of scores"),
        (["--records", "r.jsonl"], "--records and --labels must be used together", "give both"),
        (["words"], "unexpected argument: words", "eval --help"),
        (["--labels", "l.csv"], "--labels needs --records", "leave --labels out, or add --records"),
        (["--where", "tier=A"], "--where needs --records", "leave --where out"),
        (["--vote", "group"], "--vote needs --scores or --records", "leave --vote out"),
        (["--scores", "s.csv", "--set", "DFDC"], "--set has no effect with --scores", "leave --set out"),
        (["--scores", "s.csv", "--model", "m"], "--model has no effect with --scores", "leave --model out"),
        (["--scores", "s.csv", "--frames", "8"], "--frames has no effect", "leave --frames out"),
        (["--analysis", "cost", "depth=2"], "--analysis", "deepscan analyse cost depth=2 --model ./toy"),
        (["--analysis=cost"], "no option --analysis", "run: deepscan analyse cost --model ./toy"),
        (["--calibrate", "isotonic"], "no option", "run: deepscan calibrate --fit isotonic --model ./toy"),
        (["--compare", "a.csv", "b.csv"], "no option --compare", "run: deepscan compare a.csv b.csv"),
        (["--tables", "corit-frame"], "no option --tables", "run: deepscan tables corit-frame"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_options_give_one_error_and_one_hint(place, options, error, hint):
    # Commands that need no model are run without one.
    alone = {"--scores", "--records"} & set(options)
    ran = evaluate(place, *options, model=None if alone else "./toy")
    lines = ran.refused(ExitCode.USAGE)
    assert error in lines[0]
    assert hint in lines[1]


@pytest.mark.parametrize(
    ("arguments", "whole"),
    [
        (
            ("--set", "Celeb-DF-v2", "--counting", "both"),
            "Celeb-DF-v2 2+3 0.833 0.250-1.000 0.960 -0.127 0.917",
        ),
        (("--protocol", "robustness"), "blur 0.625 0.625 0.625 0.625 0.625 0.625 +0.0%"),
    ],
    ids=["counting", "robustness"],
)
def test_no_table_is_broken_at_eighty_columns(place, tmp_path, arguments, whole, monkeypatch):
    monkeypatch.chdir(place)
    ran = at_a_terminal("-m", "deepscan", "eval", "--model", "./toy", "--out", tmp_path / "out", *arguments)
    assert ran.code == 0, ran.screen
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", ran.screen).replace("\r\n", "\n")
    # A line with a carriage return belongs to a bar; the last line has a path, which may be long.
    lines = [line for line in shown.split("\n") if "\r" not in line and not line.startswith("in ")]
    assert max(map(len, lines)) <= 80
    assert "…" not in shown
    assert any(" ".join(line.split()).startswith(whole) or whole in line for line in lines)


def test_a_terminal_shows_progress_and_a_pipe_gets_only_the_table(place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    command = ("eval", "--model", "./toy", "--set", "Celeb-DF-v2", "--out", tmp_path / "out")
    ran = at_a_terminal("-m", "deepscan", *command, piped=True)
    assert ran.code == 0, ran.screen
    assert "\x1b" not in ran.out
    assert ran.out.startswith("per video, corrected counting")
    assert "Celeb-DF-v2" in ran.screen
    assert "per video" not in ran.screen
