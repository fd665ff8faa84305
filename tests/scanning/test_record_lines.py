"""The record keeps its contract whatever goes in."""

import json
import math

import pytest

from deepscan.scanning.record_lines import RecordLine, dump_line, recorded_path

# fmt: off
KEYS = [
    "schema", "path", "sha256", "bytes", "mtime_ns", "status", "detail", "warnings", "verdict", "score",
    "calibrated", "tracks", "frames", "shots", "media", "model", "run", "started", "seconds",
]
# fmt: on


def record(**changes):
    return RecordLine(**{"path": b"a.mp4", "status": "ok", "detail": "", "run": "r", **changes})


def test_a_record_has_the_keys_of_the_contract_in_their_order():
    assert list(record().to_json()) == KEYS


def test_of_several_models_it_says_what_each_does():
    several = record(model={"name": "a+b"}, models=[{"name": "a"}, {"name": "b"}]).to_json()
    at = KEYS.index("model") + 1
    assert list(several) == [*KEYS[:at], "models", *KEYS[at:]]


def test_only_an_object_has_an_etag_and_only_a_copy_names_its_original():
    line = record(etag='"0f"', copied_from=b"caf\xe9.mp4").to_json()
    at = KEYS.index("mtime_ns") + 1
    assert list(line) == [*KEYS[:at], "etag", "copied_from", *KEYS[at:]]
    assert (line["etag"], line["copied_from"]) == ('"0f"', "caf\ufffd.mp4")


@pytest.mark.parametrize(
    "name",
    [
        b"plain.mp4",
        b"sp ace'\"q.mp4",
        b"new\nline.mp4",
        "ünï.mp4".encode(),
        b"bad\xff\xfe.mp4",
        b"\x1b[31m.mp4",
    ],
)
def test_any_name_makes_one_line_and_comes_back_byte_for_byte(name):
    line = dump_line(record(path=name).to_json())
    assert "\n" not in line
    line.encode("ascii")
    parsed = json.loads(line)
    parsed["path"].encode("utf-8")  # no lone surrogate: a strict reader takes it
    assert recorded_path(parsed) == name
    assert ("path_bytes" in parsed) == (b"\xff" in name)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"status": "no_face", "detail": "none", "score": 0.5}, "no score"),
        ({"status": "timeout", "detail": "slow", "verdict": "inconclusive"}, "no verdict"),
        ({"status": "error"}, "says why"),
        ({"status": "fine"}, "unknown status"),
        ({"score": math.nan}, "score"),
        ({"score": 1.01}, "score"),
    ],
)
def test_a_failure_never_carries_a_score(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        record(**changes)


def test_a_bare_nan_never_reaches_a_line():
    with pytest.raises(ValueError, match="JSON"):
        dump_line(record(tracks=[{"score": math.nan}]).to_json())
