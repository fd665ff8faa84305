"""Test pictures of faces: which are taken, what they show, how they are stored, and how they are checked."""

import csv
import hashlib
import json
import os
import shutil

import av
import cv2
import numpy as np
import pytest

from deepscan.crop_recipe import CropRecipe
from deepscan.errors import DeepscanError, UsageError
from deepscan.faces.align import align
from deepscan.media.frames import Frame
from deepscan.report.page import write_page
from deepscan.scanning import pictures, runfile
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.output import ScanOutput
from deepscan.scanning.paths import collect
from deepscan.scanning.pictures import PictureBuffer, recipes_of, shrink, telling_pictures
from deepscan.scanning.run import run_scan
from deepscan.scanning.telling import MAX_FACES, MAX_PERSONS
from deepscan.scanning.verification import verify_run
from tests import toy
from tests.command import SAMPLES, deepscan
from tests.report.made import Page

RECIPE = CropRecipe(side=64)
ODD = "<img src=x onerror=alert(1)>\"'&.mp4"


def scan(folder, out, *, resume=False, evidence=True, model="toy"):
    options = ScanOptions(model=str(folder / model), frames=4, evidence=evidence)
    paths = [os.fsencode(path) for path in sorted((folder / "videos").iterdir())]
    run_scan(paths, options, ScanOutput(out, resume=resume), command=["scan", "--out", out.name], workers=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of two videos, one with a hostile name, with a toy model and a scan with pictures."""
    folder = tmp_path_factory.mktemp("evidence")
    (folder / "videos").mkdir()
    shutil.copy(SAMPLES / "two_persons.mp4", folder / "videos")
    shutil.copy(SAMPLES / "swapped.mp4", folder / "videos" / ODD)
    toy.model(folder / "toy", 0.2, explanation=True)
    scan(folder, folder / "out.csv")
    return folder


@pytest.fixture
def out(folder, tmp_path):
    """Return a copy of that scan's records, with their pictures, in another folder."""
    for name in ("out.jsonl", "out.csv", "out.run.json"):
        shutil.copy(folder / name, tmp_path)
    shutil.copytree(folder / "out.pictures", tmp_path / "out.pictures")
    return tmp_path / "out.jsonl"


def records(out):
    return [json.loads(line) for line in out.read_text().splitlines()]


def image(path):
    return cv2.imread(str(path))[:, :, ::-1].astype(int)


def made(tracks, sightings, noise=300):
    """Return the record of a video with so many persons, and incompressible pictures of noise."""
    random = np.random.default_rng(0)
    buffer, frames = PictureBuffer(), []
    for index in range(sightings):
        boxes = [[10.0 * track, 0.0, 10.0 * track + 9, 9.0] for track in range(tracks)]
        crop = random.integers(0, 256, (64, 64, 3), np.uint8)
        whole = random.integers(0, 256, (noise, noise, 3), np.uint8)
        buffer.add(Frame(index, index / 10, whole), [(box, {RECIPE: crop}) for box in boxes])
        frames += [
            {"index": index, "pts": index / 10, "track": track, "score": 0.1 * index, "box": box}
            for track, box in enumerate(boxes)
        ]
    persons = [{"id": at, "counted": True, "score": 0.9 - at / 100, "poor": False} for at in range(tracks)]
    return {"tracks": persons, "frames": frames}, buffer


def taken(record, buffer):
    found, lines = telling_pictures(
        record, buffer, calibrations={"m": None}, rule=None, recipes=recipes_of({"m": RECIPE})
    )
    faces = [(picture.index, picture.track) for picture in found if picture.kind == "face"]
    assert faces == [(line["index"], line["track"]) for line in lines]
    return found, faces


def test_the_highest_scoring_faces_of_each_person_are_taken_and_no_more():
    record, buffer = made(tracks=MAX_PERSONS + 2, sightings=MAX_FACES + 2, noise=40)
    found, faces = taken(record, buffer)
    last = MAX_FACES + 1
    assert faces == [(last - rank, person) for rank in range(MAX_FACES) for person in range(MAX_PERSONS)]
    whole = [picture.index for picture in found if picture.kind == "frame"]
    assert whole == [last - rank for rank in range(MAX_FACES)], "persons in one frame share its picture"


def test_if_there_is_no_room_the_less_telling_faces_are_left_out(monkeypatch):
    monkeypatch.setattr(pictures, "VIDEO_BYTES", 150_000)
    record, buffer = made(tracks=2, sightings=5)
    found, faces = taken(record, buffer)
    assert sum(len(picture.jpeg) for picture in found) <= 150_000
    assert faces[:2] == [(4, 0), (4, 1)]
    assert len(faces) < 2 * MAX_FACES, "there is no room for so much noise"


def test_pictures_wait_in_bounded_memory_and_stay_the_same(monkeypatch):
    record, buffer = made(tracks=1, sightings=6)
    loose = [picture.jpeg for picture in taken(record, buffer)[0]]
    monkeypatch.setattr(pictures, "BUFFER_BYTES", 400_000)
    record, buffer = made(tracks=1, sightings=6)
    assert sum(raw.nbytes for raw, _ in buffer._raw.values()) <= 400_000
    assert [picture.jpeg for picture in taken(record, buffer)[0]] == loose


@pytest.mark.parametrize(
    ("size", "small"), [((1080, 1920), (360, 640)), ((1921, 1081), (640, 360)), ((90, 60), (90, 60))]
)
def test_a_frame_is_scaled_down_and_never_up(size, small):
    down, right = np.mgrid[: size[0], : size[1]]
    frame = np.stack([255 * down / size[0], 255 * right / size[1], 0 * down], axis=2).astype(np.uint8)
    picture, scale = shrink(frame)
    assert picture.shape[:2] == small
    assert scale == pytest.approx(small[0] / size[0], rel=2e-3)
    assert not np.shares_memory(picture, frame), "the frame's memory can be released"
    exact = cv2.resize(frame, small[::-1], interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(picture - exact).max() <= 3


def test_the_record_has_each_picture_with_its_hash(folder):
    found = {path.name: path.read_bytes() for path in (folder / "out.pictures").iterdir()}
    named = [picture for record in records(folder / "out.jsonl") for picture in record["pictures"]]
    assert sorted(picture["file"] for picture in named) == sorted(found)
    for picture in named:
        jpeg = found[picture["file"]]
        assert picture["bytes"] == len(jpeg)
        assert picture["sha256"] == hashlib.sha256(jpeg).hexdigest()
        height, width = image(folder / "out.pictures" / picture["file"]).shape[:2]
        assert (picture["width"], picture["height"]) == (width, height)
    for record in records(folder / "out.jsonl"):
        assert all(picture["file"].startswith(record["sha256"]) for picture in record["pictures"])
        faces = [picture["track"] for picture in record["pictures"] if picture["kind"] == "face"]
        assert sorted(faces) == sorted(track["id"] for track in record["tracks"] for _ in range(MAX_FACES))


def test_a_picture_shows_the_frame_and_the_face_that_the_model_saw(folder):
    record = next(record for record in records(folder / "out.jsonl") if "two_persons" in record["path"])
    with av.open(record["path"]) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for picture in record["pictures"]:
        shown, frame = image(folder / "out.pictures" / picture["file"]), frames[picture["index"]]
        if picture["kind"] == "frame":
            assert picture["scale"] == 1, "640 pixels are within the limit"
            expected = frame
        else:
            (line,) = (
                line
                for line in record["frames"]
                if (line["index"], line["track"]) == (picture["index"], picture["track"])
            )
            expected = align(frame, np.float32(line["landmarks"]), RECIPE)
            assert picture["models"] == ["toy"]
        # The rest is due to JPEG and to the rounding of the landmarks.
        assert np.abs(shown - expected).mean() < 8
        others = [other for other in frames[:: len(frames) // 2] if other is not frame]
        assert picture["kind"] == "face" or all(np.abs(shown - other).mean() > 8 for other in others[:1])


def test_only_pictured_faces_are_explained_and_scores_do_not_change(folder, tmp_path):
    scan(folder, tmp_path / "plain.jsonl", evidence=False)
    assert not (tmp_path / "plain.pictures").exists()
    for plain, seen in zip(records(tmp_path / "plain.jsonl"), records(folder / "out.jsonl"), strict=True):
        assert "pictures" not in plain
        assert plain["score"] == pytest.approx(seen["score"], abs=1e-6)
        pictured = {
            (picture["index"], picture["track"]) for picture in seen["pictures"] if picture["kind"] == "face"
        }
        explained = {
            (line["index"], line["track"]) for line in seen["frames"] if line.get("explanation") is not None
        }
        assert explained == pictured
    with (folder / "out.csv").open(newline="") as file:
        assert not [name for name in next(csv.reader(file)) if "picture" in name]


def test_without_evidence_no_picture_is_made(folder, tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr(PictureBuffer, "add", never)
    monkeypatch.setattr(pictures, "shrink", never)
    scan(folder, tmp_path / "out.jsonl", evidence=False)
    assert [record["status"] for record in records(tmp_path / "out.jsonl")] == ["ok", "ok"]


def test_a_resumed_run_leaves_the_same_as_an_uninterrupted_one(folder, out):
    kept = {path.name: path.read_bytes() for path in out.with_suffix(".pictures").iterdir()}
    # It was killed while writing the second record: one picture is half written, another is of an old video.
    first, second = out.read_text().splitlines(keepends=True)
    out.write_text(first + second[:40])
    file = out.with_suffix(".run.json")
    run = runfile.read(file)
    run["records"] = None
    runfile.write(run, file)
    (out.with_suffix(".pictures") / f"{'0' * 64}-3.jpg").write_bytes(b"old")
    (out.with_suffix(".pictures") / f"{next(iter(kept))}.part").write_bytes(b"half")
    (out.with_suffix(".pictures") / "notes.txt").write_text("mine")
    scan(folder, out, resume=True)
    found = {path.name: path.read_bytes() for path in out.with_suffix(".pictures").iterdir()}
    assert found.pop("notes.txt") == b"mine", "only what a scan writes is removed"
    assert found == kept


def test_a_picture_that_cannot_be_written_ends_the_run(folder, tmp_path):
    out = tmp_path / "out.jsonl"
    place = tmp_path / "out.pictures"
    place.mkdir()
    for picture in records(folder / "out.jsonl")[0]["pictures"]:
        (place / f"{picture['file']}.part").symlink_to("/dev/full")
    options = ScanOptions(model=str(folder / "toy"), frames=4, evidence=True)
    with pytest.raises(DeepscanError, match="cannot be written: No space") as raised:
        run_scan([os.fsencode(folder / "videos" / ODD)], options, ScanOutput(out, overwrite=True))
    assert "--resume" in raised.value.hint
    assert records(out) == [], "a record never names a picture that does not exist"


def test_evidence_needs_an_output(folder):
    with pytest.raises(UsageError, match="--evidence needs --out"):
        run_scan([], ScanOptions(model=str(folder / "toy"), evidence=True), ScanOutput())


def test_a_folder_of_pictures_is_not_mixed_with_a_new_scan(folder, tmp_path):
    (tmp_path / "out.pictures").mkdir()
    with pytest.raises(UsageError, match=r"out\.pictures already exists"):
        scan(folder, tmp_path / "out.jsonl")


def test_pictures_of_a_scan_are_not_scanned(out):
    found = collect([str(out.parent)])
    assert list(found.paths) == []
    out.with_suffix(".run.json").unlink()
    assert len(collect([str(out.parent)]).paths) > 0, "any other folder of that name is scanned"


def test_faces_without_a_model_have_pictures_too(folder, tmp_path):
    out = tmp_path / "out.jsonl"
    options = ScanOptions(model="none", frames=1, evidence=True)
    run_scan([os.fsencode(folder / "videos" / "two_persons.mp4")], options, ScanOutput(out))
    (record,) = records(out)
    assert [picture["kind"] for picture in record["pictures"]] == ["frame", "face", "face"]


def test_models_with_different_crops_have_their_own_pictures(folder, tmp_path):
    out = tmp_path / "out.jsonl"
    wide = toy.model(tmp_path / "wide", 0.1, side=96, explanation=True)
    options = ScanOptions(model=str(folder / "toy"), also=(str(wide),), frames=1, evidence=True)
    run_scan([os.fsencode(folder / "videos" / ODD)], options, ScanOutput(out))
    (record,) = records(out)
    faces = [picture for picture in record["pictures"] if picture["kind"] == "face"]
    assert [(picture["models"], picture["width"]) for picture in faces] == [(["toy"], 64), (["wide"], 96)]
    assert len({picture["file"] for picture in record["pictures"]}) == 3
    write_page(out, tmp_path / "out.html", most=1)
    page = Page(tmp_path / "out.html")
    assert "the face, as seen by wide" in page.words
    # Each model's three maps are over its own crop.
    sides = [attrs["viewbox"] for attrs in page.all("svg") if ": patches" in (attrs.get("aria-label") or "")]
    assert sorted(sides) == ["0 0 64 64"] * 3 + ["0 0 96 96"] * 3


@pytest.mark.parametrize(
    ("change", "what", "meaning"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-3] + b"abc"), "SHA-256 of picture", "changed"),
        (lambda path: path.unlink(), "a picture of the video", "removed"),
        (
            lambda path: path.with_name("more.jpg").write_bytes(b"\xff"),
            "an unknown file",
            "No record names it",
        ),
    ],
)
def test_verify_finds_a_changed_a_missing_and_an_unknown_picture(out, change, what, meaning):
    assert verify_run(out).findings == []
    change(sorted(out.with_suffix(".pictures").iterdir())[0])
    result = verify_run(out)
    (finding,) = result.findings
    assert finding.kind == "mismatch"
    assert finding.what.startswith(what)
    assert meaning in finding.meaning
    assert result.exit_code == 4


def test_an_interrupted_run_may_have_pictures_without_a_record(out):
    file = out.with_suffix(".run.json")
    run = runfile.read(file)
    run["records"] = None
    run["sessions"][-1] |= {"ended": None, "exit_code": None}
    runfile.write(run, file)
    gone, *rest = records(out)
    out.write_text("".join(json.dumps(record) + "\n" for record in rest))
    (out.with_suffix(".pictures") / "holiday.jpg").write_bytes(b"x")
    found = [finding for finding in verify_run(out).findings if ".pictures/" in finding.subject]
    assert [finding.subject for finding in found if finding.kind == "mismatch"] == [
        "out.pictures/holiday.jpg"
    ]
    assert sum(finding.kind == "unchecked" for finding in found) == len(gone["pictures"])


def test_verify_reads_no_file_outside_the_folder(out):
    found = records(out)
    found[0]["pictures"][0]["file"] = "../../../etc/passwd"
    out.write_text("".join(json.dumps(record) + "\n" for record in found))
    assert "No scan would name a picture like this" in " ".join(
        finding.meaning for finding in verify_run(out).findings
    )


def test_records_without_their_pictures_are_not_contradicted(out):
    shutil.rmtree(out.with_suffix(".pictures"))
    result = verify_run(out)
    (finding,) = result.findings
    assert (finding.kind, result.exit_code) == ("missing", 3)
    assert result.checked["pictures"] == (0, sum(len(record["pictures"]) for record in records(out)))
    assert "--pictures" in finding.meaning


def test_the_command_names_the_picture(out):
    every = sorted(out.with_suffix(".pictures").iterdir())
    picture = every[0]
    picture.write_bytes(b"other")
    ran = deepscan("verify", out)
    assert ran.code == 4
    assert picture.name in ran.out
    assert f"pictures          {len(every) - 1} of {len(every)} match" in ran.out
