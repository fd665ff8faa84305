"""Test what `verify` finds in videos, records and models, and in a run that has not ended."""

import json
import os
import shutil

import pytest

from deepscan.cli.verify import report_lines
from deepscan.errors import ContractError
from deepscan.scanning import runfile
from deepscan.scanning.aggregation import verdict
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.recomputation import JudgingRules, differences
from deepscan.scanning.run import run_scan
from deepscan.scanning.verification import verify_run
from tests import toy
from tests.command import SAMPLES, deepscan

ODD = os.fsdecode(b"line\nbreak \xff.mp4")


def scan(folder, *models, out="out.jsonl"):
    """Scan the videos of a folder, with the records in the same folder."""
    first, *also = map(str, models)
    options = ScanOptions(model=first, also=tuple(also), frames=4)
    paths = [os.fsencode(path) for path in sorted((folder / "videos").iterdir())]
    run_scan(paths, options, ScanOutput(folder / out), command=["scan", "--out", out], workers=1)
    return folder / out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return videos, one with an odd name and one broken, with a toy model and a scan's records."""
    folder = tmp_path_factory.mktemp("scan")
    (folder / "videos").mkdir()
    for name in ("swapped", "two_persons", "no_face"):
        shutil.copy(SAMPLES / f"{name}.mp4", folder / "videos")
    shutil.copy(SAMPLES / "real_hopper.mp4", folder / "videos" / ODD)
    (folder / "videos" / "broken.mp4").write_bytes(b"\0" * 100)
    toy.model(folder / "toy", 0.2)
    scan(folder, folder / "toy", out="out.csv")
    return folder


@pytest.fixture
def out(folder, tmp_path):
    """Return a copy of those records in another folder."""
    for name in ("out.jsonl", "out.csv", "out.run.json"):
        shutil.copy(folder / name, tmp_path)
    return tmp_path / "out.jsonl"


def kinds(result):
    return [(finding.kind, finding.what) for finding in result.findings]


def edit(out, change, name="swapped.mp4", *, seal=False):
    """Edit the record of a video; with `seal` the run's file is updated to match."""
    records = [json.loads(line) for line in out.read_text().splitlines()]
    change(next(record for record in records if record["path"].endswith(name)), records)
    out.write_text("".join(json.dumps(record) + "\n" for record in records))
    if seal:
        file = out.with_suffix(".run.json")
        run = runfile.read(file)
        runfile.seal(run, out, len(records))  # without a table
        runfile.write(run, file)
        out.with_suffix(".csv").unlink()


def test_an_unchanged_scan_matches(out):
    result = verify_run(out)
    assert result.findings == []
    assert result.exit_code == 0
    assert result.checked["videos"] == (5, 5), "a broken video has a hash too"
    assert result.checked["scores, verdicts"] == (5, 5)
    assert result.checked["table"] == (1, 1)
    # The toy, and the networks that find, filter and compare faces.
    assert result.checked["models"] == (4, 4)


@pytest.mark.parametrize(
    ("calibrated", "count"),
    [([True, True], 2), ([True, False, True], 3), ([False, False], 2), ([False], 1)],
    ids=["fused", "one without a vote", "none calibrated", "raw"],
)
def test_several_models_and_models_without_calibration_match(folder, tmp_path, calibrated, count):
    models = [
        toy.model(tmp_path / f"m{at}", bias, calibration=toy.CALIBRATION if known else None)
        for at, (bias, known) in enumerate(zip((-3.0, 0.5, 3.0), calibrated, strict=False))
    ]
    (tmp_path / "videos").symlink_to(folder / "videos")
    out = scan(tmp_path, *models)
    result = verify_run(out)
    assert result.findings == []
    assert result.checked["models"] == (count + 3, count + 3)
    if count > 1:
        edit(out, lambda record, _: record["models"][1].update(score=0.123), seal=False)
        assert ("mismatch", "score by model m1") in kinds(verify_run(out))
        edit(out, lambda record, _: record["frames"][0]["scores"].update(m0=0.9))
        found = kinds(verify_run(out))
        assert ("mismatch", "score of the face in line 0 of frames") in found
        assert ("mismatch", "score of person 1 by model m0") in found


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda r, _: r.update(verdict="no_evidence"), "verdict"),
        (lambda r, _: r.update(score=round(r["score"] - 3e-6, 6)), "score"),
        (lambda r, _: r.update(calibrated=False), "calibrated"),
        (lambda r, _: r["tracks"][0].update(counted=False), "counted of person 1"),
        (lambda r, _: r["tracks"][0].update(raw=0.5), "raw score of person 1"),
        (lambda r, _: r["frames"][1].update(score=0.25), "score"),
        (lambda r, _: r["frames"].pop(), "score"),
        (lambda r, _: r["frames"][0]["quality"].update(sharpness=1.0), "used of person 1"),
        (lambda r, _: r.update(status="decode_error", verdict=None, score=None), "verdict"),
        (lambda r, _: r.update(run="another"), "the run"),
        (lambda r, _: r["model"].update(sha256="00"), "model toy"),
        (lambda r, _: r.pop("frames"), "the record"),
        (lambda r, _: r["frames"][0].update(score="high"), "the record"),
        (lambda r, all_: all_.append(r), "records of this video"),
    ],
)
def test_a_change_in_a_record_is_found_even_if_the_hash_was_updated(out, change, what):
    edit(out, change, seal=True)
    result = verify_run(out)
    assert ("mismatch", what) in kinds(result)
    assert {finding.subject.rsplit("/", 1)[-1] for finding in result.findings} == {"swapped.mp4"}
    assert result.exit_code == 4


@pytest.mark.parametrize(
    "change", [lambda r, all_: all_.remove(r), lambda r, _: r["seconds"].update(total=9)]
)
def test_the_hash_reveals_changes_on_which_no_score_depends(out, change):
    edit(out, change)
    result = verify_run(out)
    assert kinds(result)[0] == ("mismatch", "SHA-256 of the records file")
    assert result.exit_code == 4


def test_persons_who_do_not_count_are_left_out_in_the_recomputation(out):
    rules = JudgingRules.of_run(runfile.read(out.with_suffix(".run.json")))
    records = [json.loads(line) for line in out.read_text().splitlines()]
    pair = next(record for record in records if record["path"].endswith("two_persons.mp4"))
    worst = max(pair["tracks"], key=lambda track: track["score"])
    (other,) = (track for track in pair["tracks"] if track is not worst)
    # As if the worst person had been still: then the other one's score is the video's.
    worst.update(still=True, counted=False, reason="still")
    found = {difference.place: difference.computed for difference in differences(pair, rules)}
    assert found["score"] == pytest.approx(other["score"], abs=2e-6)
    pair.update(score=other["score"], verdict=verdict(other["score"], rules.calibrations["toy"]))
    assert differences(pair, rules) == []
    # As if neither were a face: there is no score, and the status says so.
    worst.update(still=False, reason="no_face")
    other.update(counted=False, reason="no_face")
    pair.update(status="no_face", score=None, verdict=None, calibrated=False)
    assert differences(pair, rules) == []


def test_a_missing_record_is_noticed(out):
    edit(out, lambda record, records: records.remove(record))
    assert "had 5 records and has 4" in verify_run(out).findings[0].meaning


def test_a_changed_table_is_found(out):
    table = out.with_suffix(".csv")
    table.write_bytes(table.read_bytes().replace(b"fake", b"no_evidence").replace(b"inconclusive", b"fake"))
    assert [kind for kind, _ in kinds(verify_run(out))] == ["mismatch"]
    file = out.with_suffix(".run.json")
    run = runfile.read(file)
    run["records"]["table"] = None
    runfile.write(run, file)
    assert kinds(verify_run(out)) == [], "a table that the scan did not make is ignored"


def test_a_removed_table_is_missing_and_one_renamed_with_its_run_is_checked(out, tmp_path):
    for suffix in (".jsonl", ".csv", ".run.json"):
        shutil.copy(out.with_suffix(suffix), tmp_path / f"new{suffix}")
    assert verify_run(tmp_path / "new.jsonl").checked["table"] == (1, 1)
    out.with_suffix(".csv").unlink()
    result = verify_run(out)
    assert (kinds(result), result.exit_code) == ([("missing", "the table made by the scan")], 3)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"frames": 4', '"frames": 5'), ('"exhibit": null', '"exhibit": "E4"'), ("2026-", "2025-")],
)
def test_a_change_in_the_runs_file_that_nothing_else_reveals_is_found(out, old, new):
    file = out.with_suffix(".run.json")
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    result = verify_run(out)
    assert (kinds(result), result.exit_code) == ([("mismatch", "SHA-256 of its content")], 4)
    with pytest.raises(ContractError, match="was edited"):
        runfile.require_unchanged(runfile.read(file), out)


def test_the_runs_file_may_be_formatted_differently(out):
    file = out.with_suffix(".run.json")
    file.write_text(json.dumps(json.loads(file.read_text()), sort_keys=True))
    assert verify_run(out).findings == []


def test_another_model_of_the_same_name_and_other_thresholds_are_found(folder, out, tmp_path):
    other = toy.model(tmp_path / "toy", 3.0)
    result = verify_run(out, models=[other])
    assert kinds(result) == [("mismatch", str(other / "model.onnx"))]
    card = folder / "toy" / "card.yaml"
    text = card.read_text()
    card.write_text(text.replace("fake: 0.7", "fake: 0.9"))
    result = verify_run(out)
    card.write_text(text)
    assert [finding.kind for finding in result.findings] == ["mismatch"]
    assert "fake from 0.7" in result.findings[0].recorded and "fake from 0.9" in result.findings[0].found


def test_error_rates_that_differ_from_the_card_are_unchecked(out):
    file = out.with_suffix(".run.json")
    run = runfile.read(file)
    counts = dict.fromkeys(("reals_called_fake", "fakes_called_fake", "fakes_no_evidence"), 0)
    run["model"]["error_rates"] = [{"data": "d", "level": "video", "reals": 9, "fakes": 9, **counts}]
    runfile.write(run, file)
    (finding,) = verify_run(out).findings
    assert (finding.kind, finding.found) == ("unchecked", "none")
    assert finding.recorded.startswith("0 of 9 real videos")


@pytest.mark.parametrize(("network", "limit"), [("face_filter", "least"), ("looks", "alike")])
def test_another_limit_of_the_helper_networks_is_found(out, network, limit):
    file = out.with_suffix(".run.json")
    run = runfile.read(file)
    run[network][limit] += 0.1
    runfile.write(run, file)
    (finding,) = verify_run(out).findings
    assert (finding.kind, finding.what.split()[0]) == ("mismatch", limit)
    assert float(finding.recorded) == pytest.approx(float(finding.found) + 0.1)


def test_a_moved_model_is_missing_until_its_folder_is_named(folder, out, tmp_path):
    (folder / "toy").rename(tmp_path / "elsewhere")
    result, again = verify_run(out), verify_run(out, models=[tmp_path / "elsewhere"])
    (tmp_path / "elsewhere").rename(folder / "toy")
    assert (kinds(result), result.exit_code) == ([("missing", "its folder")], 3)
    assert again.findings == []


def test_videos_that_moved_are_missing_until_their_folder_is_named(folder, out, tmp_path):
    shutil.copytree(folder / "videos", tmp_path / "copy" / "videos")
    (folder / "videos").rename(folder / "hidden")
    results = [verify_run(out, root=root) for root in (None, tmp_path / "copy", tmp_path / "copy/videos")]
    (folder / "hidden").rename(folder / "videos")
    assert [finding.kind for finding in results[0].findings] == ["missing"] * 5
    assert results[0].exit_code == 3, "a missing video is not a changed one"
    assert [result.findings for result in results[1:]] == [[], []]


def test_a_changed_byte_in_a_video_is_found_whatever_its_name(out, folder, tmp_path):
    shutil.copytree(folder / "videos", tmp_path / "copy")
    for name in ("swapped.mp4", ODD):
        video = tmp_path / "copy" / name
        content = bytearray(video.read_bytes())
        content[len(content) // 2] ^= 1
        video.write_bytes(content)
    (tmp_path / "copy" / "no_face.mp4").unlink()
    os.mkfifo(tmp_path / "copy" / "no_face.mp4")
    result = verify_run(out, root=tmp_path / "copy")
    assert sorted(finding.kind for finding in result.findings) == ["mismatch", "mismatch", "missing"]
    assert result.checked["videos"] == (2, 5)
    assert result.exit_code == 4
    lines = list(report_lines(out, result))
    assert any("line\\nbreak" in line for line in lines)
    assert all(line.isprintable() for line in lines)
    long = [line for line in lines if len(line) > 80 and "/" not in line]
    assert long == [], "only paths may be wider than a terminal"


def test_an_interrupted_run_is_not_finished(out):
    file = out.with_suffix(".run.json")
    run = runfile.read(file)
    run["records"] = None
    runfile.write(run, file)
    result = verify_run(out)
    assert kinds(result) == [("unchecked", "hash of the records: not recorded")]
    run["sessions"][-1] |= {"ended": None, "exit_code": None}
    runfile.write(run, file)
    out.write_bytes(out.read_bytes() + b'{"schema":1,"path":"torn')
    result = verify_run(out)
    assert (kinds(result), result.exit_code) == ([("unchecked", "not finished")], 3)
    assert result.checked["scores, verdicts"] == (5, 5), "existing records are checked"
    assert "--  records file      not finished" in list(report_lines(out, result))
    file.unlink()
    result = verify_run(out)
    assert (kinds(result), result.exit_code) == ([("missing", "the run's file")], 3)
    assert result.checked["videos"] == (5, 5)


@pytest.mark.parametrize(
    "text",
    [
        *("[]", "{}", '"x"', "null", '{"id": "x", "tool": 3}', '{"id": "x", "records": "x"}'),
        *('{"id": "x", "records": {"count": 3}}', '{"id": "x", "sessions": [{"ended": 3}]}'),
    ],
)
def test_a_file_that_does_not_describe_a_run_is_refused(out, text):
    out.with_suffix(".run.json").write_text(text)
    with pytest.raises(ContractError, match=r"out.run.json was not written by this version"):
        verify_run(out)


def test_a_runs_file_that_was_changed_too_much_is_refused(out):
    file = out.with_suffix(".run.json")
    run = runfile.read(file)
    del run["model"]["files"], run["parameters"]["quality"]
    runfile.write(run, file)
    with pytest.raises(ContractError, match=r"out.run.json was not written by this version"):
        verify_run(out)


def test_progress_is_reported_in_bytes(out):
    calls = []
    verify_run(out, on_progress=lambda *call: calls.append(call))
    total = sum(json.loads(line)["bytes"] for line in out.read_text().splitlines())
    assert calls[-1] == ("videos", total, total)
    assert ("records", out.stat().st_size, out.stat().st_size) in calls


def test_the_command_reports_line_by_line(out):
    ran = deepscan("verify", out)
    assert ran.code == 0, ran.err
    assert "out.jsonl: everything matches" in ran.out
    assert "cannot find a forger" in ran.out
    out.write_text(out.read_text().replace('"verdict":"fake"', '"verdict":"no_evidence"', 1))
    out.write_text(out.read_text().replace('"verdict":"inconclusive"', '"verdict":"no_evidence"', 1))
    ran = deepscan("verify", out)
    assert ran.code == 4
    assert "    recorded no_evidence\n    found    " in ran.out
    assert "out.jsonl" in deepscan("verify", out.with_suffix(".csv")).refused(2)[1]
