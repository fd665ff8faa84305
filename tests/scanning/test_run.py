"""Test whole runs on the sample videos: records, run.json, and resuming after a crash."""

import csv
import hashlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from deepscan.cli.scan_view import ScanView
from deepscan.engines.scorer import Scorer
from deepscan.errors import ContractError
from deepscan.scanning import runfile
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.run import RunSummary, run_scan
from tests import awkward, toy
from tests.command import SAMPLES, deepscan, journal, kill, run_python, start, wait_for

#: Keys that differ between runs in any case.
TIMES = ("started", "seconds", "run")


def same(one, other):
    """Return whether two records agree except for times, with scores within the contract's 1e-4."""
    one, other = (
        {key: value for key, value in record.items() if key not in TIMES} for record in (one, other)
    )
    if one["score"] is not None:
        assert one.pop("score") == pytest.approx(other.pop("score"), abs=1e-4)
        for key in ("tracks", "frames"):
            for left, right in zip(one.pop(key), other.pop(key), strict=True):
                assert {k: v for k, v in left.items() if k not in ("score", "raw")} == {
                    k: v for k, v in right.items() if k not in ("score", "raw")
                }
                assert left["score"] == pytest.approx(right["score"], abs=1e-4)
    return one == other


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for index in range(3):
        for sample in sorted(SAMPLES.glob("*.mp4")):
            awkward.distinct(sample, folder / f"{index}_{sample.name}", index)
    (folder / "broken.mp4").write_bytes(b"\0" * 100)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return toy.model(tmp_path_factory.mktemp("models") / "toy")


def command(videos, model, out, *more):
    return ("scan", videos, "--model", model, "--frames", "4", "--out", out, *more)


@pytest.fixture(scope="module")
def whole(videos, model, tmp_path_factory):
    """Return the records of an uninterrupted run."""
    out = tmp_path_factory.mktemp("whole") / "out.jsonl"
    ran = deepscan(*command(videos, model, out))
    assert ran.code == 3, ran.err
    return out


@pytest.fixture
def copied(whole, tmp_path):
    """Return the records of a copy of that run, which a test may resume."""
    for path in (whole, whole.with_name("out.run.json")):
        shutil.copy(path, tmp_path)
    return tmp_path / "out.jsonl"


@pytest.fixture(scope="module")
def records(whole):
    """Return the records of that run by file name."""
    return {path.rsplit("/", 1)[-1]: record for path, record in journal(whole).items()}


def test_a_record_has_all_the_facts(records):
    assert len(records) == 16
    hopper = records["0_real_hopper.mp4"]
    assert hopper["status"] == "ok"
    assert 0 <= hopper["score"] <= 1
    assert hopper["calibrated"] is True
    assert len(hopper["sha256"]) == 64
    assert hopper["bytes"] == Path(hopper["path"]).stat().st_size
    assert hopper["mtime_ns"] == Path(hopper["path"]).stat().st_mtime_ns
    assert [line["index"] for line in hopper["frames"]] == [0, 33, 66, 99]
    assert [line["pts"] for line in hopper["frames"]] == pytest.approx([0, 1.32, 2.64, 3.96])
    media = hopper["media"]
    assert (media["codec"], media["width"], media["height"], media["fps"]) == ("h264", 640, 480, "25/1")
    assert (media["frames_stated"], media["frames_decodable"], media["rotation"]) == (100, 100, 0)
    assert media["decoder"] in ("decord", "pyav")
    assert hopper["model"]["name"] == "toy"
    assert {"hash", "decode", "faces", "detector", "total"} <= set(hopper["seconds"])


def test_each_person_is_a_track_with_its_own_score(records):
    pair = records["0_two_persons.mp4"]
    assert [track["sightings"] for track in pair["tracks"]] == [4, 4]
    assert pair["score"] == max(track["score"] for track in pair["tracks"])
    for track in pair["tracks"]:
        own = [line["score"] for line in pair["frames"] if line["track"] == track["id"]]
        assert track["raw"] == pytest.approx(sum(own) / len(own), abs=2e-6), "rounded to six decimals"


def test_a_failure_has_neither_score_nor_verdict(records):
    for name in ("broken.mp4", "0_no_face.mp4"):
        assert (records[name]["score"], records[name]["verdict"]) == (None, None)
        assert records[name]["detail"]
    assert records["broken.mp4"]["status"] == "decode_error"
    assert records["0_no_face.mp4"]["status"] == "no_face"


def test_the_run_is_described_next_to_its_records(whole):
    run = json.loads(whole.with_name("out.run.json").read_text())
    assert {record["run"] for record in journal(whole).values()} == {run["id"]}
    assert run["parameters"]["frames"] == 4
    assert run["parameters"]["decoder"] == "auto", "defaults are recorded too"
    assert run["model"]["files"]["onnx"]
    assert set(run["faces"]["files"]) == {"pnet", "rnet", "onet"}
    assert run["engine"]["providers"] == ["CPUExecutionProvider"]
    (session,) = run["sessions"]
    assert {"numpy", "av"} <= set(session["libraries"])
    assert (session["videos"], session["kept"], session["exit_code"]) == (16, 0, 3)
    assert session["started"] < session["ended"]


def test_kill_9_half_way_and_resume_equals_an_uninterrupted_run(videos, model, whole, tmp_path):
    out = tmp_path / "out.jsonl"
    done = kill(start(*command(videos, model, out, "--progress", "none")), out, 5)
    ran = deepscan(*command(videos, model, out, "--resume"))
    assert ran.code == 3, ran.err
    assert f"{done} videos already scanned" in ran.err
    resumed, uninterrupted = journal(out), journal(whole)
    assert resumed.keys() == uninterrupted.keys()
    assert all(same(resumed[path], uninterrupted[path]) for path in resumed)
    sessions = json.loads(out.with_name("out.run.json").read_text())["sessions"]
    assert [session["kept"] for session in sessions] == [0, done]
    assert [session["inputs_checked"] for session in sessions] == [None, "mtime"]
    assert sessions[0]["exit_code"] is None, "a killed session never recorded how it ended"


def test_retry_scans_failed_videos_again_and_nothing_else(videos, model, copied):
    before = journal(copied)
    ran = deepscan(*command(videos, model, copied, "--resume", "--retry", "decode_error"))
    assert "15 videos already scanned" in ran.err
    after = journal(copied)
    scanned_again = {path for path in after if after[path]["started"] != before[path]["started"]}
    assert [path.rsplit("/", 1)[-1] for path in scanned_again] == ["broken.mp4"]


def test_csv_is_made_from_the_journal_next_to_it(model, tmp_path):
    out = tmp_path / "table.csv"
    assert deepscan("scan", SAMPLES, "--model", model, "--frames", "2", "--out", out).code == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    records = journal(tmp_path / "table.jsonl")
    assert {row["path"]: row["sha256"] for row in rows} == {path: r["sha256"] for path, r in records.items()}


def test_running_out_of_memory_is_reported_once_and_fails_no_video(model, tmp_path, monkeypatch, capfd):
    # The two faces of one frame always go together; the number of frames depends on the decoder's pace.
    def cramped(self, crops):
        if len(crops) > 1:
            raise MemoryError("no room")
        return score(self, crops)

    score = Scorer.score
    monkeypatch.setattr(Scorer, "score", cramped)
    out, samples = tmp_path / "out.jsonl", sorted(SAMPLES.glob("*.mp4"))
    with ScanView("plain", out) as view:
        options = ScanOptions(model=str(model), frames=8)
        run_scan([os.fsencode(path) for path in samples], options, ScanOutput(out), listener=view, workers=1)
    captured = capfd.readouterr()
    assert captured.err.count("memory ran out") == 1
    assert "warning: the detector toy" in captured.err and captured.out == ""
    records = journal(out).values()
    assert {record["status"] for record in records} == {"ok", "no_face"}
    assert sum(len(record["frames"]) for record in records) > 8


def test_what_differs_from_the_resumed_run_is_named():
    run = {"parameters": {"frames": 8, "timeout": 1}, "model": {"name": "a"}, "tool": {"version": "1"}}
    runfile.require_compatible(run, {**run, "parameters": {"frames": 8, "timeout": 99}})
    with pytest.raises(ContractError, match="--frames was 8, is 32"):
        runfile.require_compatible(run, {**run, "parameters": {"frames": 32, "timeout": 1}})
    run["faces"], asked = {"device": "cpu"}, {"parameters": {**run["parameters"], "faces_device": "cpu"}}
    runfile.require_compatible(run, {**run, **asked})
    with pytest.raises(ContractError, match=r"faces.device was 'cpu', is 'cuda'"):
        runfile.require_compatible(run, {**run, "faces": {"device": "cuda"}})
    run["face_filter"] = {"least": 0.4}
    with pytest.raises(ContractError, match=r"face_filter.least was 0.4, is 0.5"):
        runfile.require_compatible(run, {**run, "face_filter": {"least": 0.5}})
    with pytest.raises(ContractError, match=r"model.name was 'a', is None"):
        runfile.require_compatible(run, {**run, "model": None})


def test_findings_take_precedence_over_failures_in_the_exit_code():
    summary = RunSummary()
    summary.count("ok", "fake")
    assert summary.exit_code() == 0
    summary.count("timeout", None)
    assert summary.exit_code() == 3
    assert summary.exit_code(["fake"]) == 10


def test_outputs_of_two_scans_into_one_folder_do_not_share_a_run_file(tmp_path):
    one, other = ScanOutput(tmp_path / "a.jsonl"), ScanOutput(tmp_path / "b.csv")
    assert not one.files & other.files


def test_requested_values_may_differ_if_the_result_is_the_same(videos, model, copied):
    ran = deepscan(*command(videos, f"{model}/", copied, "--resume", "--engine", "onnx", "--timeout", "60"))
    assert ran.code == 3, ran.err
    assert "16 videos already scanned, 0 to scan" in ran.err


def test_a_second_run_leaves_a_running_one_alone(videos, model, tmp_path):
    out = tmp_path / "out.jsonl"
    process = start(*command(videos, model, out, "--progress", "none"))
    wait_for(process, tmp_path / "out.run.json", 0)
    # Stopped, so that it does not end before the other one starts, however busy the machine is.
    process.send_signal(signal.SIGSTOP)
    described = (tmp_path / "out.run.json").read_bytes()
    second = deepscan(*command(videos, model, out, "--overwrite"))
    assert second.code == 4
    assert (tmp_path / "out.run.json").read_bytes() == described
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)


def test_records_of_another_run_are_not_resumed(videos, model, copied):
    copied.write_text(copied.read_text().replace('"run":"', '"run":"x'))
    ran = deepscan(*command(videos, model, copied, "--resume"))
    assert "which is not the run of" in ran.refused(4)[0]


def test_an_input_is_never_overwritten(tmp_path):
    video = tmp_path / "clip.jsonl"
    video.write_bytes((SAMPLES / "no_face.mp4").read_bytes())
    ran = deepscan("scan", video, "--model", "none", "--out", video, "--overwrite")
    assert ran.code == 2
    assert video.read_bytes() == (SAMPLES / "no_face.mp4").read_bytes()


def test_a_scan_imports_no_torch_and_opens_no_connection(model):
    arguments = ["scan", str(SAMPLES / "real_hopper.mp4"), "--model", str(model), "--frames", "2"]
    code = (
        "import sys\n"
        "def watch(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.sendto'):\n"
        "        raise SystemExit(f'{event} {arguments}')\n"
        "sys.addaudithook(watch)\n"
        "from deepscan.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit as ended: assert ended.code == 0, ended.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    ran = run_python("-c", code)
    assert ran.code == 0, ran.err
    assert [record["status"] for record in ran.records] == ["ok"]


def run_of(out):
    return json.loads(out.with_suffix(".run.json").read_text())


def sealed(out):
    """Return whether the run's file has the hash and size of the records."""
    content = out.read_bytes()
    return run_of(out)["records"] == {
        "count": content.count(b"\n"),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "table": None,
    }


def test_a_run_that_ended_records_the_hash_of_its_records(videos, model, whole, copied):
    assert sealed(whole)
    assert deepscan(*command(videos, model, copied, "--resume", "--retry", "decode_error")).code == 3
    assert copied.read_bytes() != whole.read_bytes()
    assert sealed(copied)


def test_an_interrupted_run_records_no_hash(videos, model, whole, copied, tmp_path):
    out = tmp_path / "killed.jsonl"
    kill(start(*command(videos, model, out, "--progress", "none")), out, 1)
    assert run_of(out)["records"] is None
    # A resumed run that is killed has none either, although the session before had recorded one.
    retry = [part for status in ("ok", "no_face") for part in ("--retry", status)]
    process = start(*command(videos, model, copied, "--resume", *retry, "--progress", "none"))
    while len(run_of(copied)["sessions"]) == 1:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=30)
    assert run_of(copied)["records"] is None


def test_records_that_were_changed_after_the_run_are_not_resumed(videos, model, copied):
    copied.write_text(copied.read_text().replace('"verdict":"inconclusive"', '"verdict":"no_evidence"', 1))
    error, hint = deepscan(*command(videos, model, copied, "--resume")).refused(4)
    assert "changed after its run ended" in error
    assert "deepscan verify" in hint


def test_case_exhibit_and_examiner_are_kept_with_the_run(videos, model, whole, tmp_path):
    out = tmp_path / "out.jsonl"
    custody = ("--case", "2026-17", "--exhibit", "Müller <3>")
    assert deepscan(*command(videos, model, out, *custody)).code == 3
    entries = {"case": "2026-17", "exhibit": "Müller <3>", "examiner": None}
    assert run_of(out)["custody"] == entries
    plain, named = journal(whole), journal(out)
    assert all(same(plain[path], named[path]) for path in plain), "no score depends on them"
    for more in ((), custody):
        assert deepscan(*command(videos, model, out, "--resume", *more)).code == 3
        assert run_of(out)["custody"] == entries
    before = run_of(out)
    for more, message in (
        (("--case", "2026-18"), "--case was 2026-17, is 2026-18"),
        (("--examiner", "J. Doe"), "--examiner was not given, is J. Doe"),
    ):
        assert message in deepscan(*command(videos, model, out, "--resume", *more)).refused(4)[0]
    assert run_of(out) == before
    page = tmp_path / "out.html"
    assert deepscan("report", out).code == 0
    assert "Case <b>2026-17</b>, Exhibit <b>Müller &lt;3&gt;</b>" in page.read_text()
    assert run_of(out)["records"]["sha256"] in page.read_text()


@pytest.mark.parametrize("text", ["", " ", "two\nlines", b"\xff"])
def test_a_case_is_one_line_of_text(model, tmp_path, text):
    out = tmp_path / "out.jsonl"
    ran = deepscan("scan", SAMPLES / "no_face.mp4", "--model", model, "--out", out, "--case", text)
    assert "--case must be one line of text" in ran.refused(2)[0]
    assert not out.exists()


def test_a_case_needs_an_output_file(model):
    ran = deepscan("scan", SAMPLES / "no_face.mp4", "--model", model, "--examiner", "J. Doe")
    assert "need --out" in ran.refused(2)[0]
