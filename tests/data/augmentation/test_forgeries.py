"""Self-made fakes: changed where the mask says, untouched elsewhere, and each kind in its own way."""

import cv2
import numpy as np
import pytest

from deepscan.crop_recipe import CropRecipe
from deepscan.data.augmentation.forgeries import FORGERIES, Means, forged

RECIPE = CropRecipe(side=96, scale=0.75, shift=(0.0, -0.16), interpolation="area", border="reflect")


def picture(seed, mean=120):
    """A smooth picture with fine grain, as skin has."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.normal(mean, 30, (6, 6, 3)), (96, 96), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 6, (96, 96, 3)), 0, 255).astype(np.uint8)


@pytest.fixture
def crop():
    return picture(5)


def inverted(image):
    """Stands for an autoencoder: what went through it is not to be taken for anything else."""
    return 255 - image


def made(kind, crop, seed, donor=lambda: picture(9), redrawers=(inverted,)):
    return forged([kind], crop, Means(donor, redrawers), RECIPE, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forgery_changes_what_its_mask_shows_and_nothing_else(kind, crop):
    before = crop.copy()
    for seed in range(12):
        fake, mask = made(kind, crop, seed)
        assert fake.shape == crop.shape
        assert fake.dtype == np.uint8
        assert mask.dtype == np.float32
        assert 0 <= mask.min() <= mask.max() <= 1
        change = np.abs(fake.astype(int) - crop).max(-1)
        assert not change[mask == 0].any()
        assert change[mask > 0.5 * mask.max()].mean() > 0.5
    assert (crop == before).all()


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_seed_gives_the_same_forgery_again(kind, crop):
    (first, mask), (again, same) = made(kind, crop, 3), made(kind, crop, 3)
    assert (first == again).all()
    assert (mask == same).all()
    assert (made(kind, crop, 4)[0] != first).any()


def test_a_swap_shows_the_most_alike_donor_in_the_colours_of_the_face(crop):
    donors = iter([picture(2, mean=20), picture(7, mean=125), picture(3, mean=240), picture(4, mean=230)] * 8)
    alike = picture(7, mean=125)
    for seed in range(8):
        fake, mask = made("swap", crop, seed, lambda: next(donors))
        inside = mask > 0.95
        of_donor = np.corrcoef(fake[inside].ravel(), alike[inside].ravel())[0, 1]
        of_crop = np.corrcoef(fake[inside].ravel(), crop[inside].ravel())[0, 1]
        assert of_donor > 0.7 > of_crop
        # At least seven tenths of the way to the colours of the face.
        assert np.abs(fake[inside].mean(0) - crop[inside].mean(0)).max() < 12


def test_rendering_takes_the_grain_away(crop):
    def grain(image, where):
        fine = image.astype(np.float32) - cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.5)
        return float(fine[where].std())

    ratios = []
    for seed in range(12):
        fake, mask = made("render", crop, seed)
        where = mask > 0.95
        ratios.append(grain(fake, where) / grain(crop, where))
    assert np.median(ratios) < 0.7


def test_a_redrawn_face_is_what_an_autoencoder_makes_of_it_another_expression_or_an_alike_donor(crop):
    sources, whole = [], 0

    def redraw(image):
        sources.append(image)
        return inverted(image)

    unlike, alike = picture(2, mean=240), picture(7, mean=125)
    donors = iter([unlike, alike, unlike, unlike] * 60)
    for seed in range(60):
        fake, mask = made("redraw", crop, seed, lambda: next(donors), [redraw])
        whole += bool((mask == 1).all())
        inside = mask > 0.95
        assert np.corrcoef(fake[inside].ravel(), sources[-1][inside].ravel())[0, 1] < -0.8
    same = sum(np.array_equal(source, crop) for source in sources)
    like = [
        [np.corrcoef(source.ravel(), other.ravel())[0, 1] for other in (crop, alike, unlike)]
        for source in sources
    ]
    nearest = np.argmax(like, axis=1)
    # Of 60, 36 are whole, 12 the face of a donor, and of the other 48, 14 in another expression; each may be
    # off by three deviations.
    assert 36 - 12 < whole < 36 + 12
    assert 12 - 10 < (nearest == 1).sum() < 12 + 10
    assert not (nearest == 2).any()
    assert 34 - 12 < same < 34 + 12


def test_each_autoencoder_is_used_and_without_one_nothing_is_redrawn(crop):
    seen = set()
    used = [lambda image, at=at: seen.add(at) or inverted(image) for at in range(3)]
    for seed in range(20):
        made("redraw", crop, seed, redrawers=used)
    assert seen == {0, 1, 2}
    with pytest.raises(ValueError, match="autoencoders"):
        made("redraw", crop, 0, redrawers=())


@pytest.mark.parametrize(
    ("kinds", "share"), [(["render", "warp"], 0.2), (["render", "render", "warp"], 4 / 15)]
)
def test_kinds_are_drawn_as_often_as_they_are_named(crop, kinds, share):
    rng, means, count = np.random.default_rng(0), Means(lambda: crop), 400
    whole = sum(bool((forged(kinds, crop, means, RECIPE, rng)[1] == 1).all()) for _ in range(count))
    # `render` covers everything in four of ten cases, `warp` never. Two deviations are less than what the two
    # shares differ by.
    assert abs(whole - share * count) < 2 * np.sqrt(count * share * (1 - share))
