"""Bad input: each file gets its status and one clear line, and other videos are not affected."""

import os
import shutil
from pathlib import Path

import pytest

from deepscan.scanning.record_lines import recorded_path
from tests import awkward, stills
from tests.command import SAMPLES, deepscan, journal, without_privileges

HOPPER = SAMPLES / "real_hopper.mp4"
NAMES = [
    b"sp ace.mp4",
    b"quo'te\".mp4",
    b"new\nline.mp4",
    b"col:on.mp4",
    b"-dash.mp4",
    b"bad\xff.mp4",
    "\u00fcn\u00ef.mp4".encode(),
]


def locked(path):
    shutil.copy(HOPPER, path)
    path.chmod(0)


#: Everything that can be wrong, with two good videos among it: how a file is made, and the status that fits.
FILES = {
    "a_good.mp4": (lambda path: shutil.copy(HOPPER, path), "ok"),
    "z_good.mp4": (lambda path: shutil.copy(SAMPLES / "real_astronaut.mp4", path), "ok"),
    "empty.mp4": (awkward.empty, "decode_error"),
    "text.mp4": (awkward.text, "unsupported"),
    "truncated.mp4": (awkward.truncated, "no_face"),
    "indexless.mp4": (awkward.indexless, "decode_error"),
    "audio.mp4": (awkward.audio_only, "unsupported"),
    "one_frame.mp4": (lambda path: awkward.video(path, 1), "no_face"),
    "lying.mp4": (awkward.lying, "no_face"),
    "rotated.mp4": (lambda path: awkward.rotated(path, 90), "no_face"),
    "vfr.mkv": (awkward.vfr, "no_face"),
    "huge.png": (lambda path: stills.png(path, 20000, 20000), "unsupported"),
    "animated.gif": (awkward.gif, "no_face"),
    "still.jpg": (stills.still, "no_face"),
    "ten_bit.mp4": (lambda path: awkward.video(path, 10, pixel_format="yuv420p10le"), "no_face"),
    "locked.mp4": (locked, "error"),
    "loop.mp4": (lambda path: path.symlink_to(path.name), "error"),
    "dangling.mp4": (lambda path: path.symlink_to("nowhere.mp4"), "error"),
    "pipe.mp4": (os.mkfifo, "error"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("awkward")
    for name, (make, _) in FILES.items():
        make(folder / name)
    return folder


@pytest.fixture(scope="module")
def scanned(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "out.jsonl"
    ran = deepscan(
        *("scan", folder, "--model", "none", "--frames", "4", "--out", out), prefix=without_privileges()
    )
    return ran, {os.path.basename(path): record for path, record in journal(out).items()}


def test_every_file_gets_its_status(scanned):
    _, records = scanned
    expected = {name: status for name, (_, status) in FILES.items()}
    assert {name: record["status"] for name, record in records.items()} == expected


def test_failed_files_are_reported(scanned):
    ran, records = scanned
    assert ran.code == 3
    assert ran.error_lines == [], "the run itself has not failed"
    for name, record in records.items():
        if record["status"] != "ok":
            assert record["detail"].count("\n") == 0
            assert len(record["detail"]) > 8, f"{name}: {record['detail']!r} says why"
            assert (record["score"], record["verdict"]) == (None, None)


@pytest.mark.parametrize("name", ["truncated.mp4", "lying.mp4"])
def test_a_damaged_file_with_usable_frames_has_a_warning(scanned, name):
    assert scanned[1][name]["warnings"]


@pytest.mark.parametrize(
    "name", ["one_frame.mp4", "rotated.mp4", "vfr.mkv", "still.jpg", "ten_bit.mp4", "a_good.mp4"]
)
def test_an_unusual_file_has_no_warning(scanned, name):
    assert scanned[1][name]["warnings"] == []


def test_files_with_any_name_are_scanned_and_recorded(tmp_path):
    small = awkward.video(tmp_path / "small.mp4", count=5).read_bytes()
    folder = tmp_path / "names"
    folder.mkdir()
    for name in NAMES:
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:
            file.write(small)
    ran = deepscan("scan", folder, "--model", "none", "--frames", "2")
    assert {os.path.basename(recorded_path(record)) for record in ran.records} == set(NAMES)
    assert {record["status"] for record in ran.records} == {"no_face"}


def test_a_list_with_a_missing_line_a_repeated_file_and_a_copy(tmp_path):
    small = awkward.video(tmp_path / "small.mp4", count=5)
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(small.read_bytes())
    listed = "\n".join([str(small), str(tmp_path / "gone.mp4"), str(small), str(copy)])
    ran = deepscan("scan", "-", "--model", "none", "--frames", "2", stdin=listed.encode())
    assert ran.code == 3
    statuses = {os.path.basename(record["path"]): record["status"] for record in ran.records}
    assert statuses == {"small.mp4": "no_face", "gone.mp4": "error", "copy.mp4": "no_face"}
    assert len(ran.records) == 3


def test_the_size_limit_can_be_changed(tmp_path):
    picture = stills.png(tmp_path / "picture.png", 400, 300)
    statuses = [
        deepscan("scan", picture, "--model", "none", "--max-megapixels", limit).records[0]["status"]
        for limit in ("0.1", "0.2")
    ]
    assert statuses == ["unsupported", "no_face"]


def test_an_empty_folder_is_not_an_error(tmp_path):
    ran = deepscan("scan", tmp_path, "--model", "none")
    assert ran.code == 0
    assert "no video" in ran.err


def test_heic_and_avif_in_a_folder_are_scanned():
    """Files as phones write them."""
    ran = deepscan("scan", Path(__file__).parents[1] / "media" / "pictures", "--model", "none")
    assert ran.code == 0, ran.err
    found = {os.path.basename(record["path"]): record for record in ran.records}
    assert sorted(found) == ["ignored.heic", "tiles1.avif", "tiles1.heic", "tiles6.heic", "tiles7.avif"]
    # They show blocks without a face, and are read completely.
    assert {record["status"] for record in found.values()} == {"no_face"}
    assert {(record["media"]["width"], record["media"]["height"]) for record in found.values()} == {(160, 96)}
    assert {record["media"]["decoder"] for record in found.values()} == {"pillow"}
    assert "skipped in folders: 1 .md" in ran.err


def test_errors_escape_control_characters(tmp_path):
    lines = deepscan("scan", "gone\x1b[31m\u202e.mp4", cwd=tmp_path).refused(2)
    assert "\\x1b[31m\\u202e" in lines[0] and "\x1b" not in lines[0] + lines[1]
    out = tmp_path / "red\x1b[31m.jsonl"
    out.write_text("")
    lines = deepscan("scan", SAMPLES / "no_face.mp4", "--model", "none", "--out", out).refused(2)
    assert "\\x1b[31m.jsonl already exists" in lines[0]
