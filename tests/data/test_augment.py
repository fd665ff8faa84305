"""Augmentation: what a step may change, and that a variant hangs on its seed alone."""

import numpy as np
import pytest

from deepscan.data import augment
from deepscan.data.augment import AUGMENTATIONS, Affine, Jpeg, Shrink, augmented, steps_of
from deepscan.errors import UsageError

STEPS = {step for steps in AUGMENTATIONS.values() for _, step in steps}


@pytest.fixture
def image():
    y, x = np.mgrid[:48, :48]
    picture = np.stack((x * 5, y * 5, (x + y) * 2), axis=2).astype(np.uint8)
    picture[10:20, 12:22] = (250, 20, 60)
    return picture


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_variants_keep_shape_and_kind_and_leave_the_picture_alone(image, name):
    before = image.copy()
    for seed in range(40):
        variant, _ = augmented(image, name, (seed,))
        assert variant.shape == image.shape
        assert variant.dtype == np.uint8
    assert np.array_equal(image, before)


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_a_variant_hangs_on_its_seed_alone(image, name):
    first = [augmented(image, name, (1, epoch, 7))[0] for epoch in range(6)]
    again = [augmented(image, name, (1, epoch, 7))[0] for epoch in reversed(range(6))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({variant.tobytes() for variant in first}) > 3


def test_none_changes_nothing(image):
    assert np.array_equal(augmented(image, "none", (0,))[0], image)


@pytest.mark.parametrize("step", sorted(STEPS, key=str))
def test_each_step_works_on_flat_and_on_extreme_pictures(step):
    rng = np.random.default_rng(0)
    for value in (0, 128, 255):
        flat = np.full((32, 32, 3), value, np.uint8)
        for _ in range(5):
            assert step(flat, rng).shape == flat.shape


def test_flip_mirrors(image):
    assert np.array_equal(augment.flip(image, np.random.default_rng(0))[:, 0], image[:, -1])


def test_an_affine_without_reach_is_the_identity(image):
    still = Affine(degrees=0, scale=(1, 1), shift=0)(image, np.random.default_rng(0))
    assert np.array_equal(still, image)


def test_a_larger_scale_enlarges_about_the_middle(image):
    grown = Affine(degrees=0, scale=(2, 2), shift=0)(image, np.random.default_rng(0))
    # About (23.5, 23.5), the square's left edge goes from 12 to 0.5 and its lower edge from 19.5 to 15.5.
    assert tuple(grown[8, 6]) == (250, 20, 60)
    assert tuple(grown[14, 2]) == (250, 20, 60)
    assert tuple(grown[18, 6]) != (250, 20, 60)


def test_stronger_compression_costs_more(image):
    noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    error = [
        np.abs(Jpeg(q, q)(noisy, np.random.default_rng(0)).astype(int) - noisy).mean() for q in (95, 70, 30)
    ]
    assert error[0] < error[1] < error[2]


def test_shrinking_takes_fine_detail_out():
    checks = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)

    class Half:
        def uniform(self, low, high):
            return 0.5

    assert Shrink(0.5)(checks, Half()).std() < checks.std() / 10


def test_fancy_pca_shifts_all_pixels_alike(image):
    grey_image = np.clip(image // 3 + 80, 0, 255).astype(np.uint8)
    shifted = augment.fancy_pca(grey_image, np.random.default_rng(3)).astype(int) - grey_image
    # One shift a channel, but for rounding.
    assert (shifted.reshape(-1, 3).max(0) - shifted.reshape(-1, 3).min(0)).max() <= 1


def test_erasing_hides_between_2_and_15_percent(image):
    picture = np.full((100, 100, 3), 7, np.uint8)
    for seed in range(30):
        changed = (augment.erase(picture, np.random.default_rng(seed)) != 7).any(axis=2).mean()
        assert 0.015 < changed <= 0.15


def test_an_unknown_set_is_named():
    with pytest.raises(UsageError) as raised:
        steps_of("compct")
    assert "'compact'" in raised.value.hint


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_a_mask_moves_with_what_it_covers(name):
    picture = np.full((64, 64, 3), 40, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    picture[12:40, 8:30], mask[12:40, 8:30] = 220, 255
    for seed in range(30):
        moved, shown = augmented(picture, name, (seed,), mask)
        inside, outside = (moved[part].mean() for part in (shown > 200, shown < 50))
        # Whatever is done to colours, a covered pixel stays the brighter one by far, and only there.
        assert inside > outside + 60
        assert np.array_equal(augmented(picture, name, (seed,))[0], moved)
