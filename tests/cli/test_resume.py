"""Resuming a run from the command line: its stored parameters and inputs, and the resume command."""

import json
import os
import shlex
import signal
import subprocess

import pytest

from deepscan.errors import ExitCode
from deepscan.scanning import runfile
from tests import awkward, toy
from tests.command import SAMPLES, deepscan, journal, start, wait_for

HOPPER = SAMPLES / "real_hopper.mp4"
QUICK = ("--model", "none", "--frames", "2")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder of four videos without a face."""
    folder = tmp_path_factory.mktemp("some videos")
    small = awkward.video(folder / "0.mp4", count=5)
    for at in range(1, 4):
        awkward.distinct(small, folder / f"{at}.mp4", at)
    return folder


def cut_short(out, keep=1):
    """Turn a finished run into one that was interrupted after `keep` videos."""
    records = out.with_suffix(".jsonl")
    records.write_text("".join(records.read_text().splitlines(keepends=True)[:keep]))
    described = out.with_suffix(".run.json")
    run = json.loads(described.read_text())
    run["records"] = None
    run["sessions"][-1] |= {"ended": None, "exit_code": None}
    runfile.write(run, described)


@pytest.fixture
def begun(videos, tmp_path):
    out = tmp_path / "out.csv"
    assert deepscan("scan", videos, *QUICK, "--min-frames", "3", "--out", out).code == 0
    cut_short(out)
    return out


@pytest.mark.parametrize("by", ["out", "csv", "records"])
def test_resume_alone_uses_the_videos_and_parameters_of_the_run(begun, videos, tmp_path, by):
    before = json.loads(begun.with_suffix(".run.json").read_text())["parameters"]
    what = {"out": ("--out", begun), "csv": (begun,), "records": (begun.with_suffix(".jsonl"),)}[by]
    # From another folder: the run stores absolute paths.
    ran = deepscan("scan", "--resume", *what, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "1 video already scanned, 3 to scan" in ran.err
    assert "this session: 3 videos" in ran.err and "in total: 4 videos: 4 no face" in ran.err
    assert journal(begun.with_suffix(".jsonl")).keys() == {str(each) for each in videos.iterdir()}
    run = json.loads(begun.with_suffix(".run.json").read_text())
    assert run["parameters"] == before and run["parameters"]["min_frames"] == 3
    assert [session["kept"] for session in run["sessions"]] == [0, 1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--frames", "8"), "--frames 2, not 8"),
        (("--min-frames", "1", "--faces", "exact"), "--min-frames 3, not 1; --faces fast, not exact"),
        (("--explain", "--model", "convnet"), "--explain off, not on"),
        (("--max-megapixels", "8"), "--max-megapixels 64, not 8"),
    ],
)
def test_other_parameters_are_refused_with_both_values(begun, given, said):
    lines = deepscan("scan", "--resume", "--out", begun, *given).refused(ExitCode.CONTRACT)
    # The order is that of the options, so accept any.
    assert all(part in lines[0] for part in said.split("; ")), lines
    assert "leave these options out" in lines[1]


def test_the_same_parameters_may_be_repeated(begun):
    ran = deepscan("scan", "--resume", "--out", begun, *QUICK, "--timeout", "60")
    assert ran.code == 0, ran.err
    assert len(journal(begun.with_suffix(".jsonl"))) == 4


@pytest.mark.parametrize("options", [(), ("--verify-inputs",)])
def test_the_run_says_how_unchanged_files_were_recognised(begun, options):
    ran = deepscan("scan", "--resume", "--out", begun, *options)
    assert ran.code == 0, ran.err
    sessions = json.loads(begun.with_suffix(".run.json").read_text())["sessions"]
    assert [session["inputs_checked"] for session in sessions] == [None, "sha256" if options else "mtime"]


@pytest.mark.parametrize("out", [True, False])
def test_files_can_only_be_verified_when_resuming(videos, tmp_path, out):
    options = ("--out", tmp_path / "out.jsonl") if out else ()
    error, _ = deepscan("scan", videos, "--verify-inputs", *options).refused(ExitCode.USAGE)
    assert "--resume" in error and "--verify-inputs" in error


def test_another_model_is_refused(begun, tmp_path):
    other = toy.model(tmp_path / "toy")
    lines = deepscan("scan", "--resume", "--out", begun, "--model", other).refused(ExitCode.CONTRACT)
    assert "model.name" in lines[0] and "'toy'" in lines[0]


def test_a_model_in_a_folder_is_found_from_another_folder(videos, tmp_path):
    toy.model(tmp_path / "models" / "toy")
    out = tmp_path / "out.jsonl"
    ran = deepscan("scan", videos, "--model", "models/toy", "--frames", "1", "--out", out, cwd=tmp_path)
    assert ran.code == 0, ran.err
    cut_short(out)
    again = deepscan("scan", "--resume", "--out", out, cwd=videos)
    assert again.code == 0, again.err
    assert {record["model"]["name"] for record in journal(out).values()} == {"toy"}


def test_a_list_in_a_file_is_read_again(videos, tmp_path):
    listed, out = tmp_path / "list.txt", tmp_path / "out.jsonl"
    listed.write_text("".join(f"{each.name}\n" for each in sorted(videos.iterdir())))
    assert deepscan("scan", "--from-list", listed, *QUICK, "--out", out, cwd=videos).code == 0
    cut_short(out)
    ran = deepscan("scan", "--resume", "--out", out, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert journal(out).keys() == {str(each) for each in videos.iterdir()}, "relative to the first folder"


def test_a_list_on_stdin_must_be_given_again(videos, tmp_path):
    out = tmp_path / "a list.jsonl"
    names = "\0".join(map(str, sorted(videos.iterdir()))).encode()
    assert deepscan("scan", "--null", "-", *QUICK, "--out", out, stdin=names).code == 0
    cut_short(out)
    lines = deepscan("scan", "--resume", "--out", out).refused(ExitCode.USAGE)
    assert "stdin" in lines[0]
    command = shlex.split(lines[1].split(" | ")[1])
    assert command[command.index("scan") :] == ["scan", "--resume", "--out", str(out), "--null", "-"]
    ran = deepscan(*command[command.index("scan") :], stdin=names)
    assert ran.code == 0, ran.err
    assert len(journal(out)) == 4


def test_a_run_keeps_the_videos_of_all_sessions(videos, tmp_path):
    out = tmp_path / "out.jsonl"
    for more in ((videos / "0.mp4", "--out", out), (videos / "1.mp4", "--resume", "--out", out)):
        assert deepscan("scan", *QUICK, *more).code == 0
    cut_short(out, keep=0)
    assert deepscan("scan", "--resume", "--out", out).code == 0
    assert {os.path.basename(path) for path in journal(out)} == {"0.mp4", "1.mp4"}


def test_without_a_run_there_is_nothing_to_resume(tmp_path):
    lines = deepscan("scan", "--resume", "--out", tmp_path / "none.jsonl").refused(ExitCode.USAGE)
    assert "no run to resume" in lines[0]


def test_a_run_file_without_inputs_asks_for_them(begun):
    described = begun.with_suffix(".run.json")
    run = json.loads(described.read_text())
    del run["sessions"][0]["inputs"]
    runfile.write(run, described)
    assert "name its videos" in deepscan("scan", "--resume", "--out", begun).refused(ExitCode.USAGE)[1]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_the_hint_after_an_interrupt_is_the_resume_command(tmp_path, number, code):
    folder = tmp_path / "it's mine"
    folder.mkdir()
    for at in range(30):
        awkward.distinct(HOPPER, folder / f"{at:02}.mp4", at)
    out = tmp_path / "the $records.jsonl"
    process = start("scan", folder, "--model", "none", "--frames", "4", "--out", out, "--progress", "none")
    wait_for(process, out, 2)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err.decode()
    error, hint = err.decode().splitlines()[-2:]
    done = len(journal(out))
    assert error.endswith(f"ed: {done} of 30 videos are done") and done < 30
    command = hint.removeprefix("hint: to resume: ")
    ended = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert f"{done} videos already scanned, {30 - done} to scan" in ended.stderr
    assert len(journal(out)) == 30


def test_a_scan_without_out_says_that_nothing_was_saved(tmp_path):
    for at in range(30):
        awkward.distinct(HOPPER, tmp_path / f"{at:02}.mp4", at)
    process = start("scan", tmp_path, "--model", "none", "--frames", "4", "--progress", "none")
    assert process.stdout.readline().startswith(b'{"schema"')
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "--out FILE" in err.decode().splitlines()[-1]
