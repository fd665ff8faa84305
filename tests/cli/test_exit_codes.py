"""One test for each exit code, and the format of every error."""

import json
import os
import signal

import pytest

from deepscan.cards import Golden, sha256_of
from deepscan.errors import ExitCode
from tests import awkward, toy
from tests.command import SAMPLES, deepscan, journal, run_python, start, wait_for

HOPPER = SAMPLES / "real_hopper.mp4"
QUICK = ("--frames", "2", "--faces", "fast")


def test_0_every_input_has_an_outcome(tmp_path):
    short = awkward.video(tmp_path / "short.mp4", count=3)
    ran = deepscan(
        "scan", HOPPER, SAMPLES / "no_face.mp4", short, "--model", "none", "--min-frames", "5", *QUICK
    )
    assert ran.code == ExitCode.OK
    assert sorted(record["status"] for record in ran.records) == ["no_face", "ok", "too_short"]
    assert ran.error_lines == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["scan", "nowhere.mp4"],
        ["scan"],
        ["scan", HOPPER, "--framse", "8"],
        ["scan", HOPPER, "--frames", "0"],
        ["scan", HOPPER, "--decoder", "vlc"],
        ["scan", HOPPER, "--engine", "caffe"],
        ["scan", HOPPER, "--model", "resnet"],
        ["scan", HOPPER, "--out", "table.xlsx"],
        ["scan", HOPPER, "--resume"],
        ["scan", HOPPER, "--overwrite"],
        ["scan", HOPPER, "--retry", "timeout"],
        ["scan", HOPPER, "--null"],
        ["scan", HOPPER, "--model", "mtcnn"],
        ["scan", HOPPER, "--model", "none", "--engine", "onnx"],
        ["scan", HOPPER, "--model", "none", "--fail-on", "fake"],
        ["scan", HOPPER, "--model", "none", "--out", "nowhere/out.jsonl"],
        ["scan", "--from-list", "nowhere.txt"],
        ["sacn"],
    ],
    ids=lambda arguments: " ".join(os.path.basename(str(a)) for a in arguments),
)
def test_2_wrong_usage_has_a_hint(arguments, tmp_path):
    deepscan(*arguments, cwd=tmp_path).refused(ExitCode.USAGE)


def test_2_an_output_without_a_suffix_is_taken_for_a_folder(tmp_path):
    lines = deepscan("scan", HOPPER, "--out", ".", cwd=tmp_path).refused(ExitCode.USAGE)
    assert list(lines) == [
        "error: --out . must end in .jsonl or .csv",
        "hint: name a file, or end the name of a run folder in /",
    ]


def test_2_an_existing_output_is_not_overwritten(tmp_path):
    out = tmp_path / "out.jsonl"
    out.write_text("precious\n")
    lines = deepscan("scan", HOPPER, "--model", "none", "--out", out).refused(ExitCode.USAGE)
    assert "--resume" in lines[1]
    assert out.read_text() == "precious\n"


def test_3_some_inputs_failed(tmp_path):
    empty = awkward.empty(tmp_path / "empty.mp4")
    ran = deepscan("scan", HOPPER, empty, "--model", "none", *QUICK)
    assert ran.code == ExitCode.SOME_FAILED
    assert {record["status"] for record in ran.records} == {"ok", "decode_error"}


def test_4_weights_do_not_match_the_card(tmp_path):
    folder = toy.model(tmp_path / "toy")
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"\0")
    lines = deepscan("scan", HOPPER, "--model", folder, *QUICK).refused(ExitCode.CONTRACT)
    assert "SHA-256" in lines[0]


def test_4_a_golden_score_does_not_match(tmp_path):
    folder = toy.model(tmp_path / "toy", golden=Golden(0.999))
    lines = deepscan("scan", HOPPER, "--model", folder, *QUICK).refused(ExitCode.CONTRACT)
    assert "golden" in lines[0]


def test_4_a_resumed_run_with_other_parameters(tmp_path):
    out = tmp_path / "out.jsonl"
    assert deepscan("scan", HOPPER, "--model", "none", "--out", out, "--frames", "2").code == ExitCode.OK
    before = out.read_bytes()
    ran = deepscan("scan", HOPPER, "--model", "none", "--out", out, "--frames", "3", "--resume")
    assert "frames" in ran.refused(ExitCode.CONTRACT)[0]
    assert out.read_bytes() == before


@pytest.mark.parametrize("option", ["--device", "--faces-device"])
def test_5_a_missing_device(option):
    ran = deepscan("scan", HOPPER, option, "cuda", CUDA_VISIBLE_DEVICES="")
    lines = ran.refused(ExitCode.MISSING)
    assert f"{option} cuda" in lines[0] and f"{option} cpu" in lines[1]


def test_10_only_with_fail_on(tmp_path):
    fake = toy.model(tmp_path / "fake", bias=9.0)
    assert deepscan("scan", HOPPER, "--model", fake, *QUICK).code == ExitCode.OK
    empty = awkward.empty(tmp_path / "empty.mp4")
    ran = deepscan("scan", HOPPER, empty, "--model", fake, "--fail-on", "fake", *QUICK)
    assert ran.code == ExitCode.FOUND_FAKE, "it wins over an input that failed"
    real = toy.model(tmp_path / "real", bias=-9.0)
    assert deepscan("scan", HOPPER, "--model", real, "--fail-on", "fake", *QUICK).code == ExitCode.OK


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_130_and_143_keep_records_and_run_file(tmp_path, number, code):
    for index in range(40):
        awkward.distinct(HOPPER, tmp_path / f"{index:02}.mp4", index)
    out = tmp_path / "out.jsonl"
    process = start("scan", tmp_path, "--model", "none", "--out", out, "--progress", "none", "--frames", "8")
    wait_for(process, out, 2)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err.decode()
    assert b"--resume" in err
    assert 2 <= len(journal(out)) < 40
    session = json.loads((tmp_path / "out.run.json").read_text())["sessions"][-1]
    assert session["exit_code"] == code
    assert session["ended"] is not None


def test_0_a_scan_under_nohup_survives_its_terminal(tmp_path):
    for index in range(10):
        awkward.distinct(HOPPER, tmp_path / f"{index:02}.mp4", index)
    out = tmp_path / "out.jsonl"
    process = start("scan", tmp_path, "--model", "none", "--out", out, "--frames", "4", prefix=["nohup"])
    wait_for(process, out)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(journal(out)) == 10


def test_1_a_bug_has_one_line_and_a_traceback_only_with_debug():
    broken = (
        "import deepscan.scanning.paths as i, deepscan.cli as c\ni.collect = lambda *a, **k: {}['oops']\n"
    )
    for debug in ("", "'--debug', "):
        code = f"{broken}c.main(['scan', {debug}'.'])"
        ran = run_python("-c", code)
        assert ran.code == ExitCode.INTERNAL
        assert ("Traceback" in ran.err) == bool(debug)
        assert "error: KeyError" in ran.err
        assert "hint: this is a bug in deepscan" in ran.err


def test_4_a_model_does_not_accept_the_crops_of_its_card(tmp_path):
    folder = toy.model(tmp_path / "toy", side=64)
    card = (folder / "card.yaml").read_text()
    (folder / "card.yaml").write_text(card.replace("side: 64", "side: 32"))
    deepscan("scan", HOPPER, "--model", folder, *QUICK).refused(ExitCode.CONTRACT)


def test_4_weights_with_the_right_hash_cannot_be_loaded(tmp_path):
    folder = toy.model(tmp_path / "toy")
    old = sha256_of(folder / "model.onnx")
    (folder / "model.onnx").write_bytes(b"no onnx")
    card = (folder / "card.yaml").read_text()
    (folder / "card.yaml").write_text(card.replace(old, sha256_of(folder / "model.onnx")))
    deepscan("scan", HOPPER, "--model", folder, *QUICK).refused(ExitCode.CONTRACT)
