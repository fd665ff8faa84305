"""stdout has the data and stderr the rest, at a terminal, in a pipe, and on a closed or full stream."""

import os
import subprocess
import sys

import pytest

import deepscan as package
from tests.command import SAMPLES, deepscan, run_python, without_privileges
from tests.terminal import at_a_terminal

SCAN = ("scan", SAMPLES, "--model", "none", "--frames", "2")
COMMAND = ("-m", "deepscan", *SCAN)


def in_bash(rest, frames=2):
    command = f"{sys.executable} -m deepscan scan {SAMPLES} --model none --frames {frames} {rest}"
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)


def test_a_help_text_without_a_reader_ends_with_141():
    command = f"{sys.executable} -m deepscan scan --help | true; exit ${{PIPESTATUS[0]}}"
    assert subprocess.run(["bash", "-c", command], timeout=60, check=False).returncode == 141


def test_version_is_printed():
    ran = deepscan("--version")
    assert (ran.code, ran.out.strip()) == (0, f"deepscan {package.__version__}")


@pytest.mark.parametrize(
    "arguments",
    [[], ["--help"], ["scan", "--help"], ["train", "--help"], ["bench", "--help"], ["doctor", "-h"]],
)
def test_help_has_examples_and_loads_no_framework(arguments):
    ran = deepscan(*arguments)
    assert ran.code == 0
    assert "Usage" in ran.out
    assert "Exit codes" in ran.out
    code = (
        "import sys, deepscan.cli.app as a\n"
        f"try: a.main({arguments!r})\nexcept SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'onnxruntime', 'av', 'cv2')))"
    )
    assert run_python("-c", code).code == 0


@pytest.mark.parametrize("env", [{}, {"FORCE_COLOR": "1"}, {"NO_COLOR": "1"}], ids=str)
def test_a_pipe_gets_json_lines_and_no_markup_whatever_the_environment(env):
    ran = deepscan(*SCAN, **env)
    assert len(ran.records) == 5
    assert "\x1b" not in ran.out + ran.err


def test_a_terminal_gets_a_table_with_progress_and_the_counts():
    ran = at_a_terminal(*COMMAND)
    code, shown = ran.code, ran.screen
    assert code == 0
    for words in (
        "verdict",
        "two_persons.mp4",
        "4 faces in 2 frames",
        "scanning",
        "5 videos in",
        "1 no face",
    ):
        assert words in shown
    assert '{"schema"' not in shown


def test_a_bar_does_not_erase_the_output_of_a_reader():
    ran = at_a_terminal(*COMMAND, piped=True)
    assert ran.code == 0 and len(ran.out.splitlines()) == 5
    assert "5 videos in" in ran.screen
    assert "\x1b" not in ran.screen


def test_no_color_removes_colour_at_a_terminal():
    shown = at_a_terminal(*COMMAND, "--progress", "none", NO_COLOR="1").screen
    assert "two_persons.mp4" in shown
    assert "\x1b[3" not in shown


def test_a_narrow_terminal_shows_the_video():
    shown = at_a_terminal(*COMMAND, "--progress", "none", columns=50).screen
    assert "hopper.mp4" in shown


def test_progress_none_leaves_stderr_empty():
    assert deepscan(*SCAN, "--progress", "none").err == ""


def test_a_scan_ends_quietly_when_its_reader_ends():
    # Many frames, so that later videos are still being scanned when the reader ends.
    done = in_bash("| head -1; echo ${PIPESTATUS[0]}", frames=32)
    record, code = done.stdout.splitlines()
    assert record.startswith('{"schema"')
    assert code == "141"
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_full_stdout_is_an_error():
    done = in_bash("> /dev/full")
    assert done.returncode == 1
    assert "error: stdout cannot be written: No space left on device" in done.stderr


def test_an_ascii_locale_shows_escaped_names(tmp_path):
    name = tmp_path / "\u00fcn\u00ef.mp4"
    name.write_bytes((SAMPLES / "no_face.mp4").read_bytes())
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    scan = ("scan", os.fsencode(name), "--model", "none", "--frames", "2", "--out", tmp_path / "out.csv")
    ran = deepscan(*scan, **plain)
    assert ran.code == 0, ran.err
    again = deepscan(*scan, "--resume", **plain)
    assert "1 video already scanned, 0 to scan" in again.err


def test_an_unreadable_folder_is_reported(tmp_path):
    (tmp_path / "locked").mkdir(mode=0)
    ran = deepscan("scan", tmp_path, "--model", "none", prefix=without_privileges())
    assert ran.code == 3
    (record,) = ran.records
    assert (record["status"], os.path.basename(record["path"])) == ("error", "locked")


def test_options_after_a_double_dash_are_names(tmp_path):
    odd = tmp_path / "--debug"
    odd.write_bytes(b"")
    ran = deepscan("scan", "--model", "none", "--", "--debug", cwd=tmp_path)
    assert [os.path.basename(record["path"]) for record in ran.records] == ["--debug"]


def test_a_full_disk_is_reported(monkeypatch, capsys):
    import errno

    from deepscan.cli import app

    def full():
        raise OSError(errno.ENOSPC, "No space left on device", "runs/crops.u8")

    monkeypatch.setattr(app, "build", lambda: lambda *given, **named: full())
    with pytest.raises(SystemExit) as ended:
        app.main(["train"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: no space left on the disk for runs/crops.u8",
        "hint: free some space, then repeat the command",
    ]
