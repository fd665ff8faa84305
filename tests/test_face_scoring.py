"""The Python API of faces: found and scored as a scan does it."""

import cv2
import numpy as np
import pytest

import deepscan
from deepscan.faces.face_filter import FaceFilter
from tests import toy
from tests.command import SAMPLES


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return toy.model(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A picture of two persons, without loss."""
    path = tmp_path_factory.mktemp("pictures") / "two.png"
    video = cv2.VideoCapture(str(SAMPLES / "two_persons.mp4"))
    cv2.imwrite(str(path), video.read()[1])
    return path


def rgb(path):
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


@pytest.mark.slow
def test_a_picture_gets_the_scores_of_a_scan_in_three_lines(model, picture):
    detector = deepscan.load_detector(model)
    faces = sorted(deepscan.find_faces(picture), key=lambda face: face.box)
    scores = detector.score([face.crop(detector) for face in faces])
    (record,) = deepscan.scan(picture, model=model)
    assert len(scores) == len(record.faces) == 2
    inner = sorted(record.faces, key=lambda face: face.box)
    for face, score, recorded in zip(faces, scores, inner, strict=True):
        assert face.box == pytest.approx(recorded.box, abs=0.06)
        assert np.array(face.landmarks) == pytest.approx(np.array(recorded.landmarks), abs=0.06)
        assert face.confidence == pytest.approx(recorded.probability, abs=1e-4)
        assert face.face_score == pytest.approx(recorded.face_score, abs=1e-3)
        assert score == pytest.approx(recorded.score, abs=1e-5)


@pytest.mark.slow
def test_an_array_is_searched_like_its_file(model, picture):
    by_path, by_array = deepscan.find_faces(picture), deepscan.find_faces(rgb(picture))
    assert [face.box for face in by_path] == [face.box for face in by_array]
    assert (by_path[0].image == rgb(picture)).all()
    assert by_path[0].box[2] - by_path[0].box[0] >= by_path[1].box[2] - by_path[1].box[0]
    assert deepscan.find_faces(np.full((80, 80, 3), 90, np.uint8)) == []


@pytest.mark.slow
def test_what_the_filter_refuses_comes_only_when_asked_for(picture, monkeypatch):
    monkeypatch.setattr(FaceFilter, "score", lambda self, crops: np.zeros(len(crops)))
    assert deepscan.find_faces(picture) == []
    assert [face.face_score for face in deepscan.find_faces(picture, filtered=False)] == [0.0, 0.0]


def test_scores_are_raw_or_calibrated_as_named(picture, tmp_path):
    crops = np.zeros((21, 64, 64, 3), np.uint8)
    crops[1] = 255
    calibration = deepscan.Calibration("video", "hand-made", 10, "by hand", 2.0, 0.3, 0.7)
    detector = deepscan.load_detector(toy.model(tmp_path / "hot", calibration=calibration))
    assert (detector.name, detector.side, detector.engine, detector.device) == ("hot", 64, "onnx", "cpu")
    raw = detector.score(crops)
    assert raw.shape == (21,) and raw.dtype == np.float64
    assert raw == pytest.approx(toy.expected(crops, 0.0), abs=1e-6)
    calibrated = detector.score(crops, calibrated=True)
    assert calibrated == pytest.approx(1 / (1 + np.sqrt(1 / raw - 1)), abs=1e-6)
    assert detector.calibrate(raw) == pytest.approx(calibrated)
    assert [detector.verdict(score) for score in (0.2, 0.5, 0.7)] == ["no_evidence", "inconclusive", "fake"]
    assert detector.score(crops[:0]).shape == (0,)


def test_a_model_without_calibration_says_so(tmp_path):
    detector = deepscan.load_detector(toy.model(tmp_path / "raw", calibration=None))
    crops = np.zeros((1, 64, 64, 3), np.uint8)
    assert detector.calibration is None and detector.verdict(0.99) == "inconclusive"
    for ask in (lambda: detector.score(crops, calibrated=True), lambda: detector.calibrate([0.5])):
        with pytest.raises(deepscan.UsageError, match="no calibration"):
            ask()


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((1, 32, 32, 3), np.uint8),
        np.zeros((1, 64, 64, 3), np.float32),
        np.zeros((64, 64, 3), np.uint8),
        [np.zeros((64, 64), np.uint8)],
        [[0.5]],
    ],
)
def test_crops_that_the_model_does_not_take_are_refused(crops, model):
    with pytest.raises(deepscan.UsageError, match=r"takes crops of shape \(64, 64, 3\)"):
        deepscan.load_detector(model).score(crops)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((8, 8), np.uint8), ((8, 8, 3), np.float64), ((0, 8, 3), np.uint8), ((8, 8, 4), np.uint8)],
)
def test_an_array_that_is_not_a_picture_is_refused(shape, kind):
    with pytest.raises(deepscan.UsageError, match="a picture has shape"):
        deepscan.find_faces(np.zeros(shape, kind))


@pytest.mark.slow
def test_a_file_that_is_not_a_picture_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"hello")
    with pytest.raises(deepscan.UsageError, match="gives no picture"):
        deepscan.find_faces(tmp_path / "a.jpg")
    with pytest.raises(deepscan.UsageError, match=r"b\.jpg"):
        deepscan.find_faces(tmp_path / "b.jpg")
    with pytest.raises(deepscan.UsageError, match="is a folder"):
        deepscan.find_faces(tmp_path)


def test_only_a_detector_can_be_loaded():
    for name, complaint in (("mtcnn", "detector"), ("none", "none"), ("convnett", "convnett")):
        with pytest.raises(deepscan.UsageError, match=complaint):
            deepscan.load_detector(name)


@pytest.mark.parametrize(
    ("crops", "complaint"),
    [
        (None, "^crops must be an array or a list of pictures, not None"),
        ("a.png", "^crops must be an array or a list of pictures, not 'a.png'"),
        (np.zeros((64, 64, 3), np.uint8), "in a list, not a single picture"),
    ],
)
def test_what_is_not_several_crops_is_refused(crops, complaint, model):
    with pytest.raises(deepscan.UsageError, match=complaint):
        deepscan.load_detector(model).score(crops)


@pytest.mark.parametrize("score", [None, "x", 2.0, float("nan")])
def test_what_is_not_a_score_is_refused(score, model):
    detector = deepscan.load_detector(model)
    with pytest.raises(deepscan.UsageError, match=r"^raw must be "):
        detector.calibrate(score)
    with pytest.raises(deepscan.UsageError, match=r"^calibrated must be "):
        detector.verdict(score)


@pytest.mark.parametrize("image", [None, 3, b"jpeg", ["a.png"], [[1, 2], [3]]])
def test_what_is_neither_path_nor_array_is_refused(image):
    with pytest.raises(deepscan.UsageError, match=r"^image must be a path or an array"):
        deepscan.find_faces(image)


def test_a_folder_and_an_unknown_device_are_refused(tmp_path):
    with pytest.raises(deepscan.UsageError, match="is a folder"):
        deepscan.find_faces(tmp_path)
    with pytest.raises(deepscan.UsageError, match="device cannot be 'gpu'"):
        deepscan.find_faces(tmp_path / "a.png", device="gpu")


@pytest.mark.parametrize("name", [None, 3, b"convnet", ["a", "b"]])
def test_one_model_is_named_by_a_name_or_a_path(name):
    with pytest.raises(deepscan.UsageError, match=r"^model must be a name or a path"):
        deepscan.load_detector(name)
