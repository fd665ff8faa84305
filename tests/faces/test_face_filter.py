"""Test the face filter: it accepts portraits as videos show them, and rejects patterns that MTCNN accepts."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepscan.crop_recipe import REFERENCE
from deepscan.errors import ContractError
from deepscan.faces import face_filter
from deepscan.faces.align import align
from deepscan.faces.face_filter import CROP, WITH_MARGIN, FaceFilter, filter_crop, reference_crop
from deepscan.models.lookup import load_card

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
#: Patterns that `fast` accepts with a probability of 0.85 or more: the name, and the seed of its draw.
ACCEPTED = [
    ("rings", 34),
    ("rings", 38),
    ("text", 36),
    ("text", 37),
    ("text", 38),
    ("sockets", 14),
    ("foliage", 2),
]


def drawn(name, seed):
    spec = importlib.util.spec_from_file_location("made_patterns", SCRIPTS / "made_patterns.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.pattern(name, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def network():
    return FaceFilter()


def scored(network, image, found):
    return network.score([filter_crop(align(image, detection.landmarks, WITH_MARGIN)) for detection in found])


def test_most_patterns_that_the_finder_accepts_are_rejected(network, fast):
    rejected = []
    for name, seed in ACCEPTED:
        image = drawn(name, seed)
        found = [detection for detection in fast.detect([image])[0] if detection.probability >= 0.85]
        assert found, "the finder accepts it"
        rejected.append(bool((scored(network, image, found) < network.least).all()))
    # Nine in ten of the held-out patterns are rejected; the first text and the foliage here are not.
    assert rejected == [True, True, False, True, True, True, False]


@pytest.mark.parametrize("name", ["astronaut", "hopper"])
@pytest.mark.parametrize("width", [24, 48, 96, 0])
@pytest.mark.parametrize("change", ["none", "dark", "blurred", "compressed", "grey"])
def test_portraits_are_faces_however_a_video_shows_them(network, exact, portraits, name, width, change):
    image, face = portraits[name]
    if width:
        by = width / face.width
        image = cv2.resize(image, None, fx=by, fy=by, interpolation=cv2.INTER_AREA)
    match change:
        case "dark":
            image = (image * 0.25).astype(np.uint8)
        case "blurred":
            image = cv2.GaussianBlur(image, (0, 0), 0.02 * (width or face.width))
        case "compressed":
            image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 25])[1], 1)
        case "grey":
            image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    found = exact.detect([image])[0][:1]
    assert found
    assert (scored(network, image, found) >= network.least).all()


@pytest.mark.parametrize("name", ["astronaut", "hopper"])
def test_a_face_upside_down_is_rejected(network, portraits, name):
    image, face = portraits[name]
    points = face.landmarks.mean(axis=0) * 2 - face.landmarks
    assert (
        network.score([filter_crop(align(image, points.astype(np.float32), WITH_MARGIN))])[0] < network.least
    )


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.4, 3.7])
def test_one_crop_contains_the_reference_crop_and_the_filter_s_crop(scale):
    y, x = np.mgrid[:700, :900]
    waves = np.stack([np.sin(x / 9 / scale), np.cos(y / 11 / scale), np.sin((x + y) / 13 / scale)], axis=2)
    image = (127 + 120 * waves).astype(np.uint8)
    points = ((REFERENCE.template - 64) * scale + (450, 350)).astype(np.float32)
    crop = align(image, points, WITH_MARGIN)
    middle = reference_crop(crop).astype(int)
    assert np.abs(middle - align(image, points, REFERENCE)).max() <= 1
    directly = align(image, points, CROP).astype(int)
    shown = filter_crop(crop).astype(int)
    assert shown.shape == directly.shape
    # They are a third of a pixel apart.
    assert np.corrcoef(shown.ravel(), directly.ravel())[0, 1] > 0.98


def test_no_crops_give_no_scores(network):
    assert network.score([]).shape == (0,)


def test_a_batch_is_scored_like_each_crop_alone(network):
    crops = np.random.default_rng(0).integers(0, 256, (5, CROP.side, CROP.side, 3), np.uint8)
    together = network.score(list(crops))
    np.testing.assert_allclose(together, np.concatenate([network.score([crop]) for crop in crops]), atol=1e-5)


def test_the_card_declares_the_crop_and_the_threshold():
    card = load_card("facefilter")
    assert card.network["crop"] == CROP.to_json()
    assert 0 < card.network["least"] < 0.5
    assert card.path("onnx").stat().st_size < 300_000


def test_a_network_that_does_not_match_its_card_is_refused(tmp_path, monkeypatch):
    shipped = load_card("facefilter").folder
    copy = tmp_path / "facefilter"
    copy.mkdir()
    for path in shipped.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "model.onnx").write_bytes(b"torn")
    monkeypatch.setattr(face_filter, "embedded_folder", lambda: tmp_path)
    with pytest.raises(ContractError):
        FaceFilter()
