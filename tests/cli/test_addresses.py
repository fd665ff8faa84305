"""Scanning objects of stores and web servers from the command line."""

import json
import os
import signal
import time

import pytest

from deepscan.errors import ExitCode
from tests import awkward
from tests.command import SAMPLES, deepscan, journal, start
from tests.storage.moto import CREDENTIALS
from tests.storage.web import Web, content, endless, redirect, s3_error, silent, status, truncated

CLIPS = ("no_face.mp4", "real_hopper.mp4", "swapped.mp4")
QUICK = ("--model", "none", "--frames", "2")
#: What differs between a record of a file and that of an object with its content.
OWN = ("path", "run", "started", "seconds", "mtime_ns", "etag")


@pytest.fixture
def web():
    with Web().running() as server:
        yield server


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small video without a face."""
    return awkward.video(tmp_path_factory.mktemp("small") / "0.mp4", count=5).read_bytes()


def same(record):
    return {key: value for key, value in record.items() if key not in OWN}


def by_name(records):
    return {record["path"].rpartition("/")[2]: record for record in records}


def test_records_of_objects_equal_those_of_files_with_their_content(s3, tmp_path):
    for name in CLIPS:
        s3.put(f"v/{name}", (SAMPLES / name).read_bytes())
    out = tmp_path / "objects.jsonl"
    ran = deepscan("scan", s3.address("v/"), "--frames", "4", "--out", out)
    assert ran.code == 0, ran.err
    local = deepscan("scan", *(SAMPLES / name for name in CLIPS), "--frames", "4")
    expected, records = by_name(local.records), by_name(journal(out).values())
    assert records.keys() == set(CLIPS)
    for name, record in records.items():
        assert same(record) == same(expected[name])
        assert record["path"] == s3.address(f"v/{name}")
        assert record["mtime_ns"] is None
        assert record["etag"] == s3.client.head_object(Bucket=s3.name, Key=f"v/{name}")["ETag"].strip('"')
        assert record["seconds"]["fetch"] > 0
        text = json.dumps(record)
        assert "/proc/" not in text and str(tmp_path) not in text, "no name of this machine"


def test_objects_without_out_are_printed(s3, small):
    address = s3.put("a b#?.mp4", small)
    ran = deepscan("scan", address, *QUICK)
    assert (ran.code, [record["path"] for record in ran.records]) == (0, [address]), ran.err


def test_each_bad_object_in_a_list_has_its_own_words(s3, web, small, tmp_path):
    (tmp_path / "local.mp4").write_bytes(small)
    cases = {
        str(tmp_path / "local.mp4"): ("no_face", "no face"),
        s3.put("good.mp4", small): ("no_face", "no face"),
        s3.put("empty.mp4", b""): ("decode_error", "empty"),
        s3.put("text.mp4", b"no video\n" * 99): ("unsupported", ""),
        s3.put("cut.mp4", small[: len(small) // 3]): ("decode_error", ""),
        s3.address("gone.mp4"): ("error", "does not exist"),
        web.put("good.mp4", content(small)): ("no_face", "no face"),
        web.put("moved.mp4", redirect(web.url + "good.mp4")): ("no_face", "no face"),
        web.url + "gone.mp4": ("error", "does not exist"),
        web.put("secret.mp4", status(403)): ("error", "no permission"),
        web.put("torn.mp4", truncated(small[:1000], 500)): ("error", "ended early"),
    }
    ran = deepscan("scan", "-", *QUICK, stdin="\n".join(cases).encode())
    assert ran.code == ExitCode.SOME_FAILED, ran.err
    found = {record["path"]: (record["status"], record["detail"]) for record in ran.records}
    assert found.keys() == cases.keys()
    for path, (outcome, words) in cases.items():
        assert found[path][0] == outcome, (path, found[path])
        assert words in found[path][1]
        assert "/proc/" not in found[path][1]


def fake_store(web, tmp_path, **more):
    return {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": web.url.rstrip("/"),
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
        **more,
    }


@pytest.mark.parametrize(
    ("code", "number", "words"),
    [
        ("ExpiredToken", 400, "credentials are not accepted (ExpiredToken)"),
        ("InvalidAccessKeyId", 403, "credentials are not accepted (InvalidAccessKeyId)"),
        ("NoSuchBucket", 404, "bucket does not exist"),
        ("AccessDenied", 403, "no permission"),
    ],
)
def test_a_prefix_that_cannot_be_listed_is_refused(web, tmp_path, code, number, words):
    web.put("b", s3_error(code, number))
    lines = deepscan("scan", "s3://b/v/", *QUICK, **fake_store(web, tmp_path)).refused(ExitCode.USAGE)
    assert words in lines[0]
    assert "'s3://b/v/'" in lines[0]


def test_without_credentials_a_store_is_refused(web, tmp_path):
    without = fake_store(web, tmp_path, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    lines = deepscan("scan", "s3://b/a.mp4", *QUICK, **without).refused(ExitCode.USAGE)
    assert "credentials" in lines[0]


@pytest.mark.exhaustive
def test_an_endpoint_that_cannot_be_reached_is_refused(web, tmp_path):
    away = fake_store(web, tmp_path, AWS_ENDPOINT_URL="http://127.0.0.1:1")
    lines = deepscan("scan", "s3://b/v/", *QUICK, **away).refused(ExitCode.MISSING)
    assert "cannot be reached" in lines[0]


def test_credentials_that_expire_during_a_scan_end_it_and_it_can_be_resumed(s3, web, small, tmp_path):
    """The records so far are kept, and the next session scans the rest."""
    listed = "\n".join(f"s3://b/{number}.mp4" for number in range(3)).encode()
    web.put("b/0.mp4", content(small, ETag='"x"'))
    web.put("b/1.mp4", s3_error("ExpiredToken", 400), content(small, ETag='"y"'))
    web.put("b/2.mp4", content(small, ETag='"z"'))
    store, out = fake_store(web, tmp_path), tmp_path / "out.jsonl"
    (tmp_path / "list").write_bytes(listed)
    scan = ("scan", "--from-list", tmp_path / "list", *QUICK, "--out", out)
    lines = deepscan(*scan, **store).refused(ExitCode.USAGE)
    assert "'s3://b/1.mp4' cannot be read: the credentials are not accepted (ExpiredToken)" in lines[0]
    ran = deepscan("scan", "--resume", "--out", out, **store)
    assert ran.code == 0, ran.err
    assert sorted(journal(out)) == listed.decode().split()


def test_a_resumed_scan_does_not_read_objects_again(web, small, tmp_path):
    addresses = [f"s3://b/{number}.mp4" for number in range(3)]
    for number in range(3):
        web.put(f"b/{number}.mp4", content(small, ETag=f'"{number}"'))
    store, out = fake_store(web, tmp_path), tmp_path / "out.jsonl"
    assert deepscan("scan", *addresses, *QUICK, "--out", out, **store).code == 0
    gets = {path: count for (method, path), count in web.asked.items() if method == "GET"}
    assert gets == {f"/b/{number}.mp4": 1 for number in range(3)}
    web.put("b/1.mp4", content(small, ETag='"other"'))
    ran = deepscan("scan", "--resume", "--out", out, **store)
    assert ran.code == 0, ran.err
    assert "2 videos already scanned, 1 to scan" in ran.err
    gets = {path: count for (method, path), count in web.asked.items() if method == "GET"}
    assert gets == {"/b/0.mp4": 1, "/b/1.mp4": 2, "/b/2.mp4": 1}


def test_ctrl_c_while_objects_are_fetched_ends_at_once_and_leaves_nothing(web, small, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    paths = [web.put("endless.mp4", endless(web)), web.put("silent.mp4", silent(web))]
    process = start("scan", *paths, *QUICK, "--out", tmp_path / "out.jsonl", "--scratch", scratch)
    deadline = time.monotonic() + 60
    while not (web.asked["GET", "/endless.mp4"] and web.asked["GET", "/silent.mp4"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=20)[1].decode()
    assert process.returncode == ExitCode.INTERRUPTED, err
    assert os.listdir(scratch) == []
    assert "Traceback" not in err and "Unclosed" not in err
    assert "to resume: " in err


def test_a_scratch_folder_must_exist(web, small, tmp_path):
    ran = deepscan("scan", web.put("a.mp4", content(small)), *QUICK, "--scratch", tmp_path / "none")
    assert "--scratch" in ran.refused(ExitCode.USAGE)[0]


def test_a_page_of_a_player_is_refused():
    lines = deepscan("scan", "https://www.youtube.com/watch?v=1", *QUICK).refused(ExitCode.USAGE)
    assert "yt-dlp" in lines[1]


@pytest.mark.exhaustive
def test_verify_reads_every_object_and_says_what_is_wrong_with_it(s3, small, tmp_path):
    for number in range(3):
        s3.put(f"v/{number}.mp4", small + bytes(number))
    out = tmp_path / "out.jsonl"
    assert deepscan("scan", s3.address("v/"), *QUICK, "--out", out).code == 0
    ran = deepscan("verify", out)
    assert ran.code == 0, ran.err
    assert "3" in ran.out
    s3.put("v/1.mp4", b"other")
    s3.delete("v/2.mp4")
    ran = deepscan("verify", out)
    assert ran.code == ExitCode.CONTRACT, ran.err
    text = ran.out + ran.err
    assert "SHA-256 of the video" in text and "the object does not exist" in text
    assert s3.address("v/0.mp4") not in text


def test_downloaded_objects_are_verified_in_their_folder(s3, small, tmp_path):
    s3.put("v/0.mp4", small)
    out, copies = tmp_path / "out.jsonl", tmp_path / "copies"
    assert deepscan("scan", s3.address("v/"), *QUICK, "--out", out).code == 0
    s3.delete("v/0.mp4")
    copies.mkdir()
    (copies / "0.mp4").write_bytes(small)
    assert deepscan("verify", out, "--root", copies).code == 0
