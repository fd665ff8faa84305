"""Looks: what is known again of a face, whatever the light and the side it is seen from."""

import cv2
import numpy as np
import pytest
from skimage import data

from deepscan.crop_recipe import CropRecipe
from deepscan.faces.align import align
from deepscan.faces.face_filter import WITH_MARGIN
from deepscan.faces.looks import CROP_SIDE, PART, SIDE, Looks, look_crop, network_input
from deepscan.models.lookup import load_card

#: Where dlib's chips have a face: 150 pixels with a quarter of the face's width about it.
DLIB = CropRecipe(side=150, scale=0.899, shift=(0.0, -0.1424), interpolation="area", border="reflect")
EYES = np.array([[200, 110], [248, 110], [226, 138], [205, 160], [244, 160]], np.float32)


@pytest.fixture(scope="module")
def looks():
    return Looks()


@pytest.fixture(scope="module")
def astronaut():
    return look_crop(align(data.astronaut(), EYES, WITH_MARGIN))


@pytest.fixture(scope="module")
def others():
    """40 small grey faces of others."""
    small = [np.uint8(255 * face) for face in data.lfw_subset()[:40]]
    return [cv2.cvtColor(cv2.resize(face, (115, 115)), cv2.COLOR_GRAY2RGB) for face in small]


def test_a_look_is_a_unit_vector_and_does_not_depend_on_the_others(looks, astronaut, others):
    together = looks.vectors([astronaut, *others])
    assert together.shape == (41, 80) and together.dtype == np.float32
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    assert looks.vectors([others[3]])[0] == pytest.approx(together[4], abs=1e-5)


def test_the_network_gives_the_same_vectors_as_when_it_was_trained(looks, astronaut):
    noise = np.random.default_rng(0).integers(0, 256, astronaut.shape, np.uint8)
    golden = [[0.0252, 0.1364, -0.1267, -0.2212, 0.1898], [-0.2396, 0.0613, -0.2691, 0.1228, 0.0869]]
    assert looks.vectors([astronaut, noise])[:, :5] == pytest.approx(np.array(golden), abs=0.003)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda face: np.uint8(255 * (face / 255) ** 1.8), id="darker"),
        pytest.param(lambda face: cv2.GaussianBlur(face, (0, 0), 2.0), id="less sharp"),
        pytest.param(lambda face: cv2.resize(cv2.resize(face, (36, 36)), (115, 115)), id="smaller"),
        pytest.param(
            lambda face: np.repeat(face.mean(axis=2, keepdims=True), 3, 2).astype(np.uint8), id="grey"
        ),
        pytest.param(lambda face: np.uint8(face * [1.0, 0.8, 0.55]), id="warm light"),
        pytest.param(lambda face: np.uint8(face * np.linspace(0.3, 1, 115)[:, None]), id="lit from one side"),
        pytest.param(lambda face: np.ascontiguousarray(face[:, ::-1]), id="mirrored"),
    ],
)
def test_a_face_is_known_again(looks, astronaut, change):
    one, other = looks.vectors([astronaut, change(astronaut)])
    assert one @ other > looks.alike


def test_other_faces_are_not_taken_for_it(looks, astronaut, others):
    seen = looks.vectors([astronaut, *others])
    assert (seen[1:] @ seen[0] < looks.alike).all()


def test_it_sees_of_a_crop_what_its_teacher_was_trained_on():
    row, column = (part.start for part in PART)
    where = (WITH_MARGIN.template - (column, row) + 0.5) * SIDE / CROP_SIDE - 0.5
    assert np.abs(where - DLIB.template).max() < 1
    image = data.astronaut()
    seen, wanted = network_input(look_crop(align(image, EYES, WITH_MARGIN))), align(image, EYES, DLIB)
    assert seen.shape == wanted.shape == (SIDE, SIDE, 3)
    assert np.corrcoef(seen.ravel(), wanted.ravel())[0, 1] > 0.99


def test_what_a_run_says_of_it_names_the_file():
    described = Looks.describe()
    assert described["name"] == "looks" and len(described["files"]["onnx"]) == 64
    assert described["alike"] == Looks().alike


def test_the_card_names_the_teacher_and_the_network_is_small():
    card = load_card("looks")
    assert "CC0" in card.trained["teacher"]
    assert "Davis E. King" in (card.folder / "NOTICE").read_text(encoding="utf-8")
    size = card.path("onnx").stat().st_size
    assert size < 2.4e6
    # Together they may add 3 MB to the wheel.
    assert size + load_card("facefilter").path("onnx").stat().st_size < 3e6
