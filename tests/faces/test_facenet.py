"""Test `--faces facenet`: facenet-pytorch's MTCNN itself, the reference for `fast` and `exact`."""

import json
import sys

import numpy as np
import pytest
from facenet_pytorch import MTCNN

from deepscan.errors import MissingError
from deepscan.faces.facenet import FacenetMtcnn
from deepscan.faces.finder import describe_finder, open_finder
from tests.command import SAMPLES, deepscan

# Both compute in float32 on pixels up to a few thousand wide: a unit in the last place there is 2e-4.
PIXELS = 5e-3


@pytest.fixture(scope="module")
def facenet():
    return open_finder("facenet")


def test_it_equals_facenet_pytorch_for_each_picture(facenet, astronaut, hopper):
    images = [astronaut, hopper, astronaut[:, ::-1].copy(), np.full((64, 64, 3), 90, np.uint8)]
    for image, found in zip(images, facenet.detect(images), strict=True):
        boxes, probabilities, landmarks = MTCNN(keep_all=True).detect(image, landmarks=True)
        assert len(found) == (0 if boxes is None else len(boxes))
        for index, face in enumerate(found):
            np.testing.assert_allclose(face.box, np.float32(boxes[index]), atol=PIXELS)
            np.testing.assert_allclose(face.landmarks, np.float32(landmarks[index]), atol=PIXELS)
            assert face.probability == pytest.approx(probabilities[index], abs=1e-4)


def test_a_picture_smaller_than_the_smallest_face_has_none(facenet):
    assert facenet.detect([np.zeros((19, 400, 3), np.uint8), np.zeros((400, 8, 3), np.uint8)]) == [[], []]


def test_every_frame_is_searched(facenet, hopper):
    assert facenet.every == 1
    assert facenet.redetect_near([hopper], [facenet.detect([hopper])[0]]) == [None]


def test_its_networks_are_described_with_their_hashes():
    description = describe_finder("facenet")
    assert description == FacenetMtcnn.describe()
    assert description["name"] == "facenet-pytorch 2.5.3"
    assert set(description["files"]) == set(describe_finder("fast")["files"])
    assert all(len(value) == 64 for value in description["files"].values())


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for use in (lambda: open_finder("facenet"), FacenetMtcnn.describe):
        with pytest.raises(MissingError, match="facenet") as raised:
            use()
        assert "[torch]'" in raised.value.hint


def test_a_scan_finds_the_same_faces_and_records_what_found_them(tmp_path):
    sample, records = SAMPLES / "real_astronaut.mp4", {}
    for mode in ("exact", "facenet"):
        out = tmp_path / f"{mode}.jsonl"
        ran = deepscan("scan", sample, "--faces", mode, "--frames", "4", "--precision", "fp32", "--out", out)
        assert ran.code == 0, ran.err
        (records[mode],) = [json.loads(line) for line in out.read_text().splitlines()]
    exact, facenet = ([frame["box"] for frame in records[mode]["frames"]] for mode in ("exact", "facenet"))
    # Boxes are rounded to a tenth of a pixel.
    np.testing.assert_allclose(facenet, exact, atol=0.11)
    # Landmarks that are 5e-3 pixels apart move some pixels of a crop by a step of 255.
    assert records["facenet"]["score"] == pytest.approx(records["exact"]["score"], abs=1e-3)
    run = json.loads((tmp_path / "facenet.run.json").read_text())
    assert run["faces"]["name"] == "facenet-pytorch 2.5.3"
    assert run["parameters"]["faces"] == "facenet"
