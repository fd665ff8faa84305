"""Test alignment against scikit-image's similarity transform, and the content of crops."""

import cv2
import numpy as np
import PIL.Image
import pytest
from skimage.transform import SimilarityTransform

from deepscan.crop_recipe import CropRecipe
from deepscan.faces.align import align, resample, similarity

POINTS = np.array([[30, 40], [70, 38], [52, 60], [35, 80], [66, 79]], np.float32)


def moved(points, angle=0.3, scale=2.0, shift=(11, -7)):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points @ turn.T + shift).astype(np.float32)


def picture(side=400):
    """Return a smooth picture, so that interpolation is exact to about a grey level."""
    y, x = np.mgrid[:side, :side] / side
    planes = [x, y, 0.5 + 0.5 * np.sin(7 * x) * np.cos(5 * y)]
    return (np.stack(planes, axis=2) * 255).round().astype(np.uint8)


@pytest.mark.parametrize("seed", range(20))
def test_similarity_equals_scikit_image(seed):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(100, 50, (2, 5, 2)).astype(np.float32)
    expected = SimilarityTransform.from_estimate(source.astype(float), target.astype(float)).params[:2]
    # Both solve in float64; the translation is in the hundreds.
    np.testing.assert_allclose(similarity(source, target), expected, atol=1e-6)


def test_similarity_recovers_a_known_transform():
    matrix = similarity(POINTS, moved(POINTS))
    np.testing.assert_allclose(POINTS @ matrix[:, :2].T + matrix[:, 2], moved(POINTS), atol=1e-4)
    assert np.hypot(matrix[0, 0], matrix[1, 0]) == pytest.approx(2, rel=1e-5)


def test_similarity_never_mirrors():
    """Landmarks of a mirrored face must not be matched by mirroring the picture."""
    mirrored = POINTS * np.float32([-1, 1])
    assert np.linalg.det(similarity(mirrored, POINTS)[:, :2]) > 0


def test_similarity_needs_two_points():
    with pytest.raises(ValueError, match="different points"):
        similarity(np.ones((5, 2), np.float32), POINTS)


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "area"])
@pytest.mark.parametrize("scale", [0.4, 1.0, 3.3, 5.0])
def test_crop_shows_the_picture_at_the_template(interpolation, scale):
    """Each crop pixel equals the picture at the position given by the transform."""
    recipe = CropRecipe(side=48, scale=1.3, interpolation=interpolation)
    image = picture()
    landmarks = (recipe.template - 24) @ np.array([[0.98, 0.2], [-0.2, 0.98]]) * scale + 195
    crop = align(image, landmarks.astype(np.float32), recipe)
    inverse = np.linalg.inv(np.vstack([similarity(landmarks, recipe.template), [0, 0, 1]]))
    y, x = np.mgrid[:48, :48]
    where = np.stack([x, y, np.ones_like(x)], axis=-1) @ inverse.T
    expected = cv2.remap(
        image, where[..., 0].astype(np.float32), where[..., 1].astype(np.float32), cv2.INTER_LINEAR
    )
    # Averaging k x k pixels of this smooth picture changes a grey level by two at most.
    assert np.abs(crop.astype(int) - expected).max() <= 2


def test_area_does_not_alias():
    """A checkerboard finer than the crop becomes grey; sampled at single points it stays black and white."""
    board = np.repeat((np.indices((600, 600)).sum(axis=0) % 2 * 255)[..., None], 3, axis=2).astype(np.uint8)
    recipes = {name: CropRecipe(side=64, scale=1.3, interpolation=name) for name in ("linear", "area")}
    landmarks = recipes["area"].template * 7 + np.float32(20)
    contrast = {name: align(board, landmarks, recipe).std() for name, recipe in recipes.items()}
    assert contrast["area"] < 5
    assert contrast["linear"] > 100


def test_area_reads_small_faces_like_linear(portraits):
    image, face = portraits["astronaut"]
    crops = [align(image, face.landmarks, CropRecipe(side=160, interpolation=i)) for i in ("linear", "area")]
    np.testing.assert_array_equal(*crops)


@pytest.mark.parametrize(("border", "expected"), [("black", 0), ("reflect", 200)])
@pytest.mark.parametrize("factor", [1, 4])
def test_border(border, expected, factor):
    """Outside the frame a crop is black or mirrored, whether it is averaged down or not."""
    recipe = CropRecipe(side=64, scale=1.3, interpolation="area", border=border)
    frame = np.full((500, 500, 3), 200, np.uint8)
    landmarks = (recipe.template - 32) * factor
    crop = align(frame, landmarks.astype(np.float32), recipe)
    assert crop[0, 0].tolist() == [expected] * 3 and crop[60, 60].tolist() == [200] * 3


def test_face_far_outside_the_frame_gives_a_crop():
    recipe = CropRecipe(side=64, interpolation="area")
    assert not align(np.full((50, 50, 3), 9, np.uint8), recipe.template * 5 + np.float32(900), recipe).any()


def test_resize_changes_the_side_only(portraits):
    image, face = portraits["astronaut"]
    crop = align(image, face.landmarks, CropRecipe(side=256))
    resized = align(image, face.landmarks, CropRecipe(side=256, resize=224))
    assert resized.shape == (224, 224, 3) and resized.dtype == np.uint8
    np.testing.assert_array_equal(resized, cv2.resize(crop, (224, 224), interpolation=cv2.INTER_CUBIC))


def test_aligned_face_has_its_landmarks_at_the_template(portraits, exact):
    """Detected again in its own crop, a face has its landmarks where the recipe wants them."""
    recipe = CropRecipe(side=256, scale=1.3)
    for image, face in portraits.values():
        (again,) = exact.detect([align(image, face.landmarks, recipe)])[0]
        eyes = np.linalg.norm(recipe.template[1] - recipe.template[0])
        # Five points are fitted with four parameters, so a face unlike the template keeps an error of a few
        # per cent.
        assert np.abs(again.landmarks - recipe.template).max() < 0.2 * eyes


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.3])
def test_native_is_a_crop_at_the_face_s_own_size_that_is_then_resized(scale):
    """As in published pipelines: cut at the face's own size, then resize with Pillow's bicubic."""
    recipe = CropRecipe(side=48, scale=1.3, interpolation="native")
    landmarks = (recipe.template * np.float32(scale) + 40).astype(np.float32)
    own = round(48 * scale)
    cut = align(picture(), landmarks, CropRecipe(side=own, scale=1.3))
    shrunk = PIL.Image.fromarray(cut).resize((48, 48), PIL.Image.Resampling.BICUBIC)
    # Pillow computes in fixed point: see `test_resampling_is_pillows_bicubic`.
    assert np.abs(align(picture(), landmarks, recipe).astype(int) - np.asarray(shrunk)).max() <= 1


@pytest.mark.parametrize("before", [30, 64, 97, 333])
@pytest.mark.parametrize("channels", [(3,), ()])
def test_resampling_is_pillows_bicubic(before, channels):
    image = np.random.default_rng(before).integers(0, 256, (before, before + 5, *channels)).astype(np.uint8)
    expected = np.asarray(PIL.Image.fromarray(image).resize((64, 64), PIL.Image.Resampling.BICUBIC))
    found = resample(image, 64)
    assert found.shape == expected.shape
    assert found.dtype == np.uint8
    # Pillow computes in fixed point, so a value halfway between two levels may be rounded either way.
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
