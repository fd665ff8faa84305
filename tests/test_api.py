"""The Python API of scans: the names that are exported, records one by one, and no process left behind."""

import asyncio
import gc
import inspect
import json
import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

import deepscan
from deepscan.cli.options import PrecisionName
from deepscan.devices import DEVICES, FACE_DEVICES
from deepscan.engines import ENGINES
from deepscan.errors import UsageError
from deepscan.faces.finder import FINDERS
from deepscan.media.decoders import DECODERS
from deepscan.scanning.options import ScanOptions
from tests import awkward, toy
from tests.command import SAMPLES, run_python
from tests.command import deepscan as command
from tests.media.conftest import children
from tests.test_floors import LAYERS

TIMES = ("run", "started", "seconds")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return toy.model(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture
def scan(model):
    """`deepscan.scan` at its quickest."""
    return lambda paths, **more: deepscan.scan(paths, **{"model": model, "frames": 2, **more})


def left_over(before, limit=5.0):
    """Return the processes that were started since and are still there after some seconds."""
    end = time.monotonic() + limit
    while (found := children() - before) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def without_times(record):
    return {key: value for key, value in record.items() if key not in TIMES}


def test_no_name_of_the_api_is_that_of_a_module():
    """A module that is imported later would take the place of the function."""
    assert set(deepscan.__all__) & set(LAYERS) == set()


def test_every_name_is_there_and_documented():
    for name in deepscan.__all__:
        value = getattr(deepscan, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__name__ == name
            assert value.__doc__, name
    assert set(deepscan.__all__) <= set(dir(deepscan))
    with pytest.raises(AttributeError, match="has no attribute 'scans'"):
        assert deepscan.scans


def test_the_names_that_a_type_checker_sees_are_those_that_are_exported():
    source = Path(deepscan.__file__).read_text(encoding="utf-8")
    visible = {}
    exec(source.replace("TYPE_CHECKING = False", "TYPE_CHECKING = True"), {"__name__": "deepscan"}, visible)
    assert {name for name in visible if name[0] != "_"} - {"TYPE_CHECKING"} < set(deepscan.__all__)
    for name in deepscan.__all__:
        assert visible[name] is getattr(deepscan, name)


@pytest.mark.parametrize(
    ("code", "without"),
    [
        ("import deepscan", {"torch", "onnxruntime", "numpy", "typing", "logging", "json", "dataclasses"}),
        ("import deepscan; deepscan.Record; deepscan.read_records", {"torch", "onnxruntime", "numpy", "cv2"}),
        ("import deepscan; deepscan.scan; deepscan.load_detector", {"torch", "onnxruntime"}),
    ],
)
def test_what_is_not_used_is_not_imported(code, without):
    ran = run_python("-c", f"{code}; import sys; print(*{without} & sys.modules.keys())")
    assert (ran.code, ran.out.strip()) == (0, ""), ran.err


def test_the_defaults_are_those_of_the_command():
    own = inspect.signature(deepscan.scan).parameters
    options = asdict(ScanOptions(model="auto"))
    assert set(options) - set(own) == {"also", "evidence", "quality"}
    shared = set(options) & set(own)
    assert {name: own[name].default for name in shared} == {name: options[name] for name in shared}


def test_the_choices_of_its_arguments_are_those_there_are():
    hints = get_type_hints(deepscan.scan)
    choices = {
        "faces": FINDERS.names,
        "faces_device": FACE_DEVICES,
        "decoder": ("auto", *DECODERS.names),
        "engine": ("auto", *ENGINES.names),
        "device": DEVICES,
        "precision": get_args(PrecisionName),
    }
    assert {name: set(get_args(hints[name])) for name in choices} == {
        name: set(names) for name, names in choices.items()
    }


def test_it_gives_the_records_of_the_command_twice_in_one_process(scan, model, tmp_path):
    out = tmp_path / "out.jsonl"
    assert command("scan", SAMPLES, "--model", model, "--frames", "2", "--out", out).code == 0
    expected = {record["path"]: without_times(record) for record in map(json.loads, out.open())}
    for _ in range(2):
        records = list(scan(SAMPLES))
        assert {record.path: without_times(record.to_json()) for record in records} == expected
        assert len({record.run for record in records}) == 1
    assert [record.to_line() for record in deepscan.read_records(out)] == out.read_text().splitlines()


def test_files_folders_and_path_objects_are_taken_in_any_mixture(scan, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"")
    other = tmp_path / "b.bin"
    other.write_bytes(b"no video")
    for given in (folder, str(folder)):
        assert [record.file for record in scan(given, model=None)] == [folder / "a.mp4"]
    records = {record.file.name: record.status for record in scan(iter([str(folder), other]), model=None)}
    assert records == {"a.mp4": "decode_error", "b.bin": "unsupported"}
    assert list(scan([])) == []


def test_several_models_judge_together_and_none_finds_faces_only(scan, model, tmp_path):
    other = toy.model(tmp_path / "other", bias=-9.0)
    (both,) = scan(SAMPLES / "real_hopper.mp4", model=[model, str(other)])
    assert [each.name for each in both.models] == ["other", "toy"]
    (none,) = scan(SAMPLES / "real_hopper.mp4", model=None)
    assert (none.status, none.model, none.verdict) == ("ok", None, None)
    assert none.faces and none.faces[0].score is None


@pytest.mark.parametrize(
    ("paths", "arguments", "complaint"),
    [
        (["missing.mp4"], {}, "missing.mp4"),
        ([], {"frames": 0}, "^frames must be above 0"),
        ([], {"faces": "slow"}, "slow"),
        ([], {"workers": 0}, "workers"),
        ([], {"model": []}, "no model"),
        ([], {"model": ["none", "convnet"]}, "none"),
    ],
)
def test_a_wrong_argument_is_an_error_of_the_call(paths, arguments, complaint):
    with pytest.raises(deepscan.UsageError, match=complaint):
        deepscan.scan(paths, **arguments)


def test_a_model_that_cannot_be_loaded_is_an_error_of_the_first_record():
    records = deepscan.scan(SAMPLES, model="convnett")
    with pytest.raises(deepscan.DeepscanError, match="convnett") as raised:
        next(records)
    assert "did you mean 'convnet'" in raised.value.hint


def test_nothing_starts_before_the_first_record_is_asked_for(scan):
    before = children()
    records = scan(SAMPLES)
    assert children() == before
    next(records)
    assert children() > before
    records.close()
    assert left_over(before) == set()


def test_an_iterator_that_is_exhausted_dropped_or_left_by_an_error_leaves_no_process(scan):
    before = children()
    list(scan(SAMPLES / "real_hopper.mp4"))
    assert left_over(before) == set()
    next(iter(scan(SAMPLES)))
    assert left_over(before) == set()
    with pytest.raises(ZeroDivisionError):
        for _ in scan(SAMPLES):
            raise ZeroDivisionError
    assert left_over(before) == set()
    # In a circle of references, which only the collector takes apart.
    circle = [scan(SAMPLES)]
    circle.append(circle)
    next(circle[0])
    del circle
    assert children() > before
    gc.collect()
    assert left_over(before) == set()


INTERRUPTED = """
import os, signal, sys
import deepscan
from tests.media.conftest import children
# Ignored where the tests run in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    for record in deepscan.scan(sys.argv[1], model=sys.argv[2], frames=2):
        print(*children(), flush=True)
        {then}
except KeyboardInterrupt:
    print("left:", *children(), flush=True)
"""


@pytest.mark.parametrize("then", ["os.kill(os.getpid(), signal.SIGINT)", "pass"])
def test_a_keyboard_interrupt_in_the_loop_or_in_the_scan_leaves_no_process(then, model, tmp_path):
    for number in range(40):
        awkward.distinct(SAMPLES / "two_persons.mp4", tmp_path / f"{number}.mp4", number)
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.format(then=then), tmp_path, model],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().split(), "no process was at work"
    if then == "pass":
        process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out.splitlines()[-1].strip() == "left:"


def test_it_works_where_an_event_loop_is_running(scan):
    """As in a notebook."""

    async def cell():
        return [record.status for record in scan(SAMPLES / "real_hopper.mp4")]

    assert asyncio.run(cell()) == ["ok"]


def test_a_thread_may_iterate_and_one_that_has_ended_is_named(scan):
    """Linux ends the processes with the thread that started them: a record would blame something else."""
    with ThreadPoolExecutor(1) as threads:
        assert len(threads.submit(lambda: list(scan(SAMPLES))).result()) == 5
    before, records = children(), scan(SAMPLES)
    with ThreadPoolExecutor(1) as threads:
        threads.submit(next, records).result()
    with pytest.raises(deepscan.UsageError, match="thread that started this scan has ended"):
        next(records)
    assert left_over(before) == set()


def test_a_script_needs_no_guard_of_its_main_module(model, tmp_path):
    """Where processes import the main module again, such a script starts itself without end."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, deepscan\nprint(len(list(deepscan.scan(sys.argv[1], model=sys.argv[2], frames=2))))\n"
    )
    ran = run_python(script, SAMPLES, model)
    assert (ran.code, ran.out, ran.err) == (0, "5\n", "")


def test_progress_is_shown_only_when_asked_for(scan, capsys):
    list(scan(SAMPLES / "real_hopper.mp4"))
    assert capsys.readouterr() == ("", "")
    records = scan([SAMPLES / "real_hopper.mp4", SAMPLES / "no_face.mp4"], progress=True)
    next(records)
    records.close()
    shown = capsys.readouterr()
    assert "scanning:  50%" in shown.err and "1/2" in shown.err and shown.out == ""
    calls = []
    list(scan(SAMPLES, progress=lambda done, total: calls.append((done, total))))
    assert calls == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def test_the_log_says_what_runs_and_why(scan, caplog, tmp_path):
    with caplog.at_level(logging.DEBUG, logger="deepscan"):
        list(scan(SAMPLES / "real_hopper.mp4", model="auto"))
    said = "\n".join(caplog.messages)
    for expected in (
        "using model ",
        "the built-in",
        "onnx on cpu in",
        "CPUExecutionProvider",
        "by pyav",
    ):
        assert expected in said, said


def test_records_of_a_file_are_read_one_by_one_and_a_torn_line_is_skipped(scan, tmp_path):
    lines = [record.to_line() for record in scan(SAMPLES, model=None)]
    journal = tmp_path / "out.jsonl"
    journal.write_text("\n".join(lines) + "\n" + lines[0][:100])
    records = deepscan.read_records(str(journal))
    assert next(records).to_line() == lines[0]
    assert len(list(records)) == 4
    with pytest.raises(UsageError, match="does not exist"):
        deepscan.read_records(tmp_path / "missing.jsonl")
    journal.write_text('{"a": 1}\n')
    with pytest.raises(deepscan.ContractError, match="line 1"):
        list(deepscan.read_records(journal))


@pytest.mark.parametrize(
    ("argument", "value", "complaint"),
    [
        ("frames", 8.5, "^frames must be a whole number, not 8.5"),
        ("frames", "8", "^frames must be a whole number, not '8'"),
        ("frames", True, "^frames must be a whole number, not True"),
        ("frames", None, "^frames must be a whole number, not None$"),
        ("min_frames", 1.5, "^min_frames must be a whole number"),
        ("workers", 1.5, "^workers must be a whole number"),
        ("progress", 3, "^progress must be True, False or a function"),
        ("model", 3, "^model must be a name, a path or a list of these, or None, not 3"),
        ("model", [3], "^model must be a name or a path, not 3"),
        ("model", b"convnet", "^model must be a name"),
        ("model", "", "^no model is named"),
        ("timeout", "a", "^timeout must be a number, not 'a'"),
        ("min_share", True, "^min_share must be a number"),
        ("explain", "no", "^explain must be True or False, not 'no'"),
        ("faces", 3, "^faces must be a string, not 3"),
        ("precision", 16, "^precision must be a string, not 16"),
        ("precision", "fp8", "^precision cannot be 'fp8'"),
        ("paths", 3, r"^paths must be a path \(str, bytes or pathlib.Path\) or several, not 3"),
        ("paths", None, "^paths must be a path .* not None$"),
        ("paths", {"a": 1}, "^paths must be a path"),
        ("paths", ["sample_videos", [3]], r"^paths\[1\] must be a path"),
        ("paths", BytesIO(), "^paths must be a path"),
    ],
)
def test_an_argument_of_a_wrong_type_is_named(argument, value, complaint):
    with pytest.raises(UsageError, match=complaint):
        deepscan.scan(**{"paths": [], argument: value})


def test_paths_come_as_str_bytes_or_path_objects_and_from_any_iterable(tmp_path):
    file = tmp_path / os.fsdecode(b"b\xe9.bin")
    file.write_bytes(b"no video")
    for given in (file, str(file), os.fsencode(file), (each for each in [file]), {os.fsencode(file)}):
        assert [record.file for record in deepscan.scan(given, model=None)] == [file]


@pytest.mark.parametrize("read", [deepscan.read_records, deepscan.read_run])
def test_a_file_to_read_is_named_by_a_path(read, tmp_path):
    with pytest.raises(UsageError, match=r"^path must be a path"):
        read(3)
    with pytest.raises(UsageError, match="does not exist"):
        read(os.fsencode(tmp_path / "a.jsonl"))


def test_numbers_of_numpy_are_taken():
    assert list(deepscan.scan([], model=None, frames=np.int64(8), timeout=np.float32(3))) == []


def test_objects_are_scanned_like_files(s3, scan):
    address = s3.put("v/a.mp4", (SAMPLES / "real_hopper.mp4").read_bytes())
    gone = s3.put("v/b.mp4", b"x")
    records = scan([s3.address("v/"), SAMPLES / "real_hopper.mp4"])
    s3.delete("v/b.mp4")
    found = {record.path: record for record in records}
    assert found[address].status == "ok"
    assert found[address].score == found[str(SAMPLES / "real_hopper.mp4")].score
    assert found[address].etag and found[address].mtime_ns is None
    assert (found[gone].status, found[gone].detail) == ("error", "the object does not exist")


def test_a_picture_in_a_store_is_searched_for_faces(s3):
    address = s3.put("a.mp4", (SAMPLES / "real_hopper.mp4").read_bytes())
    found, expected = map(deepscan.find_faces, (address, SAMPLES / "real_hopper.mp4"))
    assert [face.box for face in found] == [face.box for face in expected] != []
    with pytest.raises(UsageError, match="does not exist"):
        deepscan.find_faces(s3.address("none.jpg"))
