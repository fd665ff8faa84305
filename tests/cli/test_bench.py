"""`deepscan bench`: rows for every stage, as data in a pipe and as a table at a terminal."""

import csv
import json

import pytest

from deepscan.bench.clips import Clip, make_clip
from deepscan.bench.run import BENCH_COLUMNS
from deepscan.errors import ExitCode
from tests import awkward
from tests.command import deepscan
from tests.terminal import at_a_terminal

QUICK = ("--frames", "2", "--repeats", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two clips, and a file that is not a clip."""
    made = tmp_path_factory.mktemp("clips")
    for seed in range(2):
        make_clip(Clip(320, 240, frames=8, fps=8, seed=seed), made)
    awkward.text(made / "text.mp4")
    return made


def test_a_pipe_gets_the_machine_and_one_row_per_measurement(folder):
    # A model with an 8-bit file.
    some = ("--batch", "2", "--model", "convnet", "--precision", "fp32,int8,fp99", "--workers", "1")
    ran = deepscan("bench", folder, *QUICK, *some)
    assert ran.code == 0, ran.err
    (environment, *rows) = ran.records
    files = environment["environment"]["files"]
    assert [(file["width"], file["frames_decodable"], file["sampled"]) for file in files] == [(320, 8, 2)] * 2
    assert all(set(row) <= set(BENCH_COLUMNS) for row in rows)
    stages = [row["stage"] for row in rows if row["stage"] != "scan"]
    assert stages == ["start-up"] * 4 + ["decode", "faces", "detector", "detector"]
    scans = [row for row in rows if row.get("part") == "whole"]
    counted = [(row["precision"], row["count"], row["frames"]) for row in scans]
    assert counted == [("fp32", 2, 2), ("int8", 2, 2)]
    parts = {row["part"] for row in rows if row["stage"] == "scan"}
    assert parts == {"whole", "hash", "probe", "decode", "wait", "faces", "detector"}
    assert all(row["seconds"] >= 0 and row["low"] <= row["seconds"] <= row["high"] for row in rows)
    assert "skipped: text.mp4: unsupported" in ran.err
    assert "skipped: the onnx engine has no precision 'fp99'" in ran.err


def test_out_gets_rows_and_machine_and_stdout_the_table(folder, tmp_path):
    out = tmp_path / "speed.csv"
    some = ("--only", "decode,scan", "--workers", "1", "--model", "none", "--out", out)
    ran = at_a_terminal("-m", "deepscan", "bench", folder, *QUICK, *some, columns=120)
    assert ran.code == 0, ran.screen
    assert "videos/min" in ran.screen
    assert "  decode" in ran.screen
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["stage"] for row in rows][:2] == ["decode", "scan"]
    assert tuple(rows[0]) == BENCH_COLUMNS
    assert json.loads((tmp_path / "speed.machine.json").read_text())["files"]
    again = deepscan("bench", folder, "--out", out)
    assert (again.code, again.out) == (ExitCode.USAGE, "")
    assert "--overwrite" in again.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--frames", "many"], "not 'many'"),
        (["--only", "decoding"], "'decoding'"),
        (["--out", "speed.txt"], "speed.txt"),
        (["--progress", "loud"], "'loud'"),
        (["absent.mp4"], "absent.mp4"),
    ],
    ids=str,
)
def test_wrong_options_give_two_lines(folder, arguments, words):
    named = [] if "absent.mp4" in arguments else [folder / "320x240-8-faces1-0.mp4"]
    ran = deepscan("bench", *named, *arguments, *([] if "--frames" in arguments else QUICK))
    ran.refused(ExitCode.USAGE)
    assert words in ran.err


def test_a_precision_that_no_engine_has_is_an_error(folder):
    ran = deepscan("bench", folder / "320x240-8-faces1-0.mp4", "--precision", "fp99", *QUICK)
    assert ran.code == ExitCode.USAGE
    assert ran.error_lines == [
        "error: the onnx engine has no precision 'fp99'",
        "hint: choose from: fp32, int8",
    ]


def test_only_undecodable_files_are_an_error(folder):
    ran = deepscan("bench", folder / "text.mp4", *QUICK)
    assert ran.code == ExitCode.USAGE
    assert "none of the 1 files" in ran.err


def test_bench_works_without_torch(folder):
    hide = "import sys, runpy; sys.modules['torch'] = None; sys.argv = ['deepscan', *sys.argv[1:]]; "
    ran = at_a_terminal(
        *("-c", hide + "runpy.run_module('deepscan', run_name='__main__')", "bench", folder, *QUICK),
        *("--only", "detector,scan", "--batch", "1"),
        piped=True,
    )
    assert ran.code == 0, ran.screen
